"""Plans of what goes where, and the pipeline, with functions in place of networks and files."""

import errno
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hrcnn_jax.restoration import batch
from hrcnn_jax.restoration.batch import Job, pipeline


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def plan(
    inputs: Sequence[Path | str], folder: Path, *suffixes: str, recursive: bool = False
) -> list[Job]:
    names = [str(each) for each in inputs]
    return batch.plan(names, folder, suffixes=suffixes or (".png",), recursive=recursive)


def test_a_file_goes_by_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "deep/a.b.jpg")
    out = tmp_path / "out"
    assert plan([tmp_path / "deep" / "a.b.jpg", tmp_path / "missing"], out) == [
        Job(tmp_path / "deep" / "a.b.jpg", out / "a.b.png"),
        Job(tmp_path / "missing", out / "missing.png"),
    ]


def test_folders_keep_their_structure(tmp_path: Path) -> None:
    names = ["b.jpg", "a.JPEG", "deep/er/c.jfif", "deep/d.jpe"]
    touch(tmp_path / "in", *names, "f.txt", "out/g.jpg", "out/h.png")
    out = tmp_path / "in" / "out"  # results are no input of the next run
    jobs = plan([tmp_path / "in"], out, recursive=True)
    expected = ["a.JPEG", "b.jpg", "deep/d.jpe", "deep/er/c.jfif"]
    assert [job.source for job in jobs] == [tmp_path / "in" / name for name in expected]
    assert [job.target for job in jobs] == [(out / name).with_suffix(".png") for name in expected]
    assert all(job.problem is None for job in jobs)


def test_folders_need_asking_for_and_files(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "empty/b.txt")
    (job,) = plan([tmp_path / "in"], tmp_path / "out")
    assert job.problem == f"{tmp_path / 'in'}: is a folder; use -r for what it holds"
    (job,) = plan([tmp_path / "empty"], tmp_path / "out", recursive=True)
    assert job.problem is not None
    assert job.problem.startswith(f"{tmp_path / 'empty'}: holds no JPEG or other pictures; ")


def test_patterns_that_the_shell_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "deep/c.jpg", "[odd].jpg")
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    for pattern in ("?.jpg", tmp_path / "?.jpg"):
        assert [job.target.name for job in plan([pattern], out)] == ["a.png", "b.png"]
    assert [job.source for job in plan(["**/c.jpg"], out)] == [Path("deep/c.jpg")]
    assert [job.source for job in plan(["[odd].jpg"], out)] == [Path("[odd].jpg")]
    (job,) = plan(["*.jpeg"], out)
    assert job.problem == "*.jpeg: no file matches; check the pattern"


def test_results_may_go_above_or_beside_their_inputs(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "in/deep/b.jpg")
    for out in (tmp_path, tmp_path / "in", tmp_path.parent):
        jobs = plan([tmp_path / "in"], out, recursive=True)
        assert [job.target for job in jobs] == [out / "a.png", out / "deep" / "b.png"]
        assert all(job.problem is None for job in jobs)


def test_a_pattern_may_match_folders(tmp_path: Path) -> None:
    touch(tmp_path, "in/one/a.jpg", "in/two/b.jpg", "in/c.jpg")
    out = tmp_path / "out"
    jobs = plan([tmp_path / "in" / "*"], out, recursive=True)
    assert [job.target for job in jobs] == [out / "c.png", out / "a.png", out / "b.png"]
    problems = [job.problem for job in plan([tmp_path / "in" / "*"], out)]
    assert [problem is None for problem in problems] == [True, False, False]


@pytest.mark.parametrize("given", ["", ".", "/", "n" * 300, "loop", "**.jpg"])
def test_odd_names_are_one_problem_each(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("pool")
    Path("pool").symlink_to("loop")
    odd, good = plan([given, "a.jpg"], tmp_path / "out")
    assert good == Job(Path("a.jpg"), tmp_path / "out" / "a.png")
    # A name that is too long, or a link to nowhere, is found out when the file is read.
    assert odd.problem is not None or given in ("n" * 300, "loop")


def test_folders_that_may_not_be_opened_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "in/a.jpg", "in/locked/b.jpg")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)  # tests may run as root, whom nothing stops
    locked, good = plan([tmp_path / "in"], tmp_path / "out", recursive=True)
    assert locked.problem is not None
    assert locked.problem.startswith(f"{tmp_path / 'in' / 'locked'}: cannot be opened (Permission")
    assert good.source == tmp_path / "in" / "a.jpg"


def test_links_to_folders_are_told_but_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "in/deep/b.jpg", "elsewhere/c.jpg", "out/d.jpg")
    links = {"away": "../elsewhere", "up": "..", "here": "deep", "itself": ".", "results": "../out"}
    for name, to in links.items():
        (tmp_path / "in" / name).symlink_to(to)
    (tmp_path / "in" / "file.jpg").symlink_to("../elsewhere/c.jpg")
    jobs = plan([tmp_path / "in"], tmp_path / "out", recursive=True)
    found = [str(job.source.relative_to(tmp_path / "in")) for job in jobs if job.problem is None]
    assert found == ["a.jpg", "deep/b.jpg", "file.jpg"]
    told = [job.problem for job in jobs if job.problem is not None]
    assert told == [
        f"{tmp_path}/in/{name}: is a link to a folder, not followed; give it as an input as well"
        for name in ("away", "up")
    ]
    (job,) = plan([tmp_path / "in" / "away"], tmp_path / "out", recursive=True)
    assert job.source == tmp_path / "in" / "away" / "c.jpg"


def test_nothing_is_written_twice_or_over_an_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.jpeg", "other/a.jpg", "a.compare.jpg")
    out = tmp_path / "out"
    first, second, third = plan([tmp_path / n for n in ("a.jpg", "a.jpeg", "other/a.jpg")], out)
    assert first.problem is None
    for job in (second, third):
        assert job.problem is not None
        assert job.problem.startswith(f"{job.source}: {out / 'a.png'} is already taken by")
    assert len(plan([tmp_path / "a.jpg"] * 2, out)) == 1, "one file, asked for twice"

    pair = [tmp_path / "a.jpg", tmp_path / "a.compare.jpg"]
    assert [job.problem is None for job in plan(pair, out, ".png", ".compare.png")] == [True, False]

    (job,) = plan([tmp_path / "a.jpg"], tmp_path, ".jpg")
    assert (
        job.problem
        == f"{job.source}: {job.source} is one of the inputs; restore into another folder"
    )


JOBS = [Job(Path(str(index)), Path(f"{index}.out")) for index in range(12)]


def number(job: Job) -> int:
    return int(job.source.name)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("most", [1, 5, 1000])
def test_every_job_ends_once_whatever_happens(threads: int, most: int) -> None:
    def read(job: Job) -> int:
        if number(job) == 2:
            raise ValueError("unreadable")
        return number(job)

    def compute(job: Job, value: int) -> int:
        if value == 5:
            raise MemoryError
        return 10 * value

    def write(job: Job, value: int) -> int:
        if value == 70:
            raise OSError("disk full")
        return value

    outcomes = list(
        pipeline(
            JOBS,
            read=read,
            compute=compute,
            write=write,
            weigh=number,
            threads=threads,
            most=most,
        )
    )
    assert sorted(number(job) for job, _, _ in outcomes) == list(range(12))
    for job, error, result in outcomes:
        failure = {2: ValueError, 5: MemoryError, 7: OSError}.get(number(job))
        assert type(error) is (failure or type(None))
        assert result == (None if failure else 10 * number(job))


def test_the_next_is_read_while_this_is_computed() -> None:
    """Computing waits for the next file's reading: it would wait for ever were they not beside
    each other."""
    started = [threading.Event() for _ in JOBS]

    def compute(job: Job, value: None) -> None:
        if number(job) < 11:
            assert started[number(job) + 1].wait(60)

    outcomes = pipeline(
        JOBS,
        read=lambda job: started[number(job)].set(),
        compute=compute,
        write=lambda job, value: None,
        weigh=lambda job: 1,
        threads=1,
    )
    assert [error for _, error, _ in outcomes] == [None] * 12


def test_a_job_has_ended_once_it_is_written_although_others_are_computed() -> None:
    ended = [threading.Event() for _ in JOBS]

    def compute(job: Job, value: None) -> None:
        if number(job) == 4:
            raise ValueError("no room")
        assert number(job) == 0 or ended[number(job) - 1].wait(60)

    outcomes = pipeline(
        JOBS,
        read=lambda job: None,
        compute=compute,
        write=lambda job, value: 1 / (number(job) - 7),
        weigh=lambda job: 1,
        threads=1,
        ended=lambda outcome: ended[number(outcome.job)].set(),
    )
    assert [number(job) for job, error, _ in outcomes if error is not None] == [4, 7]
    assert all(each.is_set() for each in ended)


def test_what_is_begun_is_bounded() -> None:
    begun, lock, highest = 0, threading.Lock(), 0

    def read(job: Job) -> None:
        nonlocal begun, highest
        with lock:
            begun += 1
            highest = max(highest, begun)

    def write(job: Job, value: None) -> None:
        nonlocal begun
        time.sleep(0.005)
        with lock:
            begun -= 1

    def run(weight: int) -> int:
        nonlocal highest
        highest = 0
        steps = {"read": read, "compute": lambda job, value: None, "write": write}
        for _ in pipeline(JOBS, **steps, weigh=lambda job: weight, threads=2, most=10):
            pass
        return highest

    assert run(11) == 1, "one that exceeds the limit has it to itself"
    assert run(5) <= 2
    assert run(0) <= 6, "twice as many as threads, and one more of each"


def test_abandoning_starts_nothing_more() -> None:
    read: list[int] = []
    outcomes = pipeline(
        JOBS,
        read=lambda job: read.append(number(job)),
        compute=lambda job, value: None,
        write=lambda job, value: None,
        weigh=lambda job: 1,
        threads=1,
    )
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    count = len(read)
    assert count < 12
    time.sleep(0.05)
    assert len(read) == count


def test_readers_are_asked_to_stop_before_they_are_waited_for() -> None:
    """A reader that waits for what never comes would be waited for, for ever."""
    ending = threading.Event()

    def compute(job: Job, value: object) -> None:
        raise KeyboardInterrupt

    def read(job: Job) -> None:
        assert number(job) == 0 or ending.wait(60)

    outcomes = pipeline(
        JOBS,
        read=read,
        compute=compute,
        write=lambda job, value: None,
        weigh=lambda job: 1,
        threads=2,
        stop=ending.set,
    )
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert ending.is_set()
