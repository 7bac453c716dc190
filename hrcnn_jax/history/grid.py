"""Signs in a file that its picture had been a JPEG of another block grid: cropped, then saved anew.

A quantised block has many frequencies that are exactly zero. Cut anywhere else, its pixels have
hardly any; cut where it was, they have them again, but for what the second compression added. So
the share of frequencies near zero is taken for each of the 64 places where a grid can begin, and
the earlier grid's stands out. The file's own grid raises those in its row and its column of places,
too; that is taken away by median polish (Tukey, "Exploratory Data Analysis", 1977).

Measured by ``python -m benchmarks.recompression URBAN100 --count 30``, Pillow's encoder: of 30
pictures compressed once one or two are suspected at quality 10 to 75, none at 85 to 100; of 270
compressed, cropped at random and compressed again at a higher quality (the pairs of
:mod:`hrcnn_jax.history.table`) 189 are noticed, 183 with the right place: nearly all if the second
quality is 90 or more, but not if the first is 20; of 90 compressed again at a lower one one is.

Grids of blocks as traces of earlier compression: Li, Yuan and Yu, "Passive detection of doctored
JPEG image via block artifact grid extraction", 2009. The test is this package's own.
"""

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import Component
from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE
from hrcnn_jax.restoration.verification import BASIS

NEAR_ZERO = 3.0
"""Of a coefficient: what compressing again at a good quality does to those that were zero."""

LARGEST = 64
"""Side in blocks of the part of a picture, its middle, that is looked at."""

SMALLEST = 8
"""Side in blocks of a picture that can tell something."""

_BEYOND_NOISE = 8.0  # standard deviations of the other places
_BEYOND_NEXT = 2.0  # times as far out as the next


def earlier_grid(part: Component) -> tuple[int, int] | None:
    """Where a file's luma shows an earlier grid of blocks that is not its own.

    Args:
      part: a component, best the first.

    Returns:
      Rows above and columns left of the earlier grid's first whole block, 0-7, not both 0; None if
      there are no signs of one.
    """
    codes = _middle(part.codes)
    if min(codes.shape[:2]) < SMALLEST:
        return None
    plane = np.asarray(transform.decode(jnp.asarray(codes), jnp.asarray(part.table))) * MAX_SAMPLE
    standing_out = _polished(near_zero(np.clip(np.rint(plane), 0, MAX_SAMPLE)))
    noise = 1.4826 * np.median(np.abs(standing_out))  # of a normal distribution, robustly
    place = int(standing_out.argmax())
    *_, next_best, best = np.sort(standing_out, axis=None)
    if best < _BEYOND_NOISE * noise or best < _BEYOND_NEXT * next_best or best <= 0:
        return None
    return place // BLOCK, place % BLOCK


def near_zero(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of frequencies near zero, by where the grid begins, ``(8, 8)``.

    Args:
      plane: samples ``(H, W)`` from 0 to 255. Frequencies of a row or a column alone are left out:
        straight edges have none of the others.
    """
    plane = plane.astype(np.float32)
    basis = BASIS.astype(np.float32)[1:]
    down, across = ((side - BLOCK + 1) // BLOCK for side in plane.shape)
    shares = np.empty((BLOCK, BLOCK))
    for top in range(BLOCK):
        rows = plane[top : top + down * BLOCK].reshape(down, BLOCK, -1)
        by_rows = basis @ rows
        for left in range(BLOCK):
            cut = by_rows[..., left : left + across * BLOCK]
            coefficients = cut.reshape(down, len(basis), across, BLOCK) @ basis.T
            shares[top, left] = np.mean(np.abs(coefficients) < NEAR_ZERO)
    return shares


def _middle(codes: NDArray[np.int16]) -> NDArray[np.int16]:
    tops = [max(0, (count - LARGEST) // 2) for count in codes.shape[:2]]
    return codes[tops[0] : tops[0] + LARGEST, tops[1] : tops[1] + LARGEST]


def _polished(shares: NDArray[np.float64], rounds: int = 4) -> NDArray[np.float64]:
    """Less what places have in common with others of their row or column; 0 for the own grid."""
    rest = shares.copy()
    rest[0, 0] = np.nan
    for _ in range(rounds):
        rest -= np.nanmedian(rest, axis=1, keepdims=True)
        rest -= np.nanmedian(rest, axis=0, keepdims=True)
    return np.nan_to_num(rest)
