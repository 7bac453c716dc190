"""Restores one picture after another for all who ask; keeps networks, and nothing of a picture.

A request takes a place before its file is read, and gives it back when its answer was sent: places,
bytes and pixels bound the memory that requests can take.
"""

import io
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import numpy as np
from anyio import to_thread
from numpy.typing import NDArray

from hrcnn_jax import history
from hrcnn_jax.app import words
from hrcnn_jax.app.wishes import Wish
from hrcnn_jax.files import pictures, writer
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.files.reader import Component
from hrcnn_jax.files.writer import FORMATS
from hrcnn_jax.history import inspection
from hrcnn_jax.networks import cards
from hrcnn_jax.restoration.assembly import Plane
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores.account import of_verdict
from hrcnn_jax.scores.expectation import expected_gain


class BusyError(RuntimeError):
    """All places are taken; the message says what to do."""


class LeftError(RuntimeError):
    """Whoever asked has gone, or the app is ending."""


@dataclass(frozen=True)
class Limits:
    """What one app takes upon itself.

    Attributes:
      megabytes: of a file, in millions of bytes.
      pixels: of a picture.
      at_once: pictures that are worked on.
      places: requests that are worked on or wait.
    """

    megabytes: int = 64
    pixels: int = 100_000_000
    at_once: int = 1
    places: int = 16


@dataclass(eq=False)
class Job:
    """A request that has a place.

    Attributes:
      ticket: by which its progress is asked for; empty if it is not.
      rows: of the picture that are restored.
      of: all of its rows; 0 before it is begun.
      left: set once nobody waits for the result any more.
    """

    ticket: str = ""
    rows: int = 0
    of: int = 0
    left: threading.Event = field(default_factory=threading.Event)


class Workshop:
    """What restores and inspects, for any number of requests."""

    def __init__(
        self, models: Sequence[str | Restorer] = (cards.DEFAULT,), limits: Limits | None = None
    ) -> None:
        """Prepares to work with some networks.

        Args:
          models: what may be asked for, the default one first: networks as
            `hrcnn_jax.Restorer` takes them, loaded when they are first asked for, or
            restorers.
          limits: the usual ones if not given.
        """
        self.limits = Limits() if limits is None else limits
        self._restorers = {
            each.network.name if isinstance(each, Restorer) else each: each for each in models
        }
        self._jobs: list[Job] = []
        self._bench = anyio.CapacityLimiter(self.limits.at_once)
        self._loading = threading.Lock()

    @property
    def models(self) -> list[str]:
        """Networks that may be asked for, the default one first."""
        return list(self._restorers)

    @asynccontextmanager
    async def place(self, ticket: str = "") -> AsyncIterator[Job]:
        """A place for a request.

        Raises:
          BusyError: if there is none.
        """
        if len(self._jobs) >= self.limits.places:
            raise BusyError("too many pictures are waiting; try again in a minute")
        job = Job(ticket)
        self._jobs.append(job)
        try:
            yield job
        finally:
            job.left.set()
            self._jobs.remove(job)

    def progress(self, ticket: str) -> dict[str, Any] | None:
        """How far a job is; None if there is none of that ticket."""
        for place, job in enumerate(self._jobs):
            if job.ticket == ticket != "":
                ahead = 0 if job.of else place
                return {"ahead": ahead, "share": job.rows / job.of if job.of else 0.0}
        return None

    async def inspect(self, job: Job, content: bytes, name: str, wish: Wish) -> dict[str, Any]:
        """Facts about a file, and the same in words.

        Raises:
          JpegError: if it cannot be read.
        """
        return await self._at_the_bench(self._inspect, job, content, name, wish)

    async def restore(self, job: Job, content: bytes, name: str, wish: Wish) -> bytes:
        """The restored picture as a file.

        Raises:
          JpegError: if the file cannot be read, or the network does not know its table.
          ValueError: if the format cannot hold the picture.
        """
        return await self._at_the_bench(self._restore, job, content, name, wish)

    def close(self) -> None:
        """Ends what is being worked on."""
        for job in self._jobs:
            job.left.set()

    async def _at_the_bench(self, work: Any, *arguments: Any) -> Any:
        return await to_thread.run_sync(work, *arguments, limiter=self._bench)

    def _read(self, content: bytes, name: str, wish: Wish) -> Stored:
        limit = self.limits.pixels
        return pictures.read(content, max_pixels=limit, salvage=wish.salvage, name=name)

    def _inspect(self, job: Job, content: bytes, name: str, wish: Wish) -> dict[str, Any]:
        _check_wanted(job)
        file = self._read(content, name, wish)
        restorer = self._restorer(wish.model).at(wish.strength, history=wish.history)
        found = _earlier(file, wish)
        _check_wanted(job)
        facts = inspection.inspect(file, found)
        verdict = restorer.judge(file, found)
        network = restorer.used(verdict)
        if verdict is not None:
            gain = of_verdict(verdict, network.card)
        elif network.architecture.kind == "pictures":
            gain = 0.0  # inks are left as they are
        else:
            quality = inspection.quality_of_damage(facts)
            gain = None if quality is None else expected_gain(network.card, quality)
        told = words.sentences(facts, model=network.name, gain=gain, verdict=verdict)
        return facts | {"expected_gain": gain, "words": told}

    def _restore(self, job: Job, content: bytes, name: str, wish: Wish) -> bytes:
        _check_wanted(job)
        file = self._read(content, name, wish)
        job.of = file.height
        kind = FORMATS[wish.format]
        restorer = self._restorer(wish.model).at(wish.strength, history=wish.history)
        source = restorer.damaged(file)
        _check_wanted(job)
        picture = restorer.picture(file, source, kind.depth, partial(_noted, job))
        stream = io.BytesIO()
        try:
            writer.save(stream, picture, kind, file=file, quality=wish.quality)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return stream.getvalue()

    def _restorer(self, model: str) -> Restorer:
        with self._loading:
            known = self._restorers[model]
            if not isinstance(known, Restorer):
                known = self._restorers[model] = Restorer(known)
            return known


def _earlier(file: Stored, wish: Wish) -> history.History | None:
    """The compression before that is to be believed: found, told, or none."""
    said = history.parse(wish.history)
    if said == "auto":
        return history.find(file)
    seen = history.visible(file)
    return None if said == "off" or seen is None else history.told(seen, said)


def _check_wanted(job: Job) -> None:
    if job.left.is_set():
        raise LeftError("the app is ending, or nobody waits for this picture any more")


def _noted(job: Job, index: int, plane: Plane, _: Component | None) -> Plane:
    """Has the rows of luma tell a job's progress as they pass."""
    return plane if index else plane._replace(strips=_passing(plane, job))


def _passing(plane: Plane, job: Job) -> Iterator[NDArray[np.float32]]:
    """A plane's strips as they pass; a job can end between two.

    Raises:
      LeftError: if nobody waits for the picture any more.
    """
    for strip in plane.strips:
        _check_wanted(job)
        job.rows = min(job.rows + len(strip), job.of)
        yield strip
