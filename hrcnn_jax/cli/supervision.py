"""A parent that outlives the crashes of native code: it leaves all work to a child, made by fork.

No Python can go on in a process in which libjpeg or XLA has crashed, or that the system has ended
for want of memory. So a process that has loaded nothing forks, and only waits. When its child
dies, it knows from a journal which files were at hand, and forks again: the new child tries these
one by one, and then does the others. A file that was alone when its process died is given up, in a
line. (Worker processes that only read would not help where XLA crashes, and cost more: `python -m
benchmarks.isolation`.)
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from hrcnn_jax.signals import SIGNALS
from hrcnn_jax.text import printable

Key = tuple[str, str]
"""A file and its result."""

_FAILED = 1
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


@dataclass
class Known:
    """What a journal tells.

    Attributes:
      ended: files that were done, and whether they failed.
      pixels: of those that did not.
      open: files that have begun since the last process died.
      suspects: files that were at hand, beside others, when a process died.
      lost: files that were at hand alone when a process died.
      progress: whether any file ended since the last process died.
      rows: what is to be reported of the files that were done or lost.
    """

    ended: dict[Key, bool] = field(default_factory=dict)
    pixels: int = 0
    open: set[Key] = field(default_factory=set)
    suspects: set[Key] = field(default_factory=set)
    lost: set[Key] = field(default_factory=set)
    progress: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """How many files failed or were lost."""
        return sum(self.ended.values()) + len(self.lost)

    def begin(self, key: Key) -> None:
        """A file is at hand from now on."""
        self.open.add(key)

    def end(self, key: Key, failed: bool, pixels: int, row: dict[str, Any] | None = None) -> None:
        """A file is done."""
        self.rows.append(row or {})
        self.open.discard(key)
        self.suspects.discard(key)
        self.ended[key] = failed
        self.pixels += pixels
        self.progress = True

    def die(self) -> None:
        """The process is dead; who was alone is guilty."""
        if len(self.open) == 1:
            self.lost |= self.open
            self.rows += [{"path": path, "error": "its process died"} for path, _ in self.open]
        else:
            self.suspects |= self.open
        self.suspects -= self.lost
        self.open, self.progress = set(), False


class Journal:
    """What became of files, written to where it outlives the process; nowhere if unsupervised.

    Safe to write from many threads: an entry is a line, and one call.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self.start = time.monotonic()

    def begin(self, key: Key) -> None:
        """Notes that a file is at hand."""
        self._write("begin", key)

    def end(
        self, key: Key, *, failed: bool, pixels: int = 0, row: Mapping[str, Any] | None = None
    ) -> None:
        """Notes that a file is done, and what is to be reported of it."""
        self._write("end", key, failed, pixels, row or {})

    def die(self) -> None:
        """Notes that the process is dead."""
        self._write("die")

    def read(self) -> Known:
        """What has been noted so far."""
        known = Known()
        if self._descriptor is None:
            return known
        size = os.fstat(self._descriptor).st_size
        for line in os.pread(self._descriptor, size, 0).splitlines():
            what, *values = json.loads(line)
            if values:
                values[0] = tuple(values[0])
            getattr(known, what)(*values)
        return known

    def _write(self, what: str, *values: object) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, (json.dumps([what, *values]) + "\n").encode())


def possible() -> bool:
    """Whether this system has what supervising takes: Linux has."""
    return sys.platform == "linux"


def supervised(work: Callable[[Journal], int]) -> int:
    """Does work in a child, and again in another for as long as it dies of a crash.

    To be called before anything starts threads, which no child would have.

    Args:
      work: tells the journal of each file, leaves out what is known there to have ended or been
        lost, tries the suspects one by one, and returns an exit status.

    Returns:
      The exit status of the child that came to its end; 128 and the signal's number where one died
      of a signal that asks programs to end, or before it had begun with any file.
    """
    journal = Journal(os.memfd_create("hrcnn-jax-journal"))
    while True:
        status = _in_child(work, journal)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        number = os.WTERMSIG(status)
        known = journal.read()
        if number in SIGNALS or not (known.open or known.progress):
            _complain(f"ended by {_told(number)}")
            return 128 + number
        for source, _ in known.open if len(known.open) == 1 else ():
            _complain(f"{source}: the process that restored it died of {_told(number)}; left out")
        journal.die()


def _in_child(work: Callable[[Journal], int], journal: Journal) -> int:
    """Runs work in a child; returns its status as `os.waitpid` has it."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    parent = os.getpid()
    # Until it is clear who is who, signals wait: one that goes to both is to be told once.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    child = os.fork()
    if child == 0:
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _exit_with(work, journal)
    with _forwarded_to(child):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return os.waitpid(child, 0)[1]


def _exit_with(work: Callable[[Journal], int], journal: Journal) -> NoReturn:
    """Ends this process with the work's status: what called its parent is not to go on twice."""
    status = _FAILED
    try:
        status = work(journal)
    except SystemExit as error:  # flags that make no sense
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else _FAILED
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or _FAILED
    os._exit(status)


def _end_with(parent: int) -> None:
    """Has this process asked to end when its parent is killed, so that it is not left alone."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:  # it died meanwhile
        os._exit(128 + signal.SIGTERM)


@contextmanager
def _forwarded_to(child: int) -> Iterator[None]:
    """Hands signals that ask to end on; the child says what is to be said."""

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(number: int) -> str:
    name = signal.Signals(number).name
    return f"{name}, perhaps for want of memory" if number == signal.SIGKILL else name


def _complain(line: str) -> None:
    print(f"hrcnn-jax: {printable(line)}", file=sys.stderr, flush=True)
