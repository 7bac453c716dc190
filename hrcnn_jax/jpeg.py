"""The JPEG transform as pure ``jnp`` functions: blocks, DCT, tables, quantisation, projection.

Pixel planes are float32 in [0, 1]; coefficients are on JPEG's own scale (8-bit samples, level
shift 128). A *plane* is ``(..., H, W)`` with H and W multiples of 8; its *blocks* are
``(..., H/8, W/8, 8, 8)``, each indexed ``[v, u]`` (vertical, then horizontal frequency). Codes can
be laid out either way: the paper's network reads them as a plane, files hold them as blocks.
Everything works under ``jit``, ``vmap`` and ``grad``.

Source: ITU-T T.81 (JPEG), clauses A.3.1-A.3.4 and Annex K; libjpeg for the quality scale.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

BLOCK = 8
"""Block side in samples (T.81 A.1.3)."""

LEVEL_SHIFT = 128.0
"""Subtracted from 8-bit samples before the DCT (T.81 A.3.1)."""

MAX_SAMPLE = 255.0
"""The largest 8-bit sample: pixel 1.0."""

LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.int32,
)
"""Quantisation table K.1 (T.81 Annex K), ``(8, 8)`` int32, natural order."""

CHROMINANCE = np.array(
    [
        [17, 18, 24, 47, 99, 99, 99, 99],
        [18, 21, 26, 66, 99, 99, 99, 99],
        [24, 26, 56, 99, 99, 99, 99, 99],
        [47, 66, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
    ],
    np.int32,
)
"""Quantisation table K.2 (T.81 Annex K), ``(8, 8)`` int32, natural order."""


def _basis() -> np.ndarray:
    frequency, sample = np.mgrid[:BLOCK, :BLOCK]
    cosines = np.cos((2 * sample + 1) * frequency * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    cosines[0] /= np.sqrt(2)
    return cosines.astype(np.float32)


DCT_BASIS = _basis()
"""Orthonormal DCT-II basis, ``(8, 8)`` float32: row = frequency, column = sample (T.81 A.3.3)."""

EXACT = jax.lax.Precision.HIGHEST
"""Accelerators round the factors of float32 products to some 11 bits unless told not to: too few
for codes that must come out to the integer."""


def to_blocks(plane: Array) -> Array:
    """Splits planes ``(..., H, W)`` into 8x8 blocks ``(..., H/8, W/8, 8, 8)``.

    Raises:
      ValueError: if H or W is not a multiple of 8.
    """
    *batch, height, width = plane.shape
    if height % BLOCK or width % BLOCK:
        raise ValueError(
            f"a plane of {height}x{width} samples does not split into 8x8 blocks: "
            "pad or crop both sides to multiples of 8"
        )
    split = plane.reshape(*batch, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return split.swapaxes(-3, -2)


def from_blocks(blocks: Array) -> Array:
    """Joins 8x8 blocks ``(..., hb, wb, 8, 8)`` into planes ``(..., 8*hb, 8*wb)``.

    Raises:
      ValueError: if the last two axes are not 8x8.
    """
    *batch, down, across, rows, columns = blocks.shape
    if (rows, columns) != (BLOCK, BLOCK):
        raise ValueError(f"expected blocks of shape (..., hb, wb, 8, 8), got {blocks.shape}")
    return blocks.swapaxes(-3, -2).reshape(*batch, down * BLOCK, across * BLOCK)


def dct(blocks: Array) -> Array:
    """Orthonormal two-dimensional DCT-II of the last two axes, 8x8 (T.81 A.3.3)."""
    return jnp.einsum("vy,...yx,ux->...vu", DCT_BASIS, blocks, DCT_BASIS, precision=EXACT)


def idct(coefficients: Array) -> Array:
    """Inverse of :func:`dct` (T.81 A.3.3)."""
    return jnp.einsum("vy,...vu,ux->...yx", DCT_BASIS, coefficients, DCT_BASIS, precision=EXACT)


def quality_table(quality: ArrayLike, base: ArrayLike = LUMINANCE) -> Array:
    """Scales a base table to libjpeg's quality 1-100 (``jpeg_quality_scaling``, baseline).

    Args:
      quality: integer or integer array of any shape; clipped to 1-100 as libjpeg does.
      base: the table at quality 50, ``(8, 8)``; Annex K luminance by default.

    Returns:
      Quantisation steps 1-255, int32, shape ``quality.shape + (8, 8)``.
    """
    quality = jnp.clip(jnp.asarray(quality, jnp.int32), 1, 100)[..., None, None]
    percent = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    base = jnp.asarray(base, jnp.int32).reshape((1,) * (quality.ndim - 2) + (BLOCK, BLOCK))
    return jnp.clip((base * percent + 50) // 100, 1, 255)


def quantise(coefficients: Array, table: Array, *, straight_through: bool = False) -> Array:
    """Divides blocks of coefficients by the table and rounds to integers (T.81 A.3.4).

    Rounding is flat almost everywhere, so its true gradient is zero and teaches nothing.

    Args:
      coefficients: ``(..., 8, 8)`` float32.
      table: quantisation steps, broadcastable to the coefficients.
      straight_through: pass the gradient through the rounding as if it were the identity.

    Returns:
      Codes: integers held as float32, same shape as ``coefficients``.
    """
    scaled = coefficients / table.astype(coefficients.dtype)
    codes = jnp.round(scaled)
    return scaled + jax.lax.stop_gradient(codes - scaled) if straight_through else codes


def dequantise(codes: Array, table: Array) -> Array:
    """Multiplies blocks of codes ``(..., 8, 8)`` by the table (T.81 A.3.4)."""
    return codes * table.astype(codes.dtype)


def pixels_to_coefficients(plane: Array) -> Array:
    """Pixels ``(..., H, W)`` in [0, 1] to DCT coefficients ``(..., H/8, W/8, 8, 8)``."""
    return dct(to_blocks(plane * MAX_SAMPLE - LEVEL_SHIFT))


def coefficients_to_pixels(coefficients: Array) -> Array:
    """Inverse of :func:`pixels_to_coefficients`; values may leave [0, 1]."""
    return (from_blocks(idct(coefficients)) + LEVEL_SHIFT) / MAX_SAMPLE


def without_border(planes: Array, border: int) -> Array:
    """Planes ``(..., H, W)`` without so many pixels on every side."""
    *_, height, width = planes.shape
    return planes[..., border : height - border, border : width - border]


def per_block(table: Array) -> Array:
    """Shapes tables ``(..., 8, 8)`` so that each broadcasts over its plane's grid of blocks."""
    return table[..., None, None, :, :]


def encode(plane: Array, table: Array) -> Array:
    """Quantised codes of pixel planes, as a JPEG encoder makes them (T.81 A.3).

    Args:
      plane: ``(..., H, W)`` float32 in [0, 1].
      table: ``(..., 8, 8)`` quantisation steps, one table a plane.

    Returns:
      Codes ``(..., H/8, W/8, 8, 8)``, integers held as float32.
    """
    return quantise(pixels_to_coefficients(plane), per_block(table))


def decode(codes: Array, table: Array) -> Array:
    """Plain JPEG decoding of blocks of codes (T.81 A.3): dequantise, inverse DCT, clip.

    Args:
      codes: ``(..., hb, wb, 8, 8)``.
      table: ``(..., 8, 8)`` quantisation steps, one table a plane.

    Returns:
      Pixels ``(..., 8*hb, 8*wb)`` float32 in [0, 1], not rounded to 8 bits.
    """
    pixels = coefficients_to_pixels(dequantise(codes.astype(jnp.float32), per_block(table)))
    return jnp.clip(pixels, 0.0, 1.0)


def project(plane: Array, codes: Array, table: Array, *, margin: float = 1e-3) -> Array:
    """Moves a restored plane to the nearest one that quantises to exactly the given codes.

    The true picture's coefficients lie within half a quantisation step of the codes: a convex set,
    and the DCT is orthonormal, so clamping each coefficient is the orthogonal projection onto it
    and can only bring the plane nearer the truth.

    Args:
      plane: ``(..., H, W)`` pixels.
      codes: ``(..., H/8, W/8, 8, 8)``.
      table: ``(..., 8, 8)`` quantisation steps.
      margin: how far inside the half step to stay, in steps, so that float rounding in a later
        encoding cannot tip a coefficient over.

    Returns:
      ``(..., H, W)`` pixels; they may leave [0, 1] by as much as the codes allow.
    """
    steps = per_block(table).astype(jnp.float32)
    centre = codes.astype(jnp.float32) * steps
    reach = (0.5 - margin) * steps
    coefficients = pixels_to_coefficients(plane)
    return coefficients_to_pixels(jnp.clip(coefficients, centre - reach, centre + reach))
