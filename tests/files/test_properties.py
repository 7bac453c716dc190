"""Properties that hold of every size, sampling, table and orientation (hypothesis)."""

import io

import numpy as np
from conftest import jpeg_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from hrcnn_jax.files import exif, markers, reader, writer
from hrcnn_jax.jpeg.tables import quality_table

SAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}
"""Pillow's, and how many times coarser chroma is, down and across."""

SIDES = st.integers(1, 70)
TABLES = st.lists(st.integers(1, 255), min_size=64, max_size=64)

bounded = settings(max_examples=60, deadline=None, derandomize=True)


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@bounded
@given(SIDES, SIDES, st.sampled_from(sorted(SAMPLINGS)), st.booleans(), st.integers(0, 9))
def test_sizes_and_samplings(
    height: int, width: int, sampling: str, progressive: bool, restart: int
) -> None:
    options = {"subsampling": sampling, "progressive": progressive, "optimize": progressive}
    data = jpeg_bytes(picture(height, width), restart_marker_blocks=restart, **options)
    file = reader.read(data)
    assert (file.height, file.width, file.progressive) == (height, width, progressive)
    factors = [part.factor for part in file.components]
    assert factors == [(1, 1), SAMPLINGS[sampling], SAMPLINGS[sampling]]
    for part in file.components:
        down, across = part.factor
        assert part.size == (-(-height // down), -(-width // across))
        assert part.codes.shape[:2] == (-(-part.size[0] // 8), -(-part.size[1] // 8))


@bounded
@given(TABLES, TABLES, st.sampled_from(sorted(SAMPLINGS)))
def test_tables_are_the_files_own(luma: list[int], chroma: list[int], sampling: str) -> None:
    data = jpeg_bytes(picture(16, 16), qtables=[luma, chroma], subsampling=sampling)
    tables = [part.table.ravel().tolist() for part in reader.read(data).components]
    assert tables == [luma, chroma, chroma]


@bounded
@given(SIDES, SIDES, st.integers(1, 100))
def test_codes_decode_to_pillows_pixels(height: int, width: int, quality: int) -> None:
    """By a float DCT of our own; libjpeg's integer one is off by one at most."""
    data = jpeg_bytes(picture(height, width)[..., 0], quality=quality)
    (part,) = reader.read(data).components
    places = (2 * np.arange(8) + 1) * np.arange(8)[:, None] * np.pi / 16
    basis = np.cos(places) * np.where(np.arange(8) == 0, np.sqrt(1 / 8), 1 / 2)[:, None]
    blocks = basis.T @ (part.codes * part.table) @ basis + 128
    plane = blocks.swapaxes(1, 2).reshape(8 * blocks.shape[0], -1)[:height, :width]
    pillow = np.asarray(Image.open(io.BytesIO(data)), np.float64)
    assert np.abs(np.clip(plane, 0, 255) - pillow).max() < 1.5
    assert (part.table == quality_table(quality)).all()


@bounded
@given(SIDES, SIDES, st.integers(1, 8), st.sampled_from(sorted(writer.FORMATS)))
def test_pictures_stand_as_pillow_turns_them(height: int, width: int, turn: int, name: str) -> None:
    tags = Image.Exif()
    tags[Base.Orientation], tags[Base.ImageDescription] = turn, "a description"
    stored = picture(height, width)
    file = reader.read(jpeg_bytes(stored, exif=tags))
    kind = writer.FORMATS[name]
    gray = name == "tiff32f"  # of colour floats Pillow reads none
    samples = (stored[..., 0] if gray else stored).astype(kind.depth)
    stream = io.BytesIO()
    writer.save(stream, samples, kind, file=file)
    with Image.open(stream) as written:
        told = written.getexif()
        assert (told.get(Base.Orientation, 1), told[Base.ImageDescription]) == (1, "a description")
        seen = np.asarray(written)
    image = Image.fromarray(stored)
    image.getexif()[Base.Orientation] = turn
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert seen.shape[:2] == expected.shape[:2]
    if kind.depth == "uint8" and name in ("png", "tiff"):
        np.testing.assert_array_equal(seen, expected)


@bounded
@given(st.binary(max_size=300))
def test_any_exif_block_is_turned_in_its_place(block: bytes) -> None:
    for order in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        whole = exif.SIGNATURE + order + block
        turned = exif.upright(whole)
        assert turned is not None
        assert len(turned) == len(whole)
        assert exif.orientation(turned) == 1


@bounded
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xdb\0\x43"]))
def test_any_bytes_are_walked_or_refused(data: bytes, start: bytes) -> None:
    try:
        end = markers.walk(start + data, most_scans=3).end
    except markers.MarkerError:  # any other error fails the test
        return
    assert 0 < end <= len(start + data)
