"""From chroma as it was enlarged, and perhaps shrunk again, back to the samples that were coded.

A decoder's enlarging is linear and works along rows and columns alike, as is an encoder's
shrinking. Along each, the samples that explain best what came out are least squares' (with a
slight ridge, where some detail was lost); far from the ends they are always the same weighted sum.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.filters import enlarging, shrinking

_RIDGE = 1e-3
"""Of the least squares, in squares of a sample's weight."""

_REACH = 24
"""Earlier samples to each side that the weights are worked out with."""

_NEGLIGIBLE = 2e-4
"""Weights that are left out."""


def restored(
    plane: Floats,
    earlier: tuple[int, int],
    last: tuple[int, int],
    offset: tuple[int, int],
    size: tuple[int, int],
) -> Floats:
    """A component's samples as they were when they were first coded.

    Args:
      plane: samples `(h, w)` that were observed.
      earlier: how many times coarser than the picture the component was, `(down, across)`,
        each 1 or 2.
      last: how many times coarser the plane is, 1 or 2, at most `earlier`.
      offset: rows and columns of the earlier picture that were cut away above and left, at the
        picture's resolution.
      size: of the result, `(height, width)`, beginning with the earlier picture's first sample.

    Returns:
      `size`; beyond the plane its edges count as repeated.
    """
    for axis in (0, 1):
        plane = _along(plane, axis, earlier[axis], last[axis], offset[axis], size[axis])
    return plane


def _along(plane: Floats, axis: int, earlier: int, last: int, offset: int, length: int) -> Floats:
    """The same along rows or columns."""
    first, weights = _weights(earlier, last, offset % (earlier * last))
    first -= offset // (earlier * last) * earlier
    ratio = earlier // last
    beyond = first + ratio * (length - 1) + len(weights) - plane.shape[axis]
    margins = [(0, 0), (0, 0)]
    margins[axis] = max(0, -first), max(0, beyond)
    padded = np.pad(plane, margins, mode="edge")
    start = max(0, first)
    result: Floats | None = None
    for place, weight in enumerate(weights, start):
        span = slice(place, place + ratio * (length - 1) + 1, ratio)
        part = padded[span] if axis == 0 else padded[:, span]
        result = weight * part if result is None else result + weight * part
    assert result is not None
    return result


@cache
def _weights(earlier: int, last: int, offset: int) -> tuple[int, NDArray[np.float32]]:
    """Weights of observed samples that make an earlier one, and the first one's distance.

    The distance is counted from the place `index * earlier / last` among the observed.
    """
    if earlier == last == 1:
        return -offset, np.ones(1, np.float32)
    count = 2 * _REACH + 1
    enlarged = enlarging(count, earlier)[offset:]
    rows = enlarged.shape[0] // last * last
    made = (shrinking(rows, last) @ enlarged[:rows]).toarray()
    inverse = np.linalg.solve(made.T @ made + _RIDGE * np.eye(count), made.T)[_REACH]
    inverse /= (inverse @ made).sum()
    used = np.flatnonzero(np.abs(inverse) > _NEGLIGIBLE)
    weights = inverse[used[0] : used[-1] + 1]
    return int(used[0]) - _REACH * earlier // last, weights.astype(np.float32)
