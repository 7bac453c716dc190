"""What is looked at of a picture that may have been resized: all of its luma, and parts of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import grid, hypothesis, observed, table
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.chain import Factor, Samples
from hrcnn_jax.history.observed import Observed
from hrcnn_jax.history.resized.lines import Lines
from hrcnn_jax.jpeg.tables import BLOCK

Size = tuple[int, int]

COARSER = 2.5
"""How coarse a table has to be, in the last one's steps: of finer ones there is little to gain, and
in a picture that was much larger they explain anything."""

_PART = 256
"""Side in pixels of the pieces."""

_STRIP = 512
"""Rows and columns in which lines are looked for."""

_CORNER = 640
"""Side in pixels of the corners that are seen."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows and columns of a picture, whole MCUs."""

    rows: slice
    columns: slice
    view: Observed

    def span(self, factor: Factor) -> tuple[slice, slice]:
        """Its rows and columns in a component that is so many times coarser."""
        rows, columns = (
            slice(span.start // times, -(-span.stop // times))
            for span, times in zip((self.rows, self.columns), factor, strict=True)
        )
        return rows, columns


@dataclass(frozen=True, eq=False)
class View:
    """What there is to see of a picture.

    Attributes:
      size: height and width.
      strips: luma in the middle, of all rows and of all columns.
      corners: luma in the first corner, and in the last, turned round.
      parts: all of a small picture; of a large one those of `pieces`.
      pieces: the middle and the corners, as far as they differ.
      last: steps of its own table of luma, `(8, 8)`.
      used: how often that uses frequencies, as `hrcnn_jax.history.hypothesis` counts them.
    """

    size: Size
    strips: tuple[Floats, Floats]
    corners: tuple[Floats, Floats]
    parts: Sequence[Part]
    pieces: Sequence[Part]
    last: NDArray[np.int32]
    used: NDArray[np.float64]

    @classmethod
    def of(cls, source: JpegFile | Samples) -> "View":
        """Of a file or of pixels."""
        size, _ = observed.extent(source)
        pieces = _pieces(source, size, _PART)
        is_small = size[0] * size[1] <= grid.WHOLE**2
        lumas = [part.view.luma() for part in pieces]

        def luma(rows: slice, columns: slice) -> Floats:
            return observed.part_of(source, rows, columns).planes[0]

        every = [slice(0, side) for side in size]
        middle = [_span(side, _STRIP, 1) for side in size]
        first, last = ([_span(side, _CORNER, place) for side in size] for place in (0, 2))
        return cls(
            size=size,
            strips=(luma(every[0], middle[1]), luma(middle[0], every[1])),
            corners=(luma(*first), luma(*last)[::-1, ::-1]),
            parts=[_part(source, every[0], every[1])] if is_small else pieces,
            pieces=pieces,
            last=hypothesis.last_table(lumas),
            used=hypothesis.used_frequencies(lumas),
        )

    @property
    def is_file(self) -> bool:
        """Whether it has blocks of its own."""
        return self.pieces[0].view.codes is not None

    @cached_property
    def lines(self) -> tuple[Lines, Lines]:
        """The lines that blocks left, down and across."""
        down, across = (
            Lines.of(strip, axis, own=self.is_file) for axis, strip in enumerate(self.strips)
        )
        return down, across

    @cached_property
    def telling(self) -> Part:
        """The piece whose luma tells most."""
        return max(self.pieces, key=lambda part: part.view.telling())

    def best_table(self, evidence: NDArray[np.float64]) -> tuple[float, table.Known | None]:
        """The table that explains most, and how well, given what `table.by_phase` says."""
        found = table.best_known(evidence, 1, last=self.last, used=self.used, coarser=COARSER)
        return found[0] if found else (0.0, None)


def _pieces(source: JpegFile | Samples, size: Size, length: int) -> list[Part]:
    """Squares at the middle and the corners, as far as they differ."""
    chosen = {}
    for places in ((0, 0), (0, 2), (1, 1), (2, 0), (2, 2)):
        rows, columns = (_span(*each) for each in zip(size, (length, length), places, strict=True))
        chosen[rows.start, columns.start] = rows, columns
    return [_part(source, *spans) for spans in chosen.values()]


def _part(source: JpegFile | Samples, rows: slice, columns: slice) -> Part:
    return Part(rows, columns, observed.part_of(source, rows, columns))


def _span(side: int, length: int, place: int) -> slice:
    """Whole MCUs of a side, of about a length: the first, the middle or the last of them."""
    mcu = 2 * BLOCK
    length = min(length, side) // mcu * mcu
    if place == 2:
        start = -(-(side - length) // mcu) * mcu
        return slice(start, side)
    start = (side - length) * place // 2 // mcu * mcu
    return slice(start, start + length)
