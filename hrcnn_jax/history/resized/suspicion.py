"""By how much a picture may have been resized, to the pixel, and which table it may have had.

The distance of the lines that blocks left (`lines.py`) suggests a factor. In two corners, where the
earlier picture began and ended, the picture is brought back to its earlier size: if coefficients
gather at multiples of a table's steps there (`hrcnn_jax.history.table`), the size is looked for
that makes them do so everywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import grid, table
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.resized import lines, recovery
from hrcnn_jax.history.resized.filters import matrix
from hrcnn_jax.history.resized.geometry import Along, Geometry
from hrcnn_jax.history.resized.lines import Lines, Pair
from hrcnn_jax.history.resized.view import Size, View
from hrcnn_jax.history.table import Known
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT

USUAL = "bicubic"
"""The filter that is taken for all until one is told: none is far from it."""

_CANDIDATES = 8
"""Factors suggested by lines that are looked into."""

_FACTORS = 3 / 4, 2 / 3, 4 / 5
_SIDES = 640, 800, 1024, 1200, 1280, 1600, 1920, 2048
"""Factors that people resize by, and longer sides that pictures have: these are looked into sooner,
as lines may be hidden by the last compression."""

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

_PER_BLOCK = 0.1
"""The same a block, over all that is looked at. Measured: 0.2 to 3 where there was something."""

_OFF = 3
"""Pixels by which a size may be other than lines suggest."""

_TURNS = 2
"""How often the sizes down and across are looked for in turn."""


class Suspect(NamedTuple):
    """A compression before the picture was resized.

    Attributes:
      size: of the earlier picture, after it was cropped.
      before: rows and columns that were cut away above and left, in its first blocks.
      known: its table.
      strength: the evidence, the logarithm of a likelihood ratio.
    """

    size: Size
    before: tuple[int, int]
    known: Known
    strength: float


@dataclass(frozen=True, eq=False)
class _Anchor:
    """A corner of the earlier picture, in which a grid was found.

    Attributes:
      size: about that of the earlier picture.
      at_end: whether it is the last corner, not the first.
      place: rows and columns from the corner to the nearest whole block.
      strength: the evidence.
    """

    size: Size
    at_end: bool
    place: tuple[int, int]
    strength: float

    def before(self, size: Size) -> tuple[int, int]:
        """Rows and columns cut away in the first blocks of a picture of this size."""
        down, across = (
            (place - side if self.at_end else -place) % BLOCK
            for place, side in zip(self.place, size, strict=True)
        )
        return down, across

    def moved(self, axis: int, size: int, place: int) -> "_Anchor":
        """The same with a size and a place along an axis so many pixels further."""
        sizes, places = list(self.size), list(self.place)
        sizes[axis] += size
        places[axis] += place
        return replace(self, size=(sizes[0], sizes[1]), place=(places[0], places[1]))

    def uncut(self, axis: int) -> "_Anchor":
        """The same with nothing cut away before it along an axis."""
        cut = self.before(self.size)[axis]
        return self.moved(axis, 0, -cut if self.at_end else cut)


def suspect(view: View) -> Suspect | None:
    """What explains most; None if nothing explains enough."""
    found = [_exact(view, each) for each in _anchors(view)]
    known = [each for each in found if each is not None]
    return max(known, key=lambda each: each.strength, default=None)


def _anchors(view: View) -> list[_Anchor]:
    """In each corner the factor that explains most there, if it stands out."""
    strips = enumerate(view.strips)
    down, across = (Lines.of(strip, axis, own=view.is_file) for axis, strip in strips)
    factors = lines.candidates((down, across), _CANDIDATES, _usual(view.size))
    # Filters are symmetrical: the last corner, turned round, is a first one.
    corners = (False, (down, across)), (True, (down.turned(), across.turned()))
    found = (
        _outstanding({each: _anchor(view, each, at_end, axes) for each in factors})
        for at_end, axes in corners
    )
    return [anchor for anchor in found if anchor is not None]


def _outstanding(anchors: dict[Pair, _Anchor]) -> _Anchor | None:
    """The one of factors that explains most, if it does so much better than others."""
    if not anchors:
        return None
    (_, across), best = max(anchors.items(), key=lambda each: each[1].strength)
    others = [
        anchor.strength
        for each, anchor in anchors.items()
        if abs(np.log(each[1] / across)) > _ALIKE
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
    view: View, factors: tuple[float, float], at_end: bool, axes: tuple[Lines, Lines]
) -> _Anchor:
    """Where the grid lay in a corner of the picture before it was resized, if it was."""
    plane = view.corners[at_end]
    alongs, near = [], []
    for side, axis, factor in zip(plane.shape, axes, factors, strict=True):
        count = min(side, round(_CORNER * BLOCK * factor))
        alongs.append(Along(matrix(USUAL, count, int(count / factor), 1 / factor), 0))
        about = round(axis.start(factor) / factor)
        expected = {(about + off) % BLOCK for off in range(-_ABOUT, _ABOUT + 1)}
        near.append(sorted(expected | {0}))  # most pictures begin with a whole block
    counts = [along.matrix.shape[0] for along in alongs]
    shown = Geometry(*alongs).brought_back(plane[: counts[0], : counts[1]])
    counted = grid.histograms([shown], _FEW, (near[0], near[1]))
    places = np.array([BLOCK * top + left for top in near[0] for left in near[1]])
    first = _explained(view, counted[places], _LOWEST)
    places = places[np.argsort(-first)[:_LIKELY]]
    strengths = _explained(view, counted[places], range(_FEW**2))
    which = int(np.argmax(strengths))
    height, width = (round(side / each) for side, each in zip(view.size, factors, strict=True))
    place = divmod(int(places[which]), BLOCK)
    return _Anchor((height, width), at_end, place, float(strengths[which]))


def _explained(
    view: View, counted: NDArray[np.float32], which: Sequence[int]
) -> NDArray[np.float64]:
    """How well the best table explains some frequencies of the few, by place."""
    down, across = np.divmod(np.array(which), _FEW)
    evidence = np.zeros((len(counted), table.CORNER**2, len(table.STEPS)))
    evidence[:, table.CORNER * down + across] = table.by_phase(counted[:, which])
    return np.array([view.best_table(each)[0] for each in evidence])


def _exact(view: View, anchor: _Anchor) -> Suspect | None:
    """The size that all parts agree on, where blocks begin, and the table that explains most."""
    brought_back = _brought_back(view, anchor.size)

    @cache
    def explained(size: Size, before: tuple[int, int], axis: int) -> tuple[float, Known | None]:
        return view.best_table(_evidence(brought_back(size, axis), before))

    def strength(axis: int, each: _Anchor) -> float:
        return explained(each.size, each.before(each.size), axis)[0]

    for _ in range(_TURNS):
        for axis in (1, 0):
            sizes = [anchor.moved(axis, off, 0) for off in range(-_OFF, _OFF + 1)]
            near = [each.moved(axis, 0, place) for each in sizes for place in (-1, 0, 1)]
            near += [each.uncut(axis) for each in sizes]
            anchor = max(near, key=partial(strength, axis))
        count = sum(piece.plane.size for piece in brought_back(anchor.size, 0)) / BLOCK**2
        if strength(0, anchor) < _PER_BLOCK * count:
            return None
    before = anchor.before(anchor.size)
    found, best = explained(anchor.size, before, 0)
    return None if best is None else Suspect(anchor.size, before, best, found)


def _brought_back(view: View, about: Size) -> Callable[[Size, int], list["_Piece"]]:
    """What brings all parts back to a size, along an axis at last: sizes along it differ.

    Args:
      view: of the picture.
      about: the size, nearly, for which it is told how much of frequencies is seen.
    """
    middle = _geometry(view, about).part(view.telling.rows, view.telling.columns)
    seen = _seen(middle)

    @cache
    def alongs(axis: int, side: int) -> list[Along]:
        whole = _along(view.size[axis], side)
        return [whole.part((part.rows, part.columns)[axis]) for part in view.parts]

    @cache
    def half_way(axis: int, side: int) -> list[Floats]:
        parts = zip(view.parts, alongs(axis, side), strict=True)
        centre = np.float32(LEVEL_SHIFT)
        return [along.back(part.view.planes[0] - centre, axis) for part, along in parts]

    @cache
    def pieces(size: Size, axis: int) -> list[_Piece]:
        planes = half_way(1 - axis, size[1 - axis])
        parts = zip(planes, alongs(0, size[0]), alongs(1, size[1]), strict=True)
        return [
            _Piece(
                (down, across)[axis].back(plane, axis) + np.float32(LEVEL_SHIFT),
                (down.before, across.before),
                seen,
            )
            for plane, down, across in parts
        ]

    return pieces


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

    @classmethod
    def of(cls, plane: Floats, geometry: Geometry, seen: Floats) -> "_Piece":
        """Of an observed plane, given how much of frequencies is seen."""
        return cls(geometry.brought_back(plane), geometry.before, seen)


def _geometry(view: View, size: Size) -> Geometry:
    """Of luma that was of this size, if no blocks were cut."""
    down, across = map(_along, view.size, size)
    return Geometry(down, across)


def _along(count: int, side: int) -> Along:
    return Along(matrix(USUAL, count, side, side / count), 0)


def _seen(geometry: Geometry) -> Floats:
    """How much of each frequency comes back, but no less than is needed."""
    return np.maximum(geometry.visibility, np.float32(recovery.SEEN))


def evidence(plane: Floats, geometry: Geometry) -> NDArray[np.float64]:
    """How well steps explain coefficients of the earlier blocks, as `table.by_phase` tells.

    Args:
      plane: luma that is observed, from 0 to 255.
      geometry: how it came about.
    """
    return _evidence([_Piece.of(plane, geometry, _seen(geometry))], (0, 0))


def _evidence(pieces: list[_Piece], before: tuple[int, int]) -> NDArray[np.float64]:
    """The same of several pieces, if so many more rows and columns had been cut away."""
    counted = np.zeros((table.CORNER**2, table.LARGEST), np.float32)
    for plane, start, visibility in pieces:
        cut = (start[0] + before[0]) % BLOCK, (start[1] + before[1]) % BLOCK
        found = recovery.coefficients(plane, cut)[1:-1, 1:-1] / visibility
        counted += grid.counted(found)
    return table.by_phase(counted)
