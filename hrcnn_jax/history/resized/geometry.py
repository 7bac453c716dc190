"""How a component's earlier samples became those that are there to see, and the way back.

Everything between is linear and works along rows and columns alike: chroma was enlarged, the
picture resized, chroma shrunk again. So along each axis it is one sparse matrix. The way back is
least squares with a slight ridge; what is lost on it, the filter having taken it, is told by how
much of each frequency would come back.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from hrcnn_jax.history.blocks import BASIS, Floats
from hrcnn_jax.history.chain import Factor
from hrcnn_jax.history.filters import Matrix, enlarging, of_span, shrinking
from hrcnn_jax.history.record import History, Span
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT

_RIDGE = 3e-3
"""Of the least squares, in squares of a sample's weight."""

_WINDOW = 32
"""Blocks that the visibility of frequencies is measured in."""


@dataclass(frozen=True, eq=False)
class Along:
    """One axis.

    Attributes:
      matrix: observed samples of earlier ones, `(m, n)`.
      before: earlier samples that were cut away above or left of the first, 0-7, in its block.
    """

    matrix: Matrix
    before: int

    @cached_property
    def _factor(self) -> NDArray[np.float32]:
        """The normal equations' Cholesky factor, banded."""
        square = (self.matrix.T @ self.matrix).tocsr()
        size = square.shape[0]
        offsets = square.tocoo()
        reach = int(np.abs(offsets.row - offsets.col).max(initial=0))
        banded = np.zeros((reach + 1, size), np.float64)
        for distance in range(reach + 1):
            banded[reach - distance, distance:] = square.diagonal(distance)
        banded[reach] += _RIDGE
        factor: NDArray[np.float32] = scipy.linalg.cholesky_banded(
            banded, overwrite_ab=True, check_finite=False
        ).astype(np.float32)
        return factor

    def back(self, samples: Floats, axis: int = 0) -> Floats:
        """Earlier samples of observed ones, along the first axis or the second."""
        if axis == 1:
            return np.ascontiguousarray(self.back(samples.T).T)
        made = np.asarray(self.matrix.T @ samples, np.float32)
        found: Floats = scipy.linalg.cho_solve_banded(
            (self._factor, False), made, overwrite_b=True, check_finite=False
        )
        return found

    @cached_property
    def visibility(self) -> Floats:
        """How much of each of eight frequencies comes back, 0-1, as a mean over blocks."""
        first = -self.before % BLOCK
        count = min(_WINDOW, (self.matrix.shape[1] - first) // BLOCK)
        start = first + ((self.matrix.shape[1] - first) // BLOCK - count) // 2 * BLOCK
        size = count * BLOCK
        waves = np.zeros((self.matrix.shape[1], BLOCK * count), np.float32)
        for block in range(count):
            place = slice(start + BLOCK * block, start + BLOCK * (block + 1))
            waves[place, BLOCK * block : BLOCK * (block + 1)] = BASIS.T
        seen = self.back(np.asarray(self.matrix @ waves, np.float32))[start : start + size]
        kept = np.einsum("is,is->i", waves[start : start + size].T, seen.T)
        return np.asarray(kept.reshape(count, BLOCK).mean(0), np.float32)

    def part(self, span: slice) -> "Along":
        """Some of the observed samples, and the earlier ones that they depend on."""
        rows = self.matrix[span]
        start, stop = int(rows.indices.min()), int(rows.indices.max()) + 1
        return Along(rows[:, start:stop], (self.before + start) % BLOCK)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Both axes of a component."""

    down: Along
    across: Along

    def forth(self, earlier: NDArray[Any]) -> Floats:
        """Observed samples `(h, w)` of earlier ones `(H, W)`."""
        rows = self.down.matrix @ earlier
        return np.asarray((self.across.matrix @ rows.T).T, np.float32)

    def back(self, observed: Floats) -> Floats:
        """Earlier samples, as far as they come back; what is lost is taken for zero."""
        return self.across.back(self.down.back(observed), 1)

    def brought_back(self, plane: Floats) -> Floats:
        """The same of samples from 0 to 255, about their middle."""
        centre = np.float32(LEVEL_SHIFT)
        return self.back(plane - centre) + centre

    @property
    def visibility(self) -> Floats:
        """How much of each frequency comes back, `(8, 8)`."""
        return np.outer(self.down.visibility, self.across.visibility)

    @property
    def size(self) -> tuple[int, int]:
        """Of the earlier component."""
        return self.down.matrix.shape[1], self.across.matrix.shape[1]

    @property
    def before(self) -> tuple[int, int]:
        """Rows and columns cut away above and left of it, in its first blocks."""
        return self.down.before, self.across.before

    def part(self, rows: slice, columns: slice) -> "Geometry":
        """Of some of the observed samples."""
        return Geometry(self.down.part(rows), self.across.part(columns))


def of_component(history: History, size: tuple[int, int], index: int, last: Factor) -> Geometry:
    """How a component's samples came about in a picture that was resized.

    Args:
      history: of the picture, with its resizing.
      size: of the picture that is there, `(height, width)`.
      index: of the component.
      last: how many times coarser than that picture it is there.
    """
    resizing, factor = history.resizing, history.factors[index]
    assert resizing is not None
    sides = zip(size, resizing.spans, factor, last, history.offset, strict=True)
    down, across = (_along(resizing.by, *each) for each in sides)
    return Geometry(down, across)


def of_plane(history: History, size: tuple[int, int], last: Factor = (1, 1)) -> Geometry:
    """How planes of the earlier picture were resized, and perhaps shrunk; blocks do not matter.

    Args:
      history: of the picture, with its resizing.
      size: of the picture that is there, `(height, width)`.
      last: how many times coarser than that picture the plane is there.
    """
    assert history.resizing is not None
    sides = zip(size, history.resizing.spans, last, strict=True)
    down, across = (
        _along(history.resizing.by, count, span, 1, shrunk, 0) for count, span, shrunk in sides
    )
    return Geometry(down, across)


def enlarged(plane: Floats, factor: Factor) -> Floats:
    """Samples `(h, w)` as many times as many, as a decoder enlarges them."""
    down, across = (
        enlarging(count, times) for count, times in zip(plane.shape, factor, strict=True)
    )
    return np.asarray((across @ (down @ plane).T).T, np.float32)


def _along(by: str, count: int, span: Span, factor: int, last: int, offset: int) -> Along:
    """Enlarged by a factor, cropped by an offset, resized from a span to a count, and shrunk."""
    resized = of_span(by, count, span)
    first, size = offset // factor, resized.shape[1]
    coded = -(-(size + offset) // factor) - first
    inner = offset - first * factor
    enlarged = enlarging(coded, factor)[inner : inner + size]
    return Along((shrinking(count, last) @ resized @ enlarged).tocsr(), first)
