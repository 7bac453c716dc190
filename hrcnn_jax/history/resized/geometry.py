"""How a component's earlier samples became those that are there to see, and the way back.

Everything between is linear and works along rows and columns alike: chroma was enlarged, the
picture resized, chroma shrunk again. So along each axis it is one sparse matrix. The way back is
least squares with a slight ridge; what is lost on it, the filter having taken it, is told by how
much of each frequency would come back.

An unsharp mask between is linear as well: it adds what a blur takes, which works along rows and
columns alike, too. The way back takes it for one along rows and one along columns. These sharpen
what is fine along both a little more than it does; who needs it exactly goes forth again, and back
with what is left over.
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
from hrcnn_jax.history.filters import Matrix, blurring, enlarging, of_span, shrinking
from hrcnn_jax.history.record import History, Resizing, Span
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT

_RIDGE = 3e-3
"""Of the least squares, in squares of a sample's weight."""

_WINDOW = 32
"""Blocks that the visibility of frequencies is measured in."""


@dataclass(frozen=True, eq=False)
class Along:
    """One axis.

    Attributes:
      matrix: observed samples of earlier ones, `(m, n)`, but for sharpening.
      before: earlier samples that were cut away above or left of the first, 0-7, in its block.
      blurred: the same, blurred; None if nothing was sharpened.
      amount: how many times what that took was added.
    """

    matrix: Matrix
    before: int
    blurred: Matrix | None = None
    amount: float = 0.0

    @cached_property
    def sharpened(self) -> Matrix:
        """Observed samples of earlier ones, sharpened along this axis."""
        if self.blurred is None:
            return self.matrix
        return ((1 + self.amount) * self.matrix - self.amount * self.blurred).tocsr()

    @cached_property
    def _factor(self) -> NDArray[np.float32]:
        """The normal equations' Cholesky factor, banded."""
        square = (self.sharpened.T @ self.sharpened).tocsr()
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
        made = np.asarray(self.sharpened.T @ samples, np.float32)
        found: Floats = scipy.linalg.cho_solve_banded(
            (self._factor, False), made, overwrite_b=True, check_finite=False
        )
        return found

    @cached_property
    def visibility(self) -> Floats:
        """How much of each of eight frequencies comes back, 0-1, as a mean over blocks."""
        return self._kept(self.matrix)

    @cached_property
    def blurred_visibility(self) -> Floats:
        """How much of it is there if what is there is blurred."""
        assert self.blurred is not None
        return self._kept(self.blurred)

    def _kept(self, matrix: Matrix) -> Floats:
        """How much of each frequency comes back of samples that were made of earlier ones so."""
        first = -self.before % BLOCK
        count = min(_WINDOW, (matrix.shape[1] - first) // BLOCK)
        start = first + ((matrix.shape[1] - first) // BLOCK - count) // 2 * BLOCK
        size = count * BLOCK
        waves = np.zeros((matrix.shape[1], BLOCK * count), np.float32)
        for block in range(count):
            place = slice(start + BLOCK * block, start + BLOCK * (block + 1))
            waves[place, BLOCK * block : BLOCK * (block + 1)] = BASIS.T
        seen = self.back(np.asarray(matrix @ waves, np.float32))[start : start + size]
        kept = np.einsum("is,is->i", waves[start : start + size].T, seen.T)
        return np.asarray(kept.reshape(count, BLOCK).mean(0), np.float32)

    def part(self, span: slice) -> "Along":
        """Some of the observed samples, and the earlier ones that they depend on."""
        widest = self.matrix if self.blurred is None else self.blurred
        seen = widest[span].indices
        start, stop = int(seen.min()), int(seen.max()) + 1
        blurred = None if self.blurred is None else self.blurred[span, start:stop]
        before = (self.before + start) % BLOCK
        return Along(self.matrix[span, start:stop], before, blurred, self.amount)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Both axes of a component."""

    down: Along
    across: Along

    def forth(self, earlier: NDArray[Any]) -> Floats:
        """Observed samples `(h, w)` of earlier ones `(H, W)`."""
        down, across = self.down, self.across
        made = _through(down.matrix, across.matrix, earlier)
        if down.blurred is None or across.blurred is None:
            return made
        blurred = _through(down.blurred, across.blurred, earlier)
        return made + np.float32(down.amount) * (made - blurred)

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
        down, across = self.down, self.across
        seen = np.outer(down.visibility, across.visibility)
        if down.blurred is None:
            return seen
        blurred = np.outer(down.blurred_visibility, across.blurred_visibility)
        return seen + np.float32(down.amount) * (seen - blurred)

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
    down, across = (_along(resizing, *each) for each in sides)
    return Geometry(down, across)


def of_plane(history: History, size: tuple[int, int], last: Factor = (1, 1)) -> Geometry:
    """How planes of the earlier picture were resized, and perhaps shrunk; blocks do not matter.

    Args:
      history: of the picture, with its resizing.
      size: of the picture that is there, `(height, width)`.
      last: how many times coarser than that picture the plane is there.
    """
    resizing = history.resizing
    assert resizing is not None
    sides = zip(size, resizing.spans, last, strict=True)
    down, across = (_along(resizing, count, span, 1, shrunk, 0) for count, span, shrunk in sides)
    return Geometry(down, across)


def enlarged(plane: Floats, factor: Factor) -> Floats:
    """Samples `(h, w)` as many times as many, as a decoder enlarges them."""
    down, across = (
        enlarging(count, times) for count, times in zip(plane.shape, factor, strict=True)
    )
    return _through(down, across, plane)


def _through(down: Matrix, across: Matrix, plane: NDArray[Any]) -> Floats:
    """Matrices applied along both axes."""
    return np.asarray((across @ (down @ plane).T).T, np.float32)


def _along(
    resizing: Resizing, count: int, span: Span, factor: int, last: int, offset: int
) -> Along:
    """Enlarged by a factor, cropped by an offset, resized from a span to a count, and shrunk."""
    resized = of_span(resizing.by, count, span)
    first, size = offset // factor, resized.shape[1]
    coded = -(-(size + offset) // factor) - first
    inner = offset - first * factor
    enlarged = enlarging(coded, factor)[inner : inner + size]
    shrunk, made = shrinking(count, last), resized @ enlarged
    mask = resizing.sharpened
    if mask is None:
        return Along((shrunk @ made).tocsr(), first)
    blurred = (shrunk @ blurring(count, mask.radius) @ made).tocsr()
    return Along((shrunk @ made).tocsr(), first, blurred, mask.amount)
