"""Files that are there whole or not at all; and whether they are."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether there is such a file, as far as one may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, as far as one may look."""
    try:
        return path.is_dir()
    except OSError:
        return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to, and renames it when all went well.

    Whatever happens in between, ``path`` holds what it held before or all of the new content, and
    the temporary file is gone. A killed process leaves the temporary file, a hidden one.
    """
    # Not the whole name once more, which may be as long as names can be.
    told_apart = f"{os.getpid()}-{zlib.crc32(os.fsencode(path.name)):08x}"
    partial = path.with_name(f".{told_apart}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
