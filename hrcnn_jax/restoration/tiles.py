"""A plane of codes cut into tiles of one shape, and its pixels given back in strips of rows.

Whatever the picture, tiles are squares of one size, so that one program serves every picture: a
program takes seconds to compile, and memory for as long as the process lives. What a tile holds
beyond the picture, which may be smaller, is its mirror image and left out of the result.

A tile comes with enough blocks around it that its pixels do not depend on where it was cut. Beyond
the plane's borders these are its mirror image, which in the codes is a change of sign. No more than
a strip of pixels and a few tiles exist at a time: a plane's size costs no memory but its codes'.
"""

from collections import deque
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import TypeVar

import numpy as np
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax import threads
from hrcnn_jax.jpeg.tables import BLOCK

_Cut = TypeVar("_Cut")
_Strip = TypeVar("_Strip")
_Codes = TypeVar("_Codes", NDArray[np.int16], Array)

TILE = 24
"""Side in blocks of tiles, without their halo: what a tile needs stays in a core's cache."""

_HALOS = 3
"""How many halos wide a tile is at least: of a narrower one too much would be left out. Measured
with halos of 8 blocks: those of 24 are restored 1.1 to 1.4 times as fast as those of 32, which no
cache holds."""


def side_for(halo: int) -> int:
    """The side in blocks of a network's tiles, without their halo: a multiple of 4.

    Smaller tiles compute more that is left out; larger ones work from memory, and cover more than
    there is: those of 40 blocks 11 % of 12 megapixels, those of 24 blocks 3 %.
    """
    return max(TILE, -(-_HALOS * halo // 4) * 4)


def strips(
    codes: NDArray[np.int16],
    decode_tile: Callable[[NDArray[np.int16]], Array],
    *,
    halo: int,
    side: int = TILE,
) -> Iterator[NDArray[np.float32]]:
    """Decodes a plane of codes tile by tile, from its top down.

    Args:
      codes: `(hb, wb, 8, 8)`.
      decode_tile: gives the pixels `(8*side, 8*side)` inside a tile of codes
        `(side + 2*halo, side + 2*halo, 8, 8)`.
      halo: blocks that a tile needs on every side.
      side: of a tile in blocks.

    Yields:
      The next rows of the plane's pixels, `(8*n, 8*wb)` float32.
    """
    yield from cover(
        codes.shape[:2],
        lambda corner: surrounded(codes, corner, (side, side), halo),
        decode_tile,
        side=side,
    )


def cover(
    size: tuple[int, ...],
    cut: Callable[[tuple[int, int]], _Cut],
    decode: Callable[[_Cut], Array],
    *,
    side: int = TILE,
    block: int = BLOCK,
) -> Iterator[NDArray[np.float32]]:
    """Covers a grid of blocks with square tiles, from its top down.

    A few tiles are decoded at once, on threads: XLA's CPU back end uses one core for most of what
    a tile takes.

    Args:
      size: blocks down and across.
      cut: gives what a tile is decoded from, given the row and column of its first block. Called
        for one tile after another, on the caller's thread.
      decode: gives the tile's pixels `(..., block*side, block*side)`.
      side: of a tile in blocks.
      block: side of a block in pixels.

    Yields:
      The next rows of pixels, `(..., block*n, block*size[1])` float32.
    """
    down, across = size
    tops, lefts = range(0, down, side), range(0, across, side)
    cuts = (cut((y, x)) for y in tops for x in lefts)
    tiles = threads.in_order(lambda tile: np.asarray(decode(tile)), cuts)
    for top in tops:
        strip = np.concatenate([next(tiles) for _ in lefts], axis=-1)
        yield strip[..., : block * (down - top), : block * across]


def shared(strips: Iterator[_Strip], readers: int) -> list[Iterator[_Strip]]:
    """As many iterators, each of all strips; a strip is held until the last of them has had it.

    `itertools.tee` holds on to dozens that all have had: half the picture, as floats.
    """
    waiting: list[deque[_Strip]] = [deque() for _ in range(readers)]

    def read(own: deque[_Strip]) -> Iterator[_Strip]:
        while True:
            if not own:
                try:
                    strip = next(strips)
                except StopIteration:
                    return
                for each in waiting:
                    each.append(strip)
                del strip
            yield own.popleft()

    return [read(own) for own in waiting]


def planes(
    strips: Iterator[NDArray[np.float32]], count: int
) -> list[Iterator[NDArray[np.float32]]]:
    """The strips `(n, W)` of each of several planes that come together, `(count, n, W)`."""
    every = enumerate(shared(strips, count))
    return [map(itemgetter(index), own) for index, own in every]


MOVED_ROWS = 128
"""Of a plane that is moved, in a strip: whole MCUs."""


class Rows:
    """The rows of a plane that arrives in strips; keeps only those that may be asked for again."""

    def __init__(self, size: tuple[int, int], strips: Iterator[NDArray[np.float32]]) -> None:
        """A plane of `size` pixels, down and across; what strips hold beyond it is left out."""
        self._height, self._width = size
        self._strips = strips
        self._held = np.empty((0, self._width), np.float32)
        self._first = 0

    def take(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
        """Pixels `(len(rows), len(columns))`, the plane's borders repeated beyond them.

        The first of the rows must not decrease from call to call.
        """
        rows = np.clip(rows, 0, self._height - 1)
        columns = np.clip(columns, 0, self._width - 1)
        while self._first + len(self._held) <= rows.max():
            past = min(rows.min() - self._first, len(self._held))
            strip = next(self._strips)[:, : self._width]
            self._held = np.concatenate([self._held[past:], strip])
            self._first += past
        left, right = columns.min(), columns.max() + 1
        taken = self._held[rows - self._first, left:right]  # row by row, much faster than by pixel
        wanted = columns - left
        return taken if np.array_equal(wanted, range(right - left)) else taken[:, wanted]


def moved(
    strips: Iterator[NDArray[np.float32]],
    size: tuple[int, int],
    offset: tuple[int, int],
    wanted: tuple[int, int],
) -> Iterator[NDArray[np.float32]]:
    """Strips of a rectangle of a plane, the plane's borders repeated beyond them.

    Args:
      strips: of the plane.
      size: of the plane, rows and columns.
      offset: where the rectangle begins.
      wanted: its rows and columns.
    """
    rows, columns = Rows(size, strips), np.arange(wanted[1]) + offset[1]
    for top in range(0, wanted[0], MOVED_ROWS):
        yield rows.take(np.arange(top, min(top + MOVED_ROWS, wanted[0])) + offset[0], columns)


def surrounded(codes: _Codes, corner: tuple[int, int], size: tuple[int, int], halo: int) -> _Codes:
    """A tile of `window` and as many blocks more on every side."""
    first = corner[0] - halo, corner[1] - halo
    return window(codes, first, (size[0] + 2 * halo, size[1] + 2 * halo))


def mirrored(count: int, start: int, stop: int) -> NDArray[np.intp]:
    """Which of `count` samples stand from start to stop in a row continued by its mirror image.

    No index is below `start`, so that rows before it need not be kept; those that would be stand
    further beyond the end than anything that start lies before it.
    """
    period, offset = np.divmod(np.arange(start, stop), count)
    return np.maximum(np.where(period % 2 == 1, count - 1 - offset, offset), start)


def square(samples: NDArray[np.uint8], corner: tuple[int, int], side: int) -> NDArray[np.uint8]:
    """Cuts a square out of a picture that is continued by its mirror image.

    Args:
      samples: `(H, W)` or `(H, W, C)`.
      corner: row and column of the first block; may lie outside.
      side: in blocks.

    Returns:
      `(8 * side, 8 * side)`, and `C` if there is such an axis.
    """
    rows, columns = (
        mirrored(length, BLOCK * start, BLOCK * (start + side))
        for length, start in zip(samples.shape[:2], corner, strict=True)
    )
    return samples[rows[:, None], columns]


def window(codes: _Codes, corner: tuple[int, int], size: tuple[int, int]) -> _Codes:
    """Cuts a rectangle out of a plane of codes that is continued by its mirror image.

    Mirroring a block's pixels changes the sign of its odd frequencies (T.81 A.3.3: the basis
    functions are even or odd about the block's middle).

    Args:
      codes: `(hb, wb, 8, 8)`, of NumPy or JAX.
      corner: row and column of the first block; may lie outside.
      size: blocks down and across.

    Returns:
      `(*size, 8, 8)`.
    """
    top, left, bottom, right = *corner, corner[0] + size[0], corner[1] + size[1]
    if min(corner) >= 0 and bottom <= codes.shape[0] and right <= codes.shape[1]:
        return codes[top:bottom, left:right]  # most are: no need to copy them
    rows, row_signs = _mirror(codes.shape[0], corner[0], size[0])
    columns, column_signs = _mirror(codes.shape[1], corner[1], size[1])
    signs = row_signs[:, None, :, None] * column_signs[None, :, None, :]
    return codes[rows[:, None], columns] * signs.astype(codes.dtype)


def _mirror(count: int, start: int, length: int) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
    """Which block stands at each place, and the signs of its eight frequencies there."""
    period, offset = np.divmod(np.arange(start, start + length), count)
    mirrored = period % 2 == 1
    index = np.where(mirrored, count - 1 - offset, offset)
    odd = np.arange(BLOCK) % 2 == 1
    return index, np.where(mirrored[:, None] & odd, -1, 1).astype(np.int8)
