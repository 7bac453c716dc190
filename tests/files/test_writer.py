"""Written pictures as Pillow and tifffile read them back."""

import io
import re
import warnings
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import jpeg_bytes, make_photo
from PIL import Image, ImageCms, ImageOps

from hrcnn_jax.files import exif, png16, reader, tiff, writer
from hrcnn_jax.files.writer import FORMATS, OutputError

PHOTO = make_photo(23, 31)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
ORIENTATION, DESCRIPTION, EXPOSURE, EXIF_DIRECTORY = 0x0112, 0x010E, 0x829A, 0x8769
JPEG_XR_FORMAT = 0xBC01


def exif_block(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[ORIENTATION], tags[DESCRIPTION] = orientation, "a description"
    tags[EXIF_DIRECTORY] = {EXPOSURE: 0.5}
    return tags.tobytes()


def source(orientation: int = 1, **options: Any) -> reader.JpegFile:
    data = jpeg_bytes(
        PHOTO,
        exif=exif_block(orientation),
        icc_profile=PROFILE,
        xmp=XMP,
        dpi=(300, 150),
        **options,
    )
    return reader.read(data)


def picture(samples: int, depth: str) -> np.ndarray:
    """Of every kind; the deep ones use all their bits."""
    photo = np.dstack([PHOTO, PHOTO[::-1, :, 0]])[..., :samples] / 255
    noise = np.random.default_rng(0).random(photo.shape) / 255
    values = np.clip(photo + noise, 0, 1)
    white = writer.LARGEST[depth]  # type: ignore[index]
    values = (values * white).astype(depth)
    return values[..., 0] if samples == 1 else values


def unpacked(path: Path) -> np.ndarray:
    """The samples of a 16-bit PNG, its filters undone byte by byte (PNG clause 9)."""
    data = path.read_bytes()
    at, packed = 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + content) == int.from_bytes(
            data[at + 8 + length : at + 12 + length]
        )
        if kind == b"IHDR":
            width, height = int.from_bytes(content[:4]), int.from_bytes(content[4:8])
            pixel = {0: 2, 2: 6}[content[9]]
        packed += content if kind == b"IDAT" else b""
        at += 12 + length
    stride = 1 + width * pixel
    rows, above = zlib.decompress(packed), bytearray(width * pixel)
    result = []
    for top in range(0, height * stride, stride):
        row = bytearray(rows[top + 1 : top + stride])
        for i in range(len(row)):
            a, b = (row[i - pixel] if i >= pixel else 0), above[i]
            c = above[i - pixel] if i >= pixel else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[i] = (row[i] + [0, a, b, (a + b) // 2, nearest][rows[top]]) % 256
        result.append(bytes(row))
        above = row
    samples = np.frombuffer(b"".join(result), ">u2").reshape(height, width, pixel // 2)
    return samples[..., 0] if pixel == 2 else samples


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_8_bits_come_back(kind: str, samples: int, tmp_path: Path) -> None:
    path, given = tmp_path / "file", picture(samples, "uint8")
    writer.write(path, given, FORMATS[kind])
    np.testing.assert_array_equal(np.asarray(Image.open(path)), given)


@pytest.mark.parametrize("samples", [1, 3])
def test_png_of_16_bits_comes_back(samples: int, tmp_path: Path) -> None:
    path, given = tmp_path / "file.png", picture(samples, "uint16")
    writer.write(path, given, FORMATS["png16"])
    np.testing.assert_array_equal(unpacked(path), given)
    seen = np.asarray(Image.open(path)).astype(float)  # Pillow shows RGB in 8 bits
    assert np.abs(seen - given / (1 if samples == 1 else 257)).max() < 1


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_png_rows_may_be_filtered_in_any_portions(rows: int, monkeypatch: Any) -> None:
    whole, portions = io.BytesIO(), io.BytesIO()
    given = picture(3, "uint16")
    png16.write(whole, given)
    monkeypatch.setattr(png16, "_ROWS", rows)
    png16.write(portions, given)
    one, other = (np.asarray(Image.open(each)) for each in (whole, portions))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize("kind", ["tiff", "tiff16", "tiff32f"])
@pytest.mark.parametrize("strip", [1 << 20, 700])
def test_tiffs_come_back(
    kind: str, samples: int, strip: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer.tiff, "_STRIP_BYTES", strip)
    path, given = tmp_path / "file.tiff", picture(samples, FORMATS[kind].depth)
    writer.write(path, given, FORMATS[kind], file=source())
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), given)
        page = file.pages.first
        assert page.photometric.name == {1: "MINISBLACK", 3: "RGB", 4: "SEPARATED"}[samples]
        assert page.tags[DESCRIPTION].value == "a description"
        assert page.tags[34665].value["ExposureTime"] == 0.5
        assert page.tags[34675].value == PROFILE
        assert bytes(page.tags[700].value) == XMP
        assert (page.tags[282].value, page.tags[283].value) == ((300000, 1000), (150000, 1000))


def test_motorola_exif_makes_motorola_tiff(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags.endian, tags[DESCRIPTION] = ">", "a description"
    file = reader.read(jpeg_bytes(PHOTO, exif=tags.tobytes()))
    path, given = tmp_path / "file.tiff", picture(3, "uint16")
    writer.write(path, given, FORMATS["tiff16"], file=file)
    assert path.read_bytes()[:4] == b"MM\0*"
    np.testing.assert_array_equal(tifffile.imread(path), given)


def test_damaged_exif_stays_out_of_tiff(tmp_path: Path) -> None:
    file = reader.read(jpeg_bytes(PHOTO, exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x05\x01\x0e"))
    writer.write(tmp_path / "file", PHOTO, FORMATS["tiff"], file=file)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "file")), PHOTO)


def test_a_tiff_is_not_taken_for_a_jpeg_xr(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[DESCRIPTION], tags[JPEG_XR_FORMAT] = "a description", b"\x24"
    file = reader.read(jpeg_bytes(PHOTO, exif=tags.tobytes()))
    writer.write(tmp_path / "file", PHOTO, FORMATS["tiff16"], file=file)
    with Image.open(tmp_path / "file") as seen:
        assert seen.getexif()[DESCRIPTION] == "a description"


@pytest.mark.parametrize(
    "seeds", [range(start, start + 50) for start in range(0, 400, 50)], ids=str
)
def test_what_is_damaged_in_exif_keeps_nobody_from_the_picture(seeds: range) -> None:
    """Random bytes in random places; one in thirty such blocks once made a TIFF unreadable."""
    for seed in seeds:
        random = Random(seed)
        block = bytearray(exif_block(random.randrange(1, 9)))
        for _ in range(random.choice((1, 1, 2, 5, 20))):
            block[random.randrange(6, len(block))] = random.choice((0, 255, random.randrange(256)))
        stream = io.BytesIO()
        tiff.write(stream, PHOTO, exif=exif.upright(bytes(block)))
        with warnings.catch_warnings(action="ignore"):  # of what is odd, but sound
            seen = np.asarray(Image.open(io.BytesIO(stream.getvalue())))
        np.testing.assert_array_equal(seen, PHOTO, err_msg=f"seed {seed}")
        stream.seek(0)
        np.testing.assert_array_equal(tifffile.imread(stream), PHOTO, err_msg=f"seed {seed}")


def test_how_other_pictures_are_stored_stays_out_of_tiff(tmp_path: Path) -> None:
    """Tags that EXIF should not have, one of which once made a TIFF unreadable."""
    tags = Image.Exif()
    tags[DESCRIPTION], tags[341], tags[301], tags[347] = "a description", 1, 1, b"tables"
    file = reader.read(jpeg_bytes(PHOTO, exif=tags.tobytes()))
    writer.write(tmp_path / "file", PHOTO, FORMATS["tiff"], file=file)
    with Image.open(tmp_path / "file") as seen:
        np.testing.assert_array_equal(np.asarray(seen), PHOTO)
        assert seen.getexif()[DESCRIPTION] == "a description"
        assert not {301, 341, 347} & set(seen.getexif())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_viewers_agree(kind: str, orientation: int, tmp_path: Path) -> None:
    """Upright pixels, a tag that says so, and all that was known about the picture."""
    file, form, path = source(orientation), FORMATS[kind], tmp_path / "file"
    writer.write(path, picture(3, form.depth), form, file=file, quality=100)
    reference = Image.fromarray(picture(3, "uint8"))
    reference.getexif()[ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(reference)).astype(int)
    if kind in ("tiff16", "tiff32f"):  # more than Pillow reads
        with tifffile.TiffFile(path) as read:
            white = writer.LARGEST[form.depth]
            np.testing.assert_allclose(read.asarray() / white * 255, expected, atol=1.1)
            assert read.pages.first.tags[ORIENTATION].value == 1
        return
    with Image.open(path) as seen:
        assert seen.getexif().get(ORIENTATION, 1) == 1
        assert seen.getexif()[DESCRIPTION] == "a description"
        assert seen.getexif().get_ifd(EXIF_DIRECTORY)[EXPOSURE] == 0.5
        assert seen.info["icc_profile"] == PROFILE
        packet = seen.info.get("xmp") or seen.info["XML:com.adobe.xmp"]
        packet = packet.encode() if isinstance(packet, str) else packet
        assert b'Orientation="1"' in packet if orientation > 1 else packet == XMP
        if kind != "webp":  # which has no place for it but EXIF
            density = (300, 150) if orientation < 5 else (150, 300)
            assert seen.info["dpi"] == pytest.approx(density, abs=0.02)
        lossy = {"jpeg": 8, "webp": 40}.get(kind, 1)
        assert np.abs(np.asarray(seen).astype(int) - expected).max() <= lossy


@pytest.mark.parametrize("kind", ["tiff", "jpeg"])
def test_inks_stay_inks_where_they_can(kind: str, tmp_path: Path) -> None:
    given = picture(4, "uint8")
    writer.write(tmp_path / "file", given, FORMATS[kind], file=source(), quality=100)
    with Image.open(tmp_path / "file") as seen:
        assert seen.mode == "CMYK"
        assert seen.info["icc_profile"] == PROFILE
        assert np.abs(np.asarray(seen).astype(int) - given).max() <= (0 if kind == "tiff" else 3)


@pytest.mark.parametrize("kind", ["png", "png16", "webp"])
def test_inks_become_pillows_rgb_where_they_cannot(kind: str, tmp_path: Path) -> None:
    given = picture(4, FORMATS[kind].depth)
    expected = np.asarray(Image.fromarray(output_in_8_bits(given), "CMYK").convert("RGB"))
    writer.write(tmp_path / "file", given, FORMATS[kind], file=source(), quality=100)
    with Image.open(tmp_path / "file") as seen:
        assert "icc_profile" not in seen.info, "the profile was of inks"
        error = np.abs(np.asarray(seen.convert("RGB")).astype(int) - expected)
        assert error.max() <= (40 if kind == "webp" else 2)  # webp has less chroma


def output_in_8_bits(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == np.uint8 else (values // 257).astype(np.uint8)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_quality_is_kept_to(kind: str, tmp_path: Path) -> None:
    sizes = []
    for quality in (20, 95):
        writer.write(tmp_path / "file", PHOTO, FORMATS[kind], quality=quality)
        sizes.append((tmp_path / "file").stat().st_size)
    assert sizes[0] < 0.8 * sizes[1]


def test_what_a_format_cannot_hold_is_one_line_and_no_file(tmp_path: Path) -> None:
    wide = np.zeros((1, 16384), np.uint8)
    with pytest.raises(OutputError, match=re.escape(f"{tmp_path / 'a.webp'}: cannot be written")):
        writer.write(tmp_path / "a.webp", wide, FORMATS["webp"])
    file = reader.read(jpeg_bytes(PHOTO, exif=exif_block(1)))
    long = reader.JpegFile(**{**vars(file), "exif": b"Exif\0\0" + bytes(70_000)})
    with pytest.raises(OutputError, match="its EXIF block is too large for a JPEG; choose"):
        writer.write(tmp_path / "a.jpg", PHOTO, FORMATS["jpeg"], file=long)
    long = reader.JpegFile(**{**vars(file), "xmp": bytes(65_505)})
    with pytest.raises(OutputError, match="its XMP packet is too large for a JPEG; choose"):
        writer.write(tmp_path / "a.jpg", PHOTO, FORMATS["jpeg"], file=long)
    assert not list(tmp_path.iterdir())


def test_pictures_for_screens() -> None:
    for depth in ("uint8", "uint16", "float32"):
        seen = writer.to_8_bits(picture(3, depth))
        assert seen.dtype == np.uint8
        assert np.abs(seen.astype(int) - picture(3, "uint8")).max() <= 1
        assert writer.to_8_bits(picture(4, depth)).shape == (23, 31, 3)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("description", ["", "a description"])
def test_resolution_of_jfif_is_carried_over(kind: str, description: str, tmp_path: Path) -> None:
    """Beside EXIF that does not tell it, too."""
    block = Image.Exif()
    block[DESCRIPTION] = description
    known = {"exif": block.tobytes()} if description else {}
    file = reader.read(jpeg_bytes(PHOTO, dpi=(200, 100), **known))
    path = tmp_path / ("file" + FORMATS[kind].suffix)
    writer.write(path, picture(1, FORMATS[kind].depth), FORMATS[kind], file=file)
    with Image.open(path) as written:
        tags = written.getexif()
        told = written.info.get("dpi") or (tags.get(0x011A), tags.get(0x011B))
        assert tuple(map(float, told)) == pytest.approx((200, 100), rel=1e-3)
        assert tags.get(DESCRIPTION) == (description or None)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("density", [70_000.0, 1e-6, 4294967295.0])
def test_resolution_that_cannot_be_is_left_out(kind: str, density: float, tmp_path: Path) -> None:
    file = reader.read(jpeg_bytes(PHOTO))
    odd = reader.JpegFile(**{**vars(file), "resolution": (density, density)})
    path = tmp_path / ("file" + FORMATS[kind].suffix)
    writer.write(path, picture(1, FORMATS[kind].depth), FORMATS[kind], file=odd)
    with Image.open(path) as written:
        assert "dpi" not in written.info or written.info["dpi"] == (1, 1)  # Pillow's "not told"


@pytest.mark.parametrize("kind", FORMATS)
def test_resolution_of_damaged_exif_does_not_make_a_file_unreadable(kind: str) -> None:
    """Its number of pixels to the centimetre is a byte, where Pillow wants a fraction."""
    entries = b"\x01\x1a\0\x01\0\0\0\x01\0\0\0\0" + b"\x01\x28\0\x03\0\0\0\x01\0\x03\0\0"
    damaged = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + entries + bytes(4)
    file, stream = reader.read(jpeg_bytes(PHOTO, exif=damaged)), io.BytesIO()
    samples = 1 if kind == "tiff32f" else 3  # as Pillow reads them
    writer.save(stream, picture(samples, FORMATS[kind].depth), FORMATS[kind], file=file)
    with Image.open(stream) as written:
        assert written.size == (31, 23)
        written.load()
