"""The command line: ``python -m hrcnn_jax restore|inspect|models|demo|release``."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from hrcnn_jax.cli import demo, inspect, models, restore
from hrcnn_jax.cli.common import FAILED, USAGE, Ended, complain, raised_signals
from hrcnn_jax.files.writer import OutputError
from hrcnn_jax.restoration.compilation import keep_programs


def parser() -> argparse.ArgumentParser:
    """The subcommands and their flags."""
    main = argparse.ArgumentParser(
        prog="hrcnn-jax", description="Restore JPEG pictures straight from their codes."
    )
    commands = main.add_subparsers(required=True, metavar="COMMAND")
    for module in (restore, inspect, models, demo):
        module.add(commands)
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
      The exit status: 0 if all went well, 1 if something failed, 2 if the flags make no sense, 128
      and a signal's number if it ended the program.
    """
    flags = parser().parse_args(argv)
    keep_programs()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with raised_signals():
            return flags.run(flags)
    except BrokenPipeError:  # whoever read what is printed has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OutputError as error:
        complain(error)
        return FAILED
    except ValueError as error:  # flags; files' own errors are told one by one
        complain(error)
        return USAGE
    except Ended as ended:
        complain("interrupted; files that are there are whole")
        return 128 + ended.signal


if __name__ == "__main__":
    sys.exit(main())
