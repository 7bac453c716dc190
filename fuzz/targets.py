"""What is fuzzed, a parser each: a function that takes any bytes, and raises only on a bug.

A refusal by the parser's own error is no bug. What is taken has to hold together; where there is an
independent judge, it is Pillow.
"""

import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from fuzz import seeds
from hrcnn_jax.data.sources import DataError, FolderSource
from hrcnn_jax.files import exif, pictures, reader, writer
from hrcnn_jax.files.reader import JpegError, JpegFile
from hrcnn_jax.fleet import manifest as fleet
from hrcnn_jax.fleet.stores import StoreError, open_store
from hrcnn_jax.history import find, inspection, recover

MOST_PIXELS = 100_000
_COLOUR = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
_GRAY = _COLOUR[..., 0]


def jpeg(data: bytes) -> None:
    """The reader of JPEG files, with and without salvaging, and the walk of markers before it."""
    try:
        whole: JpegFile | None = reader.read(data, max_pixels=MOST_PIXELS)
    except JpegError as error:
        whole = None
        _check(
            str(error).startswith("<bytes>: ") and "\n" not in str(error), "is not told in one line"
        )
    try:
        salvaged = reader.read(data, max_pixels=MOST_PIXELS, salvage=True)
    except JpegError:
        _check(whole is None, "is read, but not salvaged")
        return
    _check((salvaged.damage is None) == (whole is not None), "is whole and damaged")
    _check(0 < salvaged.width * salvaged.height <= MOST_PIXELS, "has a wrong size")
    for part in salvaged.components:
        rows, columns = part.size
        _check(part.codes.shape == (-(-rows // 8), -(-columns // 8), 8, 8), "has wrong codes")
        _check(bool(part.table.min() >= 1), "has steps of zero")
        _check(rows == -(-salvaged.height // part.factor[0]), "has components of wrong sizes")
    inspection.coding(salvaged), inspection.sampling(salvaged), inspection.libjpeg_quality(salvaged)


def exif_block(data: bytes) -> None:
    """EXIF: what is read from it, what is turned in it, and the TIFF file that grows out of it."""
    block = exif.SIGNATURE + data.removeprefix(exif.SIGNATURE)
    upright = exif.upright(block)
    _check(upright is not None and len(upright) == len(block), "is of another length")
    _check(exif.orientation(upright) == 1, "does not stand upright")
    _check(exif.upright(upright) == upright, "is turned twice")
    exif.resolution(block)
    _written(seeds.made_file(exif=block), "tiff16")


def metadata(data: bytes) -> None:
    """EXIF, ICC or XMP, written into every format."""
    kind, block = data[:1], data[1:]
    if kind == b"\1":
        file = seeds.made_file(icc=block)
    elif kind == b"\2":
        file = seeds.made_file(xmp=block)
    else:
        file = seeds.made_file(exif=exif.SIGNATURE + block.removeprefix(exif.SIGNATURE))
    for name in writer.FORMATS:
        _written(file, name)


def lossless(data: bytes) -> None:
    """The reader of pictures that are kept as pixels, and that of training."""
    with _quiet():
        try:
            picture = pictures.read(data, max_pixels=MOST_PIXELS)
        except JpegError as error:
            _check_line(error)
        else:
            _check(0 < picture.width * picture.height <= MOST_PIXELS, "has a wrong size")
            if isinstance(picture, pictures.Picture):
                _check(picture.samples.dtype == np.uint8, "is not of 8 bits")
                _written(replace(picture, alpha=None), "tiff")
    with tempfile.NamedTemporaryFile() as file, _quiet(), _most_pixels(MOST_PIXELS):
        file.write(data)
        file.flush()
        try:
            colour = FolderSource((Path(file.name),)).load(0)
        except DataError:
            return
    _check(colour.dtype == np.uint8 and colour.ndim == 3 and colour.shape[2] == 3, "is no RGB")


def history(data: bytes) -> None:
    """The finder of earlier compressions, in files of any codes, and in pixels."""
    source = seeds.source_of(data)
    if isinstance(source, JpegFile):
        height, width = source.height, source.width
    else:
        height, width = source.shape[:2]
    found = find(source)
    if found is not None:
        earlier = recover(source, found)
        _check(all(0 <= share <= 1 for share in earlier.history.proof), "has no proof")
        _check(earlier.height >= height and earlier.width >= width, "was smaller before")


def manifest(data: bytes) -> None:
    """A fleet's manifest: a file of rows, and what is known of the run."""
    kind, body = data[:1], data[1:]
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / fleet.FOLDER
        inside.mkdir()
        (inside / ("_run.json" if kind == b"\1" else "part-0.parquet")).write_bytes(body)
        store = open_store(folder)
        try:
            told = fleet.read(folder)
            done = fleet.take_up(store, set(store.names("")), retry_failed=False)
            fleet.begin_run(store, {})
        except (StoreError, fleet.MixedError) as error:
            _check("\n" not in str(error) and folder in str(error), "is not told in one line")
            return
    _check(told.schema == fleet.SCHEMA, "has other columns")
    _check(done.keys() <= set(told.column("path").to_pylist()), "has more done than told")


@dataclass(frozen=True)
class Target:
    """A parser that is fuzzed, and what fuzzing begins with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


TARGETS = {
    "jpeg": Target(jpeg, seeds.jpegs),
    "exif": Target(exif_block, seeds.blocks),
    "metadata": Target(metadata, seeds.metadata),
    "lossless": Target(lossless, seeds.pictures),
    "history": Target(history, seeds.sources),
    "manifest": Target(manifest, seeds.manifests),
}


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _check_line(error: JpegError) -> None:
    in_a_line = str(error).startswith("<bytes>: ") and "\n" not in str(error)
    _check(in_a_line, "is not told in one line")


def _written(file: pictures.Stored, name: str) -> None:
    """Writes a picture with a file's metadata, and has Pillow read it."""
    kind, stream = writer.FORMATS[name], io.BytesIO()
    picture = (_GRAY if name == "tiff32f" else _COLOUR).astype(kind.depth)  # as Pillow reads them
    try:
        writer.save(stream, picture, kind, file=file)
    except ValueError:  # the format cannot hold it, which is told in a line
        return
    height, width = writer.turned(picture, exif.orientation(file.exif)).shape[:2]
    with _quiet(), Image.open(stream) as written:
        _check(written.size == (width, height), f"{name} has another size")
        written.load()


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of damage; we are to notice it without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _most_pixels(most: int) -> Iterator[None]:
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
