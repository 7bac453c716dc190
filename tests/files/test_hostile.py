"""Mutated files: each is read or refused in one line, in bounded time and memory, without a trace.

Seeded, so that a failure comes back; its name tells the mutation and the seed.
"""

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random

import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image

from fuzz import mutations, seeds
from fuzz.mutations import MUTATIONS, SOS, Mutation, mutants
from hrcnn_jax.__main__ import main
from hrcnn_jax.files import reader
from hrcnn_jax.files.reader import JpegError, JpegFile

SEEDS = 220
"""Cases of each mutation: more than 2,000 in all."""

MOST_PIXELS = 200_000
MOST_SECONDS = 20
"""For a file of a few kilobytes; milliseconds are usual."""
MOST_BYTES = 400 << 20
"""More than that, all files together must not leave or have needed."""


@cache
def whole_files() -> tuple[bytes, ...]:
    """Small valid files of several kinds."""
    return tuple(seeds.jpegs())


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def in_bounded_time(case: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"{case}: still not done after {MOST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(file: JpegFile) -> None:
    """A file that was read holds together, however little sense its codes make."""
    assert 0 < file.width * file.height <= MOST_PIXELS
    for part in file.components:
        rows, columns = part.size
        assert part.codes.shape == (-(-rows // 8), -(-columns // 8), 8, 8)
        assert part.table.min() >= 1
        assert rows == -(-file.height // part.factor[0])
        assert columns == -(-file.width // part.factor[1])


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_mutated_files_are_read_or_refused(
    mutate: Mutation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory, read = peak_bytes(), 0
    for case, data in mutants(mutate, whole_files(), SEEDS):
        with in_bounded_time(case):
            try:
                file, refusal = reader.read(data, max_pixels=MOST_PIXELS), None
            except JpegError as error:
                file, refusal = None, str(error)
            except Exception as error:
                raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
        if file is not None:
            check(file)
            read += 1
        elif refusal is not None:
            assert refusal.startswith("<bytes>: "), case
            assert "\n" not in refusal, case
    assert read < SEEDS, "what was mutated is not always whole"
    assert peak_bytes() - memory < MOST_BYTES
    assert not list(tmp_path.iterdir())


def test_whole_files_are_read() -> None:
    for data in whole_files():
        check(reader.read(data, max_pixels=MOST_PIXELS))


def test_mutated_files_go_through_a_whole_restoration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that still look well, up to their scans, so that most of them are restored."""
    (tmp_path / "in").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    photo = make_photo(24, 40)
    kinds = jpeg_bytes(photo[..., 0]), jpeg_bytes(photo, subsampling="4:2:0")
    for seed in range(60):
        random = Random(seed)
        data = random.choice(kinds)
        head = data.index(SOS) + 14
        mutate = random.choice((mutations.bits_flipped, mutations.bytes_overwritten))
        data = data[:head] + mutate(data[head:], random)
        (tmp_path / "in" / f"{seed}.jpg").write_bytes(data)
    arguments = ["restore", str(tmp_path / "in"), "-r", "-o", str(tmp_path / "out"), "--verify"]
    status = main(arguments)
    told = capsys.readouterr()
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(written) >= 20
    *refused, summary = told.err.splitlines()
    assert status == (1 if refused else 0)
    assert len(written) + len(refused) == 60
    assert f"{len(written)} of 60 files restored" in summary
    assert all(
        line.startswith("hrcnn-jax: ") and "reason of our own" not in line for line in refused
    )
    assert not list((tmp_path / "tmp").iterdir())
    assert all(name.endswith(".png") and not name.startswith(".") for name in written)


def test_bombs_are_refused_unless_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bomb.jpg"
    Image.new("L", (3000, 2000)).save(path)
    assert path.stat().st_size < 100_000
    arguments = ["inspect", str(path)]
    assert main([*arguments, "--max-pixels", "5_000_000"]) == 1
    assert "raise it (--max-pixels) if you trust the file" in capsys.readouterr().err
    assert main([*arguments, "--max-pixels", "6_000_000"]) == 0


def test_refusing_leaks_no_file_descriptor() -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("only Linux tells")
    data = whole_files()[1]
    before = len(list(folder.iterdir()))
    for end in range(0, len(data) - 8, 8):
        with pytest.raises(JpegError):
            reader.read(data[:end])
    assert len(list(folder.iterdir())) <= before
