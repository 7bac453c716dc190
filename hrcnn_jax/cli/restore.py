"""`restore`: JPEG files to restored pictures, many at a time."""

import argparse
import dataclasses
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hrcnn_jax.cli.common import (
    FAILED,
    SPELLINGS,
    UsageError,
    add_format,
    add_max_pixels,
    add_network,
    add_salvage,
    check_quality,
    complain,
    output_folder,
    tell,
)
from hrcnn_jax.cli.supervision import Key
from hrcnn_jax.files import reader, writer
from hrcnn_jax.files.atomic import holds_something, is_folder
from hrcnn_jax.files.reader import JpegError, JpegFile
from hrcnn_jax.files.writer import FORMATS, OutputError
from hrcnn_jax.history import inspection
from hrcnn_jax.restoration import batch, restorer, verification
from hrcnn_jax.restoration.assembly import assemble
from hrcnn_jax.restoration.batch import Job, Outcome
from hrcnn_jax.restoration.comparison import side_by_side
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.restoration.restorer import Restorer

COMPARED = ".compare.png"


STANDARD = "-"
"""Names standard input or output."""


class Result(NamedTuple):
    """What is to be written and told of a file."""

    file: JpegFile
    picture: NDArray[Any]
    compared: NDArray[np.uint8] | None
    told: list[str]


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.epilog = (
        "For example: hrcnn-jax restore -r archive -o restored --skip-existing. The exit status is "
        "0; 1 if files could not be restored, while the others were; 2 if the flags make no sense."
    )
    flags.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="JPEG files, patterns such as '*.jpg', or with -r folders; - for standard input",
    )
    flags.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="folder for the pictures; for a single input also the picture's own name, or - for "
        "standard output",
    )
    flags.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="take all JPEG files of a folder, at any depth, and keep its structure",
    )
    flags.add_argument(
        "--skip-existing", action="store_true", help="leave out files whose pictures are there"
    )
    add_format(flags, default="what OUT's suffix says, or png")
    add_network(flags)
    flags.add_argument(
        "--compare",
        action="store_true",
        help=f"also write NAME{COMPARED}: before and after, side by side",
    )
    flags.add_argument(
        "--verify",
        action="store_true",
        help="encode each result again, and print how many of the file's codes come back",
    )
    flags.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print what each file is, and where its picture went",
    )
    flags.add_argument(
        "--jobs",
        type=int,
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="threads that read files, and as many that write pictures (default: %(default)s)",
    )
    add_max_pixels(flags)
    add_salvage(flags)


def run(flags: argparse.Namespace) -> int:
    """Restores every file it can; the status is 1 if any failed."""
    if flags.jobs < 1:
        raise UsageError(f"--jobs must be 1 or more, got {flags.jobs}")
    check_quality(flags)
    keep_programs()
    network = Restorer(
        flags.model, faithful=flags.faithful, strength=flags.strength, history=flags.history
    )
    alone = _names_a_picture(flags)
    flags.format = _format(flags, alone)
    kind = FORMATS[flags.format]
    suffixes = [kind.suffix, *([COMPARED] if flags.compare else [])]
    journal, known = flags.journal, flags.journal.read()
    jobs = [_single(flags)] if alone else _plan(flags, suffixes)
    before = {job for job in jobs if key(job) in known.ended or key(job) in known.lost}
    skipped = {
        job for job in jobs if flags.skip_existing and job not in before and _is_done(job, suffixes)
    }
    jobs = [job for job in jobs if job not in skipped]

    failures, pixels = known.failures, known.pixels
    hidden = None if len(jobs) > 1 else True  # None: shown on a terminal
    with tqdm(
        total=len(jobs), initial=len(before), unit="file", file=sys.stderr, disable=hidden
    ) as bar:
        left = [job for job in jobs if job not in before]
        pipeline = _outcomes(left, network, flags, ended=partial(_count, bar))
        with closing(pipeline) as outcomes:  # ended by a signal, it finishes what it is writing
            for job, error, result in outcomes:
                area = 0
                if error is not None:
                    failures += 1
                    complain(_in_a_line(job, error))
                else:
                    area = result.file.width * result.file.height
                    for line in result.told:
                        tell(line, sys.stderr if flags.output == STANDARD else sys.stdout)
                pixels += area
                journal.end(key(job), failed=error is not None, pixels=area)
                bar.set_postfix_str(_rate(pixels, time.monotonic() - journal.start))
    if len(jobs) + len(skipped) > 1:
        complain(
            f"{len(jobs) - failures} of {len(jobs)} files restored, {failures} failed, "
            f"{len(skipped)} skipped: {_rate(pixels, time.monotonic() - journal.start)}"
        )
    return FAILED if failures else 0


def _outcomes(
    jobs: list[Job],
    network: Restorer,
    flags: argparse.Namespace,
    ended: Callable[[Job], None],
) -> Generator[Outcome, None, None]:
    """How each job ends: first, one by one, of those that were at hand when a process died."""
    suspects = flags.journal.read().suspects
    alone = [job for job in jobs if key(job) in suspects]
    others = [job for job in jobs if key(job) not in suspects]
    yield from _pipeline(alone, network, flags, ended=ended, weigh=lambda _: 1, most=1)
    yield from _pipeline(
        others,
        network,
        flags,
        ended=ended,
        weigh=lambda job: reader.claimed_pixels(job.source),
        most=batch.PIXELS_IN_FLIGHT,
    )


def _pipeline(
    jobs: list[Job], network: Restorer, flags: argparse.Namespace, **options: Any
) -> Generator[Outcome, None, None]:
    ending = threading.Event()
    return batch.pipeline(
        jobs,
        read=partial(_read, flags=flags, ending=ending),
        compute=partial(_restore, network=network, flags=flags),
        write=partial(_write, flags=flags),
        threads=flags.jobs,
        stop=ending.set,
        **options,
    )


def key(job: Job) -> Key:
    """What a journal knows a job by."""
    return str(job.source), str(job.target)


def _count(bar: tqdm, job: Job) -> None:
    with bar.get_lock():  # files are written on several threads
        bar.update()


def _names_a_picture(flags: argparse.Namespace) -> bool:
    """Whether the output is a picture's own name, or standard output, instead of a folder."""
    output = Path(flags.output)
    named = flags.output == STANDARD or (
        _format_of(output) is not None and not is_folder(output) and not flags.recursive
    )
    if named and len(flags.inputs) > 1:
        raise UsageError(
            f"--output {flags.output} is one picture, and there are {len(flags.inputs)} inputs: "
            "give the name of a folder"
        )
    if flags.output == STANDARD and (flags.compare or flags.skip_existing):
        raise UsageError("--compare and --skip-existing need files: give --output a name")
    return named


def _format_of(path: Path) -> str | None:
    """The format that a name's suffix stands for."""
    name = path.suffix.lower().removeprefix(".")
    name = SPELLINGS.get(name, name)
    return name if f".{name}" in {kind.suffix for kind in FORMATS.values()} | {".jpeg"} else None


def _format(flags: argparse.Namespace, alone: bool) -> str:
    named = _format_of(Path(flags.output)) if alone and flags.output != STANDARD else None
    if flags.format is None:
        return named or "png"
    suffix = FORMATS[flags.format].suffix
    if named is not None and FORMATS[named].suffix != suffix:
        raise UsageError(f"--output {flags.output} and --format {flags.format} are not the same")
    return flags.format


def _single(flags: argparse.Namespace) -> Job:
    """The job of one input whose output is named; its folder is made."""
    source, target = Path(flags.inputs[0]), Path(flags.output)
    if flags.output != STANDARD:
        output_folder(str(target.parent))
        if source.resolve() == target.resolve():
            return Job(source, target, f"{source}: is its own output; give --output another name")
    return Job(source, target)


def _plan(flags: argparse.Namespace, suffixes: list[str]) -> list[Job]:
    """A job for every file that is meant, its result below the output folder."""
    folder = output_folder(flags.output)
    files = [name for name in flags.inputs if name != STANDARD]
    jobs = batch.plan(files, folder, suffixes=suffixes, recursive=flags.recursive)
    if len(files) < len(flags.inputs):
        jobs.append(Job(Path(STANDARD), folder / f"stdin{suffixes[0]}"))
    return jobs


def _is_done(job: Job, suffixes: list[str]) -> bool:
    return job.problem is None and all(map(holds_something, batch.outputs_of(job.target, suffixes)))


def _read(job: Job, *, flags: argparse.Namespace, ending: threading.Event) -> JpegFile:
    if job.problem is not None:
        raise JpegError(job.problem)
    flags.journal.begin(key(job))
    source = sys.stdin.buffer.read() if job.source == Path(STANDARD) else job.source
    return reader.read(source, max_pixels=flags.max_pixels, salvage=flags.salvage, ending=ending)


def _restore(job: Job, file: JpegFile, *, network: Restorer, flags: argparse.Namespace) -> Result:
    kind = FORMATS[flags.format]
    told = [] if file.damage is None else [f"{file.name}: is damaged: {file.damage}"]
    if flags.verbose:
        told.append(inspection.summary(inspection.inspect(file)))
        if file.colour in ("cmyk", "ycck") and not kind.inks:
            told.append(f"{file.name}: inks become RGB, without colour management")
    source = network.damaged(file)
    if source.history is not None:
        told.append(f"{file.name}: {inspection.told(inspection.history(source.history))}")
    planes = network.planes(source.file)
    tallies = [verification.Tally() for _ in planes]
    if flags.verify:
        planes = [
            verification.watched(*each)
            for each in zip(planes, source.file.components, tallies, strict=True)
        ]
    picture = assemble(source.file, planes, kind.depth, guidance=network.strength)
    if flags.verify:
        written = verification.of_picture(source.file, picture)
        report = verification.report(source.file, tallies, written, kind.depth)
        if source.history is not None:
            report = f"of the earlier compression, {report}"
        told.append(f"{file.name}: {report}")
        if flags.faithful and any(tally.equal < tally.total for tally in tallies):
            raise JpegError(f"{file.name}: the result is not faithful: {report}")
    picture = source.cropped(picture)
    compared = None
    if flags.compare:
        before, after = writer.to_8_bits(restorer.decode(file)), writer.to_8_bits(picture)
        compared = side_by_side(before, after)
    if flags.verbose:
        told.append(f"{file.name}: restored to {job.target}")
    return Result(file, picture, compared, told)


def _write(job: Job, result: Result, *, flags: argparse.Namespace) -> Result:
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{job.target.parent}: cannot be made ({error.strerror})") from error
    if result.compared is not None:
        # Inks have become RGB here, whatever the result is written as.
        compared = job.target.with_name(job.target.stem + COMPARED)
        writer.write(compared, result.compared, FORMATS["png"], file=_without_inks(result.file))
    kind = FORMATS[flags.format]
    if job.target == Path(STANDARD):
        # Formats with offsets, such as TIFF, go back to write them: a pipe cannot.
        stream = io.BytesIO()
        writer.save(stream, result.picture, kind, file=result.file, quality=flags.quality)
        sys.stdout.buffer.write(stream.getbuffer())
        sys.stdout.buffer.flush()
    else:
        writer.write(job.target, result.picture, kind, file=result.file, quality=flags.quality)
    return result._replace(picture=np.empty(0), compared=None)


def _without_inks(file: JpegFile) -> JpegFile:
    return dataclasses.replace(file, icc=None) if file.colour in ("cmyk", "ycck") else file


def _in_a_line(job: Job, error: Exception) -> str:
    if isinstance(error, JpegError | OutputError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{job.source}: is too large for this machine's memory"
    reason = " ".join(str(error).split())
    return f"{job.source}: failed for a reason of our own ({type(error).__name__}: {reason})"


def _rate(pixels: int, seconds: float) -> str:
    millions = pixels / 1e6
    return f"{millions:.1f} MP, {millions / max(seconds, 1e-3):.2f} MP/s"
