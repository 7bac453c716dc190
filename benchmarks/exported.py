"""Speed of networks as ONNX programs beside XLA's: `python -m benchmarks.exported`.

Both restore the same tile from its codes and its table, on a CPU: XLA as `restore` has it compiled,
ONNX Runtime on one thread. CPU-seconds are compared, the least of several runs: what a browser or
a phone takes grows with them.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array

from hrcnn_jax.compiler import lean
from hrcnn_jax.networks import cards, zoo
from hrcnn_jax.restoration import to_onnx


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exported", description=__doc__)
    parser.add_argument("networks", nargs="*", default=cards.names(kind="planes"), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=20, metavar="N")
    given = parser.parse_args()
    print(
        f"{'network':12}{'tile':>9}{'MB':>7}{'nodes':>7}{'XLA':>9}{'ONNX':>9}   CPU-s a megapixel"
    )
    for name in given.networks:
        network = zoo.load(name, dtype="float32")
        model = to_onnx.export(network)
        side = int({each.key: each.value for each in model.metadata_props}["side"])
        arguments = to_onnx.example(network, side)
        function, params, _ = to_onnx.tile_of(network)
        compiled = jax.jit(function, compiler_options=lean())
        session = to_onnx.session(model, threads=1)
        megapixels = (8 * side) ** 2 / 1e6
        xla = least(partial(_ready, compiled, params), arguments, given.repeats)
        onnx = least(partial(to_onnx.run, session), (arguments,), given.repeats)
        print(
            f"{name:12}{8 * side:5}²   {model.ByteSize() / 1e6:7.1f}{len(model.graph.node):7}"
            f"{xla / megapixels:9.2f}{onnx / megapixels:9.2f}"
        )


def _ready(compiled: Callable[..., Array], *tile: Any) -> Array:
    return compiled(*tile).block_until_ready()


def least(work: Callable[..., object], arguments: tuple[Any, ...], repeats: int) -> float:
    """CPU-seconds of the process that it takes, the first time left out."""
    work(*arguments)
    measured = []
    for _ in range(repeats):
        start = time.process_time()
        work(*arguments)
        measured.append(time.process_time() - start)
    return min(measured)


if __name__ == "__main__":
    main()
