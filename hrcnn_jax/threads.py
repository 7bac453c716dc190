"""Work that is done a few pieces at once, on threads: what computes releases Python's lock."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def _threads() -> int:
    """As many as there are cores, or as the environment leaves to this process."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(told) if told.isdecimal() and int(told) > 0 else min(os.cpu_count() or 1, 16)


THREADS = _threads()
"""Pieces that are worked on at once."""


def once(make: Callable[[], _Made]) -> Callable[[], _Made]:
    """What gives the same thing at every call, made at the first; other threads wait for it."""
    lock, made = threading.Lock(), list[_Made]()

    def get() -> _Made:
        with lock:
            if not made:
                made.append(make())
        return made[0]

    return get


def in_order(function: Callable[[_Given], _Made], pieces: Iterable[_Given]) -> Iterator[_Made]:
    """Like `map`, on threads; one more piece is begun than there are threads.

    Pieces are taken on the caller's thread, each when there is room for it.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        begun: deque[Future[_Made]] = deque()
        for piece in pieces:
            begun.append(pool.submit(function, piece))
            if len(begun) > THREADS:  # else a thread would wait for whom these go to
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
