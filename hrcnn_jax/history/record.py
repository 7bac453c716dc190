"""What is known of an earlier compression."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history.chain import Factor
from hrcnn_jax.jpeg.tables import BLOCK

OWN = "own"
"""What stands for the encoder where the table is none of the well-known ones."""


Span = tuple[float, float]
"""From where to where, along an axis."""


@dataclass(frozen=True)
class Sharpening:
    """An unsharp mask: what a blur takes from a picture is added to it.

    Attributes:
      radius: of the blur, a Gaussian's standard deviation in samples.
      amount: how many times that is added.
    """

    radius: float
    amount: float


@dataclass(frozen=True)
class Resizing:
    """How a picture was resized after the earlier compression.

    Attributes:
      size: of the earlier picture, `(height, width)`, after it was cropped.
      by: the filter, a key of `hrcnn_jax.history.filters.FILTERS`.
      shown: if the picture was cropped since, too, its rows and columns: from where to where in the
        earlier one, in samples and parts of them. All of `size` is shown at least in part.
      sharpened: how it was sharpened after that, about; None if it was not.
    """

    size: tuple[int, int]
    by: str
    shown: tuple[Span, Span] | None = None
    sharpened: Sharpening | None = None

    @property
    def spans(self) -> tuple[Span, Span]:
        """Rows and columns that are shown."""
        return self.shown or ((0.0, float(self.size[0])), (0.0, float(self.size[1])))


@dataclass(frozen=True, eq=False)
class History:
    """The earlier compression that did a picture's damage.

    Attributes:
      grid: rows above and columns left of the earlier picture's first whole MCU, from 0 to less
        than the MCU's side (8, or 16 where chroma is subsampled).
      factors: how many times coarser than the picture each component was, `(down, across)`.
      tables: of each component, `(8, 8)` int32; None for chroma whose history is not told.
      encoder: whose default tables they are, one of `hrcnn_jax.history.table.ENCODERS`; `own` for
        none of these.
      quality: on that encoder's scale, 1-100; for a table of its own the nearest of libjpeg.
      proof: of each component, the share of the file's codes (those not zero), or of the picture's
        samples (those in blocks not flat), that come back when the chain is played again, 0-1.
      evidence: logarithm of a likelihood ratio: luma's coefficients on this grid, with these steps
        over none.
      coarseness: mean ratio of the earlier to the last steps of luma, which of pixels are taken for
        2: above 1, the damage is the earlier compression's; about 1, both did as much.
      telling: of how many codes, or samples, of luma the proof is a share; 0 before there is one.
      resizing: how the picture was resized since; None if it was not.
    """

    grid: tuple[int, int]
    factors: tuple[Factor, ...]
    tables: tuple[NDArray[np.int32] | None, ...]
    encoder: str
    quality: int
    proof: tuple[float, ...]
    evidence: float
    coarseness: float
    telling: int = 0
    resizing: Resizing | None = None

    @property
    def mcu(self) -> tuple[int, int]:
        """Rows and columns of an MCU of the earlier compression."""
        down, across = (max(each[axis] for each in self.factors) for axis in (0, 1))
        return BLOCK * down, BLOCK * across

    @property
    def offset(self) -> tuple[int, int]:
        """Rows and columns of the earlier picture that were cut away, less whole MCUs."""
        return -self.grid[0] % self.mcu[0], -self.grid[1] % self.mcu[1]

    def with_fine_chroma(self) -> "History":
        """The same with chroma that is not told in steps of 1, at the picture's own size."""
        if len(self.tables) == 1 or self.tables[-1] is not None:
            return self
        finest = np.ones((BLOCK, BLOCK), np.int32)
        return replace(self, factors=((1, 1),) * 3, tables=(self.tables[0], finest, finest))
