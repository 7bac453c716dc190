"""PNG files of 16 bits a sample, which Pillow writes in gray only.

Source: PNG specification, third edition (W3C), clauses 9 and 11.
"""

import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.exif import SIGNATURE

_INCH = 0.0254  # metres
_GRAY, _RGB, _ALPHA = 0, 2, 4  # colour types, and what opacity adds to them
_ROWS = 64  # filtered and compressed at once


def write(
    stream: BinaryIO,
    picture: NDArray[np.uint16],
    *,
    exif: bytes | None = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
    resolution: tuple[float, float] | None = None,
    has_alpha: bool = False,
) -> None:
    """Writes a picture as PNG.

    Args:
      stream: where to.
      picture: `(H, W)` gray or `(H, W, 3)` RGB, uint16; one channel more with opacity.
      exif: an EXIF block with its signature.
      icc: a colour profile.
      xmp: an XMP packet.
      resolution: pixels per inch, `(horizontal, vertical)`.
      has_alpha: whether the last channel is opacity.
    """
    height, width = picture.shape[:2]
    samples = 1 if picture.ndim == 2 else picture.shape[2]
    colour_type = (_GRAY if samples - has_alpha == 1 else _RGB) + _ALPHA * has_alpha
    stream.write(b"\x89PNG\r\n\x1a\n")
    _chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    if icc:
        _chunk(stream, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if resolution:
        per_metre = (round(each / _INCH) for each in resolution)
        _chunk(stream, b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if exif:
        _chunk(stream, b"eXIf", exif.removeprefix(SIGNATURE))
    if xmp:
        _chunk(stream, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    pixel = 2 * samples
    above = np.zeros((1, pixel * width), np.uint8)
    compress = zlib.compressobj()
    for top in range(0, height, _ROWS):
        samples = picture[top : top + _ROWS].astype(">u2", order="C")
        rows = samples.reshape(len(samples), -1).view(np.uint8)
        _chunk(stream, b"IDAT", compress.compress(filtered(rows, above, pixel).tobytes()))
        above = rows[-1:]
    _chunk(stream, b"IDAT", compress.flush())
    _chunk(stream, b"IEND", b"")


def filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], pixel: int) -> NDArray[np.uint8]:
    """Rows as differences from what is known before them (clause 9).

    Each row gets the filter that leaves the least sum of absolute differences, the specification's
    rule of thumb.

    Args:
      rows: `(n, m)`, the bytes of n rows.
      above: `(1, m)`, the row before them.
      pixel: bytes a pixel.

    Returns:
      `(n, 1 + m)`: in front of each row the number of its filter.
    """
    up = np.concatenate([above, rows[:-1]])
    left, corner = _moved(rows, pixel), _moved(up, pixel)
    average = ((left.astype(np.uint16) + up) // 2).astype(np.uint8)
    predictions = (left, up, average, _paeth(left, up, corner))
    differences = np.stack([rows - prediction for prediction in predictions])
    cost = np.abs(differences.view(np.int8).astype(np.int16)).sum(-1, dtype=np.int64)
    best = cost.argmin(0)
    chosen = differences[best, np.arange(len(rows))]
    return np.concatenate([(best[:, None] + 1).astype(np.uint8), chosen], axis=1)


def _moved(rows: NDArray[np.uint8], pixel: int) -> NDArray[np.uint8]:
    """Each byte's counterpart in the pixel to its left, zero before the first."""
    moved = np.zeros_like(rows)
    moved[:, pixel:] = rows[:, :-pixel]
    return moved


def _paeth(
    left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Of three neighbours the one nearest to `left + up - corner` (clause 9.4)."""
    a, b, c = (each.astype(np.int16) for each in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest: Any = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)


def _chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + kind + content)
    stream.write(struct.pack(">I", zlib.crc32(kind + content)))
