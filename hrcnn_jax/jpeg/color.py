"""Colour as JPEG files hold it: RGB to and from YCbCr, chroma resampling; pure `jnp` functions.

Values are float32 in [0, 1], where 1.0 is the 8-bit sample 255. Colours come last, `(..., 3)`;
single planes are `(..., H, W)`. Results are not clipped. Everything works under `jit`, `vmap`
and `grad`.

Source: ITU-T T.871 (JFIF), clause 7, for the colours; libjpeg for the resampling filters.
"""

from functools import reduce
from operator import add
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from hrcnn_jax.jpeg.jfif import BLUE, CB_SPAN, CR_SPAN, GREEN, RED
from hrcnn_jax.jpeg.tables import LEVEL_SHIFT, MAX_SAMPLE
from hrcnn_jax.jpeg.transform import without_border

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


def _enlarged(plane: Array, factor: tuple[int, int]) -> Array:
    """Linear interpolation; new samples are centred on the old ones.

    The old ones at the border are left out: `(..., H, W)` to `(..., (H-2)*down, (W-2)*across)`.
    """
    down, across = factor
    return _stretch(_stretch(plane, down, -2), across, -1)


def _stretch(plane: Array, factor: int, axis: Literal[-2, -1]) -> Array:
    length = plane.shape[axis] - 2
    previous, own, following = (
        jax.lax.slice_in_dim(plane, start, start + length, axis=axis) for start in range(3)
    )
    phases = []
    for phase in range(factor):
        shift = (phase + 0.5) / factor - 0.5  # from the old sample's centre, in old samples
        neighbour = previous if shift < 0 else following
        phases.append((1.0 - abs(shift)) * own + abs(shift) * neighbour if shift else own)
    shape = list(own.shape)
    shape[axis] *= factor
    return jnp.stack(phases, axis=axis).reshape(shape)


def _edge_padded(plane: Array, margin: int) -> Array:
    margins = [(0, 0)] * (plane.ndim - 2) + [(margin, margin)] * 2
    return jnp.pad(plane, margins, mode="edge")


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
    factor = _check(plane, factor)
    if factor == (1, 1):
        return plane
    return _enlarged(_edge_padded(plane, 1), factor)


WINDOW = 5
"""Side of the squares of chroma samples in which chroma is explained by luma."""

GUIDED_REACH = WINDOW // 2 + 1
"""Samples on every side of a sample of chroma that guided upsampling looks at."""

_RIDGE = 1e-3
"""Variance of luma below which it explains little: detail of some 8 levels of 255."""


def upsample_guided(
    chroma: Array,
    luma: Array,
    factor: tuple[int, int],
    *,
    strength: float | Array = 1.0,
    inside: bool = False,
) -> Array:
    """Enlarges chroma planes as `upsample` does, and adds detail that follows luma's.

    Around every sample, chroma is fitted by a line in luma (least squares over `WINDOW` squared
    samples, with a ridge); the detail of luma that a chroma sample cannot hold is added times the
    line's slope (guided upsampling). A sample depends on those up to `GUIDED_REACH` samples away.

    Args:
      chroma: `(..., h, w)` floats.
      luma: `(..., h*down, w*across)` floats, restored; one for several planes of chroma if its
        other axes are 1.
      factor: whole numbers `(down, across)`.
      strength: of what is added; 0 gives `upsample`.
      inside: leave out `GUIDED_REACH` samples of chroma on every side, which need not be computed,
        instead of replicating edges.

    Returns:
      `(..., h*down, w*across)`, or inside of h and w less twice `GUIDED_REACH`.

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
    if down == across == 1:  # it holds all of its detail itself
        return without_border(chroma, GUIDED_REACH) if inside else chroma
    window, reach = WINDOW // 2, GUIDED_REACH
    coarse = downsample(luma, factor)
    # Edges first, and sums of what is there then: XLA's CPU back end takes thrice as long for sums
    # that ask at every sample whether it lies beyond.
    if inside:
        slope = _slope(chroma, coarse)
        chroma, coarse = without_border(chroma, window), without_border(coarse, window)
        luma = without_border(luma, reach * down, reach * across)
    else:
        slope = _edge_padded(_slope(_edge_padded(chroma, window), _edge_padded(coarse, window)), 1)
        chroma, coarse = _edge_padded(chroma, 1), _edge_padded(coarse, 1)
    detail = luma - _enlarged(coarse, factor)
    # Enlarged as one: XLA's CPU back end would work out the slope anew for every use.
    plain, slope = _enlarged(jnp.stack([chroma, slope]), factor)
    return plain + strength * slope * detail


def _slope(chroma: Array, luma: Array) -> Array:
    """How chroma follows luma around every sample whose window lies inside: both `(..., h, w)`."""
    mean_luma, mean_chroma = _window_mean(luma), _window_mean(chroma)
    covariance = _window_mean(luma * chroma) - mean_luma * mean_chroma
    variance = _window_mean(luma * luma) - mean_luma * mean_luma
    return covariance / (jnp.maximum(variance, 0.0) + _RIDGE)


def _window_mean(plane: Array) -> Array:
    """Means of the windows that lie inside: `(..., h, w)` to `(..., h - 4, w - 4)`."""
    height, width = (length - WINDOW + 1 for length in plane.shape[-2:])
    rows = reduce(add, (plane[..., start : start + height, :] for start in range(WINDOW)))
    return reduce(add, (rows[..., start : start + width] for start in range(WINDOW))) / WINDOW**2


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
    # Added up one by one: XLA's CPU back end has no fast loop for the mean of so few.
    rows = reduce(add, (boxes[..., row, :, :] for row in range(down)))
    return reduce(add, (rows[..., column] for column in range(across))) / (down * across)
