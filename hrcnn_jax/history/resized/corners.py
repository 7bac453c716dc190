"""Two corners of a picture, brought back to sizes that it may have had: where the grid lay in them.

The distance of the lines that blocks left (`lines.py`) suggests factors. Where one is right,
coefficients gather at multiples of a table's steps (`hrcnn_jax.history.table`) by far more than for
any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import grid, table
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.filters import matrix
from hrcnn_jax.history.record import Span
from hrcnn_jax.history.resized import lines
from hrcnn_jax.history.resized.geometry import Along, Geometry
from hrcnn_jax.history.resized.lines import Lines, Pair
from hrcnn_jax.history.resized.view import Size, View
from hrcnn_jax.jpeg.tables import BLOCK

USUAL = "bicubic"
"""The filter that is taken for all until one is told: none is far from it."""

_CANDIDATES = 8
"""Factors suggested by lines that are looked into."""

_FACTORS = 3 / 4, 2 / 3, 4 / 5
_SIDES = 640, 800, 1024, 1200, 1280, 1600, 1920, 2048
"""Factors that people resize by, and longer sides that pictures have: these are looked into sooner,
as lines may be hidden by the last compression."""

_STRONG, _FEW_CANDIDATES = 7.0, 2
"""Strength from which on lines are believed where pictures may have been cropped since they were
resized, and how many factors are looked into there. Measured: one in seventy pictures has it
by chance, half of those that have a past."""

_FRACTIONS = 0.0, 1 / 2
"""Parts of a sample that may be cut away before the first one then."""

_CORNER = 32
"""Blocks that are looked at in corners, down and across."""

_FEW = 3
"""Frequencies down and across that are looked at there."""

_LOWEST = (1, _FEW, _FEW + 1)
"""Of these, the three by which the likeliest places are chosen."""

_LIKELY = 3
"""Places that are looked at by all of them."""

_ABOUT = 2
"""Samples by which blocks may begin elsewhere than lines suggest."""

_EVIDENCE = 100.0
"""Logarithm of the likelihood ratio in a corner below which a factor is not believed."""

_OUTSTANDING = 2.0
"""How many times as much speaks for it there as for any other: drawings and screens, which have few
levels, speak for many. Measured: there 1.6 at most, and 4 where there was something."""

_ALIKE = 0.02
"""Distance of other factors, in their logarithm: nearer ones share the evidence."""


@dataclass(frozen=True)
class Anchor:
    """A corner of the earlier picture, in which a grid was found.

    Attributes:
      spans: rows and columns of the earlier picture that are shown, about: from where to where, in
        samples below and right of a place where blocks begin.
      at_end: whether it is the last corner: where these end is surer then than where they start.
      strength: the evidence.
    """

    spans: tuple[Span, Span]
    at_end: bool
    strength: float


def anchors(view: View, *, is_whole: bool) -> list[Anchor]:
    """In each corner the factor that explains most there, if it stands out.

    Args:
      view: of the picture.
      is_whole: whether all of what was resized is there. If not, lines have to be strong.
    """
    down, across = view.lines
    if is_whole:
        factors = lines.candidates(view.lines, _CANDIDATES, usual=_usual(view.size))
    else:
        factors = lines.candidates(view.lines, _FEW_CANDIDATES, least=_STRONG)
    # Filters are symmetrical: the last corner, turned round, is a first one.
    corners = (False, view.lines), (True, (down.turned(), across.turned()))
    found = (
        _outstanding({each: _anchor(view, each, at_end, axes, is_whole) for each in factors})
        for at_end, axes in corners
    )
    return [anchor for anchor in found if anchor is not None]


def _outstanding(found: dict[Pair, Anchor]) -> Anchor | None:
    """The one of factors that explains most, if it does so much better than others."""
    if not found:
        return None
    (_, across), best = max(found.items(), key=lambda each: each[1].strength)
    others = [
        anchor.strength for each, anchor in found.items() if abs(np.log(each[1] / across)) > _ALIKE
    ]
    least = max(_EVIDENCE, _OUTSTANDING * max(others, default=0.0))
    return best if best.strength > least else None


def _usual(size: Size) -> list[Pair]:
    """Factors down and across by which people resize, to pictures of this size."""
    found = []
    for factor in (*_FACTORS, *(max(size) / side for side in _SIDES)):
        height, width = (max(1, round(side / factor)) for side in size)
        found.append((size[0] / height, size[1] / width))
    return found


def _anchor(
    view: View, factors: Pair, at_end: bool, axes: tuple[Lines, Lines], is_whole: bool
) -> Anchor:
    """Where the grid lay in a corner of the picture before it was resized, if it was."""
    down, across = (axis.start(each) / each for axis, each in zip(axes, factors, strict=True))
    cut = (0.0,) if is_whole else _FRACTIONS
    tried = [
        _best_place(view.corners[at_end], view, factors, (down, across), (a, b))
        for a, b in product(cut, cut)
    ]
    strength, starts = max(tried)
    spans = []
    for side, factor, start in zip(view.size, factors, starts, strict=True):
        length = round(side / factor) if is_whole else side / factor
        spans.append(from_block(-start - length if at_end else start, length))
    return Anchor((spans[0], spans[1]), at_end, strength)


def _best_place(
    plane: Floats, view: View, factors: Pair, about: Pair, fractions: Pair
) -> tuple[float, Pair]:
    """The evidence in a corner, and how far it is below and right of where blocks begin.

    Args:
      plane: the corner.
      view: of the picture.
      factors: down and across.
      about: earlier samples from the corner on to where lines suggest that blocks begin.
      fractions: of an earlier sample, that are cut away before the first.
    """
    alongs, near = [], []
    for side, first, factor, cut in zip(plane.shape, about, factors, fractions, strict=True):
        count = min(side, round(_CORNER * BLOCK * factor))
        made = matrix(USUAL, count, int(count / factor + cut), 1 / factor, cut)
        alongs.append(Along(made, 0))
        expected = {(round(first + cut) + off) % BLOCK for off in range(-_ABOUT, _ABOUT + 1)}
        near.append(sorted(expected | {0}))  # most pictures begin with a whole block
    counts = [along.matrix.shape[0] for along in alongs]
    shown = Geometry(*alongs).brought_back(plane[: counts[0], : counts[1]])
    counted = grid.histograms([shown], _FEW, (near[0], near[1]))
    places = np.array([BLOCK * top + left for top, left in product(*near)])
    likely = np.argsort(-_explained(view, counted[places], _LOWEST))[:_LIKELY]
    places = places[likely]
    strengths = _explained(view, counted[places], range(_FEW**2))
    which = int(np.argmax(strengths))
    top, left = divmod(int(places[which]), BLOCK)
    return float(strengths[which]), (fractions[0] - top, fractions[1] - left)


def from_block(start: float, length: float) -> Span:
    """A span of a length, from the last place where blocks begin."""
    return start % BLOCK, start % BLOCK + length


def _explained(
    view: View, counted: NDArray[np.float32], which: Sequence[int]
) -> NDArray[np.float64]:
    """How well the best table explains some frequencies of the few, by place."""
    down, across = np.divmod(np.array(which), _FEW)
    evidence = np.zeros((len(counted), table.CORNER**2, len(table.STEPS)))
    evidence[:, table.CORNER * down + across] = table.by_phase(counted[:, which])
    return np.array([view.best_table(each)[0] for each in evidence])
