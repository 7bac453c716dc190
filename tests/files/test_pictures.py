"""Pictures that are kept as pixels, as Pillow and tifffile wrote them."""

import io
import struct
import textwrap
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import jpeg_bytes, make_photo
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin, TiffTags

from hrcnn_jax.files import exif, pictures, png16, reader, writer
from hrcnn_jax.files.pictures import Picture
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.files.writer import FORMATS, OutputError

PHOTO = make_photo(23, 31)
ALPHA = np.arange(23 * 31, dtype=np.uint16).reshape(23, 31).astype(np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DESCRIPTION, EXPOSURE, EXIF_DIRECTORY = 0x010E, 0x829A, 0x8769


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture_of(data: bytes) -> Picture:
    picture = pictures.read(data)
    assert isinstance(picture, Picture)
    return picture


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
     ("BMP", {})],
)  # fmt: skip
def test_samples_are_as_stored(kind: str, options: dict[str, Any]) -> None:
    picture = picture_of(stored(Image.fromarray(PHOTO), kind, **options))
    np.testing.assert_array_equal(picture.samples, PHOTO)
    assert (picture.colour, picture.alpha, picture.height, picture.width) == ("rgb", None, 23, 31)
    if kind != "WEBP":
        gray = picture_of(stored(Image.fromarray(PHOTO[..., 0]), kind, **options))
        np.testing.assert_array_equal(gray.samples, PHOTO[..., 0])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_opacity_is_kept_apart(kind: str) -> None:
    picture = picture_of(
        stored(Image.fromarray(np.dstack([PHOTO, ALPHA])), kind, lossless=True, exact=True)
    )
    np.testing.assert_array_equal(picture.samples, PHOTO)
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    opaque = np.dstack([PHOTO, np.full_like(ALPHA, 255)])
    assert picture_of(stored(Image.fromarray(opaque), kind, lossless=True)).alpha is None


def test_palettes_and_bilevel() -> None:
    palette = Image.fromarray(PHOTO).quantize(16)
    picture = picture_of(stored(palette, "PNG"))
    np.testing.assert_array_equal(picture.samples, np.asarray(palette.convert("RGB")))
    bilevel = Image.fromarray(PHOTO[..., 0]).convert("1")
    picture = picture_of(stored(bilevel, "PNG"))
    np.testing.assert_array_equal(picture.samples, np.asarray(bilevel.convert("L")))


def test_inks_of_tiff() -> None:
    inks = np.dstack([PHOTO, PHOTO[..., 0]])
    picture = picture_of(stored(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert picture.colour == "cmyk"
    np.testing.assert_array_equal(picture.samples, inks)


def test_jpeg_files_are_read_as_codes() -> None:
    data = jpeg_bytes(PHOTO, quality=50)
    ours, codes = pictures.read(data), reader.read(data)
    assert isinstance(ours, reader.JpegFile)
    for one, other in zip(ours.components, codes.components, strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)


def test_a_damaged_tag_of_tiff_is_left_out() -> None:
    """A maker's name that is a fraction: Pillow reads it, and cannot write it."""
    make, model, file = 271, 272, io.BytesIO()
    tags = [(make, 5, 1, (1, 3), False), (model, 2, 0, "a camera", False)]
    tifffile.imwrite(file, PHOTO, extratags=tags, metadata=None)
    picture = picture_of(file.getvalue())
    told = Image.Exif()
    told.load(picture.exif or b"")
    assert (told.get(make), told.get(model)) == (None, "a camera")
    np.testing.assert_array_equal(picture.samples, PHOTO)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_metadata(kind: str) -> None:
    tags = Image.Exif()
    tags[DESCRIPTION] = "a description"
    tags[EXIF_DIRECTORY] = {EXPOSURE: 0.5}
    options = {} if kind == "WEBP" else {"dpi": (300, 150)}
    if kind == "TIFF":
        options = {"dpi": (300, 150), "description": "a description"}
    data = stored(Image.fromarray(PHOTO), kind, exif=tags.tobytes(), icc_profile=PROFILE, **options)
    picture = picture_of(data)
    assert picture.icc == PROFILE
    assert picture.exif is not None
    told = Image.Exif()
    told.load(picture.exif)
    assert told[DESCRIPTION] == "a description"
    assert 0x0111 not in told  # where a TIFF file keeps its strips
    if options:
        assert picture.resolution is not None
        np.testing.assert_allclose(picture.resolution, (300, 150), rtol=1e-3)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6" note="kept"/></x:xmpmeta>'


@pytest.mark.parametrize("turn", range(1, 9))
def test_tiff_files_are_turned(turn: int) -> None:
    tags = {274: turn, 282: 300.0, 283: 150.0, 296: 2, 270: "a description"}
    data = stored(Image.fromarray(PHOTO), "TIFF", tiffinfo=tags | {700: XMP})
    pixels = Image.fromarray(PHOTO)
    pixels.getexif()[274] = turn
    expected = np.asarray(ImageOps.exif_transpose(pixels))
    density = (300, 150) if turn <= 4 else (150, 300)
    with Image.open(io.BytesIO(data)) as image:
        pictures_read = picture_of(data), pictures.of_image(image)
        assert 273 in image.getexif(), "nothing is taken from the caller's picture"
    for picture in pictures_read:
        np.testing.assert_array_equal(picture.samples, expected)
        assert picture.resolution == density
        told = Image.Exif()
        told.load(picture.exif or b"")
        assert (told.get(282), told.get(283), told[270]) == (*density, "a description")
        assert 274 not in told
        assert picture.xmp is not None
        assert b"kept" in picture.xmp
        assert turn == 1 or b"Orientation" not in picture.xmp


def test_what_tiff_files_keep_elsewhere_is_kept_once() -> None:
    xmp = XMP.replace(b' tiff:Orientation="6"', b"")  # or Pillow turns the picture by it
    blocks = {700: xmp, 34377: b"layers", 37724: b"layers", 34675: PROFILE, 33723: b"caption"}
    picture = picture_of(stored(Image.fromarray(PHOTO), "TIFF", tiffinfo=blocks))
    assert (picture.icc, picture.xmp) == (PROFILE, xmp)
    told = Image.Exif()
    told.load(picture.exif or b"")
    assert not {700, 34377, 37724, 34675} & set(told)
    assert told[33723] == b"caption"


def test_metadata_behind_the_pixels_of_png() -> None:
    tags = Image.Exif()
    tags[274], tags[DESCRIPTION] = 6, "a description"
    data = stored(Image.fromarray(PHOTO), "PNG", exif=tags.tobytes())
    chunks, at = [], 8
    while at < len(data):
        length = 12 + int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[at : at + length])
        at += length
    (told,) = (each for each in chunks if each[4:8] == b"eXIf")
    others = [each for each in chunks if each is not told]
    picture = picture_of(data[:8] + b"".join([*others[:-1], told, others[-1]]))
    assert exif.orientation(picture.exif) == 6


def test_half_a_density_is_none() -> None:
    whole = stored(Image.fromarray(PHOTO), "TIFF", dpi=(300, 150))
    assert whole.count(struct.pack("<II", 150, 1)) == 1
    broken = whole.replace(struct.pack("<II", 150, 1), struct.pack("<II", 1, 0))
    assert picture_of(broken).resolution is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_pixels_claimed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    options = {"icc_profile": bytes(200_000)} if kind in ("JPEG", "PNG") else {}
    path.write_bytes(stored(Image.fromarray(PHOTO), kind, **options))
    assert pictures.claimed_pixels(path) == 23 * 31
    path.write_bytes(path.read_bytes()[:9])
    assert pictures.claimed_pixels(path) == 0


def test_pixels_claimed_of_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"text")
    assert pictures.claimed_pixels(path) == 0
    assert pictures.claimed_pixels(tmp_path / "missing") == 0
    assert pictures.claimed_pixels(tmp_path) == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (stored(Image.fromarray(PHOTO), "PNG")[:-40], "does not decode as PNG"),
        (stored(Image.fromarray(PHOTO), "PNG")[:20], "does not decode as PNG"),
        (stored(Image.fromarray(PHOTO), "WEBP")[:60], "does not decode as WebP"),
        (stored(Image.fromarray(PHOTO), "TIFF")[:90], "does not decode as TIFF"),
        (stored(Image.fromarray(PHOTO), "BMP")[:90], "does not decode as BMP"),
        (stored(Image.fromarray(PHOTO), "GIF"), "is a GIF file"),
        (b"", "is empty"),
        (
            stored(
                Image.fromarray(PHOTO),
                "PNG",
                save_all=True,
                append_images=[Image.fromarray(255 - PHOTO)],
            ),
            "has 2 frames, an animation; give each as a file of its own",
        ),
        (
            stored(
                Image.fromarray(PHOTO),
                "TIFF",
                save_all=True,
                append_images=[Image.fromarray(255 - PHOTO)],
            ),
            "has 2 pages; give each as a file of its own",
        ),
        (
            stored(Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257), "PNG"),
            "has more than 8 bits a sample",
        ),
        (stored(Image.fromarray(PHOTO[..., 0].astype(np.float32)), "TIFF"), "more than 8 bits"),
    ],
    ids=[
        "cut",
        "header",
        "webp",
        "tiff",
        "bmp",
        "gif",
        "empty",
        "animated",
        "pages",
        "deep",
        "float",
    ],
)
def test_refused_in_a_line(data: bytes, reason: str) -> None:
    with pytest.raises(JpegError) as caught:
        pictures.read(data)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_deep_colour_is_refused_too(tmp_path: Path) -> None:
    """Pillow gives the upper bits without a word."""
    deep = PHOTO.astype(np.uint16) * 257
    file = io.BytesIO()
    png16.write(file, deep)
    (tmp_path / "deep.png").write_bytes(file.getvalue())
    tifffile.imwrite(tmp_path / "deep.tiff", deep, photometric="rgb")
    for path in tmp_path.iterdir():
        with pytest.raises(JpegError, match="has more than 8 bits a sample"):
            pictures.read(path)


def test_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(JpegError, match="has 31×23 = 713 pixels, more than max_pixels=700"):
        pictures.read(stored(Image.fromarray(PHOTO), "PNG"), max_pixels=700)


def test_claims_that_pillow_does_not_open() -> None:
    """Found by fuzzing: a WebP file that says it is 16,777,216 pixels wide."""
    data = bytearray(stored(Image.new("RGB", (8, 8)), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"))
    canvas = data.index(b"VP8X") + 12
    data[canvas : canvas + 6] = b"\xff\xff\xff\xff\0\0"
    with pytest.raises(JpegError, match=r"^<bytes>: has 16777216×256 = .* more than max_pixels"):
        pictures.read(bytes(data))
    with pytest.raises(JpegError, match="has more pixels than can be read of WebP; save it as PNG"):
        pictures.read(bytes(data), max_pixels=None)


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"exif": Image.Exif().tobytes()}], ids=["lossy", "not", "x"]
)
def test_webp_claims_are_read_without_the_file(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(stored(Image.new("RGB", (300, 5)), "WEBP", **options)[:30])
    assert pictures.claimed_pixels(tmp_path / "a.webp") == 1500
    with pytest.raises(JpegError, match="has 300×5 = 1,500 pixels, more than max_pixels=1,499"):
        pictures.read(tmp_path / "a.webp", max_pixels=1499)


def test_more_text_than_pillow_reads_is_told() -> None:
    data = stored(Image.fromarray(PHOTO), "PNG", icc_profile=bytes(1_500_000))
    with pytest.raises(
        JpegError, match="has a colour profile or text of more than a million bytes"
    ):
        pictures.read(data)


def test_exif_in_a_text_of_png() -> None:
    """As ImageMagick wrote it."""
    tags = Image.Exif()
    tags[DESCRIPTION], tags[274] = "a description", 6
    block = tags.tobytes()
    text = PngImagePlugin.PngInfo()
    digits = "\n".join(textwrap.wrap(block.hex(), 72))
    text.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{digits}\n", zip=True)
    assert picture_of(stored(Image.fromarray(PHOTO), "PNG", pnginfo=text)).exif == block
    text.add_text("Raw profile type exif", "\nexif\n4\nno digits\n")
    assert picture_of(stored(Image.fromarray(PHOTO), "PNG", pnginfo=text)).exif is None


@pytest.mark.parametrize("name", ["png", "png16", "tiff", "tiff16", "tiff32f", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_opacity_is_written(name: str, channels: int, tmp_path: Path) -> None:
    kind = FORMATS[name]
    source = pictures.of_array(np.dstack([PHOTO[..., :channels], ALPHA]))
    path = tmp_path / f"a{kind.suffix}"
    writer.write(path, pictures.pixels(source, kind.depth), kind, file=source, quality=100)
    white = writer.LARGEST[kind.depth]
    if name.startswith("tiff"):
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            assert [int(each) for each in page.extrasamples] == [2]  # not multiplied into colours
            samples = page.asarray()
        np.testing.assert_allclose(samples[..., -1] / white * 255, ALPHA, atol=1e-3)
        np.testing.assert_allclose(
            samples[..., :-1] / white * 255, PHOTO[..., :channels], atol=1e-3
        )
        return
    with Image.open(path) as image:
        image.load()
        # Pillow has no gray of 8 bits with opacity for the last two.
        assert image.mode == ("RGBA" if channels == 3 or name in ("webp", "png16") else "LA")
        np.testing.assert_array_equal(np.asarray(image)[..., -1], ALPHA)


def test_jpeg_has_no_opacity(tmp_path: Path) -> None:
    source = pictures.of_array(np.dstack([PHOTO, ALPHA]))
    with pytest.raises(OutputError, match="jpg has no transparency; choose another format"):
        writer.write(tmp_path / "a.jpg", pictures.pixels(source), FORMATS["jpeg"], file=source)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array", [PHOTO.astype(float), PHOTO[:0], PHOTO[0, 0], np.zeros((4, 4, 5), np.uint8)]
)
def test_arrays_that_are_no_pictures(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a picture"):
        pictures.of_array(array)


def test_a_palette_that_is_not_there(tmp_path: Path) -> None:
    """Pillow stops at an assertion of its own."""
    stream = io.BytesIO()
    Image.fromarray(make_photo(8, 8)).quantize(4).save(stream, "PNG")
    whole = stream.getvalue()
    start = whole.index(b"PLTE") - 4
    (length,) = struct.unpack_from(">I", whole, start)
    path = tmp_path / "none.png"
    path.write_bytes(whole[:start] + whole[start + 12 + length :])
    with pytest.raises(JpegError, match=r"none\.png: does not decode as PNG"):
        pictures.read(path)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_transparent_level_of_gray(bits: int) -> None:
    """Told in the samples' own depth (PNG, clause 11.3.2.1)."""
    levels = np.arange(32).reshape(4, 8) % 2**bits
    rows = "".join("0" * 8 + "".join(f"{level:0{bits}b}" for level in row) for row in levels)
    data = int(rows, 2).to_bytes(len(rows) // 8, "big")

    def chunk(kind: bytes, body: bytes) -> bytes:
        told = kind + body
        return struct.pack(">I", len(body)) + told + struct.pack(">I", zlib.crc32(told))

    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 4, bits, 0, 0, 0, 0))
    file += chunk(b"tRNS", struct.pack(">H", 1))
    file += chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    picture = pictures.read(file)
    assert isinstance(picture, Picture)
    np.testing.assert_array_equal(picture.samples, levels * (255 // (2**bits - 1)))
    np.testing.assert_array_equal(picture.alpha, np.where(levels == 1, 0, 255))


@pytest.mark.parametrize(
    ("tags", "turns"),
    [({}, False), ({274: 9}, False), ({274: "6"}, False), ({274: 6}, True), ({700: XMP}, True)],
    ids=["none", "nonsense", "text", "tag", "XMP"],
)
def test_a_density_is_turned_as_its_picture_is(tags: dict[int, Any], turns: bool) -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ({282: 300.0, 283: 150.0, 296: 2} | tags).items():
        if isinstance(value, str):
            directory.tagtype[tag] = TiffTags.ASCII
        directory[tag] = value
    picture = picture_of(stored(Image.fromarray(PHOTO), "TIFF", tiffinfo=directory))
    assert picture.samples.shape[:2] == ((31, 23) if turns else (23, 31))
    assert picture.resolution == ((150, 300) if turns else (300, 150))


def test_gray_that_is_multiplied_by_its_opacity() -> None:
    image = Image.merge("LA", [Image.fromarray(each) for each in (PHOTO[..., 0], ALPHA)])
    picture = pictures.of_image(image.convert("La"))
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    seen = ALPHA == 255
    np.testing.assert_array_equal(picture.samples[seen], PHOTO[..., 0][seen])


def test_a_turned_tiff_tells_its_sides_as_they_are(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags.get_ifd(0x8769).update({0xA002: 40, 0xA003: 24})
    Image.fromarray(make_photo(24, 40)).save(tmp_path / "a.tif", exif=tags.tobytes())
    picture = pictures.read(tmp_path / "a.tif")
    assert (picture.height, picture.width) == (40, 24)
    kept = Image.Exif()
    kept.load(picture.exif)
    held = kept.get_ifd(0x8769)
    assert (held[0xA002], held[0xA003]) == (24, 40)
