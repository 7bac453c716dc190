"""Mutated files: each is read or refused in one line, in bounded time and memory, without a trace.

Seeded, so that a failure comes back; its name tells the mutation and the seed.
"""

import io
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image

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

PHOTO = make_photo(24, 40)
SOS, EOI = b"\xff\xda", b"\xff\xd9"
STARTS_OF_FRAME = b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"


@cache
def whole_files() -> tuple[bytes, ...]:
    """Small valid files of several kinds."""
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "a description"
    inks = io.BytesIO()
    Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]]), "CMYK").save(inks, "JPEG")
    pictures = io.BytesIO()
    first, second = Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)
    first.save(pictures, "MPO", save_all=True, append_images=[second])
    return (
        jpeg_bytes(PHOTO[..., 0]),
        jpeg_bytes(PHOTO, subsampling="4:2:0"),
        jpeg_bytes(PHOTO, subsampling="4:4:4", progressive=True),
        jpeg_bytes(PHOTO, restart_marker_blocks=1),
        jpeg_bytes(PHOTO, qtables=[list(range(1, 65)), list(range(250, 314))]),
        jpeg_bytes(PHOTO, exif=tags, icc_profile=bytes(300), xmp=b"<x/>", comment=b"hello"),
        inks.getvalue(),
        pictures.getvalue(),
    )


def truncated(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def bits_flipped(data: bytes, random: Random) -> bytes:
    mutated = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30))):
        mutated[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(mutated)


def header_bits_flipped(data: bytes, random: Random) -> bytes:
    head = data.index(SOS) + 14
    return bits_flipped(data[:head], random) + data[head:]


def bytes_overwritten(data: bytes, random: Random) -> bytes:
    at, length = random.randrange(len(data)), random.randrange(1, 40)
    junk = random.choice((random.randbytes(length), b"\xff" * length, bytes(length)))
    return data[:at] + junk + data[at + length :]


def cut_out(data: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(data)) for _ in range(2))
    return data[:start] + data[end:]


def repeated(data: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(data)) for _ in range(2))
    return data[:end] + data[start:end] * random.randrange(1, 4) + data[end:]


def spliced(data: bytes, random: Random) -> bytes:
    other = random.choice(whole_files())
    return data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]


def enormous(data: bytes, random: Random) -> bytes:
    """Dimensions that the few bytes of data cannot have."""
    frame = min(data.find(marker) for marker in STARTS_OF_FRAME if marker in data) + 5
    sides = [random.choice((0, 1, 8, 447, 4000, 65500, 65535)) for _ in range(2)]
    return data[:frame] + b"".join(side.to_bytes(2) for side in sides) + data[frame + 4 :]


def flooded(data: bytes, random: Random) -> bytes:
    """A marker segment some thousand times over, whole or not."""
    marker = random.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xC4, 0xDD, 0xD0, 0xDA, 0xC0))
    content = random.choice((b"", b"Exif\0\0MM\0*", b"ICC_PROFILE\0\1\1", b"Adobe", bytes(65)))
    segment = bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2) + content
    at = random.choice((2, data.index(SOS), random.randrange(2, len(data))))
    return data[:at] + segment * random.choice((3, 60, 3000)) + data[at:]


def rescanned(data: bytes, random: Random) -> bytes:
    """The same scans over and over."""
    start, end = data.index(SOS), data.index(EOI)
    return data[:end] + data[start:end] * random.choice((1, 20, 2000)) + data[end:]


MUTATIONS: list[Callable[[bytes, Random], bytes]] = [
    truncated,
    bits_flipped,
    header_bits_flipped,
    bytes_overwritten,
    cut_out,
    repeated,
    spliced,
    enormous,
    flooded,
    rescanned,
]


def mutants(mutate: Callable[[bytes, Random], bytes]) -> Iterator[tuple[str, bytes]]:
    for seed in range(SEEDS):
        random = Random(f"{mutate.__name__} {seed}")
        yield f"{mutate.__name__}, seed {seed}", mutate(random.choice(whole_files()), random)


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
    mutate: Callable[[bytes, Random], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory, read = peak_bytes(), 0
    for case, data in mutants(mutate):
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
    kinds = whole_files()[:2]
    for seed in range(60):
        random = Random(seed)
        data = random.choice(kinds)
        head = data.index(SOS) + 14
        data = data[:head] + random.choice((bits_flipped, bytes_overwritten))(data[head:], random)
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
    for end in range(0, len(data), 8):
        with pytest.raises(JpegError):
            reader.read(data[:end])
    assert len(list(folder.iterdir())) <= before
