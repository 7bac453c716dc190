"""Reads pictures that are kept as pixels: PNG, WebP, TIFF and BMP, beside JPEG files' codes.

What was a JPEG once may be anything now. Pillow decodes; samples are taken as they are stored,
8 bits each, not turned by an orientation and not colour-managed, and transparency is kept apart.
TIFF files alone are turned, by Pillow, and so is what their tags tell of width and height.
"""

import io
import math
import os
import struct
import threading
import warnings
import zlib
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hrcnn_jax.files import exif, reader
from hrcnn_jax.files.depths import LARGEST, Depth
from hrcnn_jax.files.reader import JpegError, JpegFile

SUFFIXES = {".png", ".webp", ".tif", ".tiff", ".bmp"}
"""What names of such files end with."""

_KINDS: dict[str, Any] = {
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}
"""Pillow's own readers: its `open` would try others, too, and has a limit of its own."""

BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,  # of WebP, of which Pillow has a limit of its own
)
"""What Pillow raises where a file is damaged."""

_WARNED = threading.Lock()
"""Held while filters of warnings, which all threads share, are not what they were."""

_PNG_DEPTH = 24
"""Which byte of a PNG file tells bits a sample (clause 11.2.1)."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that is kept as pixels, as stored.

    Attributes:
      name: its path as given, or `<bytes>` or `<array>`.
      kind: of file, such as `PNG`.
      samples: `(H, W)` gray, `(H, W, 3)` RGB or `(H, W, 4)` CMYK, uint8.
      alpha: how opaque each pixel is, `(H, W)` uint8; None if all are.
      exif: the EXIF block with its `Exif` signature.
      icc: the ICC colour profile.
      xmp: the XMP packet.
      resolution: pixels per inch, `(horizontal, vertical)`.
      permissions: of the file, as those of a `JpegFile`.
    """

    name: str
    kind: str
    samples: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    resolution: tuple[float, float] | None = None
    permissions: int | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.samples.shape[1])

    @property
    def colour(self) -> Literal["gray", "rgb", "cmyk"]:
        """What the samples mean."""
        if self.samples.ndim == 2:
            return "gray"
        return "rgb" if self.samples.shape[2] == 3 else "cmyk"

    @property
    def damage(self) -> None:
        """Nothing: Pillow refuses what is damaged."""
        return None


Stored = JpegFile | Picture
"""What a file holds: codes or pixels."""


def read(
    source: str | os.PathLike[str] | bytes | int,
    *,
    max_pixels: int | None = reader.MAX_PIXELS,
    salvage: bool = False,
    ending: threading.Event | None = None,
    name: str | None = None,
) -> Stored:
    """Reads a JPEG file's codes, or the pixels of a PNG, WebP, TIFF or BMP file.

    Args:
      source: as that of `hrcnn_jax.files.reader.read`.
      max_pixels: likewise.
      salvage: likewise, of JPEG files.
      ending: likewise.
      name: likewise.

    Returns:
      The file as stored.

    Raises:
      JpegError: if the file is missing, empty, damaged, of another format, animated or of several
        pages, of more than 8 bits a sample, or larger than `max_pixels`.
    """
    content = reader.content(source, max_pixels=max_pixels, ending=ending, name=name, others=_KINDS)
    if content.kind == "JPEG":
        return reader.parse(content, max_pixels=max_pixels, salvage=salvage)
    try:
        return _decoded(content, max_pixels)
    except JpegError:
        raise
    except MemoryError as error:
        raise JpegError(f"{content.name}: is too large for this machine's memory") from error
    except Image.DecompressionBombError as error:
        raise JpegError(
            f"{content.name}: has more pixels than can be read of {content.kind}; save it as PNG"
        ) from error
    except BROKEN as error:
        reason = " ".join(str(error).split())
        if "MAX_TEXT" in reason:
            raise JpegError(
                f"{content.name}: has a colour profile or text of more than a million bytes; save "
                "it without"
            ) from error
        raise JpegError(
            f"{content.name}: does not decode as {content.kind} ({reason}); fetch it again"
        ) from error


def claimed_pixels(source: str | os.PathLike[str]) -> int:
    """How many pixels a file's header claims; 0 if that cannot be told. Decodes nothing.

    Nor does it look into pipes, which can be read but once.
    """
    kind, pixels = reader.claim(source)
    if kind not in _KINDS:
        return pixels
    try:
        with Path(source).open("rb") as file:
            if kind == "WebP":
                return math.prod(_size_of_webp(file.read(_WEBP_HEADER)))
            with _opened(kind, file) as image:
                return math.prod(image.size)
    except (*BROKEN, MemoryError):
        return 0


def of_array(array: NDArray[Any]) -> Picture:
    """A picture of an array.

    Args:
      array: uint8, `(H, W)` gray or `(H, W, 3)` RGB, or with opacity as a last channel more.

    Raises:
      ValueError: if it is of another shape or type, or empty.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels > 4 or not array.size:
        raise ValueError(
            "expected a picture (H, W) or (H, W, 3) of uint8, perhaps with opacity as one more "
            f"channel, got {array.shape} {array.dtype}"
        )
    if array.ndim == 2 or channels == 3:
        return Picture("<array>", "array", array)
    colours = array[..., 0] if channels <= 2 else array[..., :3]
    alpha = array[..., -1] if channels > 1 else None
    return Picture("<array>", "array", colours, alpha)


def of_image(image: Image.Image) -> Picture:
    """A picture that Pillow has opened or made, with its metadata; the frame it is at.

    Raises:
      JpegError: if its samples are of another kind than 8 bits of gray, colours or ink, there are
        none, or its file does not decode.
    """
    name = name_of(image)
    try:
        if 0 in image.size:
            raise JpegError(f"{name}: has no pixels; give another picture")
        samples, alpha, metadata = _content(name, image)
    except JpegError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split())
        raise JpegError(f"{name}: Pillow cannot load it ({reason}); open it again") from error
    return Picture(name, image.format or "picture", samples, alpha, **metadata)


def name_of(image: Image.Image) -> str:
    """What a picture of Pillow's is called in messages."""
    return str(getattr(image, "filename", "") or "<picture>")


def alpha_of(file: Stored) -> NDArray[np.uint8] | None:
    """How opaque each pixel is, if that is told."""
    return file.alpha if isinstance(file, Picture) else None


def with_alpha(picture: NDArray[Any], alpha: NDArray[np.uint8] | None) -> NDArray[Any]:
    """A picture `(H, W)` or `(H, W, 3)` of any depth with opacity as its last channel."""
    if alpha is None:
        return picture
    opacity = _deepened(alpha, picture.dtype.name)
    return np.dstack([picture, opacity])


def pixels(picture: Picture, depth: Depth = "uint8") -> NDArray[Any]:
    """The picture as it is, alpha included, its samples in another depth; an array of its own."""
    return with_alpha(_deepened(picture.samples, depth), picture.alpha)


def _deepened(samples: NDArray[np.uint8], depth: str) -> NDArray[Any]:
    if depth == "uint8":
        return samples.copy()  # nobody's else, and writeable, as all other results are
    scale = LARGEST[depth] / LARGEST["uint8"]
    return (samples.astype(depth) * np.asarray(scale, depth)).astype(depth)


def _decoded(content: reader.Content, max_pixels: int | None) -> Picture:
    name, kind = content.name, content.kind
    if kind == "WebP":  # all of which Pillow makes room for as soon as it has read the header
        reader.check_size(name, _size_of_webp(content.data), max_pixels)
    with _opened(kind, io.BytesIO(content.data)) as image:
        reader.check_size(name, image.size, max_pixels)
        count = getattr(image, "n_frames", 1)
        if count > 1:
            what = "pages" if kind == "TIFF" else "frames, an animation"
            raise JpegError(f"{name}: has {count} {what}; give each as a file of its own")
        bits = _bits(kind, image, content.data)
        if bits > 8:
            raise JpegError(
                f"{name}: has more than 8 bits a sample, which no ordinary JPEG decoder writes: "
                "there is nothing to restore; leave it out, or give it in 8 bits"
            )
        if kind == "PNG":
            _scale_transparency(image, bits)
        samples, alpha, metadata = _content(name, image)
    return Picture(
        name=name,
        kind=kind,
        samples=samples,
        alpha=alpha,
        permissions=content.permissions,
        **metadata,
    )


def _opened(kind: str, stream: BinaryIO) -> Any:
    """A header, read by Pillow, whose warnings of damage do not end the reading of a TIFF file."""
    with _WARNED, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _KINDS[kind](stream)


_WEBP_HEADER = 30
"""Bytes of a WebP file that tell its size, of whichever kind it is."""


def _size_of_webp(data: bytes) -> tuple[int, int]:
    """Width and height that the header claims, of the canvas if it has one (RFC 9649, 2.5-2.7).

    Raises:
      ValueError: if there is no header.
    """
    if len(data) < _WEBP_HEADER:
        raise ValueError("ends in its header")
    chunk, body = data[12:16], data[20:_WEBP_HEADER]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        across, down = (int.from_bytes(body[at : at + 2], "little") for at in (6, 8))
        return across & 0x3FFF, down & 0x3FFF
    raise ValueError(f"begins with a chunk {chunk!r}")


def _bits(kind: str, image: Any, data: bytes) -> int:
    """Bits a sample: Pillow takes the upper 8 of many pictures in silence."""
    if kind == "PNG":
        return data[_PNG_DEPTH]
    if kind == "TIFF":
        return max(image.tag_v2.get(BITSPERSAMPLE, (1,)))
    return 8


def _scale_transparency(image: Any, bits: int) -> None:
    """Makes the transparent level of gray one of 256, as samples of 2 and 4 bits become."""
    level = image.info.get("transparency")
    if bits in (2, 4) and image.mode == "L" and isinstance(level, int):
        image.info["transparency"] = level * 255 // (2**bits - 1)


def _content(
    name: str, image: Any
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, dict[str, Any]]:
    """Samples, opacity and metadata, of which some may stand behind the samples."""
    # As Pillow asks when it turns a picture.
    turned = isinstance(image, TiffImageFile) and image.getexif().get(Base.Orientation) in _QUARTERS
    image.load()
    return *_samples(name, image), _metadata(image, turned)


def _samples(name: str, image: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    mode = image.mode
    if image.has_transparency_data:
        wanted = "LA" if mode in ("L", "LA", "La", "1") else "RGBA"
        whole = np.asarray(image.convert(wanted))
        alpha = np.ascontiguousarray(whole[..., -1])
        colours = whole[..., 0] if wanted == "LA" else whole[..., :3]
        return np.ascontiguousarray(colours), None if alpha.min() == 255 else alpha
    if mode in ("1", "L"):
        return np.asarray(image.convert("L")), None
    if mode in ("P", "RGB", "RGBX", "YCbCr"):
        return np.asarray(image.convert("RGB")), None
    if mode == "CMYK":
        return np.asarray(image), None
    raise JpegError(f"{name}: has samples of a rare kind ({mode}); save it as an 8-bit RGB picture")


_QUARTERS = range(5, 9)
"""Orientations whose rows become columns."""

_DIRECTORIES = (IFD.Exif, IFD.GPSInfo)
_DENSITIES = Base.XResolution, Base.YResolution


def _metadata(image: Any, turned: bool) -> dict[str, Any]:
    """What a loaded picture tells; `turned` if Pillow made its rows columns."""
    info = image.info
    told = info.get("exif") or _exif_of_profile(info.get(_RAW_EXIF, ""))
    if isinstance(image, TiffImageFile):
        told = _exif_of_tiff(image.getexif(), turned)
    if told and not told.startswith(exif.SIGNATURE):
        told = exif.SIGNATURE + told
    xmp = info.get("xmp")
    across, down = map(float, info.get("dpi", (0, 0))[:: -1 if turned else 1])
    known = all(math.isfinite(each) and each > 0 for each in (across, down))
    return {
        "exif": told or None,
        "icc": info.get("icc_profile") or None,
        "xmp": xmp.encode() if isinstance(xmp, str) else xmp or None,
        "resolution": (across, down) if known else None,
    }


_RAW_EXIF = "Raw profile type exif"
"""The text that ImageMagick kept EXIF in before PNG had a chunk for it."""


def _exif_of_profile(text: str) -> bytes | None:
    """A block that is written in hexadecimal digits, after its name and its length."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def _exif_of_tiff(tags: Image.Exif, turned: bool) -> bytes | None:
    """A TIFF file's tags but for those that tell how its picture is stored."""
    kept = Image.Exif()
    kept.endian = tags.endian
    for tag in tags:
        if exif.tells_of_the_picture(tag) and _can_be_written(tags, tag):
            kept[tag] = _value(tags, tag)
    if turned:
        _exchange(kept, *_DENSITIES)
        _exchange(kept.get(IFD.Exif, {}), Base.ExifImageWidth, Base.ExifImageHeight)
    return kept.tobytes() if len(kept) else None


def _exchange(tags: MutableMapping[int, Any], across: int, down: int) -> None:
    """What is told of columns is told of rows, and the other way round."""
    if across in tags and down in tags:
        tags[across], tags[down] = tags[down], tags[across]


def _value(tags: Image.Exif, tag: int) -> Any:
    """What a tag tells; if that is a directory, then all of it."""
    if tag not in _DIRECTORIES:
        return tags[tag]
    held = dict(tags.get_ifd(tag))
    if IFD.Interop in held:
        held[IFD.Interop] = tags.get_ifd(IFD.Interop)
    return held


def _can_be_written(tags: Image.Exif, tag: int) -> bool:
    """Whether Pillow can write what it read: not if it is of a type that such a tag never has."""
    alone = Image.Exif()
    try:
        alone[tag] = _value(tags, tag)
        alone.tobytes()
    except Exception:  # of any kind: it trusts what it is given
        return False
    return True
