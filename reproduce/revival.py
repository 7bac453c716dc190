"""Begins the idle channels of a network anew, so that training can use them; see `--help`.

  python -m reproduce.revival large --data BSDS500/val --output runs/large-revived.safetensors
  python train.py --preset large --warm-start runs/large-revived.safetensors --data PICTURES

Of the channels that go from block to block some fall below zero and are read no more, which is for
good: a ReLU without a slope hands no gradient back. Here what makes such a channel is shifted, so
that it lies about zero, and all that reads it begins with zeros. The network does what it did, and
may learn more. Channels inside blocks are left alone: their ReLUs leak, so that idle ones do what
is linear.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import idle
from benchmarks.idle import Seen
from hrcnn_jax.networks import zoo
from hrcnn_jax.networks.cards import ModelError
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
        params, count = revived(network, idle.seen(network, pixels))
        zoo.write_weights(given.output, params, network.card)
    except (ValueError, OSError) as error:
        parser.exit(1, f"reproduce.revival: {error}\n")
    print(f"{given.output}: {count} channels begin anew")


def revived(network: Network, seen: Mapping[str, Seen]) -> tuple[Any, int]:
    """The parameters of the same function, idle channels begun anew, and how many these are.

    Args:
      network: of mirrored convolutions, its ends 3x3.
      seen: of it, by `benchmarks.idle.seen`.

    Raises:
      ModelError: if it is another.
    """
    module, architecture = network.module, network.architecture
    if not isinstance(architecture, TrunkArchitecture) or getattr(module, "pointwise", False):
        raise ModelError(
            f"{network.name}: only networks of mirrored convolutions have channels that can begin "
            "anew, and none whose last convolution is 1x1, before which ReLUs leak"
        )
    params = jax.tree.map(np.array, network.params)
    trunk = architecture.trunk_of(params)
    blocks = [trunk[f"residual{block}"] for block in range(1, module.blocks + 1)]
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
    return params, int(for_good.any(axis=0).sum())


if __name__ == "__main__":
    main()
