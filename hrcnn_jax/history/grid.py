"""Where the blocks of an earlier compression began: coefficients by grid, and what they tell.

For each of the 64 places where a grid of blocks can begin, the coefficients of its blocks are
counted by size; `hrcnn_jax.history.table` then says how well steps explain them. On the right
grid, and on hardly any other, they gather at multiples.

Source: Bianchi and Piva, "Detection of nonaligned double JPEG compression based on integer
periodicity maps", 2012; Li, Yuan and Yu, "Passive detection of doctored JPEG image via block
artifact grid extraction", 2009.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history.blocks import BASIS, Floats, to_blocks
from hrcnn_jax.history.table import CORNER, LARGEST
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT

WHOLE = 704
"""Side in samples of the largest picture that is looked at as a whole."""

PART = 320
"""Side of the parts that are looked at of a larger one: its middle, and that of each quarter."""

Places = tuple[Sequence[int], Sequence[int]]
"""Rows and columns at which blocks may begin, 0-7."""

EVERYWHERE: Places = (range(BLOCK), range(BLOCK))

_FLAT = 2
"""Differences within a block that rounding leaves of none."""


def parts(
    size: tuple[int, int], mcu: tuple[int, int] = (BLOCK, BLOCK)
) -> list[tuple[slice, slice]]:
    """Which parts of a picture are looked at, as rows and columns.

    Args:
      size: of the picture, `(height, width)`.
      mcu: rows and columns of what parts are made up of, but at the picture's edges.
    """
    height, width = size
    if height * width <= WHOLE * WHOLE:
        return [(slice(0, height), slice(0, width))]
    chosen = []
    for place in [(1, 1), (1, 3), (3, 1), (3, 3), (2, 2)]:
        spans = []
        for side, quarter, step in zip(size, place, mcu, strict=True):
            start = max(0, side * quarter // 4 - PART // 2) // step * step
            spans.append(slice(start, min(side, start + PART // step * step)))
        chosen.append((spans[0], spans[1]))
    return list({str(each): each for each in chosen}.values())


def histograms(
    planes: Sequence[NDArray[Any]], corner: int = CORNER, places: Places = EVERYWHERE
) -> NDArray[np.float32]:
    """Coefficients counted by size, for each place where a grid can begin.

    Args:
      planes: samples `(H, W)` from 0 to 255, each beginning at a whole block of the own grid,
        and at least 15 wide and high.
      corner: frequencies that are counted, down and across.
      places: rows and columns that are tried; the others stay empty.

    Returns:
      `(64, corner**2, LARGEST)`: by place, `8 * down + across`, and frequency.
    """
    counted = np.zeros((BLOCK * BLOCK, corner * corner, LARGEST), np.float32)
    for plane in planes:
        samples = plane.astype(np.float32) - np.float32(LEVEL_SHIFT)
        for top in places[0]:
            by_rows = _rows(samples[top:], corner)
            for left in places[1]:
                counted[BLOCK * top + left] += _counted(by_rows[..., left:], corner)
    return counted


def of_place(
    planes: Sequence[NDArray[Any]], place: tuple[int, int], *, clear: bool = False
) -> NDArray[np.float32]:
    """The same of all frequencies for one place, `(64, LARGEST)`.

    Args:
      planes: as above.
      place: where blocks begin, rows and columns from 0 to 7.
      clear: leave out blocks whose coefficients are off: samples may have been clipped, or all
        have been rounded alike.
    """
    top, left = place
    counted = np.zeros((BLOCK * BLOCK, LARGEST), np.float32)
    for plane in planes:
        samples = plane[top:, left:].astype(np.float32) - np.float32(LEVEL_SHIFT)
        which = _clear(samples) if clear else None
        counted += _counted(_rows(samples, BLOCK), BLOCK, which)
    return counted


def _clear(samples: Floats) -> NDArray[np.bool_]:
    """Which whole blocks `(down, across)` are neither flat nor may have been clipped."""
    height, width = (side // BLOCK * BLOCK for side in samples.shape)
    cut = to_blocks(samples[:height, :width])
    is_clipped = (np.abs(cut + np.float32(0.5)) >= LEVEL_SHIFT - 1).any((2, 3))
    clear: NDArray[np.bool_] = ~is_clipped & (np.ptp(cut, (2, 3)) > _FLAT)
    return clear


def of_codes(codes: NDArray[np.int16], corner: int = BLOCK) -> NDArray[np.int64]:
    """A file's own codes `(..., 8, 8)` counted by size, `(corner**2, LARGEST)`."""
    return _by_size(np.abs(codes[..., :corner, :corner].astype(np.int32)))


def counted(coefficients: Floats, corner: int = CORNER) -> NDArray[np.float32]:
    """Coefficients `(hb, wb, 8, 8)` of blocks counted by size, `(corner**2, LARGEST)`."""
    sizes = np.rint(np.abs(coefficients[..., :corner, :corner]))
    return _by_size(sizes).astype(np.float32)


def _by_size(sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Whole sizes `(..., c, c)` counted, `(c**2, LARGEST)`."""
    index = np.minimum(sizes, LARGEST - 1).astype(np.int32).reshape(-1, sizes.shape[-1] ** 2)
    return np.stack([np.bincount(each, minlength=LARGEST) for each in index.T])


def _rows(samples: Floats, corner: int) -> Floats:
    """The vertical DCT of rows of blocks from the first row on, `(blocks, corner, W)`."""
    down = len(samples) // BLOCK
    return BASIS[:corner] @ samples[: down * BLOCK].reshape(down, BLOCK, samples.shape[1])


def _counted(
    by_rows: Floats, corner: int, which: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Coefficients counted by size, of blocks `(down, across)` that count."""
    down, _, width = by_rows.shape
    across = width // BLOCK
    cut = by_rows[..., : across * BLOCK].reshape(down, corner, across, BLOCK)
    sizes = np.rint(np.abs(cut @ BASIS[:corner].T))
    index = np.minimum(sizes, LARGEST - 1).astype(np.int32)
    index += (np.arange(corner * corner, dtype=np.int32) * LARGEST).reshape(corner, 1, corner)
    if which is not None:
        index = index.swapaxes(1, 2)[which]
    counts = np.bincount(index.ravel(), minlength=corner * corner * LARGEST)
    return counts.reshape(corner * corner, LARGEST).astype(np.float32)
