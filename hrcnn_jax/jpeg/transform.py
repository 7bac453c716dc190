"""The JPEG transform as pure `jnp` functions: blocks, DCT, tables, quantisation, projection.

Pixel planes are float32 in [0, 1]; coefficients are on JPEG's own scale (8-bit samples, level
shift 128). A *plane* is `(..., H, W)` with H and W multiples of 8; its *blocks* are
`(..., H/8, W/8, 8, 8)`, each indexed `[v, u]` (vertical, then horizontal frequency). Codes can
be laid out either way: the paper's network reads them as a plane, files hold them as blocks.
Everything works under `jit`, `vmap` and `grad`.

Source: ITU-T T.81 (JPEG), clauses A.3.1-A.3.4 and Annex K; libjpeg for the quality scale.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hrcnn_jax.jpeg import tables
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT, MAX_SAMPLE

DCT_BASIS = tables.DCT_BASIS.astype(np.float32)
"""Orthonormal DCT-II basis, `(8, 8)` float32: row = frequency, column = sample (T.81 A.3.3)."""

quality_table = partial(tables.quality_table, xp=jnp)
"""`hrcnn_jax.jpeg.tables.quality_table` of JAX arrays, traced ones among them."""

EXACT = jax.lax.Precision.HIGHEST
"""Accelerators round the factors of float32 products to some 11 bits unless told not to: too few
for codes that must come out to the integer."""


def to_blocks(plane: Array) -> Array:
    """Splits planes `(..., H, W)` into 8x8 blocks `(..., H/8, W/8, 8, 8)`.

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
    """Joins 8x8 blocks `(..., hb, wb, 8, 8)` into planes `(..., 8*hb, 8*wb)`.

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
    """Inverse of `dct` (T.81 A.3.3)."""
    return jnp.einsum("vy,...vu,ux->...yx", DCT_BASIS, coefficients, DCT_BASIS, precision=EXACT)


def quantise(coefficients: Array, table: Array, *, straight_through: bool = False) -> Array:
    """Divides blocks of coefficients by the table and rounds to integers (T.81 A.3.4).

    Rounding is flat almost everywhere, so its true gradient is zero and teaches nothing.

    Args:
      coefficients: `(..., 8, 8)` float32.
      table: quantisation steps, broadcastable to the coefficients.
      straight_through: pass the gradient through the rounding as if it were the identity.

    Returns:
      Codes: integers held as float32, same shape as `coefficients`.
    """
    scaled = coefficients / table.astype(coefficients.dtype)
    codes = jnp.round(scaled)
    return scaled + jax.lax.stop_gradient(codes - scaled) if straight_through else codes


def dequantise(codes: Array, table: Array) -> Array:
    """Multiplies blocks of codes `(..., 8, 8)` by the table (T.81 A.3.4)."""
    return codes * table.astype(codes.dtype)


def pixels_to_coefficients(plane: Array) -> Array:
    """Pixels `(..., H, W)` in [0, 1] to DCT coefficients `(..., H/8, W/8, 8, 8)`."""
    return dct(to_blocks(plane * MAX_SAMPLE - LEVEL_SHIFT))


def coefficients_to_pixels(coefficients: Array) -> Array:
    """Inverse of `pixels_to_coefficients`; values may leave [0, 1]."""
    return (from_blocks(idct(coefficients)) + LEVEL_SHIFT) / MAX_SAMPLE


def without_border(planes: Array, down: int, across: int | None = None) -> Array:
    """Planes `(..., H, W)` without so many pixels on every side, or others at left and right."""
    across = down if across is None else across
    *_, height, width = planes.shape
    return planes[..., down : height - down, across : width - across]


def per_block(table: Array) -> Array:
    """Shapes tables `(..., 8, 8)` so that each broadcasts over its plane's grid of blocks."""
    return table[..., None, None, :, :]


def encode(plane: Array, table: Array) -> Array:
    """Quantised codes of pixel planes, as a JPEG encoder makes them (T.81 A.3).

    Args:
      plane: `(..., H, W)` float32 in [0, 1].
      table: `(..., 8, 8)` quantisation steps, one table a plane.

    Returns:
      Codes `(..., H/8, W/8, 8, 8)`, integers held as float32.
    """
    return quantise(pixels_to_coefficients(plane), per_block(table))


def decode(codes: Array, table: Array, *, clip: bool = True) -> Array:
    """Plain JPEG decoding of blocks of codes (T.81 A.3): dequantise, inverse DCT, clip.

    Args:
      codes: `(..., hb, wb, 8, 8)`.
      table: `(..., 8, 8)` quantisation steps, one table a plane.
      clip: to [0, 1], as decoders do. What is not clipped quantises to exactly these codes.

    Returns:
      Pixels `(..., 8*hb, 8*wb)` float32, not rounded to 8 bits.
    """
    pixels = coefficients_to_pixels(dequantise(codes.astype(jnp.float32), per_block(table)))
    return jnp.clip(pixels, 0.0, 1.0) if clip else pixels


def project(plane: Array, codes: Array, table: Array, *, margin: float = 1e-3) -> Array:
    """Moves a restored plane to the nearest one that quantises to exactly the given codes.

    The true picture's coefficients lie within half a quantisation step of the codes: a convex set,
    and the DCT is orthonormal, so clamping each coefficient is the orthogonal projection onto it
    and can only bring the plane nearer the truth.

    Args:
      plane: `(..., H, W)` pixels.
      codes: `(..., H/8, W/8, 8, 8)`.
      table: `(..., 8, 8)` quantisation steps.
      margin: how far inside the half step to stay, in steps, so that float rounding in a later
        encoding cannot tip a coefficient over.

    Returns:
      `(..., H, W)` pixels; they may leave [0, 1] by as much as the codes allow.
    """
    steps = per_block(table).astype(jnp.float32)
    centre = codes.astype(jnp.float32) * steps
    reach = (0.5 - margin) * steps
    coefficients = pixels_to_coefficients(plane)
    return coefficients_to_pixels(jnp.clip(coefficients, centre - reach, centre + reach))
