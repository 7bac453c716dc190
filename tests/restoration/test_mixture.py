"""Means of two planes, against SciPy's DCT."""

import numpy as np
import pytest
from scipy.fft import dctn

from hrcnn_jax.jpeg.tables import quality_table
from hrcnn_jax.restoration import mixture


@pytest.mark.parametrize("faithful", [True, False])
def test_a_mean_is_moved_to_the_codes_if_it_is_to_be_faithful(faithful: bool) -> None:
    random = np.random.default_rng(0)
    own, other = random.random((2, 32, 24), np.float32)
    table = quality_table(10)
    samples = 255 * own.astype(np.float64) - 128
    blocks = samples.reshape(4, 8, 3, 8).swapaxes(1, 2)
    codes = np.round(dctn(blocks, axes=(2, 3), norm="ortho") / table).astype(np.int16)

    strips = (iter(np.split(plane, 2)) for plane in (own, other))
    mixed = mixture.mixed(*strips, 0.75, codes, table, faithful=faithful)
    plane = np.concatenate(list(mixed))
    mean = 0.25 * own + 0.75 * other
    if not faithful:
        np.testing.assert_allclose(plane, mean, atol=1e-6)
        return
    found = (255 * plane.astype(np.float64) - 128).reshape(4, 8, 3, 8).swapaxes(1, 2)
    np.testing.assert_array_equal(np.round(dctn(found, axes=(2, 3), norm="ortho") / table), codes)
    assert np.abs(plane - mean).max() > 0.01, "the mean itself has other codes"
