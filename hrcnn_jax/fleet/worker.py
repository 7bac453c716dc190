"""Does batches of files: reads, has them treated, and commits rows and pictures.

A *commit* is what makes work count: first the rows of some files are written, then their pictures.
What has a picture's name before is removed first, or it would be taken for the picture. Between
commits pictures are held in memory, as files that are ready to be written.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.fleet import manifest
from hrcnn_jax.fleet.manifest import Part, Row
from hrcnn_jax.fleet.stores import FileError, Store, StoreError
from hrcnn_jax.fleet.treatments import Treatment
from hrcnn_jax.restoration import batch
from hrcnn_jax.text import unforeseen

TRIES = 3
"""A file with which a process ended so many times is given up."""

HELD_BYTES = 64 << 20
"""Of pictures, that are held before they are committed..."""
HELD_SECONDS = 20.0
"""...and how long."""

THREADS = 4
"""That read, and that write: stores answer slowly, and to many at a time."""

PIXELS_A_BYTE = 16
"""Of files of low quality: by that is told, before they are read, how many can be held at once."""


class Task(NamedTuple):
    """A file to be done.

    Attributes:
      path: below the source.
      size: of the file in bytes, as far as it is known.
      target: its picture's name below the target; None if there will be none.
      problem: why it cannot be done, if that is known already.
      replaces: whether another picture has its picture's name.
    """

    path: str
    size: int
    target: str | None
    problem: str | None = None
    replaces: bool = False


class Ledger(Protocol):
    """Remembers across ended processes what was begun."""

    def begin(self, name: str) -> int:
        """How many times this was begun, this time included."""


@dataclass(frozen=True)
class Orders:
    """What a worker is told.

    Attributes:
      run: which run this is; a later one takes the target over.
      max_pixels: larger pictures are refused.
      salvage: whether damaged files are taken.
    """

    run: str
    max_pixels: int
    salvage: bool

    def check(self, target: Store) -> None:
        """Makes sure that no other run has taken the target over.

        Raises:
          StoreError: if one has.
        """
        if manifest.run_of(target) != self.run:
            raise StoreError(f"{target.url}: another run has taken over; this one ends")


class _Read(NamedTuple):
    seconds: float
    size: int
    file: Stored


class _Computed(NamedTuple):
    seconds: float
    read: _Read
    result: Any


class Done(NamedTuple):
    """A file that can be committed."""

    row: dict[str, Any]
    picture: bytes | None
    permissions: int | None
    replaces: bool = False


class Worker:
    """Does one batch after another, with one treatment."""

    def __init__(
        self,
        source: Store,
        target: Store,
        treatment: Treatment,
        orders: Orders,
        ledger: Ledger,
    ) -> None:
        """From a source to a target; see the classes of the arguments."""
        self._source, self._target = source, target
        self._treatment, self._orders, self._ledger = treatment, orders, ledger

    def do(self, tasks: Sequence[Task]) -> tuple[str, list[Row]]:
        """Does a batch, or what an earlier try has left of it.

        A process may end at any file: by the system, for want of memory, or by a file that makes a
        library fail. So a batch that was begun before is gone through one file at a time, and a
        file with which that happened several times is given up.

        Returns:
          The part that the batch's rows are in, and the rows, all committed.

        Raises:
          StoreError: if a store fails.
          ValueError: if this machine cannot do it.
        """
        self._treatment.prepare()
        part = Part(self._target, [task.path for task in tasks])
        left = [task for task in tasks if task.path not in part.rows]
        if left and self._ledger.begin(part.name) == 1:
            self._commit_all(part, self._together(left))
        else:
            for task in left:
                self._commit_all(part, self._alone(task))
        return part.name, [part.rows[task.path] for task in tasks]

    def _alone(self, task: Task) -> Iterator[Done]:
        if self._ledger.begin(task.path) > TRIES:
            error = f"ended the process that was doing it, {TRIES} times"
            yield Done(_row(task, error=error), None, None)
        else:
            yield from self._together([task])

    def _together(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Reads ahead, and encodes beside the computing."""
        outcomes = batch.pipeline(
            tasks,
            read=self._read,
            compute=self._compute,
            write=self._encode,
            weigh=lambda task: PIXELS_A_BYTE * task.size,
            threads=min(THREADS, len(tasks)),
        )
        for task, error, done in outcomes:
            if error is None:
                yield done
            elif isinstance(error, StoreError) and not isinstance(error, FileError):
                raise error  # which is not the file's
            else:
                yield Done(_row(task, error=_in_words(task, error)), None, None)

    def _read(self, task: Task) -> _Read:
        start = time.monotonic()
        if task.problem is not None:
            raise JpegError(task.problem)
        most = self._orders.max_pixels
        check = partial(reader.check_bytes, task.path, max_pixels=most)
        data, permissions = self._source.read(task.path, check)
        file = pictures.read(data, max_pixels=most, salvage=self._orders.salvage, name=task.path)
        file = replace(file, permissions=permissions)
        return _Read(time.monotonic() - start, len(data), file)

    def _compute(self, task: Task, read: _Read) -> _Computed:
        start = time.monotonic()
        result = self._treatment.compute(read.file)
        return _Computed(read.seconds + time.monotonic() - start, read, result)

    def _encode(self, task: Task, computed: _Computed) -> Done:
        start = time.monotonic()
        treated = self._treatment.encode(computed.result)
        row = _row(
            task,
            target=task.target,
            bytes=computed.read.size,
            seconds=computed.seconds + time.monotonic() - start,
            **treated.facts,
        )
        return Done(row, treated.picture, computed.read.file.permissions, task.replaces)

    def _commit_all(self, part: Part, files: Iterator[Done]) -> None:
        """Commits files as they come, several at once."""
        held: list[Done] = []
        since = time.monotonic()
        for done in files:
            held.append(done)
            size = sum(len(each.picture or b"") for each in held)
            if size > HELD_BYTES or time.monotonic() - since > HELD_SECONDS:
                self._commit(part, held)
                held, since = [], time.monotonic()
        if held:
            self._commit(part, held)

    def _commit(self, part: Part, files: Sequence[Done]) -> None:
        self._orders.check(self._target)
        self._target.delete(done.row["target"] for done in files if done.replaces)
        part.write(done.row for done in files)
        with ThreadPoolExecutor(THREADS) as pool:
            problems = list(pool.map(self._put, files))
        if any(problems):
            part.write(
                done.row | {"target": None, "error": problem}
                for done, problem in zip(files, problems, strict=True)
                if problem
            )

    def _put(self, done: Done) -> str | None:
        """Writes a picture; returns why there can be none of that name."""
        if done.picture is None:
            return None
        try:
            self._target.write(done.row["target"], done.picture, done.permissions)
        except FileError as error:
            return str(error)
        return None


def _row(task: Task, **values: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "path": task.path,
        "finished": now.replace(microsecond=now.microsecond // 1000 * 1000),
    } | values


def _in_words(task: Task, error: Exception) -> str:
    if isinstance(error, JpegError | FileError):
        return str(error).removeprefix(f"{task.path}: ")
    return unforeseen(error)
