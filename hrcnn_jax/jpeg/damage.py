"""How bad a picture is, on a scale that people know: the JPEG quality that does as much damage.

Whatever happened to a picture, there is a quality at which one compression, with Annex K's
luminance table, has the same mean squared error. Its *error* is `usual_error` of that table, which
grows about as the root of the mean squared error does: 0 for what is intact, 0.13 at quality 100, 1
at quality 50, 1.6 at quality 20. Pure `jnp` functions.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hrcnn_jax.jpeg import tables, transform
from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE

MEAN_STEP = 57.6
"""Mean step of Annex K's luminance table, quality 50."""

_QUALITIES = np.arange(100, 0, -1)
_ERRORS = np.sqrt(tables.quality_table(_QUALITIES).mean((1, 2)) / MEAN_STEP)
"""Of qualities 100 to 1: never less than the one before."""

_MEASURED = np.array([100, 98, 96, 94, 91, 87, 82, 75, 65, 50, 40, 30, 22, 16, 12, 9, 7, 5, 3, 1])
"""The qualities that damage is compared with; between them it is interpolated."""

_ROUNDING = 1.0 / 12.0
"""Mean squared error in levels of samples that were rounded to integers, as files' are."""

_SMALL = 0.1

_LEAST = 0.01
"""What errors have to be above, in levels squared, to be any."""


def usual_error(table: Array) -> Array:
    """About how large a table's errors are, `(B, 1, 1)`: they grow as the root of its steps."""
    mean = jnp.mean(table.astype(jnp.float32), axis=(1, 2), keepdims=True)
    return jnp.sqrt(mean / MEAN_STEP)


def of_quality(quality: Array) -> Array:
    """The error of JPEG qualities 1-100, float32 of any shape."""
    return jnp.interp(quality, *_curve(_QUALITIES[::-1], _ERRORS[::-1]))


def quality_of(error: Array) -> Array:
    """The JPEG quality, 1-100, of errors of any shape; 100 for what is intact."""
    return jnp.interp(error, *_curve(_ERRORS, _QUALITIES))


def _curve(*axes: Any) -> tuple[Array, ...]:
    return tuple(jnp.asarray(axis, jnp.float32) for axis in axes)


def logarithm(error: Array) -> Array:
    """Errors on a scale where equal ratios are equally far apart, down to about quality 99."""
    return jnp.log(error + _SMALL)


def of_logarithm(value: Array) -> Array:
    """Inverse of `logarithm`; errors below 0 are of what is more than intact."""
    return jnp.exp(value) - _SMALL


def measured(intact: Array, damaged: Array) -> Array:
    """The error of damaged planes, compared with JPEG compressions of the intact ones.

    Args:
      intact: `(B, H, W)` float32 in [0, 1], sides multiples of 8.
      damaged: the same.

    Returns:
      `(B,)` float32, from 0 to that of quality 1.
    """
    coefficients = transform.pixels_to_coefficients(intact)

    def compressed(table: Array) -> Array:
        """Mean squared error by one table, in levels: that of coefficients (Parseval)."""
        steps = jnp.broadcast_to(table, coefficients.shape[:1] + table.shape)[:, None, None]
        lost = coefficients - transform.dequantise(transform.quantise(coefficients, steps), steps)
        return jnp.mean(jnp.square(lost), axis=(1, 2, 3, 4)) + _ROUNDING

    def located(reached: Array, error: Array) -> Array:
        # Finer tables may by chance do more damage to a small picture: made to grow.
        growing = jax.lax.cummax(jnp.log(reached + _LEAST))
        growing += 1e-4 * jnp.arange(len(growing), dtype=jnp.float32)
        return jnp.interp(jnp.log(error + _LEAST), growing, errors)

    known = jnp.asarray(tables.quality_table(_MEASURED)).reshape(-1, BLOCK, BLOCK)
    reached = jax.lax.map(compressed, known).T  # (B, Q)
    errors = jnp.concatenate([jnp.zeros(1), of_quality(jnp.asarray(_MEASURED, jnp.float32))])
    reached = jnp.concatenate([jnp.zeros_like(reached[:, :1]), reached], axis=1)
    found = MAX_SAMPLE**2 * jnp.mean(jnp.square(intact - damaged), axis=(1, 2))
    return jax.vmap(located)(reached, found)
