"""What fuzzing begins with: small valid files and blocks of every kind, made anew each time."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base
from pyarrow import parquet

from hrcnn_jax.files import exif, reader
from hrcnn_jax.files.reader import Colour, Component, JpegFile
from hrcnn_jax.fleet import manifest
from hrcnn_jax.jpeg.tables import quality_table

SAMPLE = Path(__file__).parents[1] / "hrcnn_jax" / "sample" / "parrots.webp"

PIXELS, SUBSAMPLED, COLOUR = 1, 2, 4
"""Bits of what `source_of` is told."""


def photo(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """A detail of the bundled photograph, `(height, width, 3)`."""
    with Image.open(SAMPLE) as image:
        return np.asarray(image.convert("RGB"))[140 : 140 + height, 60 : 60 + width]


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
    yield saved(np.dstack([colour, gray]), "TIFF")
    everything = {"exif": next(blocks()), "icc_profile": profile()}
    for kind in ("PNG", "WEBP", "TIFF"):
        yield saved(colour, kind, **everything)
    stream = io.BytesIO()
    Image.fromarray(colour).quantize(16).save(stream, "PNG", transparency=0)
    yield stream.getvalue()


def manifests() -> Iterator[bytes]:
    """Files of rows in every compression, and what is known of runs; the first byte tells which."""
    failed: manifest.Row = {"path": "b.jpg", "error": "no JPEG file"}
    done: manifest.Row = {
        "path": "a.jpg",
        "target": "a.png",
        "bytes": 3,
        "codes_share": 1.0,
        "seconds": 0.5,
    }
    for compression in ("none", "zstd", "snappy", "gzip"):
        for rows in ([failed], [failed, done]):
            stream = io.BytesIO()
            parquet.write_table(manifest.table(rows), stream, compression=compression)
            yield b"\0" + stream.getvalue()
    yield b"\1" + json.dumps({"run": "0a", "settings": {"model": "small"}}).encode()
    yield b"\1{}"


def made_file(
    height: int = 2,
    width: int = 3,
    components: tuple[Component, ...] = (),
    *,
    exif: bytes | None = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
) -> JpegFile:
    """A file as the reader gives it."""
    colour: Colour = "gray" if len(components) == 1 else "ycbcr"
    told = (exif, icc, xmp, None, None)
    return JpegFile("<bytes>", height, width, components, colour, False, False, 0, *told)


def source_of(data: bytes) -> JpegFile | NDArray[np.uint8]:
    """What bytes say of a picture whose history is looked for.

    The first says whether they are pixels or codes, the sampling, whether there is colour, and the
    size; the second the quality of the tables; the others are the samples or codes, over and over.
    """
    (kind, quality), body = data[:2].ljust(2, b"\0"), data[2:] or b"\0"
    height, width = size = 64 + 8 * (kind >> 3 & 1), 64 + kind % 7
    if kind & PIXELS:
        return np.resize(np.frombuffer(body, np.uint8), (height, width, 3))
    factors = [(1, 1)]
    if kind & COLOUR:
        factors += 2 * [(2, 2) if kind & SUBSAMPLED else (1, 1)]
    parts, start = [], 0
    for factor in factors:
        rows, columns = (-(-side // by) for side, by in zip(size, factor, strict=True))
        shape = -(-rows // 8), -(-columns // 8), 8, 8
        codes = np.resize(np.frombuffer(body[start:] or body, np.int8), shape).astype(np.int16)
        start += codes.size
        table = quality_table(quality % 100 + 1).astype(np.int32)
        parts.append(Component(codes, table, (1, 1), factor, (rows, columns)))
    return made_file(height, width, tuple(parts))


def sources() -> Iterator[bytes]:
    """Bytes for `source_of`: of pictures compressed at quality 10, and kept or compressed at 90."""
    for kind in range(16):
        whole = source_of(bytes([kind]))
        gray = isinstance(whole, JpegFile) and len(whole.components) == 1
        size = (whole.height, whole.width) if isinstance(whole, JpegFile) else whole.shape[:2]
        picture = photo(*size)
        first = saved(picture[..., 0] if gray else picture, "JPEG", quality=10)
        decoded = np.asarray(Image.open(io.BytesIO(first)))
        if not isinstance(whole, JpegFile):
            yield bytes([kind, 0]) + decoded.tobytes()
            continue
        sampling = "4:2:0" if kind & SUBSAMPLED else "4:4:4"
        last = reader.read(saved(decoded, "JPEG", quality=90, subsampling=sampling))
        codes = [part.codes.clip(-128, 127).astype(np.int8).tobytes() for part in last.components]
        yield bytes([kind, 89]) + b"".join(codes)
