"""How many channels of networks are idle: `python -m benchmarks.idle --data PICTURES`.

Crops go through a network as validation has them, and what its ReLUs are given is watched. A
channel is idle if it is above zero in less than one pixel in a hundred, in each of validation's
cases: inside a residual block, or in the stream that goes from block to block, where a block or the
last convolution reads it. Networks are taken as training leaves them, unfolded.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax.data.crops import cached_crops
from hrcnn_jax.data.planes import PLANES
from hrcnn_jax.data.sources import open_source
from hrcnn_jax.networks import cards, mirrored, zoo
from hrcnn_jax.networks.cards import Kind
from hrcnn_jax.networks.convolution import Conv
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.tasks import TASKS

PLANES_OF: dict[Kind, str] = {"planes": "luma", "chroma": "colour", "pictures": "damaged"}
"""What networks of each kind are watched on."""

SIDE = 128
"""Of crops, in pixels."""

IDLE = 0.01
"""Share of pixels below which a channel is idle."""


@contextmanager
def watched() -> Iterator[list[Array]]:
    """Collects, in order, what the ReLUs of networks are given that run inside, not compiled."""
    given: list[Array] = []
    apply = mirrored.apply

    def mirrored_apply(layer: Any, groups: Array, *args: Any, **options: Any) -> Array:
        if options.get("slope", 1.0) != 1:
            given.append(groups)
        return apply(layer, groups, *args, **options)

    def intercepted(
        method: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext
    ) -> Any:
        result = method(*args, **kwargs)
        if isinstance(context.module, Conv) and result.shape[-1] > 1:  # one channel is a picture
            given.append(result)
        return result

    with mock.patch.object(mirrored, "apply", mirrored_apply), nn.intercept_methods(intercepted):
        yield given


def places(network: Network) -> list[str]:
    """Where a network's ReLUs are, in order."""
    blocks = range(1, network.module.blocks + 1)
    if network.architecture.serves_one_quality:  # the paper's
        return ["decoding", *(f"inside block {k}, {layer}" for k in blocks for layer in (1, 2))]
    inner = [place for k in blocks for place in (f"before block {k}", f"inside block {k}")]
    return [*inner, "before the tail"]


class Seen(NamedTuple):
    """What the channels of a ReLU are given, over pixels and cases.

    Attributes:
      passed: the share of pixels that are above zero, in the case that has most of them: `(C,)`.
      mean: of what they are given, `(C,)`.
      spread: of that, its standard deviation, `(C,)`.
    """

    passed: NDArray[np.floating]
    mean: NDArray[np.floating]
    spread: NDArray[np.floating]


def seen(network: Network, pixels: Array) -> dict[str, Seen]:
    """What the ReLUs of a network are given, by their places.

    Args:
      network: of any kind.
      pixels: `(N, S, S)`, `(N, S, S, 3)` or `(N, S, S, 6)` in [0, 1], as tasks take them.
    """
    settings = Settings().changed(quality=tuple(network.card.qualities))
    task = TASKS[network.architecture.kind](network.module, settings)
    names = places(network)
    found: dict[str, list[Seen]] = {name: [] for name in names}
    for drawn in task.cases(pixels).values():
        with watched() as given:
            task.outcome(network.params, drawn)
        # A network of chroma runs last: before it, that of luma beside which it is trained.
        for name, features in zip(names, given[-len(names) :], strict=True):
            values = np.asarray(features)
            axes = tuple(range(values.ndim - 1))
            found[name].append(
                Seen(
                    np.mean(values > 0, axis=axes),
                    np.mean(values, axis=axes, dtype=np.float64),
                    np.std(values, axis=axes, dtype=np.float64),
                )
            )
    return {
        name: Seen(
            np.max([each.passed for each in cases], axis=0),
            np.mean([each.mean for each in cases], axis=0),
            np.mean([each.spread for each in cases], axis=0),
        )
        for name, cases in found.items()
    }


def pixels_for(network: Network, data: Sequence[str], crops: int, cache: Path) -> Array:
    """Crops of pictures for `seen`, as many as are asked for."""
    planes = PLANES[PLANES_OF[network.architecture.kind]]
    cut = cached_crops(
        open_source(data, split="validation"),
        crops,
        SIDE,
        channel=planes.validated,
        damage=network.card.qualities if planes.damaged else (),
        cache=cache,
    )
    pixels = jnp.asarray(cut, jnp.float32) / 255
    return pixels if planes.at_once else pixels[..., 0]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument(
        "networks", nargs="*", default=cards.all_names(), help="default: all released"
    )
    parser.add_argument("--data", nargs="+", required=True, help="pictures, none of training")
    parser.add_argument("--crops", type=int, default=20, help="of them (default: 20)")
    parser.add_argument("--cache", default="runs/crops", help="where crops are kept")
    given = parser.parse_args(argv)
    for name in given.networks:
        network = zoo.load(name, kinds=tuple(TASKS))
        pixels = pixels_for(network, given.data, given.crops, Path(given.cache))
        print(name)
        for place, (passed, *_) in seen(network, pixels).items():
            print(f"  {place:24}{np.sum(passed < IDLE):4} of {len(passed):3} idle", flush=True)


if __name__ == "__main__":
    main()
