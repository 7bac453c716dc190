"""Colour as JPEG files hold it: RGB to and from YCbCr, chroma resampling; pure `jnp` functions.

Values are float32 in [0, 1], where 1.0 is the 8-bit sample 255. Colours come last, `(..., 3)`;
single planes are `(..., H, W)`. Results are not clipped. Everything works under `jit`, `vmap`
and `grad`.

Source: ITU-T T.871 (JFIF), clause 7, for the colours; libjpeg for the resampling filters.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from hrcnn_jax.jpeg.jfif import BLUE, CB_SPAN, CR_SPAN, GREEN, RED
from hrcnn_jax.jpeg.tables import LEVEL_SHIFT, MAX_SAMPLE

_CENTRE = LEVEL_SHIFT / MAX_SAMPLE


def _split(pixels: Array) -> tuple[Array, Array, Array]:
    if pixels.ndim < 1 or pixels.shape[-1] != 3:
        raise ValueError(f"expected pixels of shape (..., 3), colours last, got {pixels.shape}")
    if not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise ValueError(f"expected floats in [0, 1], got {pixels.dtype}: divide samples by 255")
    return pixels[..., 0], pixels[..., 1], pixels[..., 2]


def luma(rgb: Array) -> Array:
    """Luma Y of RGB pixels, `(..., 3)` to `(...)`, full range (T.871 clause 7).

    Raises:
      ValueError: if the last axis is not 3 or the values are not floats.
    """
    red, green, blue = _split(rgb)
    return RED * red + GREEN * green + BLUE * blue


def rgb_to_ycbcr(rgb: Array) -> Array:
    """RGB to full-range YCbCr, `(..., 3)` to `(..., 3)` (T.871 clause 7).

    Raises:
      ValueError: if the last axis is not 3 or the values are not floats.
    """
    red, _, blue = _split(rgb)
    y = luma(rgb)
    return jnp.stack([y, (blue - y) / CB_SPAN + _CENTRE, (red - y) / CR_SPAN + _CENTRE], axis=-1)


def ycbcr_to_rgb(ycc: Array) -> Array:
    """Full-range YCbCr to RGB, `(..., 3)` to `(..., 3)` (T.871 clause 7).

    Not every YCbCr value is a colour: results may leave [0, 1].

    Raises:
      ValueError: if the last axis is not 3 or the values are not floats.
    """
    # Written out, not a matrix product: accelerators round those to fewer bits than float32.
    y, cb, cr = _split(ycc)
    red = y + CR_SPAN * (cr - _CENTRE)
    blue = y + CB_SPAN * (cb - _CENTRE)
    return jnp.stack([red, (y - RED * red - BLUE * blue) / GREEN, blue], axis=-1)


def _check(plane: Array, factor: tuple[int, int]) -> tuple[int, int]:
    down, across = factor
    if not all(isinstance(each, int) and each >= 1 for each in factor):
        raise ValueError(f"expected whole factors (down, across) of 1 or more, got {factor}")
    if plane.ndim < 2 or 0 in plane.shape:
        raise ValueError(f"expected planes of shape (..., H, W), not empty, got {plane.shape}")
    return down, across


def _stretch(plane: Array, factor: int, axis: Literal[-2, -1]) -> Array:
    """Linear interpolation along an axis; new samples are centred on the old ones."""
    if factor == 1:
        return plane
    length = plane.shape[axis]
    padded = _edge_padded(plane, 1, axis)
    previous, following = (_cut(padded, start, length, axis) for start in (0, 2))
    phases = []
    for phase in range(factor):
        shift = (phase + 0.5) / factor - 0.5  # from the old sample's centre, in old samples
        neighbour = previous if shift < 0 else following
        phases.append((1.0 - abs(shift)) * plane + abs(shift) * neighbour)
    shape = list(plane.shape)
    shape[axis] *= factor
    return jnp.stack(phases, axis=axis).reshape(shape)


def _edge_padded(plane: Array, margin: int, axis: Literal[-2, -1]) -> Array:
    margins = [(0, 0)] * plane.ndim
    margins[axis] = margin, margin
    return jnp.pad(plane, margins, mode="edge")


def _cut(plane: Array, start: int, length: int, axis: Literal[-2, -1]) -> Array:
    return jax.lax.slice_in_dim(plane, start, start + length, axis=axis)


def upsample(plane: Array, factor: tuple[int, int]) -> Array:
    """Enlarges planes by linear interpolation, edges replicated.

    For a factor of 2 these are the weights 3/4 and 1/4 of libjpeg's "fancy upsampling"; other
    factors, which libjpeg replicates, get the same triangle filter. A sample depends on its
    nearest neighbour each way alone, so a plane may be cut or padded one sample further out.

    Args:
      plane: `(..., H, W)` floats.
      factor: whole numbers `(down, across)`. JPEG can also state ratios such as 3:2, but
        libjpeg decodes none of them.

    Returns:
      `(..., H*down, W*across)`.

    Raises:
      ValueError: if a factor is not a whole number of 1 or more, or the plane is empty.
    """
    down, across = _check(plane, factor)
    return _stretch(_stretch(plane, down, -2), across, -1)


WINDOW = 5
"""Side of the squares of chroma samples in which chroma is explained by luma."""

_RIDGE = 1e-3
"""Variance of luma below which it explains little: detail of some 8 levels of 255."""


def upsample_guided(
    chroma: Array, luma: Array, factor: tuple[int, int], *, strength: float | Array = 1.0
) -> Array:
    """Enlarges chroma planes as `upsample` does, and adds detail that follows luma's.

    Around every sample, chroma is fitted by a line in luma (least squares over `WINDOW` squared
    samples, with a ridge); the detail of luma that a chroma sample cannot hold is added times the
    line's slope (guided upsampling). A sample depends on those up to 3 samples away.

    Args:
      chroma: `(..., h, w)` floats.
      luma: `(..., h*down, w*across)` floats, restored; one for several planes of chroma if its
        other axes are 1.
      factor: whole numbers `(down, across)`.
      strength: of what is added; 0 gives `upsample`.

    Returns:
      `(..., h*down, w*across)`.

    Raises:
      ValueError: if a factor is not a whole number of 1 or more, or the shapes do not fit.
    """
    down, across = _check(chroma, factor)
    *batch, height, width = chroma.shape
    serves_all = tuple(
        1 if ours == 1 else theirs for ours, theirs in zip(luma.shape, batch, strict=False)
    )
    if luma.shape != (*serves_all, height * down, width * across):
        raise ValueError(f"luma {luma.shape} is not {factor} times chroma {chroma.shape}")
    if down == across == 1:
        return chroma  # it holds all of its detail itself
    coarse = downsample(luma, factor)
    mean_luma, mean_chroma = _window_mean(coarse), _window_mean(chroma)
    covariance = _window_mean(coarse * chroma) - mean_luma * mean_chroma
    variance = _window_mean(coarse * coarse) - mean_luma * mean_luma
    slope = covariance / (jnp.maximum(variance, 0.0) + _RIDGE)
    detail = luma - upsample(coarse, factor)
    # Enlarged as one: XLA's CPU back end would work out the slope anew for every use.
    plain, slope = upsample(jnp.stack([chroma, slope]), factor)
    return plain + strength * slope * detail


def _window_mean(plane: Array) -> Array:
    return _moving_mean(_moving_mean(plane, -2), -1)


def _moving_mean(plane: Array, axis: Literal[-2, -1]) -> Array:
    padded = _edge_padded(plane, WINDOW // 2, axis)
    shifted = [_cut(padded, start, plane.shape[axis], axis) for start in range(WINDOW)]
    return sum(shifted[1:], shifted[0]) / WINDOW


def replicate(plane: Array, factor: tuple[int, int]) -> Array:
    """Enlarges planes `(..., H, W)` by repeating samples: the inverse of `downsample`.

    Args and returns as `upsample`.

    Raises:
      ValueError: if a factor is not a whole number of 1 or more, or the plane is empty.
    """
    down, across = _check(plane, factor)
    return jnp.repeat(jnp.repeat(plane, down, axis=-2), across, axis=-1)


def downsample(plane: Array, factor: tuple[int, int]) -> Array:
    """Shrinks planes to the mean of each box, as libjpeg's encoder does.

    Args:
      plane: `(..., H, W)` floats; edges are replicated to fill the last boxes.
      factor: whole numbers `(down, across)`.

    Returns:
      `(..., ceil(H/down), ceil(W/across))`.

    Raises:
      ValueError: if a factor is not a whole number of 1 or more, or the plane is empty.
    """
    down, across = _check(plane, factor)
    *batch, height, width = plane.shape
    margins = [(0, 0)] * len(batch) + [(0, -height % down), (0, -width % across)]
    padded = jnp.pad(plane, margins, mode="edge")
    *_, height, width = padded.shape
    boxes = padded.reshape(*batch, height // down, down, width // across, across)
    return boxes.mean(axis=(-3, -1))
