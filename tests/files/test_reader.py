"""The codec against jpeglib's coefficients, Pillow's tables and Pillow's decoded pictures."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from conftest import jpeg_bytes, jpeglib_bytes, make_photo
from PIL import Image

from hrcnn_jax.files import reader
from hrcnn_jax.files.reader import JpegError

SOS, SOF, DQT = b"\xff\xda", b"\xff\xc0", b"\xff\xdb"

# A picture a channel: as much chroma as luma.
PHOTO = np.dstack([make_photo(61, 83, seed)[..., 1] for seed in range(3)])
SAMPLINGS = {
    "4:4:4": [(1, 1), (1, 1), (1, 1)],
    "4:2:2": [(2, 1), (1, 1), (1, 1)],
    "4:2:0": [(2, 2), (1, 1), (1, 1)],
    "4:4:0": [(1, 2), (1, 1), (1, 1)],
    "4:1:1": [(4, 1), (1, 1), (1, 1)],
}


def patched(data: bytes, offset: int, *values: int) -> bytes:
    """The file with some of its bytes replaced."""
    return data[:offset] + bytes(values) + data[offset + len(values) :]


def after(data: bytes, marker: bytes, offset: int = 0) -> int:
    """Where a marker segment's payload starts, past its length."""
    return data.index(marker, offset) + 4


def from_jpeglib(folder: Path, sampling: str, *, flags: tuple[str, ...] = ()) -> bytes:
    return jpeglib_bytes(PHOTO, SAMPLINGS[sampling], folder, flags=flags)


def ramps(*starts: int) -> list[list[int]]:
    """Tables whose 64 steps all differ, so that no reordering goes unseen."""
    return [list(range(start, start + 64)) for start in starts]


def cmyk(*, transform: int = 0) -> bytes:
    """Four components; Adobe's transform 2 says that they are YCCK."""
    file = io.BytesIO()
    inks = np.dstack([PHOTO, PHOTO[::-1, :, 0]])
    Image.fromarray(inks, "CMYK").save(file, "JPEG", quality=60)
    data = file.getvalue()
    return patched(data, data.index(b"Adobe") + 11, transform)


KINDS = {
    "gray": lambda _: jpeg_bytes(PHOTO[..., 0], quality=60),
    "4:4:4": lambda _: jpeg_bytes(PHOTO, quality=60, subsampling="4:4:4"),
    "4:2:2": lambda _: jpeg_bytes(PHOTO, quality=60, subsampling="4:2:2"),
    "4:2:0": lambda _: jpeg_bytes(PHOTO, quality=60, subsampling="4:2:0"),
    "4:4:0": lambda folder: from_jpeglib(folder, "4:4:0"),
    "4:1:1": lambda folder: from_jpeglib(folder, "4:1:1"),
    "progressive": lambda _: jpeg_bytes(PHOTO, quality=60, progressive=True),
    "progressive gray": lambda _: jpeg_bytes(PHOTO[..., 0], quality=60, progressive=True),
    "arithmetic": lambda folder: from_jpeglib(folder, "4:2:0", flags=("+ARITH_CODE",)),
    "restart markers": lambda _: jpeg_bytes(PHOTO, restart_marker_blocks=2),
    "optimised Huffman": lambda _: jpeg_bytes(PHOTO, quality=95, optimize=True),
    "three tables": lambda _: jpeg_bytes(PHOTO, qtables=ramps(1, 21, 41)),
    "16-bit tables": lambda _: jpeg_bytes(PHOTO, qtables=ramps(1, 250, 500)),
    "rgb": lambda _: jpeg_bytes(PHOTO, keep_rgb=True, qtables=ramps(3)),
    "cmyk": lambda _: cmyk(),
    "ycck": lambda _: cmyk(transform=2),
    "1×1": lambda _: jpeg_bytes(PHOTO[:1, :1]),
    "1 row": lambda _: jpeg_bytes(PHOTO[:1]),
    "1 column": lambda _: jpeg_bytes(PHOTO[:, :1]),
    "17×33": lambda _: jpeg_bytes(PHOTO[:17, :33]),
    "whole MCUs": lambda _: jpeg_bytes(PHOTO[:32, :48]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_tables_are_jpeglibs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(KINDS[kind](tmp_path))
    file = reader.read(path)
    with jpeglib.version("9e"):  # which reads arithmetic coding too
        reference = jpeglib.read_dct(str(path))
        reference.load()
    with Image.open(path) as picture:
        assert (file.width, file.height) == picture.size

    expected = [reference.Y, reference.Cb, reference.Cr, reference.K][: reference.num_components]
    for index, (component, codes) in enumerate(zip(file.components, expected, strict=True)):
        height, width = component.size
        assert component.codes.shape == (-(-height // 8), -(-width // 8), 8, 8)
        assert component.codes.dtype == np.int16
        assert component.table.dtype == np.int32
        np.testing.assert_array_equal(component.codes, codes)
        np.testing.assert_array_equal(component.table, reference.get_component_qt(index))
        assert component.codes.any(), "an empty picture shows nothing"


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_geometry_of_each_sampling(sampling: str, tmp_path: Path) -> None:
    file = reader.read(KINDS[sampling](tmp_path))
    most = max(h for h, _ in SAMPLINGS[sampling]), max(v for _, v in SAMPLINGS[sampling])
    assert [component.sampling for component in file.components] == SAMPLINGS[sampling]
    for component in file.components:
        down, across = component.factor
        h, v = component.sampling
        assert (h * across, v * down) == most
        assert component.size == (-(-61 // down), -(-83 // across))


@pytest.mark.parametrize(
    ("kind", "colour"),
    [("gray", "gray"), ("4:2:0", "ycbcr"), ("rgb", "rgb"), ("cmyk", "cmyk"), ("ycck", "ycck")],
)
def test_colour_and_process(kind: str, colour: str, tmp_path: Path) -> None:
    file = reader.read(KINDS[kind](tmp_path))
    assert file.colour == colour
    assert not file.progressive


def test_progressive_is_told() -> None:
    assert reader.read(jpeg_bytes(PHOTO, progressive=True)).progressive


def test_tables_are_found_by_slot() -> None:
    """Slots need not be consecutive, nor used in order (T.81 B.2.4.1)."""
    data = jpeg_bytes(PHOTO, qtables=ramps(1, 61))
    second_table, frame = after(data, DQT, after(data, DQT)), after(data, SOF)
    moved = patched(data, second_table, 3)
    for component, slot in enumerate((3, 0, 3)):
        moved = patched(moved, frame + 6 + 3 * component + 2, slot)
    for ours, expected in zip(reader.read(moved).components, ramps(61, 1, 61), strict=True):
        np.testing.assert_array_equal(ours.table.ravel(), expected)


def test_sources_are_paths_or_bytes(tmp_path: Path) -> None:
    data = jpeg_bytes(PHOTO)
    path = tmp_path / os.fsdecode(b"a name\xff that is not UTF-8.png")
    path.write_bytes(data)
    files = [reader.read(path), reader.read(str(path)), reader.read(data)]
    assert [file.name for file in files] == [str(path), str(path), "<bytes>"]
    for file in files:
        np.testing.assert_array_equal(file.components[0].codes, files[0].components[0].codes)


def test_metadata_is_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = reader.read(jpeg_bytes(PHOTO, exif=exif, icc_profile=bytes(range(256)) * 500))
    assert file.exif == exif.tobytes()
    assert file.icc == bytes(range(256)) * 500
    assert file.resolution is None
    assert (file.height, file.width) == (61, 83), "EXIF orientation is not applied"

    file = reader.read(jpeg_bytes(PHOTO, xmp=b"<x/>", dpi=(300, 150), comment=b"hello"))
    assert (file.xmp, file.resolution, file.comment) == (b"<x/>", (300, 150), b"hello")

    bare = reader.read(jpeg_bytes(PHOTO))
    assert (bare.exif, bare.icc, bare.xmp, bare.comment) == (None, None, None, None)


def test_coding_is_told(tmp_path: Path) -> None:
    plain = reader.read(jpeg_bytes(PHOTO))
    assert (plain.arithmetic, plain.progressive, plain.restart_interval) == (False, False, 0)
    assert reader.read(KINDS["restart markers"](tmp_path)).restart_interval == 2
    assert reader.read(KINDS["arithmetic"](tmp_path)).arithmetic


def test_broken_exif_goes_unmentioned() -> None:
    """Pillow warns of it when asked for the resolution; here warnings are errors."""
    broken = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x05\x01\x0e"
    assert reader.read(jpeg_bytes(PHOTO, exif=broken)).exif == broken


def test_first_picture_of_several() -> None:
    file = io.BytesIO()
    pictures = [Image.fromarray(each) for each in (PHOTO, 255 - PHOTO)]
    pictures[0].save(file, "MPO", save_all=True, append_images=pictures[1:])
    first, expected = reader.read(file.getvalue()), reader.read(jpeg_bytes(PHOTO))
    np.testing.assert_array_equal(first.components[0].codes, expected.components[0].codes)


def test_threads_may_share_the_codec() -> None:
    files = [jpeg_bytes(PHOTO, quality=quality) for quality in range(10, 90, 5)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(reader.read, files * 4))
    for data, file in zip(files * 4, together, strict=True):
        alone = reader.read(data)
        for ours, expected in zip(file.components, alone.components, strict=True):
            np.testing.assert_array_equal(ours.codes, expected.codes)
            np.testing.assert_array_equal(ours.table, expected.table)


def test_size_limit() -> None:
    data = jpeg_bytes(PHOTO[:8, :16])
    assert reader.read(data, max_pixels=128).width == 16
    with pytest.raises(JpegError, match=r"16×8 = 128 pixels.*max_pixels=127"):
        reader.read(data, max_pixels=127)


def test_size_limit_stops_a_small_file_that_claims_to_be_enormous() -> None:
    data = jpeg_bytes(PHOTO)
    enormous = patched(data, after(data, SOF) + 1, 255, 220, 255, 220)
    with pytest.raises(JpegError, match=r"= 4,290,250,000 pixels.*max_pixels=200,000,000"):
        reader.read(enormous)


def test_pillows_own_size_limit_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert reader.read(jpeg_bytes(PHOTO), max_pixels=None).width == 83


@pytest.mark.parametrize("end", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_files(end: float, progressive: bool) -> None:
    data = jpeg_bytes(PHOTO, progressive=progressive)
    with pytest.raises(JpegError, match=r"^<bytes>: .*[Tt]runcated.*fetch it again"):
        reader.read(data[: int(end * len(data))])


def picture_as(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WebP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_other_formats_are_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(picture_as(kind))
    with pytest.raises(JpegError, match=rf"picture\.jpg: is a {kind[:4]}.* file, not a JPEG"):
        reader.read(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(JpegError, match=r"none\.jpg: no such file"):
        reader.read(tmp_path / "none.jpg")
    with pytest.raises(JpegError, match="is a folder"):
        reader.read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(JpegError, match="file: is empty"):
        reader.read(tmp_path / "file")
    with pytest.raises(JpegError, match="cannot be opened"):
        reader.read(tmp_path / "file" / "picture.jpg")
    with pytest.raises(JpegError, match=r"not a JPEG \(starts with 74 65 78 74\)"):
        reader.read(b"text")


def altered_frame(offset: int, *values: int) -> bytes:
    """A 4:4:4 file with some of its frame header replaced, counted from the marker (T.81 B.2.2)."""
    data = jpeg_bytes(PHOTO, subsampling="4:4:4")
    return patched(data, data.index(SOF) + offset, *values)


def with_tables_between_scans() -> bytes:
    data = jpeg_bytes(PHOTO, progressive=True)
    first = data.index(DQT)
    tables = data[first : first + 2 + 67]
    second_scan = data.index(SOS, data.index(SOS) + 2)
    return data[:second_scan] + tables + data[second_scan:]


def with_a_step_of_zero() -> bytes:
    data = jpeg_bytes(PHOTO)
    return patched(data, after(data, DQT) + 64, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (altered_frame(4, 12), "12-bit.*8-bit JPEG"),
        (altered_frame(5, 0, 0), "damaged or unsupported header"),
        (altered_frame(1, 0xC3), "lossless"),
        (altered_frame(1, 0xC5), "hierarchical"),
        (altered_frame(11, 0x31, 0, 2, 0x21), "fractional sampling"),
        (altered_frame(12, 3), "does not decode"),
        (with_a_step_of_zero(), "quantisation table for component 0"),
        (with_tables_between_scans(), "tables between its scans"),
    ],
)
def test_what_cannot_be_read(data: bytes, message: str) -> None:
    with pytest.raises(JpegError, match=message):
        reader.read(data)


def test_codes_that_only_pyjpegio_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(_: str) -> None:
        raise RuntimeError("[JSTRUCT] Bogus marker length")

    monkeypatch.setattr(reader.jpegio, "read", reject)
    with pytest.raises(JpegError, match=r"codes cannot be read.*Bogus marker length"):
        reader.read(jpeg_bytes(PHOTO))


def test_no_copy_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reader.read(jpeg_bytes(PHOTO))
    assert not list(tmp_path.iterdir())
