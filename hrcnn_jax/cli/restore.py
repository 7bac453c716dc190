"""`restore`: damaged pictures to restored ones, many at a time."""

import argparse
import dataclasses
import io
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
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
    add_jobs,
    add_max_pixels,
    add_network,
    add_salvage,
    check_jobs,
    check_quality,
    complain,
    output_folder,
    tell,
)
from hrcnn_jax.cli.supervision import Journal, Key, Known
from hrcnn_jax.files import exif, pictures, report, writer
from hrcnn_jax.files.atomic import holds_something, is_folder
from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import JpegError, JpegFile
from hrcnn_jax.files.writer import FORMATS, Format, OutputError
from hrcnn_jax.history import Said, inspection
from hrcnn_jax.restoration import batch, restorer, verification
from hrcnn_jax.restoration.batch import STANDARD, Job, Outcome
from hrcnn_jax.restoration.comparison import side_by_side
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.restoration.earlier import Damaged
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.restoration.verification import Tally
from hrcnn_jax.scores.account import COLUMNS, account, hash_of

COMPARED = ".compare.png"
_OTHERS = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl"}
"""Suffixes of pictures that are not written: a folder of such a name is not meant."""


class Result(NamedTuple):
    """What is to be written and told of a file."""

    file: Stored
    picture: NDArray[Any]
    compared: NDArray[np.uint8] | None
    told: list[str]
    row: dict[str, Any]


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
        help="JPEG, PNG, WebP, TIFF or BMP files, patterns such as '*.jpg', or with -r folders; - "
        "for standard input",
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
        help="take all pictures of a folder, at any depth, and keep its structure",
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
        "--report",
        type=Path,
        metavar="FILE",
        help="also write what was found, proved and done, a row a file (.json, .jsonl, .parquet)",
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
    add_jobs(flags, "threads that read files, and as many that write pictures")
    add_max_pixels(flags)
    add_salvage(flags)


def run(flags: argparse.Namespace) -> int:
    """Restores every file it can; the status is 1 if any failed."""
    check_jobs(flags)
    check_quality(flags)
    if flags.report is not None:
        report.check(flags.report)
        flags.hash_of = cache(hash_of)
    keep_programs()
    network = Restorer(
        flags.model,
        faithful=flags.faithful,
        strength=flags.strength,
        pixels=flags.pixels,
        history=flags.history,
    )
    alone = _names_a_picture(flags)
    flags.format = _format(flags, alone)
    kind = FORMATS[flags.format]
    suffixes = [kind.suffix, *([COMPARED] if flags.compare else [])]
    journal, known = flags.journal, flags.journal.read()
    jobs = [_single(flags, suffixes)] if alone else _plan(flags, suffixes)
    before = {job for job in jobs if key(job) in known.ended or key(job) in known.lost}
    skipped = {
        job for job in jobs if flags.skip_existing and job not in before and _is_done(job, suffixes)
    }
    jobs = [job for job in jobs if job not in skipped]

    all_told = True
    hidden = None if len(jobs) > 1 else True  # None: shown on a terminal
    bar = tqdm(total=len(jobs), initial=len(before), unit="file", file=sys.stderr, disable=hidden)
    done = _Done(journal, known, _reported_before(flags.report, skipped), bar)
    with _reported(done, jobs, flags.report), bar:
        left = [job for job in jobs if job not in before]
        pipeline = _outcomes(left, network, flags, ended=done.note)
        with closing(pipeline) as outcomes:  # ended by a signal, it finishes what it is writing
            for job, error, result in outcomes:
                if error is not None:
                    complain(batch.in_a_line(job, error))
                for line in [] if result is None else result.told:
                    stream = sys.stderr if flags.output == STANDARD else sys.stdout
                    all_told = tell(line, stream) and all_told
    if len(jobs) + len(skipped) > 1:
        complain(
            f"{len(jobs) - done.failures} of {len(jobs)} files restored, {done.failures} failed, "
            f"{len(skipped)} skipped: {done.rate}"
        )
    return 0 if all_told and not done.failures else FAILED


class _Done:
    """What became of files, noted the moment each is done, on whatever thread that is."""

    def __init__(
        self, journal: Journal, known: Known, reported: list[dict[str, Any]], bar: tqdm
    ) -> None:
        self.failures, self._pixels = known.failures, known.pixels
        self._journal, self._bar, self._lock = journal, bar, threading.Lock()
        self._before, self._rows = reported + known.rows, dict[Key, dict[str, Any]]()

    def note(self, outcome: Outcome) -> None:
        """A file is restored, or cannot be."""
        job, error, result = outcome
        if error is None:
            row, pixels = result.row, result.file.width * result.file.height
        else:
            row, pixels = {"path": str(job.source), "error": batch.in_a_line(job, error)}, 0
        with self._lock:
            self._journal.end(key(job), failed=error is not None, pixels=pixels, row=row)
            self._rows[key(job)] = row
            self.failures += error is not None
            self._pixels += pixels
            self._bar.set_postfix_str(self.rate, refresh=False)
            self._bar.update()

    @property
    def rate(self) -> str:
        """How much is done, and how fast that went."""
        millions, seconds = self._pixels / 1e6, time.monotonic() - self._journal.start
        return f"{millions:.1f} MP, {millions / max(seconds, 1e-3):.2f} MP/s"

    def rows(self, jobs: list[Job]) -> list[dict[str, Any]]:
        """What is to be reported: of earlier, then of these jobs, in their order."""
        return self._before + [self._rows[key(job)] for job in jobs if key(job) in self._rows]


def _reported_before(path: Path | None, skipped: set[Job]) -> list[dict[str, Any]]:
    """What the report that is there tells of files that are left out."""
    if path is None or not skipped or not holds_something(path):
        return []
    names = {str(job.source) for job in skipped}
    sources = names | set(map(report.utf8, names))  # Parquet holds the latter
    return [row for row in report.rows(path) if row.get("path") in sources]


@contextmanager
def _reported(done: _Done, jobs: list[Job], path: Path | None) -> Iterator[None]:
    """Writes a report at the end, if one is asked for; after a signal, too, of what was done."""
    try:
        yield
    finally:
        if path is not None:
            with report.opened(path, COLUMNS) as add:
                for row in done.rows(jobs):
                    add(row)


def _outcomes(
    jobs: list[Job],
    network: Restorer,
    flags: argparse.Namespace,
    ended: Callable[[Outcome], None],
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
        weigh=lambda job: pictures.claimed_pixels(job.source),
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


def _names_a_picture(flags: argparse.Namespace) -> bool:
    """Whether the output is a picture's own name, or standard output, instead of a folder."""
    output = Path(flags.output)
    if output.suffix.lower() in _OTHERS and not is_folder(output):
        kinds = ", ".join(sorted({kind.suffix for kind in FORMATS.values()}))
        raise UsageError(
            f"--output {flags.output}: {output.suffix} cannot be written; choose one of {kinds}"
        )
    named = flags.output == STANDARD or (
        _format_of(output) is not None and not is_folder(output) and not flags.recursive
    )
    if named and len(flags.inputs) > 1:
        raise UsageError(
            f"--output {flags.output} is one picture, and there are {len(flags.inputs)} inputs: "
            "give the name of a folder"
        )
    if flags.output == STANDARD and flags.recursive:
        raise UsageError("--output - takes one file, not the folders of -r: give it a name")
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


def _single(flags: argparse.Namespace, suffixes: list[str]) -> Job:
    """The job of one input whose output is named; its folder is made."""
    source, target = batch.path_of(flags.inputs[0]), Path(flags.output)
    if flags.output != STANDARD:
        output_folder(str(target.parent))
        for written in _written(target, suffixes):
            if source.resolve() == written.resolve():
                problem = f"{source}: is its own output; give --output another name"
                return Job(source, target, problem)
    return Job(source, target)


def _plan(flags: argparse.Namespace, suffixes: list[str]) -> list[Job]:
    """A job for every file that is meant, its result below the output folder."""
    folder = output_folder(flags.output)
    return batch.plan(
        flags.inputs,
        folder,
        suffixes=suffixes,
        recursive=flags.recursive,
        skip_existing=flags.skip_existing,
    )


def _written(target: Path, suffixes: list[str]) -> list[Path]:
    """What is written for a target: itself, however it is spelt, and what stands beside it."""
    return [target, *batch.outputs_of(target, suffixes)[1:]]


def _is_done(job: Job, suffixes: list[str]) -> bool:
    return job.problem is None and all(map(holds_something, _written(job.target, suffixes)))


def _read(job: Job, *, flags: argparse.Namespace, ending: threading.Event) -> Stored:
    if job.problem is not None:
        raise JpegError(job.problem)
    flags.journal.begin(key(job))
    return pictures.read(
        _standard_input() if job.source == Path(STANDARD) else job.source,
        max_pixels=flags.max_pixels,
        salvage=flags.salvage,
        ending=ending,
        name=STANDARD,
    )


def _standard_input() -> int:
    if sys.stdin is None:
        raise JpegError(f"{STANDARD}: standard input is closed; open it, or name a file")
    return sys.stdin.fileno()


def _restore(job: Job, file: Stored, *, network: Restorer, flags: argparse.Namespace) -> Result:
    """Restores a picture, and finds the words for what was done."""
    kind = FORMATS[flags.format]
    told = [] if file.damage is None else [f"{file.name}: is damaged: {file.damage}"]
    source = network.damaged(file)
    used = network.used(source.verdict)
    if flags.verbose:
        told.append(inspection.summary(inspection.inspect(file, source.history)))
        if file.colour in ("cmyk", "ycck") and not kind.inks:
            told.append(f"{file.name}: inks become RGB, without colour management")
    elif source.history is not None:
        told.append(f"{file.name}: {inspection.told(inspection.history(source.history))}")
    if isinstance(network.history, Said) and source.history is None and source.verdict is None:
        told.append(f"{file.name}: what --history tells cannot be used of it")
    if source.verdict is not None:
        how = "" if used is network.network else f": {used.name} restores its pixels"
        told.append(f"{file.name}: {source.verdict}{how}")
    elif used.architecture.kind == "pictures" and flags.strength > 0.0:
        told.append(f"{file.name}: inks are left as they are by {used.name}")
    back: Tally | None = None
    if isinstance(source.file, Picture):
        picture = network.picture(file, source, kind.depth)
        if source.verdict is None and flags.strength > 0.0:
            why = (
                "is no JPEG, and its history is not asked for"
                if network.history == "off"
                else "no compression that can be proved"
            )
            told.append(f"{file.name}: {why}: left as it is")
    else:
        picture, lines, back = _restored(file, source, source.file, network, kind, flags)
        told += lines
        picture = network.finished(file, source, picture, kind.depth)
    compared = None
    if flags.compare:
        pair = (_as_seen(each, file) for each in (restorer.decode(file), picture))
        compared = side_by_side(*pair)
    if flags.verbose:
        told.append(f"{file.name}: restored to {job.target}")
    row = {}
    if flags.report:
        model = flags.model if used is network.network else flags.pixels
        sha256 = flags.hash_of(model)
        row = account(file, source, used, sha256, back, strength=flags.strength)
    return Result(file, picture, compared, told, {**row, "target": str(job.target)})


def _restored(
    file: Stored,
    source: Damaged,
    codes: JpegFile,
    network: Restorer,
    kind: Format,
    flags: argparse.Namespace,
) -> tuple[NDArray[Any], list[str], Tally | None]:
    """The picture, not finished yet, what is told of its codes, and how many come back of all."""
    if not flags.verify and not flags.report:
        planes = network.planes(source)
        return network.assembled(source, planes, kind.depth), [], None
    tallies = [Tally() for _ in codes.components]
    planes = network.planes(
        source, lambda index, plane, part: verification.watched(plane, part, tallies[index])
    )
    picture = network.assembled(source, planes, kind.depth)
    written = verification.of_picture(codes, picture)
    line = verification.report(codes, tallies, written, picture.dtype.name)
    if source.luma is not None and source.share < 1.0:
        line = (
            f"of the file's own compression, {line}; the earlier one did as much, and is mixed in"
        )
    elif source.history is not None:
        what = "codes" if isinstance(file, JpegFile) else "samples"
        before = "" if source.rescaled is None else ", before it is resized"
        line = (
            f"of the earlier compression, {line}{before}; played again, it gives "
            f"{100 * source.history.proof[0]:.1f} % of the file's own {what} of luma"
        )
    kept = network.keeps_codes(source)
    if flags.faithful and not kept:
        line += "; they are those of earlier damage, and are let go"
    if kept and any(tally.equal < tally.total for tally in tallies):
        raise JpegError(f"{codes.name}: the result is not faithful: {line}")
    back = Tally(sum(each.equal for each in tallies), sum(each.total for each in tallies))
    return picture, [f"{codes.name}: {line}"] if flags.verify else [], back


def _as_seen(picture: NDArray[Any], file: Stored) -> NDArray[np.uint8]:
    """A picture as a screen shows it: without its opacity, of 8 bits, upright."""
    if pictures.alpha_of(file) is not None:
        picture = picture[..., 0] if picture.shape[2] == 2 else picture[..., :-1]
    return writer.turned(writer.to_8_bits(picture), exif.orientation(file.exif))


def _write(job: Job, result: Result, *, flags: argparse.Namespace) -> Result:
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{job.target.parent}: cannot be made ({error.strerror})") from error
    if result.compared is not None:
        compared = job.target.with_name(job.target.stem + COMPARED)
        writer.write(compared, result.compared, FORMATS["png"], file=_upright(result.file))
    kind = FORMATS[flags.format]
    if job.target == Path(STANDARD):
        # Formats with offsets, such as TIFF, go back to write them: a pipe cannot.
        stream = io.BytesIO()
        try:
            writer.save(stream, result.picture, kind, file=result.file, quality=flags.quality)
            sys.stdout.buffer.write(stream.getbuffer())
            sys.stdout.buffer.flush()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{STANDARD}: cannot be written ({reason})") from error
    else:
        writer.write(job.target, result.picture, kind, file=result.file, quality=flags.quality)
    return result._replace(picture=np.empty(0), compared=None)


def _upright(file: Stored) -> Stored:
    """A file's metadata, fit for its picture upright, whose inks have become RGB."""
    kept = writer.metadata_of(file)
    icc = None if file.colour in ("cmyk", "ycck") else kept.icc
    return dataclasses.replace(
        file, exif=kept.exif, icc=icc, xmp=kept.xmp, resolution=kept.resolution
    )
