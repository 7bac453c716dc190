"""The command line: ``python -m hrcnn_jax restore|inspect|models|demo|release``."""

import argparse
import sys
from collections.abc import Sequence

from hrcnn_jax.commands import demo, inspect, networks, restore
from hrcnn_jax.commands.common import FAILED, INTERRUPTED, USAGE, complain
from hrcnn_jax.compilation import keep_programs
from hrcnn_jax.output import OutputError


def parser() -> argparse.ArgumentParser:
    """The subcommands and their flags."""
    main = argparse.ArgumentParser(
        prog="hrcnn-jax", description="Restore JPEG pictures straight from their codes."
    )
    commands = main.add_subparsers(required=True, metavar="COMMAND")
    for module in (restore, inspect, networks, demo):
        module.add(commands)
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
      The exit status: 0 if all went well, 1 if something failed, 2 if the flags make no sense.
    """
    flags = parser().parse_args(argv)
    keep_programs()
    try:
        return flags.run(flags)
    except OutputError as error:
        complain(error)
        return FAILED
    except ValueError as error:  # flags; files' own errors are told one by one
        complain(error)
        return USAGE
    except KeyboardInterrupt:
        complain("interrupted; files that are there are whole")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
