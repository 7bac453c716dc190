"""Signals that ask a program to end: Ctrl-C, the system's wish, a terminal that is closed."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""That ask a program to end."""


class Ended(BaseException):
    """Raised by a signal, so that what was begun is finished or taken back."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def end_at_once() -> None:
    """From now on, a signal ends the program with a line, whatever it is doing.

    That is for while nothing has begun that would have to be taken back: imports turn an exception
    that comes in their middle into others, or swallow it.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _end)


def _end(number: int, _: object) -> None:
    _ignore()
    os.write(2, b"hrcnn-jax: interrupted\n")
    os._exit(128 + number)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _send(number: int) -> None:
    """Sends a signal to the main thread, from another: there it ends a wait, too."""
    if hasattr(signal, "pthread_kill"):
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)
    else:
        signal.raise_signal(number)


@contextmanager
def raised_signals() -> Iterator[None]:
    """The first signal that asks the program to end raises `Ended`; others are ignored.

    Where Python lets no exception out, as from callbacks of its collector of garbage, of which JAX
    has one, the signal comes again a moment later. Native code may make another exception of it,
    as Ray's does of what comes while it waits: after a signal every exception counts as its.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    hook, raised = sys.unraisablehook, 0

    def end(number: int, _: object) -> None:
        nonlocal raised
        if not raised:
            raised = number
            raise Ended(number)

    def again(unraisable: "sys.UnraisableHookArgs") -> None:
        nonlocal raised
        if not isinstance(unraisable.exc_value, Ended):
            hook(unraisable)
            return
        raised = 0
        threading.Timer(0.01, _send, (unraisable.exc_value.signal,)).start()

    for number, handler in handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, end)
    sys.unraisablehook = again
    try:
        yield
    except Exception as error:
        if raised:
            raise Ended(raised) from error
        raise
    finally:
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            if signal.getsignal(number) is end:  # if one came, threads may still be writing
                signal.signal(number, signal.SIG_IGN if raised else handler)
