"""What is looked at of a picture that may have been resized: all of its luma, and parts of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import grid, hypothesis, observed, table
from hrcnn_jax.history.observed import Factor, Observed, Samples
from hrcnn_jax.jpeg.tables import BLOCK

Size = tuple[int, int]

COARSER = 2.5
"""How coarse a table has to be, in the last one's steps: of finer ones there is little to gain, and
in a picture that was much larger they explain anything."""

_PART = 256
"""Side in pixels of the pieces."""


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
      luma: as decoded, alone.
      parts: all of a small picture; of a large one those of `pieces`.
      pieces: the middle and the corners, as far as they differ.
      last: steps of its own table of luma, `(8, 8)`.
      used: how often that uses frequencies, as `hrcnn_jax.history.hypothesis` counts them.
    """

    size: Size
    luma: Observed
    parts: Sequence[Part]
    pieces: Sequence[Part]
    last: NDArray[np.int32]
    used: NDArray[np.float64]

    @classmethod
    def of(cls, source: JpegFile | Samples) -> "View":
        """Of a file or of pixels."""
        size, _ = observed.extent(source)
        luma = observed.luma_of(source)
        last, used = hypothesis.last_table([luma]), hypothesis.used_frequencies([luma])
        pieces = _pieces(source, size, _PART)
        is_small = size[0] * size[1] <= grid.WHOLE**2
        parts = _pieces(source, size, max(size)) if is_small else pieces
        return cls(size, luma, parts, pieces, last, used)

    @property
    def telling(self) -> Part:
        """The piece whose luma tells most."""
        return max(self.pieces, key=lambda part: part.view.telling())

    def best_table(self, evidence: NDArray[np.float64]) -> tuple[float, table.Known | None]:
        """The table that explains most, and how well, given what `table.by_phase` says."""
        found = table.best_known(evidence, 1, last=self.last, used=self.used, coarser=COARSER)
        return found[0] if found else (0.0, None)


def _pieces(source: JpegFile | Samples, size: Size, side: int) -> list[Part]:
    """Squares of a side at the middle and the corners, as far as they differ; whole MCUs."""
    mcu = 2 * BLOCK
    lengths = [min(side, each) // mcu * mcu for each in size]
    chosen = {}
    for places in ((0, 0), (0, 2), (1, 1), (2, 0), (2, 2)):
        starts = [
            (each - length) * place // 2 // mcu * mcu
            for each, length, place in zip(size, lengths, places, strict=True)
        ]
        rows, columns = (slice(s, s + n) for s, n in zip(starts, lengths, strict=True))
        chosen[rows.start, columns.start] = rows, columns
    return [Part(*spans, observed.part_of(source, *spans)) for spans in chosen.values()]
