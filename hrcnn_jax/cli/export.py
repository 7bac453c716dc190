"""`export`: a network as an ONNX program."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import onnx

from hrcnn_jax.cli.common import FAILED, UsageError, complain, output_folder
from hrcnn_jax.files.atomic import written_whole
from hrcnn_jax.files.writer import OutputError
from hrcnn_jax.networks import zoo
from hrcnn_jax.restoration import to_onnx


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_argument(
        "model",
        metavar="NAME",
        help="network: one of hrcnn-jax models but wild and those of chroma, a weights file, or "
        "the folder of a training run",
    )
    flags.add_argument("output", metavar="OUT.onnx", help="where to")
    flags.add_argument(
        "--side",
        type=int,
        metavar="BLOCKS",
        help="of the tile that the program restores, without what surrounds it (default: the side "
        "that restore uses)",
    )


def run(flags: argparse.Namespace) -> int:
    """Writes the program, once it was found to agree with JAX."""
    if flags.side is not None and flags.side < 1:
        raise UsageError(f"--side must be 1 or more, got {flags.side}")
    if not Path(flags.output).name:
        raise UsageError(f"OUT must be the name of a file, got {flags.output!r}")
    network = zoo.load(flags.model, dtype="float32")  # as runtimes compute
    output_folder(str(Path(flags.output).parent))
    model = to_onnx.export(network, side=flags.side)
    difference = to_onnx.difference(model, network)
    if difference > to_onnx.TOLERANCE:
        complain(f"{flags.model}: as ONNX it differs from JAX by {difference:.1e}: not written")
        return FAILED
    try:
        with written_whole(Path(flags.output)) as partial:
            partial.write_bytes(model.SerializeToString())
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{flags.output}: cannot be written ({reason})") from error
    print(f"{flags.output}: {_shapes(model)}; agrees with JAX to {difference:.0e}")
    return 0


def _shapes(model: onnx.ModelProto) -> str:
    """What goes in, and what comes out."""

    def told(values: Iterable[onnx.ValueInfoProto]) -> str:
        return ", ".join(
            f"{each.name} ({', '.join(str(d.dim_value) for d in each.type.tensor_type.shape.dim)})"
            for each in values
        )

    return f"{told(model.graph.input)} to {told(model.graph.output)}"
