"""Files that are there whole or not at all; and whether they are."""

import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

LEFT_AFTER = 5.0
"""Seconds without a byte, before a temporary file can be one that was left behind."""

_PREFIX, _SUFFIX = ".hrcnn-jax-", ".partial"
_NAME = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}{re.escape(_SUFFIX)}")
_NEW = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


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


def holds_something(path: Path) -> bool:
    """Whether there is such a file, and it is not empty, as far as one may look."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


@contextmanager
def written_whole(path: Path, *, permissions: int | None = None) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and renames it when all went well.

    Whatever happens in between, `path` holds what it held before or all of the new content, on
    the disk before it has its name, and the temporary file is gone. A killed process leaves the
    temporary file, a hidden one, until somebody writes into that folder again.

    The temporary file is new and has a name that nobody can know beforehand, so that no link is
    followed that stands there already.

    Args:
      path: where to.
      permissions: of the file, as `os.chmod` has them; those of any new file if not given.
    """
    clear(path.parent)
    # Not the whole name once more, which may be as long as names can be.
    partial = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    number = os.open(partial, _NEW, 0o666 if permissions is None else 0o600)
    try:
        with _locked(number):
            yield partial
            _flush(partial)
            os.utime(partial)  # that took a while, perhaps: until it has its name it is new
        if permissions is not None:
            partial.chmod(permissions)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file of text, UTF-8, as `written_whole` does."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def _locked(number: int) -> Iterator[None]:
    """Marks a file as being written, for as long as this process lives; then closes it."""
    try:
        if fcntl is not None:
            with suppress(OSError):  # some file systems know no locks
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@cache
def clear(folder: Path) -> None:
    """Removes what killed processes left in a folder; looks there but once.

    That is a file with a name of `written_whole`, which nobody has written to for
    `LEFT_AFTER` seconds and whose lock is free: locks end with the process that holds them.
    """
    if fcntl is None:  # and so no telling whether it is still being written
        return
    try:
        left = [each for each in folder.iterdir() if _NAME.fullmatch(each.name)]
    except OSError:
        return
    for each in left:
        with suppress(OSError):
            _remove_if_left(each)


def _remove_if_left(path: Path) -> None:
    assert fcntl is not None
    number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        known = os.fstat(number)
        if stat.S_ISREG(known.st_mode) and time.time() - known.st_mtime > LEFT_AFTER:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if somebody has it
            path.unlink()
    finally:
        os.close(number)
