"""Turning EXIF upright, against Pillow's reading of it."""

import io
import struct

import pytest
from PIL import ExifTags, Image

from hrcnn_jax.files import exif

ORIENTATION, WIDTH, HEIGHT, X_DENSITY, Y_DENSITY, UNIT = (
    0x0112,
    0x0100,
    0x0101,
    0x011A,
    0x011B,
    0x0128,
)
EXIF_DIRECTORY, PIXELS_ACROSS, PIXELS_DOWN, MAKER_NOTE = 0x8769, 0xA002, 0xA003, 0x927C
THUMBNAIL = ExifTags.IFD.IFD1


def block(orientation: int, *, big_endian: bool = False) -> bytes:
    """A camera's block, by Pillow: density, size, a maker's note."""
    tags = Image.Exif()
    tags.endian = ">" if big_endian else "<"
    tags[ORIENTATION] = orientation
    tags[WIDTH], tags[HEIGHT] = 640, 480
    tags[X_DENSITY], tags[Y_DENSITY], tags[UNIT] = 300.0, 150.0, 2
    tags[0x010E] = "a description"
    inner = tags.get_ifd(EXIF_DIRECTORY)
    inner[PIXELS_ACROSS], inner[PIXELS_DOWN] = 640, 480
    inner[MAKER_NOTE] = b"private, with offsets of its own"
    tags[EXIF_DIRECTORY] = dict(inner)
    return tags.tobytes()


def with_thumbnail(data: bytes) -> bytes:
    """A block of one directory, and after it a second one, as of a thumbnail."""
    tiff = bytearray(data[6:])
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    struct.pack_into(order + "I", tiff, start + 2 + 12 * count, len(tiff))
    tiff += struct.pack(order + "HHHIHHI", 1, ORIENTATION, 3, 1, 6, 0, 0)
    return b"Exif\0\0" + bytes(tiff)


def read(data: bytes | None) -> Image.Exif:
    assert data is not None
    tags = Image.Exif()
    tags.load(data)
    return tags


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientations_of_32_bits(order: str) -> None:
    """As some programs write them, and Pillow reads them."""
    header = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    entry = struct.pack(order + "HHHII", 1, ORIENTATION, 4, 1, 6)
    data = b"Exif\0\0" + header + entry + bytes(4)
    assert read(data)[ORIENTATION] == 6
    assert exif.orientation(data) == 6
    assert read(exif.upright(data))[ORIENTATION] == 1


def test_what_a_cut_off_block_still_holds() -> None:
    data = block(6)
    (start,) = struct.unpack_from("<I", data, 6 + 4)
    assert struct.unpack_from("<H", data, 6 + start)[0] > 4
    cut = data[: 6 + start + 2 + 12 * 4 + 5]  # four entries, orientation the last, and a piece
    assert exif.orientation(cut) == 6
    assert exif.orientation(exif.upright(cut)) == 1
    assert len(exif.upright(cut) or b"") == len(cut)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(orientation: int, big_endian: bool) -> None:
    data = block(orientation, big_endian=big_endian)
    assert exif.orientation(data) == orientation
    turned = exif.upright(data)
    assert turned is not None
    assert len(turned) == len(data)
    tags = read(turned)
    assert tags[ORIENTATION] == 1
    assert tags[0x010E] == "a description"
    quarter = orientation >= 5
    assert (tags[WIDTH], tags[HEIGHT]) == ((480, 640) if quarter else (640, 480))
    assert (tags[X_DENSITY], tags[Y_DENSITY]) == ((150, 300) if quarter else (300, 150))
    inner = tags.get_ifd(EXIF_DIRECTORY)
    assert (inner[PIXELS_ACROSS], inner[PIXELS_DOWN]) == ((480, 640) if quarter else (640, 480))
    note = b"private, with offsets of its own"
    assert turned.index(note) == data.index(note), "nothing moved"


def test_thumbnails_stay_with_pictures_that_are_not_turned() -> None:
    data = with_thumbnail(block(1))
    assert exif.upright(data) == data
    assert read(data).get_ifd(THUMBNAIL)[ORIENTATION] == 6
    assert not read(exif.upright(with_thumbnail(block(6)))).get_ifd(THUMBNAIL)


def test_resolution() -> None:
    assert exif.resolution(block(1)) == (300, 150)
    tags = Image.Exif()
    tags[X_DENSITY], tags[Y_DENSITY], tags[UNIT] = 100.0, 100.0, 3
    assert exif.resolution(tags.tobytes()) == pytest.approx((254, 254))
    tags[UNIT] = 1  # an aspect ratio, no length
    assert exif.resolution(tags.tobytes()) is None
    assert exif.resolution(None) is None
    del tags[UNIT]  # inches, then (TIFF 6.0, section 8)
    assert exif.resolution(tags.tobytes()) == (100, 100)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_resolution_is_added(big_endian: bool, known: bool) -> None:
    before = block(6, big_endian=big_endian)
    if not known:
        tags = read(before)
        for tag in (X_DENSITY, Y_DENSITY, UNIT):
            del tags[tag]
        tags[0x0131] = "an odd number of bytes"
        before = tags.tobytes()
    told, after = read(before), read(exif.with_resolution(before, (96.5, 1e-3)))
    added = {X_DENSITY: 96.5, Y_DENSITY: 1e-3, UNIT: 2, EXIF_DIRECTORY: told[EXIF_DIRECTORY]}
    assert dict(after) == dict(told) | added
    assert after.get_ifd(EXIF_DIRECTORY) == told.get_ifd(EXIF_DIRECTORY)
    with_both = exif.with_resolution(with_thumbnail(before), (72.0, 72.0))
    assert read(with_both).get_ifd(THUMBNAIL)[ORIENTATION] == 6
    assert exif.with_resolution(before[:20], (72.0, 72.0)) == before[:20]


def test_damage_is_left_as_it_is() -> None:
    """Cut anywhere, or a byte changed anywhere: no error, no other length."""
    whole = with_thumbnail(block(6))
    for end in range(len(whole)):
        cut = whole[:end]
        turned = exif.upright(cut)
        assert turned is not None
        assert len(turned) == end
        exif.resolution(cut)
    for at in range(6, len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        turned = exif.upright(changed)
        assert turned is not None
        assert len(turned) == len(whole)
        exif.resolution(changed)
    assert exif.orientation(io.BytesIO(b"no EXIF").getvalue()) == 1
    assert exif.upright(None) is None


@pytest.mark.parametrize(
    "others",
    [
        [(ORIENTATION, 3, 1, 8)],  # a second one
        [(WIDTH, 4, 1, 6), (HEIGHT, 4, 1, 5), (EXIF_DIRECTORY, 4, 1, 8)],  # the directory itself
        # A directory that begins within it: what is a height there is an orientation here.
        [(EXIF_DIRECTORY, 4, 1, 20), (WIDTH, 4, 1, 6), (HEIGHT, 4, 1, 5), (ORIENTATION, 3, 1, 8)],
    ],
)
def test_whatever_else_is_told_a_turned_picture_stands_upright(
    others: list[tuple[int, int, int, int]],
) -> None:
    """Found by fuzzing."""
    entries = [(ORIENTATION, 3, 1, 6), *others]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    tiff = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + packed + bytes(40)
    turned = exif.upright(exif.SIGNATURE + tiff)
    assert exif.orientation(exif.SIGNATURE + tiff) == 6
    assert exif.orientation(turned) == 1
    assert read(turned)[ORIENTATION] == 1, "Pillow takes the last"


@pytest.mark.parametrize(
    ("tag", "kind", "count", "value", "sound"),
    [
        (0x010E, 2, 4, b"abc\0", True),
        (0x010E, 2, 5, 8, True),
        (0x010E, 2, 5, 34, False),  # of 38 bytes
        (0x010E, 2, 0, 8, False),
        (0x010E, 0, 1, 8, False),
        (0x010E, 14, 1, 8, False),
        (0x010E, 7, 2**32 - 1, 8, False),
        (X_DENSITY, 5, 1, 8, True),
        (X_DENSITY, 5, 1, 31, False),
        (X_DENSITY, 3, 1, 300, False),
        (UNIT, 3, 1, 2, True),
        (UNIT, 3, 1, 1, True),
        (UNIT, 3, 1, 9, False),
        (UNIT, 2, 1, 2, False),
        (EXIF_DIRECTORY, 4, 1, 8, True),  # itself, for want of another
        (EXIF_DIRECTORY, 4, 1, 100, False),
        (EXIF_DIRECTORY, 4, 2, 8, False),
    ],
)
def test_sound_entries(tag: int, kind: int, count: int, value: int | bytes, sound: bool) -> None:
    content = value if isinstance(value, bytes) else value.to_bytes(4, "little")
    head = struct.pack("<2sHIHHHI4sI", b"II", 42, 8, 1, tag, kind, count, content, 0)
    tiff = head + bytes(38 - len(head))
    (entry,) = exif.directory(tiff, exif.first_directory(tiff))
    assert exif.is_sound(tiff, entry) == sound
