"""What the subcommands share."""

import argparse
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from hrcnn_jax import codec
from hrcnn_jax.output import OutputError

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit statuses: something failed; the flags make no sense; Ctrl-C."""


class UsageError(ValueError):
    """Flags that make no sense; the message says why."""


def add_max_pixels(flags: argparse.ArgumentParser) -> None:
    """Adds the flag that says how large a picture may claim to be."""
    flags.add_argument(
        "--max-pixels",
        type=int,
        default=codec.MAX_PIXELS,
        metavar="N",
        help=f"refuse larger pictures (default: {codec.MAX_PIXELS:,})",
    )


def complain(error: object) -> None:
    """Prints an error, a line, without disturbing a progress bar."""
    tqdm.write(f"hrcnn-jax: {error}", file=sys.stderr)


def tell(line: str) -> None:
    """Prints a line of results without disturbing a progress bar."""
    tqdm.write(line, file=sys.stdout)


def output_folder(name: str) -> Path:
    """Makes a folder unless it is there, and makes sure that it can be written into.

    Raises:
      OutputError: if it cannot.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{name}: cannot write into this folder ({reason})") from error
    return folder
