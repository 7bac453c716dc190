"""Reads JPEG files down to their quantised DCT codes; the only module that touches them.

Nothing is decoded to pixels here: a file is a picture's size, its colour space, and for each
component a grid of codes with the table that scales them. Pillow first checks that a file is a
whole JPEG, pyjpegio (libjpeg-turbo) then reads its codes. Safe to call from many threads.

Source: ITU-T T.81 (JPEG), clauses A.1.1, A.2.4 and B.2; libjpeg for the colour space.
"""

import io
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jpegio
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from hrcnn_jax.files.atomic import is_file

Colour = Literal["gray", "ycbcr", "rgb", "cmyk", "ycck"]

_COLOURS: dict[int, Colour] = {1: "gray", 2: "rgb", 3: "ycbcr", 4: "cmyk", 5: "ycck"}
"""libjpeg's ``J_COLOR_SPACE``, which it tells from JFIF and Adobe markers and component ids."""

_OTHER_FORMATS = {
    "PNG": rb"\x89PNG",
    "WebP": rb"RIFF....WEBP",
    "GIF": rb"GIF8",
    "TIFF": rb"II\*\0|MM\0\*",
    "BMP": rb"BM",
    "HEIC": rb"....ftyp(hei|hev|mif1|msf1)",
    "AVIF": rb"....ftypavi",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
    "JPEG-LS": rb"\xff\xd8\xff\xf7",
    "PDF": rb"%PDF",
}
"""First bytes, as patterns, of what is commonly mistaken for a JPEG."""

_START_OF_IMAGE = b"\xff\xd8\xff"  # and the first byte of the marker that has to follow
_END_OF_IMAGE = b"\xff\xd9"
_DEFINE_TABLES = b"\xff\xdb"
_START_OF_SCAN = b"\xff\xda"

MOST_SCANS = 500
"""Each of a progressive file's scans goes over the whole picture, however few bytes it has; real
files have some ten."""

MAX_PIXELS = 200_000_000
"""Larger pictures are refused unless asked for: a small file can claim to be enormous."""


class JpegError(ValueError):
    """A file that cannot be read as a JPEG; one line says which, what is wrong, what to do."""


@dataclass(frozen=True, eq=False)
class Component:
    """One colour component of a JPEG file, as stored.

    Attributes:
      codes: quantised DCT coefficients ``(hb, wb, 8, 8)`` int16 in natural order, ``[v, u]``
        (vertical, then horizontal frequency); ``hb, wb`` are ``size / 8`` rounded up.
      table: quantisation steps ``(8, 8)`` int32, 1-65535, in the order of the codes.
      sampling: the file's sampling factors ``(horizontal, vertical)``, 1-4.
      factor: how many times coarser than the picture, ``(down, across)``, 1-4.
      size: ``(height, width)`` in samples: the picture's, divided by the ratio of the largest
        sampling factor to this component's, rounded up (T.81 A.1.1).
    """

    codes: NDArray[np.int16]
    table: NDArray[np.int32]
    sampling: tuple[int, int]
    factor: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class JpegFile:
    """A JPEG file, as stored: not rotated by its EXIF orientation, not colour-managed.

    Attributes:
      name: its path as given, or ``<bytes>``.
      height: rows of the picture.
      width: columns of the picture.
      components: in the file's order, such as Y, Cb, Cr.
      colour: what the components mean. Inks of ``cmyk`` and ``ycck`` are taken as inverted, 0 for
        full ink, as all do that follow Adobe.
      progressive: whether it is coded in progressive scans.
      arithmetic: whether it is coded arithmetically, not by Huffman's method.
      restart_interval: MCUs between restart markers; 0 without any.
      exif: the EXIF block with its ``Exif`` signature, as Pillow's ``save(exif=...)`` takes it.
      icc: the ICC colour profile.
      xmp: the XMP packet; its extensions beyond 64 KB are left out.
      resolution: pixels per inch, ``(horizontal, vertical)``, as JFIF states them.
      comment: the last comment.
    """

    name: str
    height: int
    width: int
    components: tuple[Component, ...]
    colour: Colour
    progressive: bool
    arithmetic: bool
    restart_interval: int
    exif: bytes | None
    icc: bytes | None
    xmp: bytes | None
    resolution: tuple[float, float] | None
    comment: bytes | None


class _Picture(JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Not needed, and Pillow would warn of broken EXIF on the way."""


def _bytes_of(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise JpegError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise JpegError(f"{name}: is a folder; give the JPEG files in it") from None
    except OSError as error:
        raise JpegError(
            f"{name}: cannot be opened ({error.strerror}); check its name and its rights"
        ) from error


def _check_format(name: str, data: bytes) -> None:
    if not data:
        raise JpegError(f"{name}: is empty (0 bytes); fetch the file again")
    for other, pattern in _OTHER_FORMATS.items():
        if re.match(pattern, data, re.DOTALL):
            raise JpegError(f"{name}: is a {other} file, not a JPEG; give the original JPEG")
    if not data.startswith(_START_OF_IMAGE):
        raise JpegError(
            f"{name}: is not a JPEG (starts with {data[:4].hex(' ')}); give a JPEG file"
        )


def _check_size(name: str, size: tuple[int, int], max_pixels: int | None) -> None:
    width, height = size
    if max_pixels is not None and width * height > max_pixels:
        raise JpegError(
            f"{name}: has {width}×{height} = {width * height:,} pixels, more than "
            f"max_pixels={max_pixels:,}; raise it (--max-pixels) if you trust the file"
        )


def claimed_pixels(source: str | os.PathLike[str]) -> int:
    """How many pixels a file's header claims; 0 if that cannot be told. Decodes nothing.

    Nor does it look into pipes, which can be read but once.
    """
    if not is_file(Path(source)):
        return 0
    try:
        with _Picture(source) as picture:
            return picture.width * picture.height
    except (OSError, SyntaxError):
        return 0


def _check_decodes(
    name: str, data: bytes, max_pixels: int | None
) -> tuple[dict[int, list[int]], dict[Any, Any]]:
    """Decodes the file once with Pillow, since pyjpegio takes truncated files for whole ones.

    Returns:
      The quantisation tables by slot, in natural order, and the metadata.
    """
    stream = io.BytesIO(data)
    try:
        picture = _Picture(stream)
    except (OSError, SyntaxError) as error:
        raise JpegError(
            f"{name}: has a damaged or unsupported header ({error}); "
            "fetch it again or save it as an ordinary 8-bit JPEG"
        ) from error
    _check_size(name, picture.size, max_pixels)
    scans = stream.tell()
    end = data.find(_END_OF_IMAGE, scans)
    if data.count(_START_OF_SCAN, scans, end) >= MOST_SCANS:
        raise JpegError(f"{name}: has more than {MOST_SCANS} scans, as no honest file does")
    if data.find(_DEFINE_TABLES, scans, end) >= 0:
        # A table may then change from scan to scan, but only those of the first are told.
        raise JpegError(f"{name}: defines tables between its scans; save it as an ordinary JPEG")
    try:
        picture.load()
    except OSError as error:
        raise JpegError(
            f"{name}: does not decode ({error}); it is truncated, damaged, or of a rare kind "
            "(lossless, hierarchical, fractional sampling): fetch it again or save it anew"
        ) from error
    return picture.quantization, picture.info


def _coefficients(name: str, data: bytes) -> Any:
    # pyjpegio reads from a path only. A copy holds the very bytes that were checked, under a name
    # that any file system can spell.
    with tempfile.TemporaryDirectory(prefix="hrcnn-jax-") as folder:
        copy = Path(folder, "picture.jpg")
        try:
            copy.write_bytes(data)
        except OSError as error:
            raise JpegError(
                f"{name}: cannot be copied into {tempfile.gettempdir()} ({error.strerror}); "
                "make room there, or set TMPDIR to a folder that has some"
            ) from error
        try:
            return jpegio.read(str(copy))
        except RuntimeError as error:
            raise JpegError(f"{name}: its codes cannot be read ({error})") from error


def _component(name: str, coefficients: Any, index: int, tables: dict[int, list[int]]) -> Component:
    info = coefficients.comp_info[index]
    if 0 in tables.get(info.quant_tbl_no, [0]):
        raise JpegError(f"{name}: lacks a valid quantisation table for component {index}")
    plane = coefficients.coef_arrays[index]
    down, across = plane.shape[0] // 8, plane.shape[1] // 8
    return Component(
        codes=plane.reshape(down, 8, across, 8).swapaxes(1, 2).astype(np.int16, order="C"),
        table=np.array(tables[info.quant_tbl_no], np.int32).reshape(8, 8),
        sampling=(info.h_samp_factor, info.v_samp_factor),
        factor=(
            coefficients.max_v_samp_factor // info.v_samp_factor,
            coefficients.max_h_samp_factor // info.h_samp_factor,
        ),
        size=(info.downsampled_height, info.downsampled_width),
    )


def _resolution(density: tuple[float, float]) -> tuple[float, float] | None:
    return (float(density[0]), float(density[1])) if min(density) > 0 else None


def read(
    source: str | os.PathLike[str] | bytes, *, max_pixels: int | None = MAX_PIXELS
) -> JpegFile:
    """Reads a JPEG file's codes, tables and metadata, without loss.

    Takes baseline, extended, progressive and arithmetic coding, 8 bits a sample, and any sampling
    in whole ratios.
    A file of several pictures (MPO) gives its first.

    Args:
      source: a path, or the file's content.
      max_pixels: refuse larger pictures before decoding them; None for no limit.

    Returns:
      The file as stored.

    Raises:
      JpegError: if the file is missing, empty, of another format, truncated, damaged so that it
        does not decode, of an unsupported kind (12 bits, lossless), or larger than ``max_pixels``.
    """
    name = "<bytes>" if isinstance(source, bytes) else os.fspath(source)
    data = source if isinstance(source, bytes) else _bytes_of(name)
    _check_format(name, data)
    tables, metadata = _check_decodes(name, data, max_pixels)
    coefficients = _coefficients(name, data)
    return JpegFile(
        name=name,
        height=coefficients.image_height,
        width=coefficients.image_width,
        components=tuple(
            _component(name, coefficients, index, tables)
            for index in range(coefficients.num_components)
        ),
        colour=_COLOURS[coefficients.jpeg_color_space],
        progressive=bool(coefficients.progressive_mode),
        arithmetic=bool(coefficients.arith_code),
        restart_interval=coefficients.restart_interval,
        exif=metadata.get("exif"),
        icc=metadata.get("icc_profile"),
        xmp=metadata.get("xmp"),
        resolution=_resolution(metadata.get("dpi", (0, 0))),
        comment=metadata.get("comment"),
    )
