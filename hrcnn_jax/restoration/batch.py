"""Many files at a time: what to write where, and reading and writing beside the computing.

Nothing here knows networks or formats: a plan is pairs of paths, a pipeline is three functions.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.atomic import holds_something, is_file, is_folder
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.files.writer import OutputError
from hrcnn_jax.text import unforeseen

STANDARD = "-"
"""Names standard input or output."""

PIXELS_IN_FLIGHT = 64_000_000
"""Of files being read, restored and written at once, unless there is only one."""

_Job = TypeVar("_Job")
_Read = TypeVar("_Read")
_Computed = TypeVar("_Computed")


@dataclass(frozen=True)
class Job:
    """A file to restore.

    Attributes:
      source: where it is.
      target: where its picture goes.
      problem: why it cannot be done, if that is known already.
      among_inputs: whether the picture goes into the very folder that is gone through, where others
        stand that are no results.
    """

    source: Path
    target: Path
    problem: str | None = None
    among_inputs: bool = False


class Outcome(NamedTuple, Generic[_Job]):
    """How a job ended: with an error, or with what its last step returned."""

    job: _Job
    error: Exception | None
    result: Any


def plan(
    inputs: Sequence[str],
    folder: Path,
    *,
    suffixes: Sequence[str],
    recursive: bool,
    skip_existing: bool = False,
) -> list[Job]:
    """Finds the files that are meant, and a place for each.

    Args:
      inputs: files, patterns such as `*.jpg` that the shell left alone, folders, and `STANDARD`
        for what is to be written as `stdin`.
      folder: where results go. A file of an input folder keeps its place below that folder.
      suffixes: of the files that are written for each, its target's first.
      recursive: whether folders may be given.
      skip_existing: whether files are left out later whose results are all there.

    Returns:
      The jobs in the order of the inputs, those of a pattern or a folder sorted; each file once,
      or once for each place below the folder that its result would have.
    """
    found = [each for given in inputs for each in _found(given, folder, recursive)]
    sources = {_real(job.source) for job in found if job.problem is None}
    taken: dict[Path, Path] = {}
    jobs: dict[tuple[Path, Path], Job] = {}
    for job in found:
        if job.problem is not None:
            jobs.setdefault((job.source, job.target), job)
            continue
        outputs = outputs_of(job.target, suffixes)
        key = _real(job.source), outputs[0]
        if key in jobs:
            continue
        problem = _in_the_way(job, outputs, skip_existing) if job.among_inputs else None
        for output in outputs:
            if output in taken:
                problem = (
                    f"{job.source}: {output} is already taken by {taken[output]}; restore one "
                    "of the two into another folder"
                )
            elif _real(output) in sources:
                problem = (
                    f"{job.source}: {output} is one of the inputs; restore into another folder"
                )
        if problem is None:
            taken |= dict.fromkeys(outputs, job.source)
        jobs[key] = Job(job.source, outputs[0], problem)
    return list(jobs.values())


def _in_the_way(job: Job, outputs: Sequence[Path], skip_existing: bool) -> str | None:
    """Why a picture cannot go among inputs: others stand there, which it would be written over."""
    there = list(filter(holds_something, outputs))
    # A comparison is written before its picture: by itself it is what an interrupted run left.
    left = len(there) == len(outputs) or outputs[0] not in there
    if not there or (skip_existing and left):
        return None
    return (
        f"{job.source}: {there[0]} is there already, and may be no result; restore into another "
        "folder, or leave out what is done by --skip-existing"
    )


def files(inputs: Sequence[str], *, recursive: bool) -> list[Job]:
    """The files that are meant, as `plan` finds them, each once; none has a target."""
    found = (job for given in inputs for job in _found(given, None, recursive))
    return list({(_real(job.source), job.problem): job for job in found}.values())


def in_a_line(job: Job, error: Exception) -> str:
    """Why a job failed: the file, what is wrong, what to do."""
    if isinstance(error, OutputError):
        return f"{job.source}: {error}"
    if isinstance(error, JpegError):
        return str(error)
    return f"{job.source}: {unforeseen(error)}"


def outputs_of(target: Path, suffixes: Sequence[str]) -> list[Path]:
    """What is written for a job: files beside its target, that differ in their suffixes."""
    return [target.with_name(target.stem + suffix) for suffix in suffixes]


def path_of(given: str) -> Path:
    """The path of an argument; of a file that is called as `STANDARD` is, in full."""
    path = Path(given)
    return path.absolute() if path == Path(STANDARD) and given != STANDARD else path


def _found(given: str, folder: Path | None, recursive: bool) -> Iterator[Job]:
    """The files behind an argument; targets still have their sources' suffixes."""
    path = path_of(given)
    if not given:
        yield Job(path, path, "an argument is empty: give the names of files")
    elif given == STANDARD and folder is not None:
        yield Job(path, folder / "stdin")
    elif is_folder(path):
        yield from found_in_folder(path, folder, recursive)
    elif has_magic(given) and not is_file(path):
        try:
            files = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        except ValueError as error:
            yield Job(path, path, f"{given}: {error}; write * and ** as the shell does")
            return
        if not files:
            yield Job(path, path, f"{given}: no file matches; check the pattern")
        for file in files:
            if is_folder(file):
                yield from found_in_folder(file, folder, recursive)
            else:
                yield Job(file, (folder or file.parent) / file.name)
    else:
        yield Job(path, (folder or path.parent) / path.name)


def found_in_folder(path: Path, folder: Path | None, recursive: bool) -> Iterator[Job]:
    """The pictures of a folder, but for the results of an earlier run in a folder below it.

    Links to files are followed. Links to folders are not, as they may lead anywhere: they are told,
    unless what they lead to is part of the folder and found anyway.
    """
    if not recursive:
        yield Job(path, path, f"{path}: is a folder; use -r for what it holds")
        return
    results, root = folder and _real(folder), _real(path)
    unreadable: list[OSError] = []
    files: list[Path] = []
    links: list[Path] = []
    for top, folders, names in os.walk(path, onerror=unreadable.append):
        folders[:] = [each for each in folders if _real(Path(top, each)) != results]
        linked = (Path(top, each) for each in folders if Path(top, each).is_symlink())
        links += [each for each in linked if not _real(each).is_relative_to(root)]
        files += [Path(top, name) for name in names]
    taken = _jpegs(files) if results == root else of_pictures(files)
    files = sorted(f for f in taken if is_file(f))
    for error in unreadable:
        below = Path(error.filename)
        yield Job(below, below, f"{below}: cannot be opened ({error.strerror}); check its rights")
    for link in sorted(links):
        yield Job(
            link, link, f"{link}: is a link to a folder, not followed; give it as an input as well"
        )
    if not files and not unreadable and not links:
        yield Job(
            path,
            path,
            f"{path}: holds no JPEG or other pictures; check that it is the right one",
        )
    for file in files:
        target = (folder or path) / file.relative_to(path)
        yield Job(file, target, among_inputs=results == root)


def _jpegs(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in reader.SUFFIXES]


def of_pictures(files: Sequence[Path]) -> list[Path]:
    """Of a folder's files the JPEG files, and other pictures that stand for themselves."""
    jpegs = _jpegs(files)
    known = {file.with_suffix("") for file in jpegs}
    others = [file for file in files if file.suffix.lower() in pictures.SUFFIXES]
    return jpegs + [file for file in others if file.with_suffix("") not in known]


def _real(path: Path) -> Path:
    """Where a path leads, as far as that can be told."""
    return Path(os.path.realpath(path))


def pipeline(
    jobs: Sequence[_Job],
    *,
    read: Callable[[_Job], _Read],
    compute: Callable[[_Job, _Read], _Computed],
    write: Callable[[_Job, _Computed], Any],
    weigh: Callable[[_Job], int],
    threads: int,
    most: int = PIXELS_IN_FLIGHT,
    ended: Callable[[Outcome[_Job]], None] = lambda outcome: None,
    stop: Callable[[], None] = lambda: None,
) -> Generator[Outcome[_Job], None, None]:
    """Reads, computes and writes jobs; reading ahead and writing back happen on threads.

    Computing happens on the calling thread, in the jobs' order. An exception ends its job, not the
    others. Abandoning the iterator waits for what is being written and starts nothing more.

    Args:
      jobs: what to do.
      read: the first step, on a thread.
      compute: the second.
      write: the third, on a thread.
      weigh: how much memory a job takes, in any unit.
      threads: that read, and as many that write.
      most: no job is begun while the sum of the weights of those begun would exceed this.
      ended: called with each outcome the moment a job is written or has failed, on the thread where
        that was, and also for what is still being written when the iterator is abandoned. It is
        yielded later, once nothing keeps the calling thread.
      stop: called at the end, however that comes, before what runs on threads is waited for: it
        asks readers to wait for nothing any more.

    Yields:
      How each job ended.
    """

    def finish(job: _Job, computed: _Computed) -> Outcome[_Job]:
        try:
            outcome = Outcome(job, None, write(job, computed))
        except Exception as error:
            outcome = Outcome(job, error, None)
        ended(outcome)
        return outcome

    ahead = deque(jobs)
    reading: deque[tuple[_Job, int, Future[_Read]]] = deque()
    writing: deque[tuple[int, Future[Outcome[_Job]]]] = deque()
    held = 0
    readers, writers = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
    try:
        while ahead or reading or writing:
            while ahead and len(reading) <= threads:
                weight = weigh(ahead[0])
                if held and held + weight > most:
                    break
                held += weight
                job = ahead.popleft()
                reading.append((job, weight, readers.submit(read, job)))
            if reading:
                job, weight, future = reading.popleft()
                try:
                    computed = compute(job, future.result())
                except Exception as error:
                    held -= weight
                    outcome = Outcome(job, error, None)
                    ended(outcome)
                    yield outcome
                else:
                    writing.append((weight, writers.submit(finish, job, computed)))
                    del computed
            while writing and (writing[0][1].done() or len(writing) > threads or not reading):
                weight, written = writing.popleft()
                outcome = written.result()
                held -= weight
                yield outcome
                if ahead and not reading:
                    break  # there may be room for it now
    finally:
        stop()
        readers.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)
