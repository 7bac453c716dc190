"""Reads JPEG files down to their quantised DCT codes; the only module that touches them.

Nothing is decoded to pixels here: a file is a picture's size, its colour space, and for each
component a grid of codes with the table that scales them. A file's markers are walked first, which
tells what it claims and whether it can be so; Pillow reads its metadata and tries to decode it,
pyjpegio (libjpeg-turbo) then reads its codes. Safe to call from many threads.

A damaged file is refused unless it is to be salvaged: libjpeg makes up what it cannot read.

Source: ITU-T T.81 (JPEG), clauses A.1.1, A.2.4 and B.2; libjpeg for the colour space.
"""

import io
import os
import re
import select
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from hrcnn_jax.files import libjpeg, markers
from hrcnn_jax.files.atomic import is_file
from hrcnn_jax.files.markers import Layout, MarkerError

Colour = Literal["gray", "ycbcr", "rgb", "cmyk", "ycck"]

_COLOURS: dict[int, Colour] = {1: "gray", 2: "rgb", 3: "ycbcr", 4: "cmyk", 5: "ycck"}
"""libjpeg's `J_COLOR_SPACE`, which it tells from JFIF and Adobe markers and component ids."""

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
_FIRST_BYTES = 64  # that tell formats apart
_HEADER_BYTES = 4 << 20  # of a file, where its size is looked for
_CHUNK = 1 << 20

MOST_SCANS = 100
"""Each of a progressive file's scans goes over the whole picture, however few bytes it has; real
files have some ten."""

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif"}
"""What names of JPEG files end with, in any case."""

MAX_PIXELS = 200_000_000
"""Larger pictures are refused unless asked for: a small file can claim to be enormous."""

_MOST_BYTES_A_PIXEL = 4
_ALWAYS_BYTES = 64 << 20
"""Of a file, that are read whatever `max_pixels` is. No picture takes more than some three bytes
a pixel, at quality 100 with all of its chroma; a film may follow it."""

PATIENCE = 60.0
"""Seconds that a pipe may stay silent..."""
_PATIENCE_WITHOUT_WRITER = 3.0
"""...and that it may have nobody who writes into it."""


_BINARY = getattr(os, "O_BINARY", 0)
_CAN_ASK = os.name != "nt"  # whether there is something to read of any descriptor


class JpegError(ValueError):
    """A file that cannot be read as a JPEG; one line says which, what is wrong, what to do."""


@dataclass(frozen=True, eq=False)
class Component:
    """One colour component of a JPEG file, as stored.

    Attributes:
      codes: quantised DCT coefficients `(hb, wb, 8, 8)` int16 in natural order, `[v, u]`
        (vertical, then horizontal frequency); `hb, wb` are `size / 8` rounded up.
      table: quantisation steps `(8, 8)` int32, 1-65535, in the order of the codes.
      sampling: the file's sampling factors `(horizontal, vertical)`, 1-4.
      factor: how many times coarser than the picture, `(down, across)`, 1-4.
      size: `(height, width)` in samples: the picture's, divided by the ratio of the largest
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
      name: its path as given, or `<bytes>`.
      height: rows of the picture.
      width: columns of the picture.
      components: in the file's order, such as Y, Cb, Cr.
      colour: what the components mean. Inks of `cmyk` and `ycck` are taken as inverted, 0 for
        full ink, as all do that follow Adobe.
      progressive: whether it is coded in progressive scans.
      arithmetic: whether it is coded arithmetically, not by Huffman's method.
      restart_interval: MCUs between restart markers; 0 without any.
      exif: the EXIF block with its `Exif` signature, as Pillow's `save(exif=...)` takes it.
      icc: the ICC colour profile.
      xmp: the XMP packet; its extensions beyond 64 KB are left out.
      resolution: pixels per inch, `(horizontal, vertical)`, as JFIF states them.
      comment: the last comment.
      damage: what is wrong with its codes, and how many of them there are, if it was salvaged;
        None if nothing is.
      permissions: of the file it was read from, as `os.chmod` has them; None for bytes and
        pipes.
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
    damage: str | None = None
    permissions: int | None = None


def of_codes(codes: NDArray[np.int16], table: NDArray[np.int32]) -> JpegFile:
    """A gray file of whole blocks that holds these codes `(hb, wb, 8, 8)`, and nothing else."""
    size = 8 * codes.shape[0], 8 * codes.shape[1]
    return JpegFile(
        name="<codes>",
        height=size[0],
        width=size[1],
        components=(Component(codes, table, sampling=(1, 1), factor=(1, 1), size=size),),
        colour="gray",
        progressive=False,
        arithmetic=False,
        restart_interval=0,
        exif=None,
        icc=None,
        xmp=None,
        resolution=None,
        comment=None,
    )


class _Picture(JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Not needed, and Pillow would warn of broken EXIF on the way."""


class Content(NamedTuple):
    """A file's bytes.

    Attributes:
      name: of the file, or `<bytes>`.
      kind: `JPEG`, or another that was expected.
      data: all of it.
      permissions: of the file; None for bytes and pipes.
    """

    name: str
    kind: str
    data: bytes
    permissions: int | None


def content(
    source: str | os.PathLike[str] | bytes | int,
    *,
    max_pixels: int | None,
    ending: threading.Event | None = None,
    name: str | None = None,
    others: Collection[str] = (),
) -> Content:
    """A file's bytes, of which no more is read than is needed to refuse it.

    Args:
      source: a path, the file's content, or the descriptor of a file that is open.
      max_pixels: as that of `read`.
      ending: as that of `read`.
      name: as that of `read`.
      others: formats that will do beside JPEG, as `_OTHER_FORMATS` calls them.

    Raises:
      JpegError: if the file is missing, empty, too large, or of another format.
    """
    if isinstance(source, str | os.PathLike):
        name = source = os.fspath(source)
    name = name or "<bytes>"
    try:
        if isinstance(source, bytes):
            data, permissions = source, None
        else:
            data, permissions = _bytes_of(source, name, max_pixels, ending, others)
        return Content(name, _check_format(name, data, others), data, permissions)
    except MemoryError as error:
        raise JpegError(f"{name}: is too large for this machine's memory") from error


def _bytes_of(
    source: str | int,
    name: str,
    max_pixels: int | None,
    ending: threading.Event | None,
    others: Collection[str],
) -> tuple[bytes, int | None]:
    """A file's content, of which no more is read than is needed to refuse it; its permissions."""
    try:
        ours = isinstance(source, str)
        with open(source, "rb", buffering=0, closefd=ours, opener=_at_once) as file:
            known = os.fstat(file.fileno())
            if stat.S_ISDIR(known.st_mode):
                raise IsADirectoryError
            check_bytes(name, known.st_size, max_pixels)
            content = bytearray()
            for chunk in _chunks(name, file, ending, given=not ours):
                content += chunk
                if len(content) - len(chunk) < _FIRST_BYTES <= len(content):
                    _check_format(name, bytes(content[:_FIRST_BYTES]), others)
                check_bytes(name, len(content), max_pixels)
            ordinary = stat.S_ISREG(known.st_mode)
            return bytes(content), stat.S_IMODE(known.st_mode) & 0o777 if ordinary else None
    except FileNotFoundError:
        raise JpegError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise JpegError(f"{name}: is a folder; give the JPEG files in it") from None
    except (OSError, ValueError) as error:
        if isinstance(error, JpegError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise JpegError(
            f"{name}: cannot be opened ({reason}); check its name and its rights"
        ) from error


def _at_once(path: str, flags: int) -> int:
    """Opens a file; a pipe that nobody writes into would let no one open it otherwise."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _chunks(
    name: str, file: Any, ending: threading.Event | None, *, given: bool
) -> Iterator[bytes]:
    """A file's bytes; of a pipe, as they come, for whom neither `PATIENCE` nor a signal ends.

    Args:
      name: of the file.
      file: opened without a buffer; so that it does not wait, unless it was given.
      ending: set when nothing is to be waited for any more.
      given: by somebody who opened it. Nobody else will, if it has no writer any more.

    Raises:
      JpegError: if nothing comes, or `ending` is set while waiting.
    """
    pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode) and not given
    silent, heard = True, time.monotonic()
    size = _FIRST_BYTES
    while True:
        waiting = given and _CAN_ASK and not select.select([file], [], [], 0)[0]
        chunk = None if waiting else file.read(size)  # None: nothing yet, from somebody who writes
        if chunk:
            yield chunk
            silent, size, heard = False, _CHUNK, time.monotonic()
            continue
        if chunk is not None and not (pipe and silent):
            return
        waited = time.monotonic() - heard
        if waited > (PATIENCE if chunk is None else _PATIENCE_WITHOUT_WRITER):
            raise JpegError(f"{name}: is a pipe that nothing comes from; write a JPEG file into it")
        if ending is not None and ending.is_set():
            raise JpegError(f"{name}: is a pipe, and was not waited for any longer")
        time.sleep(0.01)


def check_bytes(name: str, size: int, max_pixels: int | None) -> None:
    """Refuses a file by its size, before it is read.

    Raises:
      JpegError: if it has many more bytes than a picture of `max_pixels` needs.
    """
    if max_pixels is None:
        return
    most = max(_ALWAYS_BYTES, _MOST_BYTES_A_PIXEL * max_pixels)
    if size > most:
        raise JpegError(
            f"{name}: has {size:,} bytes or more, more than a picture of max_pixels={max_pixels:,} "
            "needs; raise it (--max-pixels) if you trust the file"
        )


def _format_of(data: bytes) -> str | None:
    """Which format a file's first bytes are of, if it is known."""
    known = (kind for kind, each in _OTHER_FORMATS.items() if re.match(each, data, re.DOTALL))
    return next(known, "JPEG" if data.startswith(_START_OF_IMAGE) else None)


def _check_format(name: str, data: bytes, others: Collection[str]) -> str:
    """Which format it is, if it will do."""
    if not data:
        raise JpegError(f"{name}: is empty (0 bytes); fetch the file again")
    kind = _format_of(data)
    wanted = f"one of JPEG, {', '.join(others)}" if others else "a JPEG"
    if kind is None:
        raise JpegError(
            f"{name}: is not {wanted} (starts with {data[:4].hex(' ')}); give such a file"
        )
    if kind != "JPEG" and kind not in others:
        raise JpegError(f"{name}: is a {kind} file, not {wanted}; give such a file")
    return kind


def check_size(name: str, size: tuple[int, int], max_pixels: int | None) -> None:
    """Raises `JpegError` if a picture of `(width, height)` is larger than allowed."""
    width, height = size
    if max_pixels is not None and width * height > max_pixels:
        raise JpegError(
            f"{name}: has {width}×{height} = {width * height:,} pixels, more than "
            f"max_pixels={max_pixels:,}; raise it (--max-pixels) if you trust the file"
        )


def claim(source: str | os.PathLike[str]) -> tuple[str | None, int]:
    """A file's format and, of a JPEG, how many pixels its header claims; decodes nothing.

    Returns:
      The format as `_OTHER_FORMATS` calls it, `JPEG`, or None if it is neither, nor an ordinary
      file; and 0 if the pixels cannot be told.
    """
    if not is_file(Path(source)):
        return None, 0
    try:
        with Path(source).open("rb") as file:
            data = file.read(_FIRST_BYTES)
            kind = _format_of(data)
            frame = None
            if kind == "JPEG":
                frame = markers.frame_of(data + file.read(_HEADER_BYTES))
    except OSError:
        return None, 0
    return kind, 0 if frame is None else frame.width * frame.height


def _layout(name: str, data: bytes) -> Layout:
    try:
        return markers.walk(data, most_scans=MOST_SCANS)
    except MarkerError as error:
        raise JpegError(f"{name}: {error}") from error


def _damage_of_layout(layout: Layout) -> str | None:
    """What a file's markers show to be wrong with it, before anything is decoded."""
    if markers.too_few_bytes(layout):
        size = sum(scan.size for scan in layout.scans)
        return (
            f"its {size:,} bytes of codes are too few for "
            f"{layout.frame.width}×{layout.frame.height} pixels"
        )
    if not layout.ended and layout.frame.arithmetic:
        return "it has no end"  # and only that tells, as zeros may be left out there
    return markers.out_of_order(layout)


def _header(name: str, data: bytes, layout: Layout) -> tuple[dict[int, list[int]], dict[Any, Any]]:
    """The quantisation tables by slot, in natural order, and the metadata, by Pillow."""
    try:
        with _Picture(io.BytesIO(markers.header(data, layout))) as picture:
            return picture.quantization, picture.info
    except (OSError, SyntaxError, ValueError, LookupError, struct.error) as error:
        raise JpegError(
            f"{name}: has a damaged or unsupported header ({error}); "
            "fetch it again or save it as an ordinary 8-bit JPEG"
        ) from error


def _check_decodes(name: str, codes: bytes) -> None:
    """Has Pillow decode the means of blocks: where libjpeg gives up, pyjpegio loses its memory."""
    try:
        with _Picture(io.BytesIO(codes)) as picture:
            picture.draft(picture.mode, (1, 1))
            picture.load()
    except (OSError, SyntaxError) as error:
        raise JpegError(
            f"{name}: does not decode ({error}); it is truncated, damaged, or of a rare kind: "
            "fetch it again or save it anew"
        ) from error


def _coefficients(name: str, codes: bytes) -> tuple[Any, str | None]:
    """Codes as pyjpegio reads them, and libjpeg's remark if it found damage."""
    try:
        return libjpeg.read(codes)
    except RuntimeError as error:
        raise JpegError(f"{name}: its codes cannot be read ({error})") from error
    except OSError as error:
        raise JpegError(
            f"{name}: cannot be copied into {tempfile.gettempdir()} ({error.strerror}); "
            "make room there, or set TMPDIR to a folder that has some"
        ) from error


def _component(name: str, coefficients: Any, index: int, tables: dict[int, list[int]]) -> Component:
    info = coefficients.comp_info[index]
    if info.quant_tbl_no not in tables:
        raise JpegError(f"{name}: lacks a quantisation table for component {index}; fetch it again")
    plane = coefficients.coef_arrays[index]
    down, across = plane.shape[0] // 8, plane.shape[1] // 8
    codes = plane.reshape(down, 8, across, 8).swapaxes(1, 2).astype(np.int16, order="C")
    table = np.array(tables[info.quant_tbl_no], np.int32).reshape(8, 8)
    if not table.all():
        # Steps of zero are against T.81 B.2.4.1; libjpeg multiplies codes by them all the same.
        codes[:, :, table == 0] = 0
        table[table == 0] = 1
    return Component(
        codes=codes,
        table=table,
        sampling=(info.h_samp_factor, info.v_samp_factor),
        factor=(
            coefficients.max_v_samp_factor // info.v_samp_factor,
            coefficients.max_h_samp_factor // info.h_samp_factor,
        ),
        size=(info.downsampled_height, info.downsampled_width),
    )


def _what_is_there(layout: Layout, component: Component) -> str:
    """How much of a damaged file could be read, by the codes of its first component.

    libjpeg leaves blocks empty once it found no more data, in the order in which they are coded.
    """
    if layout.frame.progressive:
        return f"of its scans {len(layout.scans)} are there, what they lack is made up"
    across, down = component.sampling if len(layout.scans[0].numbers) > 1 else (1, 1)
    rows, columns = np.nonzero(component.codes.any((2, 3)))
    height, width = component.codes.shape[:2]
    units_across, units_down = -(-width // across), -(-height // down)
    units = rows // down * units_across + columns // across
    reached = int(units.max(initial=-1)) + 1
    share = 100 * reached // (units_across * units_down)
    return f"{share} % of it are there, the rest is made up"


def _resolution(density: tuple[float, float]) -> tuple[float, float] | None:
    return (float(density[0]), float(density[1])) if min(density) > 0 else None


def _refused(name: str, damage: str) -> JpegError:
    return JpegError(
        f"{name}: is truncated or damaged ({damage}); fetch it again, or restore what is there "
        "(--salvage)"
    )


def read(
    source: str | os.PathLike[str] | bytes | int,
    *,
    max_pixels: int | None = MAX_PIXELS,
    salvage: bool = False,
    ending: threading.Event | None = None,
    name: str | None = None,
) -> JpegFile:
    """Reads a JPEG file's codes, tables and metadata, without loss.

    Takes baseline, extended, progressive and arithmetic coding, 8 bits a sample, and any sampling
    in whole ratios.
    A file of several pictures (MPO) gives its first.

    Args:
      source: a path, the file's content, or the descriptor of a file that is open.
      max_pixels: refuse larger pictures before decoding them, and files of many more bytes before
        they are read; None for no limit.
      salvage: whether a damaged file is read as far as it goes. What is missing is made up by
        libjpeg, gray mostly; the result's `damage` says what is wrong.
      ending: once it is set, a pipe is not waited for.
      name: what a file without a path is called, in messages too; `<bytes>` if not given.

    Returns:
      The file as stored.

    Raises:
      JpegError: if the file is missing, empty, of another format, truncated or damaged so that
        codes are lost, of an unsupported kind (12 bits, lossless), too large for this machine, or
        larger than `max_pixels`.
    """
    return parse(
        content(source, max_pixels=max_pixels, ending=ending, name=name),
        max_pixels=max_pixels,
        salvage=salvage,
    )


def parse(content: Content, *, max_pixels: int | None, salvage: bool) -> JpegFile:
    """Reads a JPEG file of which the bytes are there; arguments and errors as those of `read`."""
    try:
        file = _parsed(content.name, content.data, max_pixels, salvage)
        return replace(file, permissions=content.permissions)
    except MemoryError as error:
        raise JpegError(f"{content.name}: is too large for this machine's memory") from error


def _parsed(name: str, data: bytes, max_pixels: int | None, salvage: bool) -> JpegFile:
    layout = _layout(name, data)
    check_size(name, (layout.frame.width, layout.frame.height), max_pixels)
    damage = _damage_of_layout(layout)
    if damage is not None and not salvage:
        raise _refused(name, damage)
    tables, metadata = _header(name, data, layout)
    codes = markers.codes_only(data, layout)
    _check_decodes(name, codes)
    coefficients, remark = _coefficients(name, codes)
    damage = damage or remark
    if damage is not None and not salvage:
        raise _refused(name, damage)
    components = tuple(
        _component(name, coefficients, index, tables)
        for index in range(coefficients.num_components)
    )
    if damage is not None:
        damage = f"{damage}; {_what_is_there(layout, components[0])}"
    return JpegFile(
        name=name,
        height=coefficients.image_height,
        width=coefficients.image_width,
        components=components,
        colour=_COLOURS[coefficients.jpeg_color_space],
        progressive=bool(coefficients.progressive_mode),
        arithmetic=bool(coefficients.arith_code),
        restart_interval=coefficients.restart_interval,
        exif=metadata.get("exif"),
        icc=metadata.get("icc_profile"),
        xmp=metadata.get("xmp"),
        resolution=_resolution(metadata.get("dpi", (0, 0))),
        comment=metadata.get("comment"),
        damage=damage,
    )
