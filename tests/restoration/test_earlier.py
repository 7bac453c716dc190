"""Restoring from the compression that did the damage: as if there had been no other."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
from conftest import jpeg_bytes, make_photo
from PIL import Image
from pyarrow import parquet

from hrcnn_jax import history
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.history import Said
from hrcnn_jax.networks import cards
from hrcnn_jax.restoration.earlier import Damaged, damaged
from hrcnn_jax.restoration.restorer import Restorer

PHOTO = make_photo(160, 208)[..., 1]


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def restorers() -> dict[str, Restorer]:
    return {mode: Restorer("small", chroma=None, history=mode) for mode in ("off", "auto")}


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 5)])
def test_as_if_compressed_once(top: int, left: int, restorers: dict[str, Restorer]) -> None:
    """Compressed at 15, cropped, kept at 92: what matters is the first."""
    once = jpeg_bytes(PHOTO, quality=15)
    twice = jpeg_bytes(decoded(once)[top:, left:], quality=92)
    original = PHOTO[top:, left:].astype(float)
    best = restorers["off"].restore(once)[top:, left:]
    found, believed = (restorers[mode].restore(twice) for mode in ("auto", "off"))
    assert found.shape == original.shape
    errors = [np.square(each - original).mean() for each in (best, found, believed, decoded(twice))]
    # Nearly all that restoring the first file gains; believing the last table gains little.
    assert errors[3] - errors[1] > 0.9 * (errors[3] - errors[0])
    assert errors[3] - errors[2] < 0.5 * (errors[3] - errors[0])


@pytest.mark.parametrize("options", [{"quality": 20}, {"quality": 75}], ids=str)
def test_compressed_once_is_left_alone(
    options: dict[str, Any], restorers: dict[str, Restorer]
) -> None:
    data = jpeg_bytes(PHOTO, **options)
    assert damaged(reader.read(data), "auto").history is None
    found, believed = (restorers[mode].restore(data) for mode in ("auto", "off"))
    np.testing.assert_array_equal(found, believed)


@pytest.mark.parametrize("size", [1, 8, 9, 16, 20, 31])
@pytest.mark.parametrize("subsampling", [0, 2, None])
def test_small_pictures_may_be_told_of(size: int, subsampling: int | None) -> None:
    photo = np.dstack([PHOTO[:size, :size]] * 3)
    given: Any = photo if subsampling is None else jpeg_bytes(photo, subsampling=subsampling)
    for said in ("quality=20", "quality=20,grid=3:5"):
        restored = Restorer("small", chroma=None, history=said).restore(given)
        assert restored.shape == photo.shape


def test_plain_decoding_is_of_the_file_itself() -> None:
    twice = jpeg_bytes(decoded(jpeg_bytes(PHOTO, quality=10))[4:, 4:], quality=90)
    plain = Restorer("small", strength=0.0).restore(twice)
    assert np.abs(plain.astype(int) - decoded(twice)).max() <= 2


def test_a_network_of_one_table_restores_what_it_knows() -> None:
    """And not from an earlier compression of another one, nor mixed with such."""
    data = jpeg_bytes(decoded(jpeg_bytes(PHOTO, quality=10)), quality=50)
    network = Restorer("hrcnn-q50")
    np.testing.assert_array_equal(
        network.restore(data), Restorer("hrcnn-q50", history="off").restore(data)
    )
    given = reader.read(jpeg_bytes(PHOTO, quality=13))
    luma = reader.read(jpeg_bytes(PHOTO, quality=10)).components[0]
    mixed = Damaged(given, luma=luma, share=0.6)
    served = Restorer("hrcnn-q10")._served(given, mixed)
    assert (served.luma, served.share) == (luma, 1.0)


def test_what_cannot_be_used_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ink.jpg"
    with path.open("wb") as file:
        Image.fromarray(np.dstack([PHOTO] * 4)[:40, :40], "CMYK").save(file, "JPEG")
    output = str(tmp_path / "out.png")
    assert main(["restore", str(path), "-o", output, "--history", "quality=20"]) == 0
    assert f"{path}: what --history tells cannot be used of it" in capsys.readouterr().out


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once = jpeg_bytes(PHOTO, quality=15)
    path = tmp_path / "twice.jpg"
    path.write_bytes(jpeg_bytes(decoded(once)[3:, 5:], quality=92))
    flags = ["restore", str(path), "-o", str(tmp_path), "--history", "auto", "--verify"]
    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{path}: compressed before at quality 15, then cropped (" in lines[0]
    assert f"{path}: of the earlier compression, codes that come back: Y 100 %" in lines[1]
    with Image.open(tmp_path / "twice.png") as picture:
        assert picture.size == (208 - 5, 160 - 3)
    assert main(["inspect", str(path), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["history"]["quality"] == 15


def test_pixels_of_a_jpeg_file_are_as_good_as_the_file(restorers: dict[str, Restorer]) -> None:
    once = jpeg_bytes(PHOTO, quality=15)
    png = io.BytesIO()
    Image.fromarray(decoded(once)).save(png, "PNG")
    best = restorers["off"].restore(once)
    for source in (decoded(once), png.getvalue(), Image.fromarray(decoded(once))):
        np.testing.assert_array_equal(restorers["auto"].restore(source), best)


def test_pixels_without_a_past_come_out_as_they_went_in(restorers: dict[str, Restorer]) -> None:
    photo = make_photo(96, 80)
    assert damaged(pictures.of_array(photo), "auto").history is None
    for picture in (photo, photo[..., 0], np.dstack([photo, photo[..., 0]])):
        np.testing.assert_array_equal(restorers["auto"].restore(picture), picture)
    deep = restorers["auto"].restore(photo, depth="uint16")
    np.testing.assert_array_equal(deep, photo.astype(np.uint16) * 257)


def test_opacity_is_kept(restorers: dict[str, Restorer]) -> None:
    once = decoded(jpeg_bytes(PHOTO, quality=15))
    alpha = np.tile(np.arange(once.shape[1], dtype=np.uint8), (len(once), 1))
    restored = restorers["auto"].restore(np.dstack([once, alpha]))
    np.testing.assert_array_equal(restored[..., 1], alpha)
    np.testing.assert_array_equal(restored[..., 0], restorers["auto"].restore(once))


def test_what_is_said_is_believed(restorers: dict[str, Restorer]) -> None:
    """Of a patch too small to prove anything, as of a large one."""
    once = jpeg_bytes(PHOTO, quality=15)
    best = restorers["off"].restore(once)
    for said in ("quality=15", "quality=15,grid=0:0"):
        told = Restorer("small", chroma=None, history=said)
        np.testing.assert_array_equal(told.restore(decoded(once)), best)
    small = decoded(once)[:40, :48]
    assert damaged(pictures.of_array(small), "auto").history is None
    source = damaged(pictures.of_array(small), history.parse("quality=15,grid=0:0"))
    assert isinstance(source.file, reader.JpegFile)
    codes = reader.read(once).components[0].codes[:5, :6]
    np.testing.assert_array_equal(source.file.components[0].codes, codes)


def test_luma_alone(restorers: dict[str, Restorer]) -> None:
    """Chroma that has no past is restored as the file's own; luma is restored from before."""
    photo = make_photo(160, 208)
    once = jpeg_bytes(photo, quality=15)
    luma = decoded(jpeg_bytes(decoded(once)[..., 1], quality=15))
    ycc = np.asarray(Image.fromarray(photo).convert("YCbCr")).copy()
    ycc[..., 0] = luma
    mixed = np.asarray(Image.fromarray(ycc, "YCbCr").convert("RGB"))
    file = reader.read(jpeg_bytes(mixed[4:, 4:], quality=95, subsampling="4:2:0"))
    source = damaged(file, history.parse("quality=15,grid=4:4"))
    assert source.luma is not None
    assert source.offset == (0, 0)
    assert source.luma_offset == (4, 4)
    planes = restorers["auto"].planes(source)
    shown = np.concatenate(list(planes[0].strips))[: file.height, : file.width]
    gray = damaged(pictures.of_array(luma[4:, 4:]), history.parse("quality=15,grid=4:4"))
    expected = gray.finished(np.concatenate(list(restorers["auto"].planes(gray)[0].strips)))
    error = np.abs(shown - expected[: file.height, : file.width])
    assert error.mean() < 0.004  # a level, as little as the second compression leaves


def test_a_size_that_is_said(tmp_path: Path) -> None:
    """Width and height, as everybody writes them; the message of one that cannot be has a name."""
    assert history.parse("quality=20,size=1024x768") == Said(20, size=(768, 1024))
    assert history.parse("size=80×64,grid=3:5,quality=7") == Said(7, (3, 5), size=(64, 80))
    told = Restorer("small", chroma=None, history="quality=15,size=200x300")
    path = tmp_path / "narrow.png"
    Image.fromarray(PHOTO[:40]).save(path)
    with pytest.raises(JpegError, match=f"{path}: is {PHOTO.shape[1]}×40 pixels, said to have"):
        told.restore(path)


@pytest.mark.parametrize(
    "text",
    ["always", "quality=0", "quality=101", "grid=1:2", "quality=20,grid=8:0", "quality=20,,",
     "quality=20,quality=30", "quality=20,encoder=mine", "quality=20,size=64", "size=64x64",
     "quality=20,size=0x64", "quality=20,size=100000x64", ""],
)  # fmt: skip
def test_no_such_history(text: str) -> None:
    with pytest.raises(ValueError, match="history must be auto, off, or such as quality=20"):
        Restorer("small", history=text)


@pytest.mark.parametrize(
    "values",
    [(0,), (200,), ("20",), (20, (9, -3)), (20, None, "Photoshop"), (20, None, "libjpeg", (0, 9))],
    ids=str,
)
def test_no_such_compression(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="history must be auto, off, or such as quality=20"):
        Said(*values)


def test_report_and_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with a file of each kind of past: the report tells, and the inspection expects."""
    once = jpeg_bytes(PHOTO, quality=15)
    (tmp_path / "in").mkdir()
    Image.fromarray(decoded(once)).save(tmp_path / "in" / "kept.png")
    (tmp_path / "in" / "once.jpg").write_bytes(once)
    (tmp_path / "in" / "once.png").write_bytes(b"a result")  # left out: once.jpg stands beside
    (tmp_path / "in" / "broken.jpg").write_bytes(once[:500])
    folders = ["-r", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main(["restore", *folders, "--report", str(tmp_path / "done.json")]) == 1
    rows = {Path(row["path"]).name: row for row in json.loads((tmp_path / "done.json").read_text())}
    assert sorted(rows) == ["broken.jpg", "kept.png", "once.jpg"]
    assert "is truncated or damaged" in rows["broken.jpg"]["error"]
    kept = rows["kept.png"]
    assert kept["history"]
    assert kept["history_quality"] == 15
    assert kept["codes_back"] == 1.0
    weights = cards.WEIGHTS / "small.safetensors"
    assert kept["network_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert kept["tables"][0] == reader.read(once).components[0].table.tolist()
    assert not rows["once.jpg"]["history"]

    capsys.readouterr()
    for suffix in ("jsonl", "parquet"):
        path = tmp_path / f"found.{suffix}"
        assert main(["inspect", "-r", str(tmp_path / "in"), "--report", str(path)]) == 1
        found = (
            [json.loads(line) for line in path.read_text().splitlines()]
            if suffix == "jsonl"
            else parquet.read_table(path).to_pylist()
        )
        assert [row["history"] for row in found] == [None, True, False]
        assert found[1]["history_grid"] == [0, 0]
        assert found[1]["expected_gain"] == kept["expected_gain"]
    assert "2 of 3 files inspected, 1 failed" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path), "--report", "out.csv"]) == 2
    assert "a report ends with .json" in capsys.readouterr().err
    inside = path / "in" / "found.json"
    assert main(["inspect", str(tmp_path), "--report", str(inside)]) == 1
    assert f"{path} is no folder; give the report another place" in capsys.readouterr().err


def test_of_two_that_did_as_much_both_are_used(restorers: dict[str, Restorer]) -> None:
    """The mean is nearer to the picture than either, and gives the file's own codes."""
    once = jpeg_bytes(PHOTO, quality=30)
    data = jpeg_bytes(decoded(once)[4:, 4:], quality=30)
    file = reader.read(data)
    source = damaged(file, history.parse("quality=30,grid=4:4"))
    assert source.share == pytest.approx(0.5)
    mixed = restorers["auto"].picture(file, source, "float32")
    own = restorers["off"].restore(data, depth="float32")
    assert source.luma is not None
    earlier = restorers["off"].restore_codes(source.luma.codes, source.luma.table)
    earlier = earlier[4:, 4:][: own.shape[0], : own.shape[1]]
    original = PHOTO[4:, 4:] / 255
    errors = [np.square(each - original).mean() for each in (mixed, own, earlier)]
    assert errors[0] < 0.97 * min(errors[1:])
    (plane,) = restorers["auto"].planes(source)
    pixels = np.concatenate(list(plane.strips))
    part = file.components[0]
    blocks = (pixels * 255 - 128).reshape(*part.codes.shape[:1], 8, -1, 8).swapaxes(1, 2)
    codes = np.rint(scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho") / part.table)
    np.testing.assert_array_equal(codes, part.codes)
