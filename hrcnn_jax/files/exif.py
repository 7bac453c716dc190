"""The little of EXIF that a picture turned upright has to change, byte by byte in its place.

An EXIF block is a small TIFF file: a header, and directories of 12-byte entries that point at each
other by offset. Everything that is not changed stays where it was, makers' private notes included,
which no one could move. A damaged block is left as it is.

Source: CIPA DC-008 (EXIF 2.32), clauses 4.5 and 4.6; TIFF 6.0, section 2.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Order = Literal["<", ">"]
"""Least or most significant byte first."""

SIGNATURE = b"Exif\0\0"

ORIENTATION = 0x0112
RESOLUTION_UNIT = 0x0128
EXIF_DIRECTORY = 0x8769

_RATIONAL = 5
_WHOLE = {3: "H", 4: "I"}
"""TIFF's types of whole numbers. Orientations should be of the first; some are of the second."""
_BYTES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), start=1))
"""Of a value, by TIFF's types, from bytes to doubles, and to directories (Adobe's type 13)."""
_ENTRY = "HHI4s"  # tag, type, count, value or its offset
_ENTRY_BYTES = 12

_DIRECTORIES = {EXIF_DIRECTORY, 0x8825, 0xA005}  # EXIF's own, GPS, interoperability
_SHAPES = {
    **dict.fromkeys((0x011A, 0x011B), (_RATIONAL, 1)),
    RESOLUTION_UNIT: (3, 1),
    0x0129: (3, 2),
    0x013E: (_RATIONAL, 2),
    0x013F: (_RATIONAL, 6),
}
"""Type and count of what tells densities, their unit, a page's number, white and primaries."""

_INCHES = 2
_UNITS = {_INCHES: 1.0, 3: 2.54}
"""Of resolutions: how many there are to the inch. A third, 1, has no length."""

_DENSITIES = 0x011A, 0x011B
_FINEST = 10_000
"""Parts of a pixel that a resolution is told in, at most."""

_PAIRS = ((0x0100, 0x0101), _DENSITIES, (0xA002, 0xA003))
"""Width and height: of the picture, of a pixel's density, of the picture once more. A quarter turn
exchanges them."""


_TIFFS_OWN = range(254, 700)
"""Tags of how pictures and their thumbnails are stored. Of these, EXIF's have new ones..."""
_TAKEN_OVER = {269, 270, 271, 272, 282, 283, 285, 296, 297, 305, 306, 315, 316, 318, 319}
"""...but for what tells where a picture comes from, its density, and its white and primaries."""

_KEPT_ELSEWHERE = {700, 34377, 34675, 37724, 50255}
"""Tags of TIFF files that are no part of an EXIF block, as XMP and colour profile, or belong to the
picture as it was, as Photoshop's layers and notes."""
_JPEG_XRS_OWN = range(0xBC01, 0xBCC6)
"""Tags of how JPEG XR stores pictures (ITU-T T.832, annex A): by these programs tell its files."""


@dataclass(frozen=True)
class Entry:
    """A directory's entry.

    Attributes:
      at: where its 12 bytes start.
      tag: what it tells.
      kind: TIFF's data type.
      count: how many values it has.
      value: the values if they fit in these 4 bytes, otherwise their offset.
    """

    at: int
    tag: int
    kind: int
    count: int
    value: bytes


def tells_of_the_picture(tag: int) -> bool:
    """Whether an entry of a first directory tells something else than how a file stores it."""
    elsewhere = tag in _TIFFS_OWN or tag in _JPEG_XRS_OWN or tag in _KEPT_ELSEWHERE
    return tag in _TAKEN_OVER or not elsewhere


def byte_order(tiff: bytes) -> Order:
    """Of all numbers in a block, as `struct` has it.

    Raises:
      ValueError: if the block does not start as a TIFF file.
    """
    if tiff[:4] == b"II*\0":
        return "<"
    if tiff[:4] == b"MM\0*":
        return ">"
    raise ValueError("not a TIFF structure")


def first_directory(tiff: bytes) -> int:
    """Where the first directory starts.

    Raises:
      ValueError: if the block is damaged.
    """
    return _unpack(tiff, byte_order(tiff) + "I", 4)[0]


def directory(tiff: bytes, start: int) -> list[Entry]:
    """The entries of the directory at an offset, as far as the block goes.

    Raises:
      ValueError: if the block is damaged before the first of them.
    """
    order = byte_order(tiff)
    first = start + 2
    whole = max(len(tiff) - first, 0) // _ENTRY_BYTES
    places = [first + _ENTRY_BYTES * index for index in range(min(_count(tiff, start), whole))]
    return [Entry(at, *_unpack(tiff, order + _ENTRY, at)) for at in places]


def is_sound(tiff: bytes, entry: Entry) -> bool:
    """Whether an entry has values, of a type that there is, all of them in the block.

    What has a unit or a position gives it as it should, and a directory that is linked is there:
    programs that read pictures stumble over these.
    """
    size = entry.count * _BYTES.get(entry.kind, 0)
    (place,) = struct.unpack(byte_order(tiff) + "I", entry.value)
    if size == 0 or (size > len(entry.value) and place + size > len(tiff)):
        return False
    if entry.tag in _DIRECTORIES:
        try:
            return entry.count == 1 and bool(directory(tiff, place))
        except ValueError:
            return False
    if (entry.kind, entry.count) != _SHAPES.get(entry.tag, (entry.kind, entry.count)):
        return False
    return entry.tag != RESOLUTION_UNIT or _short(tiff, entry) in (1, *_UNITS)


def _count(tiff: bytes, start: int) -> int:
    """How many entries a directory says it has."""
    return _unpack(tiff, byte_order(tiff) + "H", start)[0]


def orientation(exif: bytes | None) -> int:
    """How the stored picture has to be turned, 1 (not at all) to 8; 1 if that is not told."""
    try:
        tiff = _tiff(exif)
        for entry in directory(tiff, first_directory(tiff)):
            if entry.tag == ORIENTATION and entry.kind in _WHOLE:
                (value,) = struct.unpack_from(byte_order(tiff) + _WHOLE[entry.kind], entry.value)
                return value if 1 <= value <= 8 else 1
    except ValueError:
        pass
    return 1


def resolution(exif: bytes | None) -> tuple[float, float] | None:
    """Pixels per inch, `(horizontal, vertical)`; None if that is not told."""
    try:
        tiff = _tiff(exif)
        order = byte_order(tiff)
        entries = {entry.tag: entry for entry in directory(tiff, first_directory(tiff))}
        found = [_rational(tiff, order, entries[tag]) for tag in _DENSITIES]
        unit = entries.get(RESOLUTION_UNIT)
        per_inch = _UNITS[_INCHES if unit is None else _short(tiff, unit)]
    except (ValueError, KeyError, ZeroDivisionError):
        return None
    return (found[0] * per_inch, found[1] * per_inch) if min(found) > 0 else None


def with_resolution(exif: bytes, resolution: tuple[float, float]) -> bytes:
    """An EXIF block that tells pixels per inch, `(horizontal, vertical)`, beside what it told.

    The first directory is written once more, at the end, and all that it points at stays where it
    is. A damaged block is left as it is.
    """
    try:
        tiff = _tiff(exif)
        order, start = byte_order(tiff), first_directory(tiff)
        kept = {each.tag: tiff[each.at : each.at + _ENTRY_BYTES] for each in directory(tiff, start)}
        (link,) = _unpack(tiff, order + "I", start + 2 + _ENTRY_BYTES * _count(tiff, start))
    except ValueError:
        return exif
    body = tiff + bytes(len(tiff) % 2)  # directories begin at even places
    for tag, value in zip(_DENSITIES, resolution, strict=True):
        fraction = Fraction(value).limit_denominator(_FINEST)
        kept[tag] = struct.pack(order + "HHII", tag, _RATIONAL, 1, len(body))
        body += struct.pack(order + "II", *fraction.as_integer_ratio())
    kept[RESOLUTION_UNIT] = struct.pack(order + "HHIHH", RESOLUTION_UNIT, 3, 1, _INCHES, 0)
    entries = b"".join(kept[tag] for tag in sorted(kept))
    again = struct.pack(order + "H", len(kept)) + entries + struct.pack(order + "I", link)
    return SIGNATURE + tiff[:4] + struct.pack(order + "I", len(body)) + body[8:] + again


def upright(exif: bytes | None) -> bytes | None:
    """The EXIF block of a picture after it was turned as `orientation` says.

    Orientations become 1, widths and heights change places in a quarter turn. The link to the
    thumbnail, which still lies as the picture lay, is cut.
    """
    turn = orientation(exif)
    if exif is None or turn == 1:
        return exif
    tiff = _tiff(exif)
    turned, order = bytearray(tiff), byte_order(tiff)
    # The first directory last: damaged ones may overlap it, and it is what tells orientations.
    for start in reversed(list(_directories(tiff))):
        found = directory(tiff, start)
        entries = {entry.tag: entry for entry in found}
        if turn >= 5:
            for one, other in _PAIRS:
                if one in entries and other in entries:
                    _exchange(turned, entries[one], entries[other])
        for entry in found:
            if entry.tag == ORIENTATION and entry.kind in _WHOLE:
                struct.pack_into(order + _WHOLE[entry.kind], turned, entry.at + 8, 1)
    start = first_directory(tiff)
    link = start + 2 + _ENTRY_BYTES * _count(tiff, start)
    turned[link : link + 4] = bytes(len(turned[link : link + 4]))
    return SIGNATURE + bytes(turned)


def _tiff(exif: bytes | None) -> bytes:
    if exif is None or not exif.startswith(SIGNATURE):
        raise ValueError("no EXIF block")
    return exif[len(SIGNATURE) :]


def _unpack(tiff: bytes, layout: str, at: int) -> tuple:
    try:
        return struct.unpack_from(layout, tiff, at)
    except struct.error as error:
        raise ValueError(f"ends before byte {at}") from error


def _directories(tiff: bytes) -> Iterator[int]:
    """Offsets of the first directory and of the one of EXIF's own tags."""
    start = first_directory(tiff)
    yield start
    for entry in directory(tiff, start):
        if entry.tag == EXIF_DIRECTORY:
            (inner,) = struct.unpack(byte_order(tiff) + "I", entry.value)
            try:
                directory(tiff, inner)
            except ValueError:
                continue
            yield inner


def _short(tiff: bytes, entry: Entry) -> int:
    return struct.unpack_from(byte_order(tiff) + "H", entry.value)[0]


def _rational(tiff: bytes, order: str, entry: Entry) -> float:
    if entry.kind != _RATIONAL:
        raise ValueError("a resolution that is no fraction")
    (offset,) = struct.unpack(order + "I", entry.value)
    over, under = _unpack(tiff, order + "II", offset)
    return over / under


def _exchange(tiff: bytearray, one: Entry, other: Entry) -> None:
    """Exchanges two entries' types, counts and values, or the offsets of these."""
    first = bytes(tiff[one.at + 2 : one.at + 12])
    tiff[one.at + 2 : one.at + 12] = tiff[other.at + 2 : other.at + 12]
    tiff[other.at + 2 : other.at + 12] = first
