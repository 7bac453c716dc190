"""`release`: a training run's best weights and their card."""

import argparse
from pathlib import Path

from hrcnn_jax.cli.common import FAILED, UsageError, complain, needs, output_folder
from hrcnn_jax.networks import cards


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_argument("run_folder", metavar="RUN", help="folder of a training run (its --workdir)")
    flags.add_argument("name", metavar="NAME", help="name of the network")
    flags.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="folder for NAME.safetensors and NAME.json; in a checkout, hrcnn_jax/weights makes it "
        "one of the released networks",
    )
    flags.add_argument(
        "--chroma",
        default=cards.CHROMA,
        metavar="NETWORK",
        help="the released network that restores 4:2:0 chroma beside it (default: %(default)s)",
    )


def run(flags: argparse.Namespace) -> int:
    """Writes weights and card."""
    if Path(flags.name).name != flags.name or not flags.name:
        raise UsageError(f"NAME must be a network's name, not a path, got {flags.name!r}")
    folder = output_folder(flags.output)
    try:
        from hrcnn_jax.training.export import release
    except ModuleNotFoundError as error:
        complain(needs("release", error.name, "train"))
        return FAILED
    try:
        print(release(flags.run_folder, flags.name, folder, chroma=flags.chroma))
    except (ValueError, OSError) as error:
        complain(error)
        return FAILED
    return 0
