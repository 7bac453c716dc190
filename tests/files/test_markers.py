"""Layouts of Pillow's and of hand-made files; codes alone decode to the same picture."""

import io

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image

from hrcnn_jax.files import markers
from hrcnn_jax.files.markers import Layout, MarkerError

PHOTO = make_photo(61, 83)
SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def walk(data: bytes, *, most_scans: int = 100) -> Layout:
    return markers.walk(data, most_scans=most_scans)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def segment(marker: int, content: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2) + content


def frame(*parts: tuple[int, int, int], kind: int = 0xC0, size: tuple[int, int] = (8, 8)) -> bytes:
    """A frame's header; parts are numbers and sampling factors."""
    sides = b"".join(side.to_bytes(2) for side in size)
    told = b"".join(bytes([number, 16 * across + down, 0]) for number, across, down in parts)
    return segment(kind, b"\x08" + sides + bytes([len(parts)]) + told)


def scan(*numbers: int, band: tuple[int, int] = (0, 63), high: int = 0, low: int = 0) -> bytes:
    told = b"".join(bytes([number, 0]) for number in numbers)
    return segment(0xDA, bytes([len(numbers)]) + told + bytes([*band, 16 * high + low]))


GRAY = SOI + frame((1, 1, 1))


# libjpeg's own script of progression has ten scans in colour and six in gray (jcparam.c).
@pytest.mark.parametrize(
    ("picture", "options", "scans"),
    [
        (PHOTO, {}, 1),
        (PHOTO, {"progressive": True}, 10),
        (PHOTO[..., 0], {"progressive": True}, 6),
        (PHOTO, {"restart_marker_blocks": 1}, 1),
    ],
)
def test_layouts_of_pillows_files(picture: np.ndarray, options: dict, scans: int) -> None:
    data = jpeg_bytes(picture, quality=95, **options)
    layout = walk(data + b"another file" + EOI)
    assert len(layout.scans) == scans
    assert (layout.ended, layout.end) == (True, len(data))
    assert (layout.frame.height, layout.frame.width) == (61, 83)
    assert layout.frame.progressive == ("progressive" in options)
    assert not layout.frame.arithmetic
    assert markers.out_of_order(layout) is None
    assert not markers.too_few_bytes(layout)


def test_what_only_looks_like_markers_is_passed_over() -> None:
    """In segments, in data (stuffed zeros, restarts, fillings), and between segments."""
    fake = b"\xff\xd9\xff\xda\xff\xdb"
    coded = b"\x12\xff\x00\xd9\xff\xd0\x34\xff\xd7\x56\xff\xff"
    data = SOI + segment(0xFE, fake) + b"junk" + frame((1, 1, 1)) + scan(1) + coded + EOI
    layout = walk(data + fake)
    assert [each.marker for each in layout.segments] == [0xFE, 0xC0, 0xDA]
    assert (layout.end, layout.ended) == (len(data), True)
    assert layout.scans[0].size == len(coded)


def test_files_that_break_off() -> None:
    whole = GRAY + scan(1) + bytes(9)
    for rest in (b"", b"\xff", scan(9), SOI, b"\xff\x59", b"\xff\xfe", b"\xff\xfe\0\x09abc"):
        layout = walk(whole + rest)
        assert not layout.ended
        assert layout.scans[0].size == 9 + (rest == b"\xff")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SOI, "no picture follows it"),
        (GRAY, "no picture follows it"),
        (SOI + scan(1), "a scan before its frame"),
        (GRAY + frame((1, 1, 1)) + scan(1), "more than one frame"),
        (GRAY + scan(1) + segment(0xDB) + EOI, "defines tables between its scans"),
        (GRAY + 101 * scan(1), "more than 100 scans"),
        (GRAY + 10_001 * segment(0xE1), "more than 10,000 segments"),
        (GRAY + scan(2) + EOI, "damaged scan header"),
        (GRAY + segment(0xDA) + EOI, "damaged scan header"),
        (GRAY + segment(0xDA, bytes(4)) + EOI, "damaged scan header"),
        (SOI + segment(0xC0, b"\x08") + scan(1), "its frame"),
        (SOI + frame((1, 0, 1)) + scan(1), "sampling"),
        (SOI + frame((1, 5, 1)) + scan(1), "sampling"),
        (SOI + frame((1, 1, 1), (2, 1, 1)) + scan(1), "has 2 components"),
        (SOI + frame((1, 1, 1), (1, 1, 1), (2, 1, 1)) + scan(1), "of one number"),
        (SOI + frame((1, 3, 1), (2, 2, 1), (3, 1, 1)) + scan(1), "fractional sampling"),
        (SOI + frame((1, 1, 1), size=(0, 8)) + scan(1), "8×0 pixels"),
        (SOI + frame((1, 1, 1), kind=0xC3) + scan(1), "is a lossless JPEG"),
        (SOI + frame((1, 1, 1), kind=0xC6) + scan(1), "is a hierarchical JPEG"),
        (SOI + segment(0xDE) + scan(1), "is a hierarchical JPEG"),
        (SOI + segment(0xC0, b"\x0c\0\x08\0\x08\1\1\x11\0") + scan(1), "is a 12-bit JPEG"),
    ],
)
def test_what_is_no_picture(data: bytes, message: str) -> None:
    with pytest.raises(MarkerError, match=message):
        walk(data)


def test_blocks_of_a_scan() -> None:
    """Worked out by hand from T.81 A.2: 61 rows and 83 columns, chroma of 31 and 42."""
    layout = walk(jpeg_bytes(PHOTO, subsampling="4:2:0"))
    first, second, third = (part.number for part in layout.frame.parts)
    assert layout.frame.blocks((first, second, third)) == 4 * 6 * (4 + 1 + 1)
    assert layout.frame.blocks((first,)) == 8 * 11
    assert layout.frame.blocks((second,)) == 4 * 6
    assert layout.frame.blocks((second, third)) == 4 * 6 * 2


@pytest.mark.parametrize("kind", [0xC0, 0xC2])
def test_fewer_bits_than_blocks_can_have(kind: int) -> None:
    """80 × 80 pixels are 100 blocks: two bits each, or one where only means are sent.

    Later scans of progression may have none, as these of a code's next bit.
    """
    head = SOI + frame((1, 1, 1), kind=kind, size=(80, 80))
    band = (0, 63) if kind == 0xC0 else (0, 0)
    fewest = 25 if kind == 0xC0 else 13
    for size in (fewest - 1, fewest):
        layout = walk(head + scan(1, band=band) + bytes(size) + EOI)
        assert markers.too_few_bytes(layout) == (size < fewest)
    later = head + scan(1, band=band) + bytes(25) + scan(1, band=band, high=1) + EOI
    assert markers.too_few_bytes(walk(later)) == (kind == 0xC0)
    arithmetic = SOI + frame((1, 1, 1), kind=0xC9, size=(80, 80))
    assert not markers.too_few_bytes(walk(arithmetic + scan(1) + EOI))


@pytest.mark.parametrize(
    ("kind", "scans", "wrong"),
    [
        (0xC0, [scan(1)], None),
        (0xC0, [scan(1, band=(5, 7), low=3)], None),  # passed over, as libjpeg does
        (0xC0, [scan(1), scan(1)], "twice"),
        (0xC2, [scan(1, band=(0, 0)), scan(1, band=(1, 63))], None),
        (0xC2, [scan(1, band=(0, 0))], "missing"),
        (0xC2, [scan(1, band=(0, 0)), scan(1, band=(1, 62))], "missing"),
        (0xC2, [scan(1, band=(0, 0), low=1), scan(1, band=(1, 63))], "missing"),
        (
            0xC2,
            [scan(1, band=(0, 0), low=1), scan(1, band=(0, 0), high=1), scan(1, band=(1, 63))],
            None,
        ),
        (0xC2, [scan(1, band=(0, 0), high=1), scan(1, band=(1, 63))], "disorder"),
        (0xC2, [scan(1, band=(0, 0)), scan(1, band=(0, 0))], "disorder"),
        (0xC2, [scan(1, band=(0, 0), low=2), scan(1, band=(0, 0), high=1)], "disorder"),
    ],
)
def test_order_of_scans(kind: int, scans: list[bytes], wrong: str | None) -> None:
    layout = walk(SOI + frame((1, 1, 1), kind=kind) + b"".join(scans) + EOI)
    told = markers.out_of_order(layout)
    assert told is None if wrong is None else told is not None and wrong in told


def test_components_without_a_scan() -> None:
    data = SOI + frame((1, 1, 1), (2, 1, 1), (3, 1, 1)) + scan(1, 2) + EOI
    assert markers.out_of_order(walk(data)) == "scans are missing"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"keep_rgb": True}])
def test_codes_alone_are_the_same_picture(options: dict) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = jpeg_bytes(
        PHOTO, dpi=(300, 300), exif=exif, icc_profile=bytes(70_000), comment=EOI, **options
    )
    codes = markers.codes_only(data + b"rest", walk(data + b"rest"))
    np.testing.assert_array_equal(pixels(codes), pixels(data))
    assert len(codes) < len(data) - 70_000
    assert b"a description" not in codes
    with Image.open(io.BytesIO(markers.header(data, walk(data)))) as told:
        assert (told.info["comment"], told.info["dpi"]) == (EOI, (300, 300))
        assert told.info["icc_profile"] == bytes(70_000)


@pytest.mark.parametrize("transform", [0, 1, 2, 7])
def test_colours_of_adobes_transforms_stay(transform: int) -> None:
    inks = io.BytesIO()
    Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]]), "CMYK").save(inks, "JPEG")
    for data in (inks.getvalue(), jpeg_bytes(PHOTO, keep_rgb=True)):
        at = data.index(b"Adobe") + 11
        odd = data[:at] + bytes([transform]) + data[at + 1 :]
        np.testing.assert_array_equal(pixels(markers.codes_only(odd, walk(odd))), pixels(odd))


def test_frames_from_first_bytes() -> None:
    data = jpeg_bytes(PHOTO)
    found = markers.frame_of(data[: data.index(b"\xff\xda")])
    assert found is not None
    assert (found.width, found.height) == (83, 61)
    assert markers.frame_of(data[:30]) is None
    assert markers.frame_of(SOI + segment(0xC0, b"\x08")) is None
