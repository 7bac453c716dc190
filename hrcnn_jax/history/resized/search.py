"""Was a picture resized after the compression that did its damage? Proved by playing it again.

Of what is suspected (`suspicion.py`) table and filter are told by which of them brings back most of
the file's codes, or of the picture's samples, once the recovered codes are decoded, resized and
compressed as the file was. Right ones bring back much more than their neighbours.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from math import prod
from typing import NamedTuple

from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import blocks, hypothesis, observed, table
from hrcnn_jax.history.chain import Samples
from hrcnn_jax.history.chroma import sampled, without_chroma
from hrcnn_jax.history.filters import FILTERS
from hrcnn_jax.history.observed import Shares
from hrcnn_jax.history.record import History, Resizing, Sharpening
from hrcnn_jax.history.resized import geometry, recovery
from hrcnn_jax.history.resized.corners import USUAL
from hrcnn_jax.history.resized.geometry import Geometry
from hrcnn_jax.history.resized.suspicion import Suspect, by_likelihood, evidence, suspect
from hrcnn_jax.history.resized.view import COARSER, Part, Size, View
from hrcnn_jax.jpeg.tables import BLOCK

SMALLEST = 128
"""Rows and columns that a picture needs to tell something."""

LARGEST = 1 << 22, 1 << 23
"""Pixels of the largest pictures that are looked at, and of what they were before: bad ones rarely
have more, and what is done is done to the whole of them."""

_LEAST, _TIMES = 8 * BLOCK, 4.0
"""Of a size that is told by hand, the sides that it needs, now and before, and by how many times
these may differ."""

_PLACES = 4
"""Places of the first block that are played again, if it is not told."""

_TOO_COARSE = 46.0
"""Mean step of luma's own table from which on it hides what came before: quality 60 is below it."""

_MARGIN = 2 * BLOCK
"""Pixels at the edges of a part that what lies beyond reaches into."""

_CLOSE, _NEAR = 1, 3
"""Qualities to either side of the likeliest that are played again, by every filter and the best."""

_PROOF = 0.6, 0.5
"""Share of luma that has to come back: of a file's codes, and of samples, which are harder to meet.
Measured of what never was compressed: at most a third."""

_PROOF_CHROMA = 0.5
"""Share of chroma that has to, to be believed as well."""

_KINDS = 0.14
"""Share of recovered blocks that have to be of a kind of their own: drawings have few, and plain
gradients up to 0.12. Screenshots have 0.17 at least, photographs 0.3."""

_PLAINLY = 0.75
"""Share that comes back of luma below which it may have been sharpened since, too."""

_MASKS = tuple(
    Sharpening(*each)
    for each in ((0.5, 1.0), (0.5, 2.0), (1.0, 0.4), (1.0, 0.8), (1.0, 1.6), (2.0, 0.5), (2.0, 1.0))
)
"""Sharpenings that are tried first."""

_FINER, _CLIMBS = (2**0.5, 2**0.25), 3
"""Ratios by which the likeliest is then changed, one after the other, and how often at most."""

_BITS = 0.85, 1.5
"""Bits that recovered codes may take for each that a file's take, and for each pixel."""


class _Way(NamedTuple):
    """How a picture may have become what is there, and what its table was.

    Attributes:
      by: the filter that it was resized by.
      sharpened: how it was sharpened then; None if it was not.
      encoder: whose table it was.
      quality: of that.
    """

    by: str
    sharpened: Sharpening | None
    encoder: str
    quality: int


_Best = Callable[[Iterable[_Way]], _Way]
"""The one that brings back most."""


def find(source: JpegFile | Samples) -> History | None:
    """The compression that did a picture's damage before it was resized.

    Args:
      source: a file or pixels, as `hrcnn_jax.history.search.visible` gives them.

    Returns:
      None if there is none that can be proved.
    """
    size, count = observed.extent(source)
    if min(size) < SMALLEST or prod(size) > LARGEST[0]:
        return None
    if isinstance(source, JpegFile) and source.components[0].table.mean() > _TOO_COARSE:
        return None
    view = View.of(source)
    suspected = suspect(view)
    if suspected is None or prod(suspected.size) > LARGEST[1]:
        return None
    luma = _proved(view, suspected)
    return luma if luma is None or count == 1 else _with_chroma(view, luma)


def told(
    source: JpegFile | Samples, known: table.Known, size: Size, place: tuple[int, int] | None
) -> History:
    """A compression before a picture was resized, of which somebody knows; nothing is proved.

    The filter is the one that brings back most, and so is an unsharp mask after it, if any is.

    Args:
      source: a file or pixels, as `hrcnn_jax.history.search.visible` gives them.
      known: its table.
      size: of the picture before it was resized, height and width.
      place: rows above and columns left of its first whole block, from 0 to 7; None for where
        blocks explain most.

    Raises:
      ValueError: if it is too much larger, or smaller, to be brought back; the message begins with
        a verb.
    """
    now, count = observed.extent(source)
    _check(now, size)
    view = View.of(source)

    @cache
    def played(way: _Way, where: tuple[int, int]) -> History:
        made = hypothesis.hypothesis(where, known, 0.0, view.last, view.used)
        guess = replace(made, resizing=Resizing(size, way.by, sharpened=way.sharpened))
        shares, _ = _played(view.parts, guess, now)
        return replace(guess, proof=(shares.share,), telling=shares.total)

    usual = _Way(USUAL, None, known.encoder, known.quality)
    if place is None:
        places = [(0, 0), *by_likelihood(view, size, known)[:_PLACES]]
        place = max(places, key=lambda where: played(usual, where).proof[0])

    def best(ways: Iterable[_Way]) -> _Way:
        return max(ways, key=lambda way: played(way, place).proof[0])

    way = best(usual._replace(by=by) for by in FILTERS)
    if played(way, place).proof[0] < _PLAINLY:
        masked = (usual._replace(sharpened=mask) for mask in _MASKS)
        way = _sharpened(way, masked, best, close=0)
    luma = played(way, place)
    return luma if count == 1 else _with_chroma(view, luma)


def _check(now: Size, size: Size) -> None:
    """Raises ValueError unless a picture may be brought back to a size."""
    sizes = "is {1}×{0} pixels, said to have been {3}×{2}; ".format(*now, *size)
    if min(*now, *size) < _LEAST:
        raise ValueError(f"{sizes}sides of at least {_LEAST} are needed, now and before")
    if not all(1 / _TIMES <= each / side <= _TIMES for each, side in zip(size, now, strict=True)):
        raise ValueError(f"{sizes}sides may have been up to {_TIMES:.0f} times larger or smaller")
    if prod(now) > LARGEST[0] or prod(size) > LARGEST[1]:
        raise ValueError(
            f"{sizes}what is resized may have {LARGEST[0]:,} pixels, and have had {LARGEST[1]:,}"
        )


def _proved(view: View, suspected: Suspect) -> History | None:
    """Luma's history, proved."""
    shown = None if suspected.is_whole else suspected.shown
    where = -suspected.before[0] % BLOCK, -suspected.before[1] % BLOCK

    def guess(by: str, sharpened: Sharpening | None, known: table.Known) -> History:
        strength = suspected.strength
        made = hypothesis.hypothesis(where, known, strength, view.last, view.used)
        return replace(made, resizing=Resizing(suspected.size, by, shown, sharpened))

    telling = view.telling
    luma = telling.view.component(0)

    @cache
    def inside(by: str, sharpened: Sharpening | None) -> Geometry:
        made = guess(by, sharpened, suspected.known)
        whole = geometry.of_component(made, view.size, 0, (1, 1))
        return whole.part(telling.rows, telling.columns)

    @cache
    def share(way: _Way) -> float:
        steps = table.of_quality(way.encoder, way.quality)
        there = inside(way.by, way.sharpened)
        return recovery.comes_back(luma, there, steps, _MARGIN)[1].share

    def tried(by: str, sharpened: Sharpening | None) -> list[_Way]:
        """With the table that is spoken for: seen through another filter it is finer."""
        _, known = view.best_table(evidence(luma.planes[0], inside(by, sharpened)))
        if known is None:
            return []
        return [_Way(by, sharpened, known.encoder, each) for each in _near(known.quality, _CLOSE)]

    def best(ways: Iterable[_Way]) -> _Way:
        return max(ways, key=share)

    way = best(each for by in FILTERS for each in tried(by, None))
    if share(way) < _PLAINLY:
        masked = (each for mask in _MASKS for each in tried(USUAL, mask))
        way = _sharpened(way, masked, best, close=_CLOSE)
    way = best(way._replace(by=by) for by in FILTERS)
    way = best(way._replace(quality=each) for each in _near(way.quality, _NEAR))
    steps = table.of_quality(way.encoder, way.quality)
    found = guess(way.by, way.sharpened, table.Known(way.encoder, way.quality, steps))
    if found.coarseness < COARSER:
        return None
    shares, bits = _played(view.parts, found, view.size)
    if shares.share < _PROOF[not view.is_file] or bits > _most_bits(view):
        return None
    there = inside(way.by, way.sharpened)
    codes = recovery.comes_back(luma, there, steps, _MARGIN)[0].reshape(-1, BLOCK, BLOCK)
    if len(blocks.kinds(codes)) < _KINDS * len(codes):
        return None
    return replace(found, proof=(shares.share,), telling=shares.total)


def _sharpened(way: _Way, masked: Iterable[_Way], best: _Best, close: int) -> _Way:
    """The way with a mask that brings back most, if some with one bring back more than without.

    Args:
      way: the likeliest without.
      masked: ways with a mask, roughly.
      best: the one of some that brings back most.
      close: by how much the quality may change in a step.
    """
    way = best([way, *masked])
    if way.sharpened is None:
        return way
    way = best(way._replace(by=by) for by in FILTERS)
    for step in _FINER:
        for _ in range(_CLIMBS):
            near = best([way, *(way._replace(sharpened=each) for each in _changed(way, step))])
            near = best(near._replace(quality=each) for each in _near(near.quality, close))
            if near == way:
                break
            way = near
    return best(way._replace(by=by) for by in FILTERS)


def _changed(way: _Way, step: float) -> list[Sharpening]:
    """Masks near a way's: stronger, wider, or wider and weaker, and the other way round."""
    mask = way.sharpened
    assert mask is not None
    return [
        Sharpening(mask.radius * step**wider, mask.amount * step**more)
        for wider, more in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, -2), (-1, 2))
    ]


def _near(quality: int, distance: int) -> range:
    return range(max(1, quality - distance), min(100, quality + distance) + 1)


def _played(
    parts: Sequence[Part], history: History, size: Size, index: int = 0
) -> tuple[Shares, float]:
    """What comes back of a component of parts, and the bits that its earlier codes take there."""
    steps, last = history.tables[index], parts[0].view.factors[index]
    assert steps is not None
    total, bits = Shares(), 0.0
    whole = geometry.of_component(history, size, index, last)
    for part in parts:
        view, inside = part.view.component(index), whole.part(*part.span(last))
        codes, shares = recovery.comes_back(view, inside, steps, _MARGIN)
        total.add(shares)
        bits += recovery.bits(codes)
    return total, bits


def _most_bits(view: View) -> float:
    """Bits that earlier codes of luma may take, to explain more than they say."""
    per_file, per_pixel = _BITS
    luma = [part.view.component(0) for part in view.parts]
    codes = [each.codes[0] for each in luma if each.codes is not None]
    if codes:
        return per_file * sum(recovery.bits(each) for each in codes)
    return per_pixel * sum(each.planes[0].size for each in luma)


def _with_chroma(view: View, luma: History) -> History:
    """Luma's history, and that of chroma as far as it comes back."""
    steps = table.of_quality(luma.encoder, luma.quality, is_chroma=True)
    guesses = sampled(luma, view.parts[0].view.factors[1], steps)
    tried = [_with_shares([view.telling], each, view.size) for each in guesses]
    best = max(tried, key=lambda each: sum(each.proof[1:]))
    best = _with_shares(view.parts, best, view.size)
    return best if min(best.proof[1:]) >= _PROOF_CHROMA else without_chroma(luma)


def _with_shares(parts: Sequence[Part], history: History, size: Size) -> History:
    """A hypothesis on chroma with the shares of it that come back; that of luma is known."""
    chroma = [_played(parts, history, size, index)[0].share for index in (1, 2)]
    return replace(history, proof=(history.proof[0], *chroma))
