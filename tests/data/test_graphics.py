"""Drawings for training: of any size, the same by the same seed, and unlike photographs."""

import numpy as np
import pytest
from conftest import make_photo
from numpy.typing import NDArray

from hrcnn_jax.data import graphics


def flat(picture: NDArray[np.uint8]) -> float:
    """Share of pixels that are like their right neighbours."""
    return float((picture[:, 1:] == picture[:, :-1]).all(-1).mean())


@pytest.mark.parametrize("side", [64, 241])
def test_drawings(side: int) -> None:
    drawn = [graphics.drawn(np.random.default_rng(seed), side) for seed in range(60)]
    again = [graphics.drawn(np.random.default_rng(seed), side) for seed in range(60)]
    for picture, same in zip(drawn, again, strict=True):
        assert picture.shape == (side, side, 3)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, same)
    assert np.median([flat(picture) for picture in drawn]) > 0.5
    assert flat(make_photo(side, side)) < 0.2
    assert len({picture.tobytes() for picture in drawn}) > 50


def test_photographs_altered() -> None:
    """Each keeps its shape and about its colours; most are others than before."""
    photo = make_photo(241, 250)
    altered = [graphics.altered(np.random.default_rng(seed), photo) for seed in range(60)]
    assert all(picture.shape == photo.shape and picture.dtype == np.uint8 for picture in altered)
    moved = [abs(float(picture.mean()) - float(photo.mean())) for picture in altered]
    assert max(moved) < 40
    assert sum((picture != photo).any() for picture in altered) > 50
    assert max(map(flat, altered)) > 0.4, "large pixels, or few colours"
