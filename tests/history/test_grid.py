"""Traces of an earlier grid of blocks, on files that Pillow saved, cropped and saved again."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes
from PIL import Image
from scipy.fft import dctn

from hrcnn_jax.files import reader
from hrcnn_jax.history import grid

SAMPLE = Path(reader.__file__).parents[1] / "sample" / "parrots.webp"
PHOTO = np.asarray(Image.open(SAMPLE).convert("RGB"))


def saved(picture: np.ndarray, quality: int) -> reader.Component:
    return reader.read(jpeg_bytes(picture, quality=quality)).components[0]


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90, 98])
def test_once_is_not_suspected(quality: int) -> None:
    assert grid.earlier_grid(saved(PHOTO, quality)) is None


@pytest.mark.parametrize(("first", "second"), [(50, 90), (75, 95), (60, 80)])
@pytest.mark.parametrize("place", [(5, 3), (0, 4), (1, 0), (7, 7)])
def test_an_earlier_grid_is_found(first: int, second: int, place: tuple[int, int]) -> None:
    before = np.asarray(Image.open(io.BytesIO(jpeg_bytes(PHOTO, quality=first))))
    cropped = before[-place[0] % 8 :, -place[1] % 8 :]
    assert grid.earlier_grid(saved(cropped, second)) == place


def test_the_own_grid_is_not_another() -> None:
    before = np.asarray(Image.open(io.BytesIO(jpeg_bytes(PHOTO, quality=50))))
    assert grid.earlier_grid(saved(before, 90)) is None
    assert grid.earlier_grid(saved(before[8:, 16:], 90)) is None


def test_shares_near_zero() -> None:
    """Against SciPy's DCT of the blocks of one grid."""
    plane = PHOTO[:70, :90, 1].astype(np.float64)
    # 7 * 10 blocks: the last row of them would not fit wherever a grid began
    blocks = plane[2:58, 5:85].reshape(7, 8, 10, 8).swapaxes(1, 2)
    expected = np.mean(np.abs(dctn(blocks, axes=(2, 3), norm="ortho")[..., 1:, 1:]) < 3)
    assert grid.near_zero(plane)[2, 5] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("shape", [(8, 8), (64, 40), (64, 64)])
def test_small_and_flat_pictures_tell_nothing(shape: tuple[int, int]) -> None:
    assert grid.earlier_grid(saved(np.full(shape, 90, np.uint8), 75)) is None
