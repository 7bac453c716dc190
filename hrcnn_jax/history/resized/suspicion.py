"""By how much a picture may have been resized, exactly, and which table it may have had.

What corners suggest (`corners.py`) is moved until coefficients gather at multiples of a table's
steps in all parts of the picture alike.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from itertools import product
from math import ceil, floor, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import grid, table
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.filters import of_span
from hrcnn_jax.history.record import Span
from hrcnn_jax.history.resized import recovery
from hrcnn_jax.history.resized.corners import USUAL, Anchor, anchors, from_block
from hrcnn_jax.history.resized.geometry import Along, Geometry
from hrcnn_jax.history.resized.view import Size, View
from hrcnn_jax.history.table import Known
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT

_PER_BLOCK = 0.1
"""Evidence a block below which nothing is believed. Measured: 0.2 to 3 of what has a past."""

_OFF = 3
"""Samples by which a side may be other than lines suggest."""

_TURNS = 2
"""How often rows and columns are looked for in turn."""

_QUARTER = 0.25
"""Part of a sample by which whole spans are moved to see whether they are right."""

_CLEARLY = 1.05
"""How many times as much has to be explained then."""

_FINER = (1 / 2, 1 / 4, 1 / 8), (1 / 16, 1 / 32, 1 / 64)
"""Parts of a sample by which what was cropped since is told, one after the other, in two turns."""

_CLIMBS = 3
"""Steps of each of these, at most."""

_NEARLY = 1 / 16
"""Part of a sample that is neither here nor there."""

Spans = tuple[Span, Span]

Explained = Callable[[Spans, int], tuple[float, Known | None]]
"""How much is explained with spans, looked for along an axis, and by which table."""

Strength = Callable[[Span], float]
"""How much is explained with a span along an axis."""


class Suspect(NamedTuple):
    """A compression before the picture was resized.

    Attributes:
      spans: rows and columns of the earlier picture that are shown: from where to where, in samples
        below and right of a place where blocks begin, less than eight at first.
      known: its table.
      strength: the evidence, the logarithm of a likelihood ratio.
    """

    spans: Spans
    known: Known
    strength: float

    @property
    def is_whole(self) -> bool:
        """Whether they start and stop between samples: it was not cropped since it was resized."""
        return all(float(end).is_integer() for span in self.spans for end in span)

    @property
    def before(self) -> tuple[int, int]:
        """Rows and columns cut away above and left, in its first blocks."""
        return _before(self.spans)

    @property
    def shown(self) -> Spans:
        """What is shown of the samples that are left."""
        return _shown(self.spans)

    @property
    def size(self) -> Size:
        """Of what is left of the earlier picture: the samples that are shown at least in part."""
        return ceil(self.shown[0][1]), ceil(self.shown[1][1])


def suspect(view: View) -> Suspect | None:
    """What explains most; None if nothing explains enough."""
    for is_whole in (True, False):
        found = [_exact(view, each, is_whole) for each in anchors(view, is_whole=is_whole)]
        known = [each for each in found if each is not None]
        if known:
            return max(known, key=lambda each: each.strength)
    return None


def by_likelihood(view: View, size: Size, known: Known) -> list[tuple[int, int]]:
    """Rows above and columns left of the first whole block, first where a table explains most.

    Args:
      view: of the picture.
      size: that it was resized from.
      known: the table.
    """
    whole = Geometry(*(_along(now, (0.0, side)) for now, side in zip(view.size, size, strict=True)))
    pieces = [
        _piece(part.view.planes[0], whole.part(part.rows, part.columns)) for part in view.parts
    ]
    steps = np.minimum(table.corner(known.steps), table.STEPS[-1])

    def strength(place: tuple[int, int]) -> float:
        found = _evidence(pieces, (-place[0], -place[1]))
        return float(np.take_along_axis(found, steps[:, None] - 1, 1).sum())

    return sorted(product(range(BLOCK), range(BLOCK)), key=strength, reverse=True)


def _exact(view: View, anchor: Anchor, is_whole: bool) -> Suspect | None:
    """The spans that all parts agree on, and the table that explains most."""
    explained = _explaining(view, anchor.spans)
    roughly = partial(_whole_span if is_whole else _rough_span, at_end=anchor.at_end)
    spans = anchor.spans
    for _ in range(_TURNS):
        spans = _searched(spans, roughly, explained)
        if explained(spans, 0)[0] < _PER_BLOCK * _blocks(view, spans):
            return None
    if not is_whole or _is_off(spans, explained):
        for steps in _FINER:
            spans = _searched(spans, partial(_finer_span, steps=steps), explained)
        spans = _snapped(spans[0]), _snapped(spans[1])
    found, best = explained(spans, 0)
    return None if best is None else Suspect(spans, best, found)


def _blocks(view: View, spans: Spans) -> float:
    """Of the earlier picture, how many the parts show."""
    shown = sum(prod(span.stop - span.start for span in part.span((1, 1))) for part in view.parts)
    larger = prod(
        (stop - start) / side for (start, stop), side in zip(spans, view.size, strict=True)
    )
    return shown * larger / BLOCK**2


def _searched(
    spans: Spans, search: Callable[[Span, Strength], Span], explained: Explained
) -> Spans:
    """Along one axis after the other."""
    for axis in (1, 0):

        def strength(span: Span, axis: int = axis, spans: Spans = spans) -> float:
            return explained(_with(spans, axis, span), axis)[0]

        spans = _with(spans, axis, search(spans[axis], strength))
    return spans


def _is_off(spans: Spans, explained: Explained) -> bool:
    """Whether a part of a sample further more is explained: the picture was cropped since."""
    whole = explained(spans, 0)[0]
    return any(
        explained(_with(spans, axis, span), axis)[0] > _CLEARLY * whole
        for axis in (0, 1)
        for span in _neighbours(spans[axis], _QUARTER)
    )


def _whole_span(span: Span, strength: Strength, at_end: bool) -> Span:
    """The likeliest span near one, of whole samples."""
    near = []
    for off in range(-_OFF, _OFF + 1):
        start, length = span[0] - off * at_end, span[1] - span[0] + off
        near += [from_block(start + place, length) for place in (-1, 0, 1)]
        near.append(from_block(0, length))  # most pictures begin with a whole block
    return max(near, key=strength)


def _rough_span(span: Span, strength: Strength, at_end: bool) -> Span:
    """The likeliest span near one, whose surer end stays."""
    sides = np.arange(-_OFF, _OFF + 0.25, 0.5)
    near = [_moved(span, -off * at_end, off * (not at_end)) for off in sides]
    return max(near, key=strength)


def _finer_span(span: Span, strength: Strength, steps: Sequence[float]) -> Span:
    """The likeliest span near one, climbing by smaller and smaller steps."""
    for step in steps:
        for _ in range(_CLIMBS):
            best = max([span, *_neighbours(span, step)], key=strength)
            if best == span:
                break
            span = best
    return span


def _neighbours(span: Span, step: float) -> list[Span]:
    """Spans that start, stop, or lie a step away."""
    moves = (step, 0), (-step, 0), (0, step), (0, -step), (step, step), (-step, -step)
    return [_moved(span, *each) for each in moves]


def _snapped(span: Span) -> Span:
    """A span that starts and stops between samples if it nearly does."""
    start, stop = (round(end) if abs(end - round(end)) < _NEARLY else end for end in span)
    return from_block(start, stop - start)


def _moved(span: Span, start: float, stop: float) -> Span:
    """A span whose ends are so many samples further."""
    return from_block(float(span[0] + start), float(span[1] - span[0] + stop - start))


def _with(spans: Spans, axis: int, span: Span) -> Spans:
    """The same with another span along an axis."""
    return (span, spans[1]) if axis == 0 else (spans[0], span)


def _before(spans: Spans) -> tuple[int, int]:
    """The whole samples before them."""
    return floor(spans[0][0]), floor(spans[1][0])


def _shown(spans: Spans) -> Spans:
    """Spans less the whole samples before them."""
    down, across = (
        (start - before, stop - before)
        for (start, stop), before in zip(spans, _before(spans), strict=True)
    )
    return down, across


class _Piece(NamedTuple):
    """A part brought back to an earlier size.

    Attributes:
      plane: its samples.
      start: rows and columns cut away in its first blocks.
      visibility: of frequencies, `(8, 8)`.
    """

    plane: Floats
    start: tuple[int, int]
    visibility: Floats


def _explaining(view: View, about: Spans) -> Explained:
    """What tells how well spans explain all parts, along an axis at last: spans along it differ.

    Args:
      view: of the picture.
      about: the spans, nearly, for which it is told how much of frequencies is seen.
    """
    middle = Geometry(*map(_along, view.size, _shown(about)))
    seen = _seen(middle.part(view.telling.rows, view.telling.columns))

    # What is kept is large, and needed by the next spans only, which differ along one axis.
    @lru_cache(4)
    def alongs(axis: int, span: Span) -> list[Along]:
        whole = _along(view.size[axis], span)
        return [whole.part((part.rows, part.columns)[axis]) for part in view.parts]

    @lru_cache(2)
    def half_way(axis: int, span: Span) -> list[Floats]:
        parts = zip(view.parts, alongs(axis, span), strict=True)
        centre = np.float32(LEVEL_SHIFT)
        return [along.back(part.view.planes[0] - centre, axis) for part, along in parts]

    @lru_cache(1)
    def pieces(shown: Spans, axis: int) -> list[_Piece]:
        planes = half_way(1 - axis, shown[1 - axis])
        parts = zip(planes, alongs(0, shown[0]), alongs(1, shown[1]), strict=True)
        return [
            _Piece(
                (down, across)[axis].back(plane, axis) + np.float32(LEVEL_SHIFT),
                (down.before, across.before),
                seen,
            )
            for plane, down, across in parts
        ]

    @cache
    def explained(spans: Spans, axis: int) -> tuple[float, Known | None]:
        return view.best_table(_evidence(pieces(_shown(spans), axis), _before(spans)))

    return explained


def _along(count: int, span: Span) -> Along:
    return Along(of_span(USUAL, count, span), 0)


def _seen(geometry: Geometry) -> Floats:
    """How much of each frequency comes back, but no less than is needed."""
    return np.maximum(geometry.visibility, np.float32(recovery.SEEN))


def evidence(plane: Floats, geometry: Geometry) -> NDArray[np.float64]:
    """How well steps explain coefficients of the earlier blocks, as `table.by_phase` tells.

    Args:
      plane: luma that is observed, from 0 to 255.
      geometry: how it came about.
    """
    return _evidence([_piece(plane, geometry)], (0, 0))


def _piece(plane: Floats, geometry: Geometry) -> _Piece:
    """A part, brought back."""
    return _Piece(geometry.brought_back(plane), geometry.before, _seen(geometry))


def _evidence(pieces: list[_Piece], before: tuple[int, int]) -> NDArray[np.float64]:
    """The same of several pieces, if so many more rows and columns had been cut away."""
    counted = np.zeros((table.CORNER**2, table.LARGEST), np.float32)
    for plane, start, visibility in pieces:
        cut = (start[0] + before[0]) % BLOCK, (start[1] + before[1]) % BLOCK
        found = recovery.coefficients(plane, cut)[1:-1, 1:-1] / visibility
        counted += grid.counted(found)
    return table.by_phase(counted)
