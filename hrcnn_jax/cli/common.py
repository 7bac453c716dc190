"""What the subcommands share."""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from hrcnn_jax import history
from hrcnn_jax.files import reader, writer
from hrcnn_jax.files.atomic import is_file
from hrcnn_jax.files.writer import FORMATS, OutputError
from hrcnn_jax.history import Mode, Said
from hrcnn_jax.networks import cards
from hrcnn_jax.text import printable

FAILED, USAGE = 1, 2
"""Exit statuses: something failed; the flags make no sense."""

SPELLINGS = {"jpg": "jpeg", "tif": "tiff"}
"""Other names of formats."""


class UsageError(ValueError):
    """Flags that make no sense; the message says why."""


def dashed(argv: Sequence[str]) -> list[str]:
    """Arguments with their flags in today's spelling: `--output_dir` is `--output-dir`."""
    end = argv.index("--") if "--" in argv else len(argv)  # what follows are no flags
    flags = [
        re.sub(r"^--[a-z_-]+", lambda flag: flag[0].replace("_", "-"), each) for each in argv[:end]
    ]
    return [*flags, *argv[end:]]


def add_format(flags: argparse.ArgumentParser, default: str = "png") -> None:
    """Adds the flags that say what pictures are written as, and in words what if not given."""
    flags.add_argument(
        "--format",
        type=lambda name: SPELLINGS.get(name, name),
        choices=FORMATS,
        help=f"of the pictures written; 16 is bits a sample, 32f floats (default: {default})",
    )
    flags.add_argument(
        "--quality",
        type=int,
        default=writer.QUALITY,
        metavar="Q",
        help=f"of jpeg and webp pictures, 1-100 (default: {writer.QUALITY})",
    )


def check_quality(flags: argparse.Namespace) -> None:
    """Makes sure that JPEG and WebP can be written at the quality asked for.

    Raises:
      UsageError: if they cannot.
    """
    if not 1 <= flags.quality <= 100:
        raise UsageError(f"--quality must be from 1 to 100, got {flags.quality}")


def add_network(flags: argparse.ArgumentParser) -> None:
    """Adds the flags that say which network restores, and how."""
    flags.add_argument(
        "--model",
        default=cards.DEFAULT,
        metavar="NAME",
        help="network: one of hrcnn-jax models but those of chroma, a weights file, or the folder "
        "of a training run "
        f"(default: {cards.DEFAULT})",
    )
    flags.add_argument(
        "--pixels",
        type=_unless_none,
        default=cards.PIXELS,
        metavar="NAME",
        help="what restores, from their pixels, pictures whose damage no codes explain: "
        f"a network of pictures, or {cards.NONE} (default: {cards.PIXELS})",
    )
    flags.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="how much to restore: from 0, the plain decode, to 1 (default)",
    )
    flags.add_argument(
        "--no-faithful",
        dest="faithful",
        action="store_false",
        help="let the result disagree with the file's codes; only the paper's networks and "
        f"{cards.PIXELS} can",
    )
    flags.add_argument(
        "--history",
        type=_history,
        default="auto",
        metavar="H",
        help="auto: restore from an earlier compression's codes, if one did the damage and can be "
        "proved (default); off: believe the file's own, and leave pixels as they are; or what it "
        "was, such as quality=20, quality=20,grid=3:5 (where its blocks begin, down:across, 0-7) "
        "or quality=20,size=1024x768 (width and height before the picture was resized), with "
        "encoder=mozjpeg if it was that",
    )


def _unless_none(name: str) -> str | None:
    return None if name == cards.NONE else name


def _history(text: str) -> Mode | Said:
    try:
        return history.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_max_pixels(flags: argparse.ArgumentParser) -> None:
    """Adds the flag that says how large a picture may claim to be."""
    flags.add_argument(
        "--max-pixels",
        type=_positive,
        default=reader.MAX_PIXELS,
        metavar="N",
        help="refuse pictures of more pixels: a small file can claim to be huge (default: "
        f"{reader.MAX_PIXELS:,})",
    )


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 1 on")
    return number


def add_jobs(flags: argparse.ArgumentParser, what: str) -> None:
    """Adds the flag that says how many threads there are, and what they do."""
    flags.add_argument(
        "--jobs",
        type=int,
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help=f"{what} (default: %(default)s)",
    )


def check_jobs(flags: argparse.Namespace) -> None:
    """Raises UsageError unless there is a thread."""
    if flags.jobs < 1:
        raise UsageError(f"--jobs must be 1 or more, got {flags.jobs}")


def add_salvage(flags: argparse.ArgumentParser) -> None:
    """Adds the flag that has damaged files read as far as they go."""
    flags.add_argument(
        "--salvage",
        action="store_true",
        help="take damaged files too, as far as they go, and tell what is missing",
    )


def needs(what: str, module: str | None, extra: str) -> str:
    """The line that says which extra of this package is not installed."""
    return f"{what} needs {module}: pip install 'hrcnn-jax[{extra}]', or in a checkout '.[{extra}]'"


def complain(error: object) -> None:
    """Prints an error, a line, without disturbing a progress bar."""
    tqdm.write(f"hrcnn-jax: {printable(str(error))}", file=sys.stderr)


def tell(line: str, stream: TextIO) -> bool:
    """Prints a line of results without disturbing a progress bar.

    Returns:
      Whether that could be done. Once it cannot, nothing more is printed there, and work goes on.
    """
    try:
        tqdm.write(printable(line), file=stream)
        stream.flush()
    except OSError as error:
        silence(stream)
        name = stream.name.strip("<>")
        complain(f"{name}: cannot be written to ({error.strerror}): no more is told there")
        return False
    return True


def silence(stream: TextIO) -> None:
    """Has what is printed from now on, and what waits for it, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def output_folder(name: str) -> Path:
    """Makes a folder unless it is there, and makes sure that it can be written into.

    Raises:
      OutputError: if it cannot.
    """
    if not name:
        raise UsageError("--output is empty: give the name of a folder")
    folder = Path(name)
    if is_file(folder):
        raise OutputError(f"{name}: is a file, no folder; give another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{name}: cannot write into this folder ({reason})") from error
    return folder
