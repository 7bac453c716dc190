"""`inspect`: what pictures are, and what was done to them before; of whole folders, too."""

import argparse
import json
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hrcnn_jax import history
from hrcnn_jax.cli.common import (
    FAILED,
    UsageError,
    add_jobs,
    add_max_pixels,
    add_salvage,
    check_jobs,
    complain,
)
from hrcnn_jax.files import pictures, report
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.history import inspection
from hrcnn_jax.networks import cards
from hrcnn_jax.restoration import batch
from hrcnn_jax.restoration.batch import Job
from hrcnn_jax.scores.expectation import expected_gain

COLUMNS = {
    "path": "string",
    "error": "string",
    "damage": "string",
    "kind": "string",
    "width": "int32",
    "height": "int32",
    "colour": "string",
    "sampling": "string",
    "quality": "int32",
    "quality_is_exact": "bool",
    **inspection.COLUMNS,
    "expected_gain": "double",
}
"""What a report tells of a file, by Arrow's names of types; `expected_gain` is in dB."""


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_argument(
        "inputs",
        nargs="+",
        metavar="FILE",
        help="JPEG, PNG, WebP, TIFF or BMP files, patterns, or with -r folders",
    )
    flags.add_argument("-r", "--recursive", action="store_true", help="all of a folder")
    flags.add_argument("--json", action="store_true", help="print a JSON list instead of text")
    flags.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write a row a file (.json, .jsonl, .parquet) instead of printing",
    )
    add_jobs(flags, "threads that look at files")
    add_max_pixels(flags)
    add_salvage(flags)


def run(flags: argparse.Namespace) -> int:
    """Inspects every file it can; the status is 1 if any failed."""
    check_jobs(flags)
    if flags.json and flags.report:
        raise UsageError("--json prints, --report writes: choose one")
    jobs = batch.files(flags.inputs, recursive=flags.recursive)
    if flags.report is None:
        return _print(jobs, flags)
    failures = 0
    with report.opened(flags.report, COLUMNS) as add:
        for job, facts, error in _inspected(jobs, flags):
            failures += error is not None
            add(_row(facts) if facts is not None else {"path": str(job.source), "error": error})
    complain(f"{len(jobs) - failures} of {len(jobs)} files inspected, {failures} failed")
    return FAILED if failures else 0


def _print(jobs: list[Job], flags: argparse.Namespace) -> int:
    found = []
    for _, facts, _ in _inspected(jobs, flags):
        if facts is not None:
            found.append(facts)
            if not flags.json:
                print(inspection.text(facts))
    if flags.json:
        print(json.dumps(found, indent=2))
    return 0 if len(found) == len(jobs) else FAILED


def _inspected(jobs: list[Job], flags: argparse.Namespace) -> Any:
    """Of every job facts, or else an error, which is told."""
    ending = threading.Event()
    pipeline = batch.pipeline(
        jobs,
        read=partial(_inspect, flags=flags, ending=ending),
        compute=lambda job, facts: facts,
        write=lambda job, facts: facts,
        weigh=lambda job: pictures.claimed_pixels(job.source),
        threads=flags.jobs,
        stop=ending.set,
    )
    hidden = None if len(jobs) > 1 and flags.report else True  # None: shown on a terminal
    with tqdm(total=len(jobs), unit="file", file=sys.stderr, disable=hidden) as bar:
        for job, error, facts in pipeline:
            line = None if error is None else batch.in_a_line(job, error)
            if line is not None:
                complain(line)
            elif facts["damage"] is not None:
                complain(f"{facts['name']}: is damaged: {facts['damage']}")
            yield job, facts, line
            bar.update()


def _inspect(job: Job, *, flags: argparse.Namespace, ending: threading.Event) -> dict[str, Any]:
    if job.problem is not None:
        raise JpegError(job.problem)
    file = pictures.read(
        job.source, max_pixels=flags.max_pixels, salvage=flags.salvage, ending=ending
    )
    facts = inspection.inspect(file, history.find(file))
    return facts | _expected(facts)


def _expected(facts: dict[str, Any]) -> dict[str, Any]:
    """What restoring luma gains in the mean, in dB, and of which network that is known.

    Of pixels of which no compression can be proved it is not known: how bad they look is not looked
    at here.
    """
    name, quality = cards.DEFAULT, inspection.quality_of_damage(facts)
    if quality is None:
        return {"expected_gain": None, "expected_of": None}
    return {"expected_gain": expected_gain(cards.released(name), quality), "expected_of": name}


def _row(facts: dict[str, Any]) -> dict[str, Any]:
    return {**facts, "path": facts["name"], **inspection.row(facts["history"])}
