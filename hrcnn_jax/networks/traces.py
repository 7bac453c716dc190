"""Traces of what was done to a picture, measured: what a network need not learn to see.

Blocks leave lines at their edges. Of a grid that is still the picture's own they lie at every
eighth pixel from the corner, after a cut elsewhere, and after resizing at other distances.
Enlarging and blur leave little fine texture, sharpening more than there should be, 4:2:0 little in
chroma; graphics have areas where nothing changes at all. By the loss of its pixels alone a network
learns to tell these apart only slowly: what that is good for shows where it is told already.

Lines are those of `hrcnn_jax.history.resized.lines`, which looks for a factor in whole pictures;
here they are features, worked out in the network's own program.

Source of lines in second differences: Gallagher, "Detection of linear and cubic interpolation in
JPEG compressed images", 2005.
"""

from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE

LAGS = range(2, 25)
"""Distances of lines in pixels: up to two blocks of a picture that was enlarged by half."""

_LUMA, _CHROMA = (1, 2, 4, 8), (1, 2, 4)
"""Distances in pixels at which texture is measured."""

_FLAT = (0.5, 1.5)
"""Steps between neighbours below which there is none, or hardly any, in levels of 255."""

_LARGEST = 10.0
"""Second differences in levels above it are edges of what the picture shows."""

_SMOOTH = 17
"""Pixels over which the mean is taken out of lines."""

_LEAST = 64
"""Side of a window in pixels; smaller ones are continued by their mirror images."""

_BOUND = 3.0
"""Of what is measured: hardly a picture has more."""

COUNT = len(LAGS) + 2 * (BLOCK // 2 + 1) + len(_LUMA) + 2 * len(_CHROMA) + len(_FLAT)
"""How many traces there are: 45."""


class Traces(NamedTuple):
    """What is measured of each of B pictures, float32, mostly within 3 of zero.

    Attributes:
      lags: `(B, 23)`, how alike lines are to those so many pixels further on (`LAGS`), down and
        across, the picture's own grid taken out.
      down: `(B, 5)`, lines of its own grid by their place in the blocks, those that mirror one
        another together, from the block's edge to its middle; and how much lines stand out.
      across: the same the other way.
      textures: `(B, 10)`, logarithms of mean squared differences of Y, Cb and Cr: of each distance
        and the next, and of one.
      flat: `(B, 2)`, shares of steps between neighbours that are none, and hardly any.
    """

    lags: Array
    down: Array
    across: Array
    textures: Array
    flat: Array


def of(windows: Array) -> Array:
    """All traces of pictures, `(B, COUNT)` float32 in [-1, 1]; given as to `measured`."""
    return jnp.clip(jnp.concatenate(measured(windows), axis=-1) / _BOUND, -1.0, 1.0)


def measured(windows: Array) -> Traces:
    """Measures pictures, over all windows of each.

    Args:
      windows: `(B, N, H, W, 3)` Y, Cb and Cr in [0, 1], whose corners lie on whole blocks.
    """
    room = [(0, max(_LEAST - side, 0)) for side in windows.shape[2:4]]
    windows = jnp.pad(windows, ((0, 0), (0, 0), *room, (0, 0)), mode="symmetric")
    luma = MAX_SAMPLE * windows[..., 0]
    (down, of_rows), (across, of_columns) = _lines(luma.swapaxes(-1, -2)), _lines(luma)
    return Traces((of_rows + of_columns) / 2, down, across, _textures(windows), _flat(luma))


def _lines(luma: Array) -> tuple[Array, Array]:
    """Of columns of `(B, N, H, W)`: those of the own grid `(B, 5)`, and the others' lags."""
    bends = jnp.minimum(jnp.abs(jnp.diff(luma, n=2, axis=-1)), _LARGEST)
    rough = jnp.mean(bends, axis=-2)  # the first of them lies at pixel 1
    lines = rough - _smoothed(rough)
    size = jnp.sqrt(jnp.mean(jnp.square(lines), axis=(1, 2)) + 1e-4)[:, None]
    whole = lines[..., BLOCK - 1 :]  # from the second block on
    whole = whole[..., : whole.shape[-1] // BLOCK * BLOCK]
    blocks = whole.reshape(*whole.shape[:2], -1, BLOCK)
    by_place = jnp.mean(blocks, axis=(1, 2))
    own = (by_place + by_place[:, ::-1])[:, : BLOCK // 2] / (2 * size)
    visible = 2 + jnp.log(size / (jnp.mean(rough, axis=(1, 2))[:, None] + 0.1))
    other = (blocks - by_place[:, None, None]).reshape(whole.shape)
    length = other.shape[-1]
    alike = [jnp.mean(other[..., lag:] * other[..., : length - lag], (1, 2)) for lag in LAGS]
    energy = jnp.mean(jnp.square(other), axis=(1, 2)) + 1e-4
    return jnp.concatenate([own, visible], -1), 3 * jnp.stack(alike, -1) / energy[:, None]


def _smoothed(values: Array) -> Array:
    """The mean around each of values `(B, N, L)`."""
    margin = _SMOOTH // 2
    padded = jnp.pad(values, ((0, 0), (0, 0), (margin, margin)), mode="edge")
    length = values.shape[-1]
    total = sum((padded[..., k : k + length] for k in range(1, _SMOOTH)), padded[..., :length])
    return total / _SMOOTH


def _textures(windows: Array) -> Array:
    found = []
    for plane, distances in enumerate((_LUMA, _CHROMA, _CHROMA)):
        sizes = [_difference(windows[..., plane], distance) for distance in distances]
        found += [1 + finer - coarser for finer, coarser in pairwise(sizes)]
        found.append((sizes[2] + 7) / 2)
    return jnp.stack(found, axis=-1)


def _difference(plane: Array, distance: int) -> Array:
    """The logarithm of the mean squared difference at a distance, of planes `(B, N, H, W)`."""
    across = plane[..., distance:] - plane[..., :-distance]
    down = plane[..., distance:, :] - plane[..., :-distance, :]
    across, down = (jnp.mean(jnp.square(each), axis=(1, 2, 3)) for each in (across, down))
    return jnp.log(across + down + 1e-6)


def _flat(luma: Array) -> Array:
    steps = jnp.abs(jnp.diff(luma, axis=-1))
    shares = [jnp.mean(steps < least, axis=(1, 2, 3), dtype=jnp.float32) for least in _FLAT]
    return jnp.stack(shares, axis=-1)
