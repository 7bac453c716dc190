"""The command line: `hrcnn-jax COMMAND`, or `python -m hrcnn_jax COMMAND`.

A command is a module of this package. It is imported when it is asked for, so that none waits for
what another needs.
"""

import argparse
import importlib
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import hrcnn_jax
from hrcnn_jax.cli.common import FAILED, USAGE, complain, dashed, needs, silence
from hrcnn_jax.cli.supervision import Journal
from hrcnn_jax.files.writer import OutputError
from hrcnn_jax.signals import Ended, raised_signals

COMMANDS = {
    "restore": "restore JPEG files, and pictures that were JPEG files once",
    "inspect": "tell what pictures are, and what was done to them: size, tables, quality, history",
    "models": "list the released networks",
    "demo": "restore the bundled photograph, print the gain",
    "release": "write a training run's best weights, and a card that tells how it went",
    "app": "open a page on this machine, for pictures that are dropped on it",
    "export": "write a network as an ONNX program, for browsers, phones and other languages",
    "fleet": "restore or inspect whole folders and buckets, on many cores or machines",
}
"""Commands that have `add_flags` and `run`, and what they do."""

EXTRAS = {
    "train": "train a network",
    "evaluate": "measure networks against plain JPEG decoding",
}
"""Commands with a `main` of their own, which `train.py` and `evaluate.py` call."""

NEEDS = {"train": "train", "evaluate": "train", "app": "app", "fleet": "fleet", "export": "onnx"}
"""The extra of this package that a command needs."""


class MissingError(RuntimeError):
    """A command's extra is not installed; the message says how it is."""


def parser(command: str | None) -> argparse.ArgumentParser:
    """The commands, and the flags of the one that is asked for."""
    main = argparse.ArgumentParser(
        prog="hrcnn-jax",
        description="Restore JPEG pictures straight from their quantised DCT codes.",
        epilog="hrcnn-jax COMMAND --help lists a command's flags.",
    )
    main.add_argument("--version", action="version", version=f"hrcnn-jax {hrcnn_jax.__version__}")
    commands = main.add_subparsers(required=True, metavar="COMMAND")
    for name, text in (COMMANDS | EXTRAS).items():
        flags = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == command and name in COMMANDS:
            module = _module(name)
            module.add_flags(flags)
            flags.set_defaults(run=module.run)
    return main


def main(argv: Sequence[str] | None = None, journal: Journal | None = None) -> int:
    """Runs the command line.

    Args:
      argv: its arguments; the program's if not given.
      journal: of who supervises this process, if anybody does.

    Returns:
      The exit status: 0 if all went well, 1 if something failed, 2 if the flags make no sense, 128
      and a signal's number if it ended the program.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((each for each in arguments if not each.startswith("-")), None)
    run: Callable[[], int]
    try:
        if command in EXTRAS and arguments[0] == command:
            run = partial(_module(command).main, arguments[1:])
        else:
            flags = parser(command).parse_args(dashed(arguments))
            flags.journal = journal or Journal()
            run = partial(flags.run, flags)
    except MissingError as error:
        complain(error)
        return FAILED
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of odd metadata
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with raised_signals():
            status = run()
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # whoever read what is printed has seen enough
        silence(sys.stdout)
        return FAILED
    except OutputError as error:
        complain(error)
        return FAILED
    except OSError as error:  # of what is printed: files' own are told one by one
        told = f"standard output: cannot be written to: {error.strerror or error}"
        complain(error if error.filename else told)
        silence(sys.stdout)
        return FAILED
    except ValueError as error:  # flags; files' own errors are told one by one
        complain(error)
        return USAGE
    except Ended as ended:
        complain("interrupted; files that are there are whole")
        return 128 + ended.signal


def _module(command: str) -> Any:
    """A command's module.

    Raises:
      MissingError: if it needs what is not installed.
    """
    try:
        return importlib.import_module(f"hrcnn_jax.cli.{command}")
    except ModuleNotFoundError as error:
        if command not in NEEDS or error.name is None or error.name.startswith("hrcnn_jax"):
            raise
        raise MissingError(needs(command, error.name, NEEDS[command])) from error
