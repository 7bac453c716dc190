"""What fuzzing begins with: small valid files and blocks of every kind, made anew each time."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

from hrcnn_jax.files import exif


def photo(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """A smooth picture with some noise, `(height, width, 3)`; always the same."""
    down, across = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, 3))
    smooth = np.dstack([4 * down + across, 200 - 3 * across, 100 + 2 * down])
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def saved(picture: NDArray[Any], kind: str, **options: Any) -> bytes:
    """A file of Pillow's."""
    stream = io.BytesIO()
    mode = "CMYK" if picture.ndim == 3 and picture.shape[2] == 4 else None
    Image.fromarray(picture, mode).save(stream, kind, **options)
    return stream.getvalue()


def blocks() -> Iterator[bytes]:
    """EXIF blocks: of each orientation, with directories inside, in either order of bytes."""
    for turn in (1, 3, 6, 8):
        tags = Image.Exif()
        tags[Base.Orientation], tags[Base.ImageDescription] = turn, "a description"
        tags[Base.XResolution], tags[Base.YResolution], tags[Base.ResolutionUnit] = 300.0, 72.0, 3
        inner = tags.get_ifd(IFD.Exif)
        inner[Base.ExifImageWidth], inner[Base.ExifImageHeight] = 40, 24
        tags.get_ifd(IFD.GPSInfo)[1] = "N"
        yield tags.tobytes()
    yield exif.SIGNATURE + b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    yield exif.SIGNATURE + b"II*\0\x08\0\0\0\0\0"


def profile() -> bytes:
    """An ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/>'
    b"<tiff:Orientation>8</tiff:Orientation></rdf:RDF></x:xmpmeta>"
)
"""An XMP packet."""


def jpegs() -> Iterator[bytes]:
    """JPEG files of all codings and samplings that Pillow writes, with and without metadata."""
    picture = photo()
    yield saved(picture[..., 0], "JPEG")
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            yield saved(picture, "JPEG", subsampling=sampling, progressive=progressive)
    yield saved(picture, "JPEG", restart_marker_blocks=1, quality=10)
    yield saved(picture, "JPEG", qtables=[list(range(1, 65)), list(range(192, 256))])
    yield saved(picture, "JPEG", keep_rgb=True)
    yield saved(np.dstack([picture, picture[..., 0]]), "JPEG")
    everything = {"exif": next(blocks()), "icc_profile": profile(), "xmp": PACKET, "dpi": (300, 72)}
    yield saved(picture, "JPEG", comment=b"hello", **everything)
    others = [Image.fromarray(255 - picture)]
    yield saved(picture, "MPO", save_all=True, append_images=others)


def metadata() -> Iterator[bytes]:
    """EXIF blocks, profiles and packets behind a byte that says which."""
    for kind, parts in enumerate((list(blocks()), [profile()], [PACKET])):
        for part in parts:
            yield bytes([kind]) + part


def pictures() -> Iterator[bytes]:
    """Lossless pictures of each format that training takes, gray, colour, with a palette."""
    colour, gray = photo(), photo()[..., 0]
    for picture in (gray, colour):
        yield saved(picture, "PNG")
        yield saved(picture, "BMP")
        yield saved(picture, "WEBP", lossless=True)
        for compression in (None, "tiff_lzw", "tiff_deflate", "packbits"):
            yield saved(picture, "TIFF", compression=compression)
    yield saved(gray.astype(np.uint16) * 257, "PNG")
    stream = io.BytesIO()
    Image.fromarray(colour).quantize(16).save(stream, "PNG", transparency=0)
    yield stream.getvalue()


def codes() -> Iterator[bytes]:
    """What `fuzz.targets.history` makes files of: a header, then codes; or pixels."""
    random = np.random.default_rng(1)
    for header in range(8):
        body = np.rint(random.laplace(0, 3, 6 * 64)).clip(-128, 127).astype(np.int8)
        yield bytes([header, 20 + header]) + body.tobytes()
