"""The program: `hrcnn-jax`, or `python -m hrcnn_jax` without installing."""

import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from hrcnn_jax import signals

SUPERVISED = "restore"
"""The command that goes through folders of files from anywhere."""


def program(arguments: Sequence[str]) -> int:
    """Runs the command line as a program of its own; returns its exit status.

    What it imports takes seconds, and native code that may crash. So signals are seen to before
    anything else is imported, and restoring happens in a child.
    """
    signals.end_at_once()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as it is where whoever started this program closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    # NumPy's own threads have small products to do, and spin for much longer, waiting for more.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if SUPERVISED in arguments[:1]:
        supervision = importlib.import_module("hrcnn_jax.cli.supervision")
        if supervision.possible():
            return supervision.supervised(partial(_command_line, arguments))
    return _command_line(arguments)


def _command_line(arguments: Sequence[str], *journal: Any) -> int:
    return importlib.import_module("hrcnn_jax.cli.main").main(arguments, *journal)


def main(argv: Sequence[str] | None = None) -> int:
    """The program; or, for who gives it arguments, its command line within another program."""
    return program(sys.argv[1:]) if argv is None else _command_line(argv)


if __name__ == "__main__":
    sys.exit(main())
