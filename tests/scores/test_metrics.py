"""PSNR and SSIM against scikit-image."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_photo
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hrcnn_jax.scores import metrics

# float32 against scikit-image in float64, measured at most 1e-6: a variance is a difference that
# loses about 1e-7, beside constants of at least 1e-4.
SSIM_TOLERANCE = 1e-5


def pair(height: int, width: int, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """A plane and a noisy one, float32 in [0, 1]."""
    plane = make_photo(height, width)[..., 1].astype(np.float32) / 255
    random = np.random.default_rng(1).normal(scale=noise, size=plane.shape)
    return plane, np.clip(plane + random, 0, 1).astype(np.float32)


def flat(value: float) -> np.ndarray:
    return np.full((24, 32), value, np.float32)


PAIRS = {
    "photo": pair(64, 96),
    "odd size": pair(37, 51),
    "one window": pair(7, 7),
    "one row of windows": pair(7, 40),
    "little noise": pair(48, 48, noise=0.002),
    "nothing alike": (pair(40, 40)[0], pair(40, 40)[0][::-1].copy()),
    "flat and flat": (flat(0.25), flat(0.75)),
    "flat and photo": (flat(0.5), pair(24, 32)[0]),
    "black and white": (flat(0.0), flat(1.0)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_psnr_is_scikit_images(name: str) -> None:
    first, second = PAIRS[name]
    expected = peak_signal_noise_ratio(first.astype(float), second.astype(float), data_range=1)
    assert float(jax.jit(metrics.psnr)(first, second)) == pytest.approx(expected, abs=1e-4)


def test_psnr_of_pictures_is_scikit_images() -> None:
    first, second = make_photo(40, 56), make_photo(40, 56)[::-1]
    expected = peak_signal_noise_ratio(first, second)
    assert metrics.psnr_of_samples(first, second) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("data_range", [1.0, 2.0])
@pytest.mark.parametrize("name", PAIRS)
def test_ssim_is_scikit_images(name: str, data_range: float) -> None:
    first, second = PAIRS[name]
    expected = structural_similarity(
        first.astype(float), second.astype(float), data_range=data_range
    )
    value = jax.jit(lambda a, b: metrics.ssim(a, b, data_range=data_range))(first, second)
    assert float(value) == pytest.approx(expected, abs=SSIM_TOLERANCE)


def test_ssim_of_bright_planes_with_little_contrast() -> None:
    """Where float32 would lose most: a small variance on a large mean."""
    random = np.random.default_rng(2)
    first, second = (0.99 + 1e-3 * random.normal(size=(2, 40, 40))).astype(np.float32)
    expected = structural_similarity(first.astype(float), second.astype(float), data_range=1)
    assert float(metrics.ssim(first, second)) == pytest.approx(expected, abs=1e-6)


def test_equal_planes() -> None:
    plane, _ = PAIRS["photo"]
    assert float(metrics.psnr(plane, plane)) == np.inf
    assert float(metrics.ssim(plane, plane)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim, metrics.mean_squared_error])
def test_leading_axes_are_pictures(measure: Any) -> None:
    first, second = (
        np.stack([one, two]) for one, two in zip(*map(pair_of_48, (1, 2)), strict=True)
    )
    apart = [[float(measure(a, b)) for a, b in zip(first, second, strict=True)]]
    together = measure(first[None], second[None])
    assert together.shape == (1, 2)
    np.testing.assert_allclose(together, apart, rtol=1e-5)
    assert apart[0][0] != pytest.approx(apart[0][1], rel=1e-3)


def pair_of_48(seed: int) -> tuple[np.ndarray, np.ndarray]:
    plane = make_photo(48, 48, seed)[..., 1].astype(np.float32) / 255
    return plane, plane**1.1


def test_8_bits_are_what_a_file_holds() -> None:
    values = jnp.asarray([[-0.3, 0.0, 0.4 / 255, 0.6 / 255, 100.49 / 255, 1.0, 1.7]])
    expected = np.array([[0, 0, 0, 1, 100, 255, 255]])
    np.testing.assert_array_equal(np.rint(np.asarray(metrics.to_8_bits(values)) * 255), expected)


def test_ssim_refuses_what_its_window_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"at least 7 pixels, got \(6, 20\)"):
        metrics.ssim(np.zeros((6, 20), np.float32), np.zeros((6, 20), np.float32))
