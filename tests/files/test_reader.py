"""The codec against jpeglib's coefficients, Pillow's tables and Pillow's decoded pictures."""

import io
import os
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from conftest import jpeg_bytes, jpeglib_bytes, make_photo
from PIL import Image
from scipy.fft import idctn

from hrcnn_jax.files import libjpeg, reader
from hrcnn_jax.files.reader import JpegError, JpegFile

SOS, SOF, DQT, EOI = b"\xff\xda", b"\xff\xc0", b"\xff\xdb", b"\xff\xd9"

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
    number = os.dup(0)
    os.close(number)
    with pytest.raises(JpegError, match="is a folder"):
        reader.read(tmp_path)
    again = os.dup(0)
    os.close(again)
    assert again == number, "nothing was left open"
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


def with_comment(data: bytes, comment: bytes) -> bytes:
    """A comment before the second scan, or before the end."""
    at = data.find(SOS, data.index(SOS) + 2)
    at = at if at >= 0 else len(data) - 2
    return data[:at] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2) + comment + data[at:]


def rescanned(times: int) -> bytes:
    data = jpeg_bytes(PHOTO, progressive=True)
    start = data.rindex(SOS)
    return data[:-2] + data[start:-2] * times + EOI


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (altered_frame(4, 12), "12-bit.*8-bit JPEG"),
        (altered_frame(5, 0, 0), "damaged or unsupported header"),
        (altered_frame(9, 2), "damaged or unsupported header"),
        (altered_frame(1, 0xC3), "lossless"),
        (altered_frame(1, 0xC5), "hierarchical"),
        (altered_frame(11, 0x31, 0, 2, 0x21), "fractional sampling"),
        (altered_frame(12, 3), "does not decode"),
        (with_tables_between_scans(), "tables between its scans"),
        (with_comment(with_tables_between_scans(), b"\xff\xd9"), "tables between its scans"),
        (with_comment(rescanned(5000), b"\xff\xd9"), "more than 100 scans"),
        (rescanned(3), "damaged .its scans are in disorder"),
    ],
)
def test_what_cannot_be_read(data: bytes, message: str) -> None:
    with pytest.raises(JpegError, match=message):
        reader.read(data)


def test_codes_that_only_pyjpegio_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(_: str) -> None:
        raise RuntimeError("[JSTRUCT] Bogus marker length")

    monkeypatch.setattr(libjpeg.jpegio, "read", reject)
    with pytest.raises(JpegError, match=r"codes cannot be read.*Bogus marker length"):
        reader.read(jpeg_bytes(PHOTO))


def test_copies_in_memory_and_on_disk_are_read_alike_and_none_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg_bytes(PHOTO)
    in_memory = reader.read(data)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(libjpeg, "_MEMORY_FILES", False)
    on_disk = reader.read(data)
    assert not list(tmp_path.iterdir())
    for one, other in zip(in_memory.components, on_disk.components, strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)


def test_reading_needs_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("only Linux has files in memory")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert reader.read(jpeg_bytes(PHOTO)).width == PHOTO.shape[1]


CODINGS = {
    "gray": lambda: jpeg_bytes(PHOTO[..., 0]),
    "4:2:0": lambda: jpeg_bytes(PHOTO, subsampling="4:2:0"),
    "progressive": lambda: jpeg_bytes(PHOTO, progressive=True),
    "restart markers": lambda: jpeg_bytes(PHOTO, restart_marker_blocks=3),
}


@pytest.mark.parametrize("kind", CODINGS)
def test_a_cut_is_noticed_whatever_ends_the_file(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = CODINGS[kind]()
    start = data.index(SOS) + 14
    for end in range(start, len(data) - 4, 37):
        for tail in (b"", EOI, b"\xff\xd8", b"\xff\xfe\0\4\xff\xd9" + EOI):
            with pytest.raises(JpegError, match=r"truncated or damaged \(.*--salvage\)$"):
                reader.read(data[:end] + tail)
    assert capfd.readouterr().err == "", "libjpeg's remarks have no file's name"


@pytest.mark.parametrize("damage", [EOI, b"\xff\xd5", b"\xff\x01"])
def test_damage_amid_data_is_noticed(damage: bytes) -> None:
    data = jpeg_bytes(PHOTO[..., 0], quality=95)
    at = (data.index(SOS) + len(data)) // 2
    with pytest.raises(JpegError, match=r"truncated or damaged"):
        reader.read(data[:at] + damage + data[at + len(damage) :])


def test_bytes_too_many_are_noticed() -> None:
    data = jpeg_bytes(PHOTO)
    with pytest.raises(JpegError, match=r"damaged \(\d+ extraneous bytes before marker 0xd9\)"):
        reader.read(data[:-2] + bytes(range(1, 100)) + EOI)


def test_salvage_gives_what_is_there() -> None:
    """Blocks up to the cut are the whole file's, and the share of them is told."""
    data = jpeg_bytes(PHOTO[..., 0], quality=90)
    whole = reader.read(data, salvage=True)
    assert whole.damage is None
    start = data.index(SOS) + 10
    cut = reader.read(data[: start + (len(data) - start) // 3], salvage=True)
    ours, expected = (f.components[0].codes.reshape(-1, 64) for f in (cut, whole))
    equal = (ours == expected).all(1)
    there = int(np.argmin(equal))
    assert 0.2 < there / len(equal) < 0.5
    assert not ours[there + 1 :].any()
    assert cut.damage is not None
    told = cut.damage.removeprefix("premature end of data segment; ")
    share = int(told.removesuffix(" % of it are there, the rest is made up"))
    assert share == pytest.approx(100 * there / len(equal), abs=2)  # one block is 1.1 %


def test_salvage_of_nothing() -> None:
    data = jpeg_bytes(PHOTO)
    cut = reader.read(data[: data.index(SOS) + 14], salvage=True)
    assert cut.damage is not None
    # Its 24 MCUs are missing; libjpeg makes up codes of the first.
    assert cut.damage.endswith("; 4 % of it are there, the rest is made up")
    assert not any(part.codes[2:].any() for part in cut.components)


def test_salvage_of_progressive_files() -> None:
    data = jpeg_bytes(PHOTO, progressive=True)
    at = data.rindex(SOS)
    cut, whole = reader.read(data[:at], salvage=True), reader.read(data)
    assert cut.damage is not None
    assert cut.damage.startswith("its last scans are missing; of its scans 9 are there")
    for ours, expected in zip(cut.components, whole.components, strict=True):
        assert np.abs(ours.codes - expected.codes).max() <= 1  # the last bit of luma's codes


@pytest.mark.parametrize("end", [b"", b"\xff", b"\xff\xd8", b"\xff\x59", b"\xff\xff"])
def test_damaged_end_markers_lose_no_codes(end: bytes) -> None:
    data = jpeg_bytes(PHOTO)
    file, expected = reader.read(data[:-2] + end), reader.read(data)
    for ours, theirs in zip(file.components, expected.components, strict=True):
        np.testing.assert_array_equal(ours.codes, theirs.codes)
    assert file.damage is None


def odd_but_whole() -> dict[str, bytes]:
    """Files that libjpeg remarks on, though it reads them whole."""
    data = jpeg_bytes(PHOTO, dpi=(300, 300))
    inks, scan = cmyk(), after(data, SOS)
    return {
        "version": patched(data, data.index(b"JFIF") + 5, 3),
        "transform": patched(inks, inks.index(b"Adobe") + 11, 9),
        "bytes between segments": data.replace(DQT, b"abc" + DQT, 1),
        "parameters of the scan": patched(data, scan + 7, 1, 5, 0x21),
    }


@pytest.mark.parametrize("kind", odd_but_whole())
def test_oddities_are_no_damage_and_hide_none(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = odd_but_whole()[kind]
    file = reader.read(data)
    assert file.damage is None
    assert [part.codes.any() for part in file.components] == [True] * len(file.components)
    with pytest.raises(JpegError, match="premature end of data segment"):
        reader.read(data[:-20] + EOI)
    assert capfd.readouterr().err == ""


def test_steps_of_zero_decode_as_libjpeg_has_them() -> None:
    """Codes times zero: their frequency is missing from the picture."""
    data = jpeg_bytes(PHOTO[..., 0], quality=60)
    altered = patched(data, after(data, DQT) + 1 + 2, 0)  # third in zigzag order: v=1, u=0
    (part,) = reader.read(altered).components
    assert part.table.min() >= 1
    assert not part.codes[:, :, 1, 0].any()
    assert part.codes[:, :, 0, 1].any()
    blocks = idctn(part.codes * part.table.astype(float), axes=(2, 3), norm="ortho") + 128
    plane = blocks.swapaxes(1, 2).reshape(8 * blocks.shape[0], -1)[:61, :83]
    with Image.open(io.BytesIO(altered)) as seen:
        difference = np.abs(np.clip(plane, 0, 255) - np.asarray(seen))
    assert difference.max() <= 1.5  # rounding, and libjpeg's integers


@pytest.mark.parametrize("step", [16, 40, 100])
def test_codes_beyond_what_encoders_write_mean_what_libjpeg_takes_them_for(step: int) -> None:
    """The transform of codes, clipped, is libjpeg's up to four times as bright as white.

    Beyond that its 16-bit integers overflow and bright turns dark, otherwise in each of its builds,
    and no encoder's codes lead there: here they do not follow it.
    """
    data = jpeg_bytes(make_photo(128, 128, step)[..., 1], quality=95)
    altered = patched(data, after(data, DQT) + 1, *[step] * 64)
    (part,) = reader.read(altered).components
    samples = idctn(part.codes * part.table.astype(float), axes=(2, 3), norm="ortho")
    with Image.open(io.BytesIO(altered)) as seen:
        blocks = np.asarray(seen).reshape(16, 8, 16, 8).swapaxes(1, 2)
    difference = np.abs(np.clip(samples + 128, 0, 255) - blocks).max((2, 3))
    within = np.abs(samples).max((2, 3)) < 1023
    beyond = np.abs(samples).max((2, 3)) > 255
    assert (within & beyond).any()
    assert difference[within].max() < 0.6  # half a level of rounding, and libjpeg's integers


def test_what_others_print_meanwhile_is_handed_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    read = libjpeg.jpegio.read

    def talkative(path: str) -> object:
        os.write(2, b"of another library\n")
        return read(path)

    monkeypatch.setattr(libjpeg.jpegio, "read", talkative)
    with pytest.raises(JpegError, match="premature end"):
        reader.read(jpeg_bytes(PHOTO)[:-50])
    assert capfd.readouterr().err == "of another library\n"


def test_damage_is_noticed_by_processes_without_standard_error(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(jpeg_bytes(PHOTO)[:-50] + EOI)
    program = """
import os, sys
from hrcnn_jax.files import reader
os.close(2)
try:
    reader.read(sys.argv[1])
except reader.JpegError as error:
    print(error)
try:
    os.fstat(2)
except OSError:
    print("closed, as it was")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cut.jpg")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    first, second = ended.stdout.splitlines()
    assert "cut.jpg: is truncated or damaged (premature end of data segment)" in first
    assert second == "closed, as it was"


def test_each_thread_is_told_of_its_own_damage() -> None:
    data = jpeg_bytes(PHOTO)
    files = [data, data[:-50] + EOI] * 20

    def damage(content: bytes) -> str | None:
        return reader.read(content, salvage=True).damage

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(damage, files))
    assert [each is None for each in told] == [True, False] * 20


def test_small_files_that_claim_much_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = jpeg_bytes(PHOTO[:8, :8, 0])
    claims = patched(data, after(data, SOF) + 1, 0x38, 0x40, 0x38, 0x40)  # 14,400 a side
    monkeypatch.setattr(libjpeg, "read", None)
    monkeypatch.setattr(reader, "_check_decodes", None)
    with pytest.raises(JpegError, match=r"bytes of codes are too few for 14400×14400 pixels"):
        reader.read(claims, max_pixels=None)


def test_large_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    data = jpeg_bytes(PHOTO)
    huge = tmp_path / "huge.jpg"
    huge.write_bytes(data)
    os.truncate(huge, 3 << 30)  # of which the disk holds a few kilobytes
    other = tmp_path / "other"
    other.touch()
    os.truncate(other, 100 << 20)
    tracemalloc.start()
    with pytest.raises(JpegError, match=r"has 3,221,225,472 bytes.*--max-pixels"):
        reader.read(huge)
    with pytest.raises(JpegError, match=r"is not a JPEG \(starts with 00 00 00 00\)"):
        reader.read(other)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    os.truncate(huge, len(data) + (65 << 20))  # something follows the picture
    assert reader.read(huge, max_pixels=20 << 20).width == 83
    with pytest.raises(JpegError, match="needs; raise it"):
        reader.read(huge, max_pixels=10 << 20)


def test_memory_that_does_not_suffice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(libjpeg, "read", fail)
    with pytest.raises(JpegError, match="<bytes>: is too large for this machine's memory"):
        reader.read(jpeg_bytes(PHOTO))


def read_of(pipe: Path, **options: threading.Event) -> JpegFile | JpegError:
    try:
        return reader.read(pipe, **options)  # type: ignore[arg-type]
    except JpegError as error:
        return error


def test_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, data = tmp_path / "pipe", jpeg_bytes(PHOTO)
    os.mkfifo(pipe)
    monkeypatch.setattr(reader, "_PATIENCE_WITHOUT_WRITER", 0.05)
    assert "is a pipe that nothing comes from" in str(read_of(pipe))

    monkeypatch.setattr(reader, "_PATIENCE_WITHOUT_WRITER", 60)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(read_of, pipe)
        with pipe.open("wb") as writer:
            writer.write(data[:100])
            writer.flush()
            writer.write(data[100:])
        file = future.result()
        assert isinstance(file, JpegFile)
        assert file.width == 83

        ending = threading.Event()
        future = pool.submit(read_of, pipe, ending=ending)
        with pipe.open("wb") as writer:
            writer.write(data[:100])
            writer.flush()
            ending.set()  # and neither the rest nor an end comes
            assert "was not waited for any longer" in str(future.result())

        monkeypatch.setattr(reader, "PATIENCE", 0.05)
        future = pool.submit(read_of, pipe)
        with pipe.open("wb") as writer:
            writer.write(data[:100])
            writer.flush()
            assert "is a pipe that nothing comes from" in str(future.result())
