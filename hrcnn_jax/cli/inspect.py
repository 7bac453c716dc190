"""`inspect`: what JPEG files are."""

import argparse
import json

from hrcnn_jax.cli.common import FAILED, add_max_pixels, add_salvage, complain
from hrcnn_jax.files import reader
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.history import inspection


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_argument("inputs", nargs="+", metavar="FILE", help="JPEG files")
    flags.add_argument("--json", action="store_true", help="print a JSON list instead of text")
    add_max_pixels(flags)
    add_salvage(flags)


def run(flags: argparse.Namespace) -> int:
    """Inspects every file it can; the status is 1 if any failed."""
    found = []
    for name in flags.inputs:
        try:
            file = reader.read(name, max_pixels=flags.max_pixels, salvage=flags.salvage)
            facts = inspection.inspect(file)
        except JpegError as error:
            complain(error)
            continue
        except MemoryError:
            complain(f"{name}: is too large for this machine's memory")
            continue
        if file.damage is not None:
            complain(f"{name}: is damaged: {file.damage}")
        found.append(facts)
        if not flags.json:
            print(inspection.text(facts))
    if flags.json:
        print(json.dumps(found, indent=2))
    return 0 if len(found) == len(flags.inputs) else FAILED
