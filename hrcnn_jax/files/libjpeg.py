"""libjpeg, as pyjpegio wraps it, and what it remarks on the codes that it reads.

Where data is damaged, libjpeg makes up the codes that it cannot read and says so on the process's
standard error, its first remark only; pyjpegio does not pass it on. Here it is caught, so that
nobody takes what was made up for what was there. Safe to call from many threads: calls come one
after the other, as pyjpegio has it anyway, and what others print meanwhile is handed on.
"""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import jpegio

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_STANDARD_ERROR = 2
_DESCRIPTORS = "/proc/self/fd"
_MEMORY_FILES = hasattr(os, "memfd_create") and Path(_DESCRIPTORS).is_dir()
_one_at_a_time = threading.Lock()

_REMARK = re.compile(
    rb"(?:Corrupt JPEG data: .*|Premature end of .*|Invalid SOS parameters .*|"
    rb"Inconsistent progression .*|Warning: unknown JFIF .*|Unknown Adobe .*)\r?\n"
)
"""libjpeg's warnings about a file that it reads (its `jerror.h`)."""


def read(data: bytes) -> tuple[Any, str | None]:
    """Reads a file's codes.

    Args:
      data: the file.

    Returns:
      pyjpegio's object, and libjpeg's first remark, a few words; None if it had none.

    Raises:
      RuntimeError: if libjpeg gives up; it says why.
      OSError: if there is no room for a copy.
    """
    with _unnamed() as caught, _copied(data) as path:
        with _one_at_a_time, _standard_error(caught) as said:
            coefficients = jpegio.read(path)
        remarks = _REMARK.findall(b"".join(said))
        others = _REMARK.sub(b"", b"".join(said))
        if others and sys.stderr is not None:
            sys.stderr.write(others.decode(errors="replace"))
    return coefficients, _in_words(remarks[0]) if remarks else None


@contextmanager
def _copied(data: bytes) -> Iterator[str]:
    """Gives a path to a copy of a file, as pyjpegio reads from a path only.

    It is a file in memory where there is such a thing (Linux): a killed process leaves none, and
    nobody can cut it off while it is read, which would end the process (SIGBUS).
    """
    if not _MEMORY_FILES:
        with tempfile.TemporaryDirectory(prefix="hrcnn-jax-") as folder:
            copy = Path(folder, "picture.jpg")  # a name that any file system can spell
            copy.write_bytes(data)
            yield str(copy)
        return
    with _unnamed() as file:
        view = memoryview(data)
        while view:  # a call writes 2 GiB at most
            view = view[file.write(view) :]
        yield f"{_DESCRIPTORS}/{file.fileno()}"


def _unnamed() -> IO[bytes]:
    if not _MEMORY_FILES:
        return tempfile.TemporaryFile(buffering=0)
    number = os.memfd_create("hrcnn-jax")
    if number <= _STANDARD_ERROR:  # as nobody else had that number, which is to be another's
        number, standard = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _STANDARD_ERROR + 1), number
        os.close(standard)
    return open(number, "w+b", buffering=0)  # noqa: PTH123 (it has no path)


def _in_words(remark: bytes) -> str:
    return remark.decode("ascii", "replace").strip().removeprefix("Corrupt JPEG data: ")


@contextmanager
def _standard_error(caught: IO[bytes]) -> Iterator[list[bytes]]:
    """Gives a list that will hold what native code writes to standard error in between."""
    said: list[bytes] = []
    try:
        before: int | None = os.dup(_STANDARD_ERROR)
    except OSError:  # there is none
        before = None
    try:
        os.dup2(caught.fileno(), _STANDARD_ERROR)
        yield said
    finally:
        if before is None:
            os.close(_STANDARD_ERROR)
        else:
            os.dup2(before, _STANDARD_ERROR)
            os.close(before)
        caught.seek(0)
        said.append(caught.read())
