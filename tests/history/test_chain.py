"""The chain played again against Pillow's own libjpeg, bit for bit."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes, jpeglib_bytes, make_photo
from PIL import Image

from hrcnn_jax.files import reader
from hrcnn_jax.history import chain

PHOTO = make_photo(61, 83)


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("quality", [3, 30, 75, 100])
def test_gray_both_ways(quality: int) -> None:
    gray = np.where(PHOTO[..., 1] > 128, 255, PHOTO[..., 1]).astype(np.uint8)  # and clipped
    data = jpeg_bytes(gray, quality=quality)
    part = reader.read(data).components[0]
    ours = chain.decode(part.codes, part.table)
    np.testing.assert_array_equal(ours[:61, :83], decoded(data))
    filled = chain.shrink(gray, (1, 1), (8, 11))
    np.testing.assert_array_equal(chain.encode(filled, part.table), part.codes)


@pytest.mark.parametrize("sampling", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
def test_colour_is_decoded(sampling: tuple[int, int], tmp_path: Path) -> None:
    data = jpeglib_bytes(PHOTO, [sampling, (1, 1), (1, 1)], tmp_path)
    file = reader.read(data)
    planes = [
        chain.enlarge(
            chain.decode(part.codes, part.table)[: part.size[0], : part.size[1]], part.factor
        )[:61, :83]
        for part in file.components
    ]
    np.testing.assert_array_equal(chain.to_rgb(np.stack(planes, -1)), decoded(data))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(61, 83), (64, 70), (48, 64)])
def test_colour_is_encoded(subsampling: int, size: tuple[int, int]) -> None:
    picture = PHOTO[: size[0], : size[1]] if size[0] < 62 else make_photo(*size)
    file = reader.read(jpeg_bytes(picture, quality=90, subsampling=subsampling))
    planes = np.moveaxis(chain.to_ycc(picture), -1, 0)
    for plane, part in zip(planes, file.components, strict=True):
        shrunk = chain.shrink(plane, part.factor, part.codes.shape[:2])
        np.testing.assert_array_equal(chain.encode(shrunk, part.table), part.codes)


def test_strong_colours() -> None:
    """Each of a quarter of a million is converted as libjpeg does, both ways."""
    colours = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    data = jpeg_bytes(colours, quality=100, subsampling=0)
    parts = reader.read(data).components
    planes = [chain.decode(part.codes, part.table) for part in parts]
    np.testing.assert_array_equal(chain.to_rgb(np.stack(planes, -1)), decoded(data))
    for plane, part in zip(np.moveaxis(chain.to_ycc(colours), -1, 0), parts, strict=True):
        np.testing.assert_array_equal(chain.encode(plane, part.table), part.codes)


def test_narrow_chroma_is_repeated() -> None:
    """Pillow of pictures four pixels wide: libjpeg has no triangle filter for two samples."""
    data = jpeg_bytes(PHOTO[:16, :4], quality=90, subsampling=2)
    file = reader.read(data)
    planes = [
        chain.enlarge(
            chain.decode(part.codes, part.table)[: part.size[0], : part.size[1]], part.factor
        )
        for part in file.components
    ]
    np.testing.assert_array_equal(chain.to_rgb(np.stack(planes, -1)), decoded(data))
