"""TIFF files of 8-bit, 16-bit and float samples: gray, RGB, CMYK, transparency; with EXIF intact.

An EXIF block is a TIFF file without a picture. Here it becomes the beginning of one: its bytes come
first, so that every offset in it stays right, and a new first directory at the end takes over its
entries and adds those of the picture.

Source: TIFF 6.0, sections 2, 8, 14 (predictor), 16 (CMYK) and 18 (alpha); Adobe's Photoshop TIFF
Technical Notes (deflate); TIFF Technical Note for ICC profiles; XMP part 3 (tag 700).
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

from numpy.typing import NDArray

from hrcnn_jax.files import exif as blocks

_STRIP_BYTES = 1 << 20

_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_LETTERS = {_BYTE: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", _UNDEFINED: "B"}

_PHOTOMETRIC = {1: 1, 3: 2, 4: 5}  # gray, RGB and inks, by their number of samples
_DEFLATE, _HORIZONTAL, _NO_PREDICTOR = 8, 2, 1
_OPACITY = 2
_SAMPLE_FORMAT = {"u": 1, "f": 3}


def write(
    stream: BinaryIO,
    picture: NDArray[Any],
    *,
    exif: bytes | None = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
    resolution: tuple[float, float] | None = None,
    has_alpha: bool = False,
) -> None:
    """Writes a picture as TIFF, deflated.

    Args:
      stream: where to, from its beginning on; seekable.
      picture: `(H, W)` gray, `(H, W, 3)` RGB or `(H, W, 4)` CMYK; uint8, uint16 or float32;
        one channel more with opacity.
      exif: an EXIF block with its signature; what is damaged in it is left out.
      icc: a colour profile.
      xmp: an XMP packet.
      resolution: pixels per inch, `(horizontal, vertical)`; the EXIF block's if not given.
      has_alpha: whether the last channel is opacity, not multiplied into the others.

    Raises:
      ValueError: if the file would be larger than the 4 GiB that TIFF can address.
    """
    block, entries = _beginning(exif)
    order = blocks.byte_order(block)
    samples = 1 if picture.ndim == 2 else picture.shape[2]
    height, width = picture.shape[:2]
    rows = max(1, _STRIP_BYTES // (width * samples * picture.itemsize))
    stream.write(block)
    places, sizes = [], []
    for top in range(0, height, rows):
        strip = _packed(picture[top : top + rows], order)
        places.append(_place(stream))
        sizes.append(stream.write(strip))
    whole = picture.dtype.kind == "u"
    told: dict[int, tuple[int, Sequence[int] | bytes]] = {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [8 * picture.itemsize] * samples),
        259: (_SHORT, [_DEFLATE]),
        262: (_SHORT, [_PHOTOMETRIC[samples - has_alpha]]),
        273: (_LONG, places),
        274: (_SHORT, [1]),
        277: (_SHORT, [samples]),
        278: (_LONG, [rows]),
        279: (_LONG, sizes),
        284: (_SHORT, [1]),
        317: (_SHORT, [_HORIZONTAL if whole else _NO_PREDICTOR]),
        339: (_SHORT, [_SAMPLE_FORMAT[picture.dtype.kind]] * samples),
    }
    if has_alpha:
        told[338] = _SHORT, [_OPACITY]
    if resolution:
        for tag, density in zip((282, 283), resolution, strict=True):
            told[tag] = _RATIONAL, [round(1000 * density), 1000]
        told[296] = _SHORT, [2]
    if xmp:
        told[700] = _BYTE, xmp
    if icc:
        told[34675] = _UNDEFINED, icc
    for tag, (kind, values) in told.items():
        entries[tag] = _entry(stream, order, tag, kind, values)
    directory = _place(stream)
    stream.write(struct.pack(order + "H", len(entries)))
    stream.write(b"".join(entries[tag] for tag in sorted(entries)) + bytes(4))
    stream.seek(4)
    stream.write(struct.pack(order + "I", directory))


def _beginning(exif: bytes | None) -> tuple[bytes, dict[int, bytes]]:
    """The file's first bytes, and the entries to take over from them: those that are sound."""
    block = (exif or b"").removeprefix(blocks.SIGNATURE)
    try:
        order = blocks.byte_order(block)
        found = blocks.directory(block, blocks.first_directory(block))
    except ValueError:
        return b"II*\0\0\0\0\0", {}
    taken = {
        entry.tag: struct.pack(order + "HHI4s", entry.tag, entry.kind, entry.count, entry.value)
        for entry in found
        if blocks.tells_of_the_picture(entry.tag) and blocks.is_sound(block, entry)
    }
    return block, taken


def _packed(rows: NDArray[Any], order: blocks.Order) -> bytes:
    """Rows of whole numbers as differences from the pixel to the left, deflated."""
    if rows.dtype.kind == "u":
        differences = rows.copy()
        differences[:, 1:] -= rows[:, :-1]
        rows = differences
    return zlib.compress(rows.astype(rows.dtype.newbyteorder(order), order="C").tobytes())


def _entry(
    stream: BinaryIO, order: blocks.Order, tag: int, kind: int, values: Sequence[int] | bytes
) -> bytes:
    """A directory's entry; values that do not fit into it are written first."""
    content = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
    count = len(values) // 2 if kind == _RATIONAL else len(values)
    if len(content) > 4:
        place = _place(stream)
        stream.write(content)
        content = struct.pack(order + "I", place)
    return struct.pack(order + "HHI", tag, kind, count) + content.ljust(4, b"\0")


def _place(stream: BinaryIO) -> int:
    """Where the next bytes will stand: at an even offset, as TIFF wants it."""
    place = stream.tell()
    if place % 2:
        stream.write(b"\0")
        place += 1
    if place >= 2**32:
        raise ValueError("TIFF ends at 4 GiB; choose another format")
    return place
