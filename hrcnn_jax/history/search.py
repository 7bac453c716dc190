"""Was a picture compressed before, so that the damage is that compression's? Found and proved.

Statistics of coefficients (`hrcnn_jax.history.grid`, `hrcnn_jax.history.table`) only
suggest where an earlier grid of blocks began and which table it had. What is believed is what can
be played again: codes are recovered, decoded, cropped and compressed as the file was, to the
integer, and the file's own codes, or the picture's own samples, have to come back.

Looked at are the whole of a small picture and five parts of a large one; recovering the codes of
all of it is `recover`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import Component, JpegFile
from hrcnn_jax.history import chain, codes, grid, observed, resampling, table
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.codes import Layout, Recovered
from hrcnn_jax.history.observed import Factor, Observed, Samples, Shares
from hrcnn_jax.jpeg.tables import BLOCK

SMALLEST = 64
"""Rows and columns that a picture needs to tell something."""

_CANDIDATES = 4
"""Hypotheses on chroma that are played again: of luma's quality; half as many of others."""

_EVIDENCE = 150.0
"""Logarithm of the likelihood ratio below which a hypothesis is not played again."""

_COARSER = 1.3
"""How coarse earlier steps on the last ones' grid have to be, in those, to matter."""

_MUCH_COARSER = 1.5
"""How coarse they have to be on another grid, to be believed by proof alone."""

_COMPARABLE = 0.85
"""How coarse to be believed if their evidence stands out, too."""

_STANDS_OUT = 1.3
"""How many times more evidence than for the next place. Measured: the places of 150 files that
were compressed once have up to 1.22 times the next one's, where they have over 100."""

_PROOF = 0.68
"""Share that has to come back when the chain is played again. Measured, of steps at least 1.5
times as coarse: mostly less than 0.61 where there was nothing, more than 0.73 where there was."""

_PLAIN, _PROOF_COMPARABLE = 2.0, 0.72
"""The share that has to come back of what is less than so many times as coarse."""

_SURE = 0.95
"""Share beyond which no neighbouring quality is tried."""

_FACTORS: tuple[Factor, ...] = ((1, 1), (2, 2), (1, 2), (2, 1))
"""How many times coarser than luma chroma may have been."""

_LUMA_ALONE = 0.15
"""Share of a colour file's luma that has to come back before its chroma is told."""

_FINE, _PROOF_FINE = 4.0, 0.9
"""Of pixels: tables of mean steps below twice this many levels bring more back in any case."""

_ALIKE = 0.1
"""Difference in proof, over all components, that tells nothing."""

_ROUNDS = 6
"""Corrections of the picture by what the chain leaves over, at most."""

_RELAXATION = 0.15
"""How much of it is put back at once: more overshoots."""


@dataclass(frozen=True, eq=False)
class History:
    """The earlier compression that did a picture's damage.

    Attributes:
      grid: rows above and columns left of the earlier picture's first whole MCU, from 0 to less
        than the MCU's side (8, or 16 where chroma is subsampled).
      factors: how many times coarser than the picture each component was, ``(down, across)``.
      tables: of each component, ``(8, 8)`` int32; None for chroma whose history is not told.
      encoder: whose default tables they are, ``libjpeg`` or ``mozjpeg``.
      quality: on that encoder's scale, 1-100.
      proof: of each component, the share of the file's codes (those not zero), or of the picture's
        samples (those in blocks not flat), that come back when the chain is played again, 0-1.
      evidence: logarithm of a likelihood ratio: luma's coefficients on this grid, with these steps
        over none.
      coarseness: mean ratio of the earlier to the last steps of luma: above 1, the damage is
        the earlier compression's; about 1, both did as much.
    """

    grid: tuple[int, int]
    factors: tuple[Factor, ...]
    tables: tuple[NDArray[np.int32] | None, ...]
    encoder: str
    quality: int
    proof: tuple[float, ...]
    evidence: float
    coarseness: float

    @property
    def certainty(self) -> float:
        """From 0 to 1: how much of what was coded can be had back, going by the worst component."""
        return min(self.proof)

    @property
    def mcu(self) -> tuple[int, int]:
        """Rows and columns of an MCU of the earlier compression."""
        down, across = (max(each[axis] for each in self.factors) for axis in (0, 1))
        return BLOCK * down, BLOCK * across

    @property
    def offset(self) -> tuple[int, int]:
        """Rows and columns of the earlier picture that were cut away, less whole MCUs."""
        return -self.grid[0] % self.mcu[0], -self.grid[1] % self.mcu[1]


@dataclass(frozen=True, eq=False)
class Earlier:
    """The earlier compression as far as it can be had back.

    Attributes:
      height: rows of the earlier picture, down to the last that is left.
      width: its columns likewise.
      components: with the recovered codes and the earlier tables; None for chroma whose history
        is not told.
      unsure: which codes may well be others, ``(hb, wb, 8, 8)`` a component.
      offset: rows and columns to cut away above and left: the picture is the rest.
      history: what was done, its proof being that of the whole picture.
    """

    height: int
    width: int
    components: tuple[Component | None, ...]
    unsure: tuple[NDArray[np.bool_] | None, ...]
    offset: tuple[int, int]
    history: History


def find(file: JpegFile) -> History | None:
    """The compression before a file's own that did the damage; None if none can be proved.

    Args:
      file: gray or YCbCr; others have no history that is looked for.
    """
    if file.colour not in ("gray", "ycbcr"):
        return None
    factors = [part.factor for part in file.components]
    if factors[0] != (1, 1) or not set(factors) <= set(_FACTORS) or len(set(factors)) > 2:
        return None
    mcu = BLOCK * max(each[0] for each in factors), BLOCK * max(each[1] for each in factors)
    views = [observed.of_file(file, *spans) for spans in grid.parts((file.height, file.width), mcu)]
    luma = file.components[0]
    counted = _code_histograms(luma)
    return _find(views, table.by_reach(counted, table.corner(luma.table)))


def find_in_pixels(picture: Samples) -> History | None:
    """The compression that did the damage of a picture that is kept without loss.

    Args:
      picture: ``(H, W)`` or ``(H, W, 3)`` RGB, uint8.

    Raises:
      ValueError: if the picture is of another shape or type.
    """
    _check(picture)
    size = picture.shape[0], picture.shape[1]
    return _find([Observed.of_pixels(picture[spans]) for spans in grid.parts(size)], None)


def recover(source: JpegFile | Samples, history: History) -> Earlier:
    """The codes of an earlier compression.

    Args:
      source: the file, or the pixels, in which the history was found.
      history: as found, or said by hand (its proof and evidence do not matter).

    Raises:
      ValueError: if pixels are of another shape or type, or of other components.
    """
    if isinstance(source, JpegFile):
        whole = observed.of_file(source, slice(0, source.height), slice(0, source.width))
    else:
        _check(source)
        whole = Observed.of_pixels(source)
    if len(whole.planes) != len(history.tables):
        raise ValueError(
            f"a history of {len(history.tables)} components does not fit {len(whole.planes)}"
        )
    found, shares = _recovered(whole, history, _ROUNDS)
    height, width = (side + cut for side, cut in zip(whole.size, history.offset, strict=True))
    return Earlier(
        height=height,
        width=width,
        components=tuple(
            None if each is None else _component((height, width), history, index, each)
            for index, each in enumerate(found)
        ),
        unsure=tuple(
            None
            if each is None
            else each.unsure() | _layout(whole.size, history, factor).cut()[..., None, None]
            for each, factor in zip(found, history.factors, strict=True)
        ),
        offset=history.offset,
        history=replace(history, proof=tuple(each.share for each in shares)),
    )


def _component(size: tuple[int, int], history: History, index: int, found: Recovered) -> Component:
    down, across = history.factors[index]
    steps = history.tables[index]
    assert steps is not None
    return Component(
        codes=found.codes,
        table=steps,
        sampling=(history.mcu[1] // BLOCK // across, history.mcu[0] // BLOCK // down),
        factor=(down, across),
        size=(-(-size[0] // down), -(-size[1] // across)),
    )


def _check(picture: Any) -> None:
    fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not fits:
        raise ValueError(f"expected (H, W) or (H, W, 3) uint8, got {picture.shape} {picture.dtype}")


def _code_histograms(part: Component) -> NDArray[np.int64]:
    """Sizes of the codes of each frequency that is looked at, ``(CORNER**2, LARGEST)``."""
    low = np.abs(part.codes[:, :, : table.CORNER, : table.CORNER].astype(np.int32))
    sizes = np.minimum(low, table.LARGEST - 1).reshape(-1, table.CORNER**2)
    return np.stack([np.bincount(each, minlength=table.LARGEST) for each in sizes.T])


def _find(views: Sequence[Observed], reach: NDArray[np.float64] | None) -> History | None:
    views = [each for each in views if min(each.size) >= SMALLEST]
    if not views:
        return None
    lumas = [each.luma() for each in views]
    best: History | None = None
    tried = _hypotheses(lumas, reach)
    while tried:
        played = [_played(lumas, each) for each in tried]
        first = max(played, key=lambda each: each.proof[0])
        if best is not None and first.proof <= best.proof:
            break
        tried = [] if first.proof[0] > _SURE else _neighbours(first, lumas)
        best = first
    if best is not None and len(views[0].planes) > 1:
        # Rounded with chroma to RGB, luma by itself does not come back to the code.
        best = _with_chroma(views, best) if best.proof[0] > _LUMA_ALONE else None
    least = 1.0 if best is None else _least_proof(best, is_file=reach is not None)
    return None if best is None or best.proof[0] < least else best


def _least_proof(history: History, *, is_file: bool) -> float:
    """The share of luma that has to come back; of what is hardly coarser most does in any case."""
    if is_file and history.grid == (0, 0):
        return max(_PROOF, (1 + 1 / history.coarseness) / 2)
    if not is_file and history.coarseness < _FINE:
        return _PROOF_FINE
    return _PROOF if history.coarseness > _PLAIN else _PROOF_COMPARABLE


def _hypotheses(lumas: Sequence[Observed], reach: NDArray[np.float64] | None) -> list[History]:
    """What luma's coefficients suggest, without proof."""
    last = _last(lumas)
    used = _used(lumas)
    evidence = table.by_phase(grid.histograms([each.planes[0] for each in lumas]))
    found: list[History] = []
    if reach is not None:
        for strength, known in table.best_known(reach, 2, last=last, used=used, coarser=_COARSER):
            found.append(_hypothesis((0, 0), known, strength, last, used))
        evidence[0] = -np.inf
    for coarser, is_equal in ((_MUCH_COARSER, False), (_COMPARABLE, True)):
        ranked = []
        for place, each in enumerate(evidence):
            where = place // BLOCK, place % BLOCK
            if is_equal and (reach is None or 0 in where):
                continue  # places where the last compression's own edges look like a grid
            for strength, known in table.best_known(each, 1, last=last, used=used, coarser=coarser):
                ranked.append(_hypothesis(where, known, strength, last, used))
        ranked.sort(key=lambda each: -each.evidence)
        next_best = ranked[1].evidence if len(ranked) > 1 else 0.0
        if ranked and ranked[0].evidence > _STANDS_OUT * next_best:
            found.append(ranked[0])
    return [each for each in found if each.evidence > _EVIDENCE]


def _last(lumas: Sequence[Observed]) -> NDArray[np.int32]:
    """The last compression's table of luma; of pixels one that is barely worth to be coarser."""
    tables = lumas[0].tables
    return np.full((BLOCK, BLOCK), 2, np.int32) if tables is None else tables[0]


def _used(lumas: Sequence[Observed]) -> NDArray[np.float64]:
    """How often luma uses each frequency of the corner but the mean, ``(CORNER**2,)``."""
    counts = np.zeros((table.CORNER, table.CORNER))
    for each in lumas:
        if each.codes is None:
            counts += 1
        else:
            low = each.codes[0][:, :, : table.CORNER, : table.CORNER]
            counts += np.count_nonzero(low, axis=(0, 1))
    counts[0, 0] = 0
    return counts.ravel() + 1e-6


def _neighbours(history: History, lumas: Sequence[Observed]) -> list[History]:
    """The same with tables of qualities near by: evidence may miss by one or two."""
    found = []
    for quality in range(max(1, history.quality - 2), min(100, history.quality + 2) + 1):
        if quality != history.quality:
            steps = table.of_quality(history.encoder, quality)
            known = table.Known(history.encoder, quality, steps)
            found.append(
                _hypothesis(history.grid, known, history.evidence, _last(lumas), _used(lumas))
            )
    least = _COARSER if history.coarseness > _COARSER else _COMPARABLE
    return [each for each in found if each.coarseness > least]


def _hypothesis(
    where: tuple[int, int],
    known: table.Known,
    strength: float,
    last: NDArray[np.int32],
    used: NDArray[np.float64],
) -> History:
    return History(
        grid=where,
        factors=((1, 1),),
        tables=(known.steps,),
        encoder=known.encoder,
        quality=known.quality,
        proof=(0.0,),
        evidence=strength,
        coarseness=table.coarseness(known.steps, last, used),
    )


def _with_chroma(views: Sequence[Observed], luma: History) -> History:
    """Luma's history, and chroma's as far as there is one that comes back."""
    plain = _played(views, _without_chroma(luma))
    plain = replace(plain, proof=(plain.proof[0], 0.0, 0.0))
    played = [_played(views, each) for each in _chroma_hypotheses(views, luma)]
    played = [each for each in played if min(each.proof[1:]) >= _PROOF]
    if not played:
        return plain
    # Of those that bring back about as much, the one that explains it with least.
    most = max(sum(each.proof) for each in played)
    return min(
        (each for each in played if sum(each.proof) > most - _ALIKE),
        key=_freedom,
    )


def _played(views: Sequence[Observed], history: History) -> History:
    """A hypothesis with the shares that come back over all views."""
    shares = [Shares() for _ in views[0].planes]
    for view in views:
        for total, part in zip(shares, _recovered(view, history, 0)[1], strict=True):
            total.add(part)
    return replace(history, proof=tuple(each.share for each in shares))


def _freedom(history: History) -> float:
    """How finely chroma was described: samples a pixel, and codes for each."""
    steps = history.tables[1]
    assert steps is not None
    return float(np.sum(1 / steps)) / (history.factors[1][0] * history.factors[1][1])


def _without_chroma(luma: History) -> History:
    return replace(
        luma,
        factors=((1, 1), (1, 1), (1, 1)),
        tables=(luma.tables[0], None, None),
        proof=(luma.proof[0], 0.0, 0.0),
    )


def _chroma_hypotheses(views: Sequence[Observed], luma: History) -> list[History]:
    """How chroma may have been sampled and quantised, by falling evidence, without proof."""
    last = views[0].factors[1]
    lasts = views[0].tables
    finest = np.ones((BLOCK, BLOCK), np.int32) if lasts is None else lasts[1]
    usual: list[tuple[float, History]] = []
    others: list[tuple[float, History]] = []
    for factor in _FACTORS:
        if factor[0] < last[0] or factor[1] < last[1]:
            continue  # detail that chroma had is lost
        for down in range(factor[0]):
            for across in range(factor[1]):
                place = luma.grid[0] + BLOCK * down, luma.grid[1] + BLOCK * across
                guess = replace(
                    luma,
                    grid=place,
                    factors=((1, 1), factor, factor),
                    tables=(luma.tables[0], finest, finest),
                )
                *rest, own = _chroma_tables(views, guess, finest)
                usual.append(own)
                others += rest
    for each in (usual, others):  # by evidence a sample: coarser chroma has fewer
        each.sort(key=lambda pair: -pair[0] * np.prod(pair[1].factors[1]))
    return [history for _, history in usual[:_CANDIDATES] + others[: _CANDIDATES // 2]]


def _chroma_tables(
    views: Sequence[Observed], guess: History, last: NDArray[np.int32]
) -> list[tuple[float, History]]:
    """Tables that explain chroma if it was sampled as guessed; last that of luma's quality."""
    counted = np.zeros((BLOCK * BLOCK, table.LARGEST), np.float32)
    for view in views:
        layout = _layout(view.size, guess, guess.factors[1])
        start = -layout.offset[0] % BLOCK, -layout.offset[1] % BLOCK
        planes = [_samples(view, guess, index, view.planes) for index in (1, 2)]
        counted += grid.of_place(planes, start)
    evidence = table.by_phase(counted)
    low = table.corner(np.arange(BLOCK * BLOCK, dtype=np.int32).reshape(BLOCK, BLOCK))
    ranked = table.best_known(
        evidence[low], 2, last=last, used=np.ones(table.CORNER**2), coarser=_COARSER, is_chroma=True
    )
    # Mostly it has luma's quality.
    own = table.of_quality(guess.encoder, guess.quality, is_chroma=True)
    strength = float(evidence[low, np.minimum(table.corner(own), table.STEPS[-1]) - 1].sum())
    ranked.append((strength, table.Known(guess.encoder, guess.quality, own)))
    return [
        (strength, replace(guess, tables=(guess.tables[0], known.steps, known.steps)))
        for strength, known in ranked
    ]


def _layout(size: tuple[int, int], history: History, factor: Factor) -> Layout:
    """Where a component's blocks lie around its samples that are left of the picture."""
    top, left = history.offset
    start = top // factor[0], left // factor[1]
    stop = -(-(size[0] + top) // factor[0]), -(-(size[1] + left) // factor[1])
    return Layout.of((stop[0] - start[0], stop[1] - start[1]), start)


def _samples(view: Observed, history: History, index: int, planes: Sequence[Floats]) -> Floats:
    """A component's samples as they were before what came after its first coding."""
    factor, last = history.factors[index], view.factors[index]
    if factor == last == (1, 1):
        return planes[index]
    layout = _layout(view.size, history, factor)
    (top, left), (height, width) = layout.offset, layout.size
    full = resampling.restored(
        planes[index], factor, last, history.offset, (top + height, left + width)
    )
    return full[top:, left:]


def _picture(found: Sequence[Recovered | None], history: History, view: Observed) -> Samples:
    """The earlier file decoded and cropped, ``(H, W)`` or ``(H, W, 3)``.

    Components that have no history are taken as they are.
    """
    top, left = history.offset
    rows, columns = slice(top, top + view.size[0]), slice(left, left + view.size[1])
    full = []
    for index, each in enumerate(found):
        if each is None:
            rounded = np.clip(np.rint(view.planes[index]), 0, 255).astype(np.uint8)
            enlarged = chain.enlarge(rounded, view.factors[index])
            full.append(enlarged[: view.size[0], : view.size[1]])
            continue
        steps, factor = history.tables[index], history.factors[index]
        assert steps is not None
        samples = chain.decode(each.codes, steps)
        height, width = -(-rows.stop // factor[0]), -(-columns.stop // factor[1])
        full.append(chain.enlarge(samples[:height, :width], factor)[rows, columns])
    return full[0] if len(full) == 1 else chain.to_rgb(np.stack(full, axis=-1))


def _recovered(
    view: Observed, history: History, rounds: int
) -> tuple[list[Recovered | None], list[Shares]]:
    """Codes, and what comes back of a view when the chain is played again with them."""
    planes = list(view.planes)
    by_block = history.grid == (0, 0) and history.mcu == (BLOCK, BLOCK)
    border = 0 if by_block else max(history.mcu)
    best: tuple[list[Recovered | None], list[Shares]] | None = None
    for _ in range(rounds + 1):
        found = [
            None
            if steps is None
            else codes.recover(
                _samples(view, history, index, planes),
                steps,
                _layout(view.size, history, history.factors[index]),
            )
            for index, steps in enumerate(history.tables)
        ]
        shares, rest = view.compare(_picture(found, history, view), border)
        if best is not None and _total(shares) <= _total(best[1]):
            break
        best = found, shares
        if _total(shares) == 1.0:
            break
        for index, missed in enumerate(rest):
            planes[index] = planes[index] + np.float32(_RELAXATION) * missed
    assert best is not None
    return best


def _total(shares: Sequence[Shares]) -> float:
    return sum(each.equal for each in shares) / max(1, sum(each.total for each in shares))
