"""Averages the weights of two networks; see `--help`.

  python -m reproduce.averaging runs/large-revived.safetensors runs/large --share 0.75 \\
      --output runs/large-averaged.safetensors

A run's end and what it began with often lie on either side of something better (Izmailov et al.,
"Averaging weights leads to wider optima and better generalization", 2018).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from hrcnn_jax.networks import zoo
from hrcnn_jax.networks.cards import ModelError
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.training.tasks import TASKS


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.averaging",
        description="Writes the mean of two networks' weights, with the card of the second.",
    )
    parser.add_argument("first", help="a released network, a weights file or a run")
    parser.add_argument("second", help="another of the same options, or grown from such")
    parser.add_argument("--share", type=float, required=True, help="of the second, from 0 to 1")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    given = parser.parse_args(argv)
    if not 0.0 <= given.share <= 1.0:
        parser.error(f"--share must be from 0 to 1, got {given.share}")
    try:
        first, second = (zoo.load(name, kinds=tuple(TASKS)) for name in (given.first, given.second))
        zoo.write_weights(given.output, averaged(first, second, given.share), second.card)
    except (ValueError, OSError) as error:
        parser.exit(1, f"reproduce.averaging: {error}\n")
    print(given.output)


def averaged(first: Network, second: Network, share: float) -> Any:
    """The mean of both networks' parameters, that of the second weighted by its share.

    Raises:
      ModelError: if the second is not of the first one's kind and options, nor grew from such.
    """
    begun = first.params if first.module == second.module else _grown(first, second)
    return jax.tree.map(lambda a, b: (1 - share) * a + share * b, begun, second.params)


def _grown(first: Network, second: Network) -> Any:
    """The first one's parameters as a run that grew the second one from them began with."""
    seed = second.card.training.get("run", {}).get("seed", 0)
    try:
        fresh = second.architecture.init(second.module, jax.random.key(seed))
        return second.architecture.grow(first.params, fresh)
    except ValueError as error:
        raise ModelError(
            f"{second.name} cannot have grown from {first.name}: only networks of one kind can be "
            "averaged, of the same options or grown"
        ) from error


if __name__ == "__main__":
    main()
