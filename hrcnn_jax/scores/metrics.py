"""PSNR and SSIM as pure `jnp` functions, but for one of whole pictures, in NumPy.

Planes are float32 `(..., H, W)` in [0, 1]; leading axes are pictures, each with its own value.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

SSIM_WINDOW = 7
"""Side of the uniform SSIM window, as in scikit-image's default."""


def to_8_bits(plane: Array) -> Array:
    """Clips to [0, 1] and rounds to the 256 levels that an 8-bit file can hold."""
    return jnp.round(jnp.clip(plane, 0.0, 1.0) * 255.0) / 255.0


def mean_squared_error(first: Array, second: Array) -> Array:
    """Mean squared difference over the last two axes."""
    return jnp.mean(jnp.square(first - second), axis=(-2, -1))


def psnr(first: Array, second: Array) -> Array:
    """Peak signal-to-noise ratio in dB, peak 1.0; infinite where the planes are equal."""
    return -10.0 * jnp.log10(mean_squared_error(first, second))


def psnr_of_samples(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """PSNR in dB over all samples of two pictures of 8 bits; of no size is a program compiled."""
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return float(10 * np.log10(255**2 / error))


def ssim(first: Array, second: Array, *, data_range: float = 1.0) -> Array:
    """Mean structural similarity `(...)`: the mean of `ssim_map`, up to 1."""
    return jnp.mean(ssim_map(first, second, data_range=data_range), axis=(-2, -1))


def ssim_map(first: Array, second: Array, *, data_range: float = 1.0) -> Array:
    """Structural similarity over a 7x7 uniform window, sample covariance, borders left out.

    Args:
      first: `(..., H, W)`, both sides at least 7.
      second: same shape.
      data_range: the range that the stabilising constants are scaled to. 1.0 is the true range of
        planes in [0, 1]; 2.0 is what scikit-image once assumed for floats, the convention that
        the HR-CNN paper's figures follow.

    Returns:
      `(..., H - 6, W - 6)` values up to 1, one for each place of the window.

    Raises:
      ValueError: if a side is shorter than the window.

    Source: Wang et al., "Image quality assessment: from error visibility to structural
    similarity", equation 13, constants K1 = 0.01 and K2 = 0.03.
    """
    if min(first.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs sides of at least {SSIM_WINDOW} pixels, got {first.shape}")
    # Centring both planes changes nothing but the rounding: E[x^2] - E[x]^2 loses less in float32.
    centre = jnp.mean(first, axis=(-2, -1), keepdims=True)
    x, y = first - centre, second - centre
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    count = SSIM_WINDOW**2
    unbiased = count / (count - 1)
    variance_x = unbiased * (_window_mean(x * x) - mean_x * mean_x)
    variance_y = unbiased * (_window_mean(y * y) - mean_y * mean_y)
    covariance = unbiased * (_window_mean(x * y) - mean_x * mean_y)
    mean_x, mean_y = mean_x + centre, mean_y + centre
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return luminance * structure


def _window_mean(plane: Array) -> Array:
    window = (1,) * (plane.ndim - 2) + (SSIM_WINDOW, SSIM_WINDOW)
    strides = (1,) * plane.ndim
    total = jax.lax.reduce_window(plane, 0.0, jax.lax.add, window, strides, "VALID")
    return total / SSIM_WINDOW**2
