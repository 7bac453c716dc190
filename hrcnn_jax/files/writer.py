"""Pictures to files: upright, with the source's EXIF, ICC profile, XMP and resolution.

Pillow writes what it can; it knows no colour TIFF of more than 8 bits, and moves EXIF about.
`tiff` and `png16` are this package's own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hrcnn_jax.files import exif, png16, tiff
from hrcnn_jax.files.atomic import written_whole
from hrcnn_jax.files.depths import LARGEST, Depth
from hrcnn_jax.files.pictures import Picture, Stored

QUALITY = 92
"""Of JPEG and WebP, unless asked for otherwise."""

_ROWS = 256  # of a picture that are converted at once
_MOST_PER_INCH = 65535  # JFIF holds 16 bits
_JPEG_SEGMENT = 65533  # bytes that one holds
_XMP_SIGNATURE = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_SIDE = 65500  # pixels that libjpeg writes


class OutputError(OSError):
    """A result that cannot be written; the message says where and why."""


@dataclass(frozen=True)
class Metadata:
    """What goes along with a picture that stands upright.

    Attributes:
      exif: the EXIF block with its signature.
      icc: the colour profile.
      xmp: the XMP packet.
      resolution: pixels per inch, `(horizontal, vertical)`.
      has_alpha: whether the picture's last channel is opacity.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    resolution: tuple[float, float] | None = None
    has_alpha: bool = False


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
      suffix: of file names.
      depth: of the pictures it is given.
      inks: whether it can hold CMYK.
      alpha: whether it can hold opacity.
      save: writes a gray, RGB or CMYK picture at a quality (1-100), if it has one.
    """

    suffix: str
    depth: Depth
    inks: bool
    alpha: bool
    save: Callable[[BinaryIO, NDArray[Any], Metadata, int], None]


def save(
    stream: BinaryIO,
    picture: NDArray[Any],
    kind: Format,
    *,
    file: Stored | None = None,
    quality: int = QUALITY,
) -> None:
    """Writes a picture into a stream, upright; arguments as for `write`.

    Raises:
      ValueError: if the format cannot hold it.
      OSError: if the stream cannot be written to.
    """
    metadata = Metadata()
    if file is not None:
        metadata = metadata_of(file)
        picture = turned(picture, exif.orientation(file.exif))
    if metadata.has_alpha and not kind.alpha:
        raise ValueError(f"{kind.suffix[1:]} has no transparency; choose another format")
    if picture.ndim == 3 and picture.shape[2] - metadata.has_alpha == 4 and not kind.inks:
        picture = inks_to_rgb(picture)
        metadata = replace(metadata, icc=None)
    kind.save(stream, picture, metadata, quality)


def write(
    path: Path,
    picture: NDArray[Any],
    kind: Format,
    *,
    file: Stored | None = None,
    quality: int = QUALITY,
) -> None:
    """Writes a picture under a temporary name, then renames it.

    It gets the permissions of the file it comes from: what was private stays so. Inks become RGB,
    and their profile is left out, where the format cannot hold them.

    Args:
      path: where to.
      picture: `(H, W)`, `(H, W, 3)` or `(H, W, 4)` CMYK, of the format's depth, as stored;
        with opacity as one channel more if `file` has it.
      kind: the format.
      file: what it comes from, for its metadata, orientation and permissions.
      quality: of JPEG and WebP, 1-100.

    Raises:
      OutputError: if it cannot be written.
    """
    try:
        permissions = None if file is None else file.permissions
        with (
            written_whole(path, permissions=permissions) as partial,
            partial.open("wb") as stream,
        ):
            save(stream, picture, kind, file=file, quality=quality)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written ({reason})") from error


def metadata_of(file: Stored) -> Metadata:
    """A file's metadata, fit for its picture once that was turned upright."""
    turn = exif.orientation(file.exif)
    resolution = _plausible(file.resolution) or _plausible(exif.resolution(file.exif))
    xmp = file.xmp
    if turn >= 5 and resolution is not None:
        resolution = resolution[::-1]
    if turn != 1 and xmp is not None:
        xmp = re.sub(rb"""(tiff:Orientation(?:=["']|>))[2-8]""", rb"\g<1>1", xmp)
    has_alpha = isinstance(file, Picture) and file.alpha is not None
    return Metadata(exif.upright(file.exif), file.icc, xmp, resolution, has_alpha)


def _plausible(resolution: tuple[float, float] | None) -> tuple[float, float] | None:
    """What all formats can tell; others have it from damaged files."""
    if resolution is None or not all(1 <= each <= _MOST_PER_INCH for each in resolution):
        return None
    return resolution


def turned(picture: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A view of a stored picture `(H, W, ...)` as its EXIF orientation, 1-8, wants it seen."""
    if orientation in (2, 3, 7, 8):
        picture = picture[:, ::-1]
    if orientation in (3, 4, 6, 7):
        picture = picture[::-1]
    return picture.swapaxes(0, 1) if orientation >= 5 else picture


def inks_to_rgb(picture: NDArray[Any]) -> NDArray[Any]:
    """CMYK `(H, W, 4)` to RGB `(H, W, 3)` of the same type, without colour management.

    The light that three inks and black let through, multiplied: Pillow's conversion.
    """
    white = LARGEST[picture.dtype.name]
    rgb = np.empty((*picture.shape[:2], 3), picture.dtype)
    for top in range(0, len(picture), _ROWS):
        light = 1.0 - picture[top : top + _ROWS].astype(np.float32) / white
        mixed = light[..., :3] * light[..., 3:] * white
        rgb[top : top + _ROWS] = mixed if white == 1.0 else np.rint(mixed)
    return rgb


def to_8_bits(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture without opacity for those who look at it on a screen: gray or RGB, uint8."""
    white = LARGEST[picture.dtype.name]
    if picture.dtype != np.uint8:
        picture = np.rint(picture * np.float32(255 / white)).astype(np.uint8)
    return inks_to_rgb(picture) if picture.ndim == 3 and picture.shape[2] == 4 else picture


def _png(stream: BinaryIO, picture: NDArray[Any], metadata: Metadata, quality: int) -> None:
    del quality
    info = PngInfo()
    if metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    _image(picture, metadata).save(stream, "PNG", pnginfo=info, **_for_pillow(metadata, "dpi"))


def _webp(stream: BinaryIO, picture: NDArray[Any], metadata: Metadata, quality: int) -> None:
    if max(picture.shape[:2]) > 16383:
        raise ValueError("WebP ends at 16,383 pixels a side; choose another format")
    resolution = metadata.resolution
    if resolution is not None and exif.resolution(metadata.exif) is None:
        told = metadata.exif or Image.Exif().tobytes()  # WebP has no other place
        metadata = replace(metadata, exif=exif.with_resolution(told, resolution))
    image = _image(picture, metadata)
    image.save(stream, "WEBP", quality=quality, **_for_pillow(metadata, "xmp"))


def _jpeg(stream: BinaryIO, picture: NDArray[Any], metadata: Metadata, quality: int) -> None:
    if max(picture.shape[:2]) > _JPEG_SIDE:
        raise ValueError(f"JPEG ends at {_JPEG_SIDE:,} pixels a side; choose another format")
    for what, held, most in (
        ("EXIF block", metadata.exif, _JPEG_SEGMENT),
        ("XMP packet", metadata.xmp, _JPEG_SEGMENT - len(_XMP_SIGNATURE)),
    ):
        if len(held or b"") > most:
            raise ValueError(f"its {what} is too large for a JPEG; choose another format")
    if metadata.exif and metadata.resolution is None:
        # What EXIF means where it tells none: Pillow looks for it there, and stumbles over damage.
        metadata = replace(metadata, resolution=(_EXIFS_OWN, _EXIFS_OWN))
    options = _for_pillow(metadata, "dpi", "xmp")
    image = _image(picture, metadata)
    image.save(stream, "JPEG", quality=quality, subsampling="4:4:4", **options)


_EXIFS_OWN = 72.0
"""Pixels per inch of a picture whose resolution is not known (CIPA DC-008, clause 4.6.4)."""


def _image(picture: NDArray[Any], metadata: Metadata) -> Image.Image:
    inks = picture.ndim == 3 and picture.shape[2] == 4 and not metadata.has_alpha
    mode = "CMYK" if inks else None
    return Image.fromarray(np.ascontiguousarray(picture), mode)


def _for_pillow(metadata: Metadata, *more: str) -> dict[str, Any]:
    """Pillow's options, those left out that there is nothing to say about."""
    options = {
        "exif": metadata.exif,
        "icc_profile": metadata.icc,
        "dpi": metadata.resolution,
        "xmp": metadata.xmp,
    }
    wanted = ("exif", "icc_profile", *more)
    return {name: options[name] for name in wanted if options[name]}


def _ours(write: Callable[..., None]) -> Callable[[BinaryIO, NDArray[Any], Metadata, int], None]:
    """A writer of this package as a format's `save`; none of them has a quality."""

    def save(stream: BinaryIO, picture: NDArray[Any], metadata: Metadata, quality: int) -> None:
        del quality
        write(stream, picture, **vars(metadata))

    return save


FORMATS = {
    "png": Format(".png", "uint8", False, True, _png),
    "png16": Format(".png", "uint16", False, True, _ours(png16.write)),
    "tiff": Format(".tiff", "uint8", True, True, _ours(tiff.write)),
    "tiff16": Format(".tiff", "uint16", True, True, _ours(tiff.write)),
    "tiff32f": Format(".tiff", "float32", True, True, _ours(tiff.write)),
    "webp": Format(".webp", "uint8", False, True, _webp),
    "jpeg": Format(".jpg", "uint8", True, False, _jpeg),
}
"""What results can be written as, by the name that the command line knows it by."""
