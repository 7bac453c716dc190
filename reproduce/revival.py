"""Begins the idle channels of a network anew, so that training can use them; see `--help`.

  python -m reproduce.revival large --data BSDS500/val --output runs/large-revived.safetensors
  python train.py --preset large --warm-start runs/large-revived.safetensors --data PICTURES

A ReLU without a slope hands no gradient back: what has fallen below zero everywhere stays there,
and is read no more. In networks of mirrored convolutions these are channels that go from block to
block. What makes such a channel is shifted, so that it lies about zero, and all that reads it
begins with zeros. Channels inside blocks are left alone: their ReLUs leak, so that idle ones do
what is linear.

In the paper's network they are filters inside the residual blocks. They are drawn anew, about zero
and as large as others there, and what reads them begins with zeros.

The network does what it did, and may learn more.
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from benchmarks import idle
from benchmarks.idle import Seen
from hrcnn_jax.networks import zoo
from hrcnn_jax.networks.cards import ModelError
from hrcnn_jax.networks.hrcnn import HRCNN
from hrcnn_jax.networks.trunk import TrunkArchitecture
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.training.tasks import TASKS

SILENT = 0.002
"""Share of pixels below which a channel is given up here: what it passes is lost."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.revival",
        description="Writes the weights of a network whose idle channels begin anew.",
    )
    parser.add_argument("network", help="a released one, a weights file or a run")
    parser.add_argument("--data", nargs="+", required=True, help="pictures, none of training")
    parser.add_argument("--crops", type=int, default=16, help="of them (default: 16)")
    parser.add_argument("--cache", default="runs/crops", help="where crops are kept")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    given = parser.parse_args(argv)
    try:
        network = zoo.load(given.network, kinds=tuple(TASKS))
        pixels = idle.pixels_for(network, given.data, given.crops, Path(given.cache))
        params, count = revived(network, pixels)
        zoo.write_weights(given.output, params, network.card)
    except (ValueError, OSError) as error:
        parser.exit(1, f"reproduce.revival: {error}\n")
    print(f"{given.output}: {count} channels begin anew")


def revived(network: Network, pixels: Array) -> tuple[Any, int]:
    """The parameters of the same function, idle channels begun anew, and how many these are.

    Args:
      network: the paper's, or of mirrored convolutions, its ends 3x3.
      pixels: that it is watched on, as `benchmarks.idle.pixels_for` gives them.

    Raises:
      ModelError: if it is another.
    """
    module, architecture = network.module, network.architecture
    if isinstance(module, HRCNN) and module.hidden_relu:
        return _with_fresh_filters(network, pixels)
    if isinstance(architecture, TrunkArchitecture) and not getattr(module, "pointwise", False):
        params = jax.tree.map(np.array, network.params)
        seen = idle.seen(network, pixels)
        return params, _raise_channels(architecture.trunk_of(params), module.blocks, seen)
    raise ModelError(
        f"{network.name}: only the paper's networks and those of mirrored convolutions have "
        "channels that can begin anew, and none whose last convolution is 1x1, before which ReLUs "
        "leak"
    )


def _with_fresh_filters(network: Network, pixels: Array) -> tuple[Any, int]:
    """Of the paper's network."""
    params = jax.tree.map(np.array, network.params)
    random, count = np.random.default_rng(0), 0
    before = idle.seen(network, pixels)
    for block, layer in itertools.product(range(1, network.module.blocks + 1), (1, 2)):
        place = f"inside block {block}, {layer}"
        fresh = before[place].passed < SILENT
        layers = params[f"residual{block}"]
        kernel, bias = (layers[f"conv{layer}"][name] for name in ("kernel", "bias"))
        drawn = random.normal(size=kernel.shape)
        drawn -= drawn.mean((0, 1))  # how bright it is around would outweigh all else
        kernel[..., fresh], bias[fresh] = drawn[..., fresh], 0
        layers[f"conv{layer + 1}"]["kernel"][:, :, fresh] = 0
        seen = idle.seen(replace(network, params=params), pixels)[place]
        scale = np.median(before[place].spread) / seen.spread[fresh]
        kernel[..., fresh] *= scale
        bias[fresh] = -scale * seen.mean[fresh]
        count += int(fresh.sum())
    return params, count


def _raise_channels(trunk: Any, count: int, seen: Mapping[str, Seen]) -> int:
    """Of mirrored convolutions with so many residual blocks, in place; how many channels it was."""
    blocks = [trunk[f"residual{block}"] for block in range(1, count + 1)]
    makers = [trunk["head"], *(block["conv2"] for block in blocks)]
    readers = [*(block["conv1"] for block in blocks), trunk["tail"]]
    places = [*(f"before block {block}" for block in range(1, len(readers))), "before the tail"]
    silent = np.array([seen[place].passed < SILENT for place in places])
    for_good = np.logical_and.accumulate(silent[::-1])[::-1]  # here and in all later places
    for index, place in enumerate(places):
        fresh = for_good[index] & ~for_good[:index].any(axis=0)
        makers[index]["bias"][fresh] -= seen[place].mean[fresh]
        for reader in readers[index:]:
            for kernel in reader.keys() & {"kernel", "deltas"}:
                reader[kernel][..., fresh, :] = 0
    return int(for_good.any(axis=0).sum())


if __name__ == "__main__":
    main()
