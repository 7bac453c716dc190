"""Was a picture compressed before, so that the damage is that compression's? Found and proved.

Statistics of coefficients (`hrcnn_jax.history.grid`, `hrcnn_jax.history.table`) only
suggest where an earlier grid of blocks began and which table it had. What is believed is what can
be played again: codes are recovered, decoded, cropped and compressed as the file was, to the
integer, and the file's own codes, or the picture's own samples, have to come back.

Looked at are the whole of a small picture and five parts of a large one; recovering the codes of
all of it is `recover`'s.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import blocks, grid, observed, own, resized, table
from hrcnn_jax.history.chain import Samples
from hrcnn_jax.history.chroma import COARSER, FACTORS, PROOF, least_on_last, with_chroma
from hrcnn_jax.history.hypothesis import (
    MUCH_COARSER,
    STANDS_OUT,
    hypothesis,
    last_table,
    used_frequencies,
)
from hrcnn_jax.history.observed import Observed
from hrcnn_jax.history.record import OWN, History
from hrcnn_jax.history.replay import most_telling, played
from hrcnn_jax.history.said import Said
from hrcnn_jax.jpeg.tables import BLOCK

SMALLEST = 64
"""Rows and columns that a picture needs to tell something."""

_COUNTED = 16384
"""Blocks of a file whose codes are counted, about, in whole rows. A megapixel tells all there is to
tell; with more, what speaks by chance for an earlier compression on the same grid only grows."""

_EVIDENCE = 150.0
"""Logarithm of the likelihood ratio below which a hypothesis is not played again."""

_COMPARABLE = 0.85
"""How coarse to be believed if their evidence stands out, too."""

_PLAIN, _PROOF_PLAIN = 2.0, 0.72
"""The share that has to come back of what is less than so many times as coarse."""

_PROOF_COMPARABLE, _EVIDENCE_COMPARABLE = 0.79, 250.0
"""What steps need that are less than 1.5 times as coarse, on another grid. Measured: one of 404
pictures that were compressed once at quality 10 has as much, none at higher ones; where there was
something, the share is at least 0.80."""

_APART = 0.2
"""Mean logarithm of the ratios of steps by which tables on the last one's grid have to differ: what
neighbours of the best explain is no other hypothesis."""

_PLACES = 4
"""Of a compression that is told without its grid, places that are played again."""

_SURE = 0.95
"""Share beyond which no neighbouring quality is tried."""

_LUMA_ALONE, _LUMA_CLIPPED = 0.5, 0.15
"""Share of a colour picture's luma that has to come back before its chroma is told. Measured:
mostly more than 0.7 where there was something. Of strong colours, which RGB clipped, 0.25 came back
without chroma and 0.82 with it: so much is enough if there is much evidence."""

_MUCH_EVIDENCE = 1000.0
"""Measured: pictures that were compressed once have less than 300."""

_CHANCE, _MANY = 2.5, 2000
"""Standard deviation by chance of the share of one code, and the number of codes from which on it
does not matter. Measured in pictures of 128x128: of 300 to 550 codes 0.68 to 0.80 come back without
reason, 0.99 with it."""

_FINE, _PROOF_FINE = 4.0, 0.9
"""Of pixels: tables of mean steps below twice this many levels bring more back in any case."""


def find(source: Stored | Samples) -> History | None:
    """The compression that did a picture's damage before it came to what it is now.

    Args:
      source: a file, a picture, or pixels `(H, W)` or `(H, W, 3)` RGB, uint8. Of inks, and of
        files that `can_have` is not true of, nothing is looked for, nor of damaged ones: codes that
        lack a progressive file's last scans look like those of a coarser table.

    Returns:
      None if there is none that can be proved.

    Raises:
      ValueError: if pixels are of another shape or type.
    """
    seen = visible(source)
    if seen is None or (isinstance(seen, JpegFile) and seen.damage is not None):
        return None
    return _find(_views(seen), _reach(seen)) or resized.find(seen)


def _reach(seen: JpegFile | Samples) -> NDArray[np.float64] | None:
    """What a file's own codes tell of an earlier compression on the same grid; None of pixels."""
    if not isinstance(seen, JpegFile):
        return None
    luma = seen.components[0]
    every = -(-luma.codes[..., 0, 0].size // _COUNTED)
    codes = luma.codes[::every].reshape(-1, BLOCK, BLOCK)
    counted = grid.of_codes(codes[blocks.kinds(codes)], table.CORNER)
    return table.by_reach(counted, table.corner(luma.table))


def visible(source: Stored | Samples) -> JpegFile | Samples | None:
    """What an earlier compression can be told from: codes or pixels; None where it cannot be."""
    if isinstance(source, JpegFile):
        return source if can_have(source) else None
    if isinstance(source, Picture):
        return None if source.colour == "cmyk" else source.samples
    return source


def told(source: JpegFile | Samples, said: Said) -> History:
    """A compression that somebody knows of, with what can be found out beside; nothing is proved.

    Args:
      source: as `visible` gives it.
      said: what is known.

    Raises:
      ValueError: if pixels are of another shape or type, or the picture cannot be brought back to
        the size that it is said to have had.
    """
    known = table.Known(said.encoder, said.quality, table.of_quality(said.encoder, said.quality))
    if said.size is not None:
        return resized.told(source, known, said.size, said.grid)
    views = _views(source)
    lumas = [each.luma() for each in views]
    last, used = last_table(lumas), used_frequencies(lumas)
    places = [said.grid] if said.grid is not None else _likely(lumas, known)
    tried = (played(lumas, hypothesis(each, known, 0.0, last, used)) for each in places)
    best = max(tried, key=lambda each: each.proof[0])
    return with_chroma(views, best) if len(views[0].planes) > 1 else best


def can_have(file: JpegFile) -> bool:
    """Whether an earlier compression can be told of such a file: gray or YCbCr, of usual sampling.

    Chroma may be as fine as luma, or half as fine down, across, or both.
    """
    factors = [part.factor for part in file.components]
    return (
        file.colour in ("gray", "ycbcr")
        and factors[0] == (1, 1)
        and set(factors) <= set(FACTORS)
        and len(set(factors[1:])) <= 1
    )


def _views(source: JpegFile | Samples) -> list[Observed]:
    """The parts of a picture that are looked at."""
    size, _ = observed.extent(source)
    mcu = BLOCK, BLOCK
    if isinstance(source, JpegFile):
        factors = [part.factor for part in source.components]
        mcu = BLOCK * max(each[0] for each in factors), BLOCK * max(each[1] for each in factors)
    return [observed.part_of(source, *spans) for spans in grid.parts(size, mcu)]


def _likely(lumas: Sequence[Observed], known: table.Known) -> list[tuple[int, int]]:
    """Where blocks with a table may begin: at the picture's corner, or where they explain most."""
    large = [each.planes[0] for each in lumas if min(each.size) >= 2 * BLOCK]
    if not large:
        return [(0, 0)]
    index = np.minimum(table.corner(known.steps), table.STEPS[-1]) - 1
    evidence = table.by_phase(grid.histograms(large))
    strength = evidence[:, np.arange(len(index)), index].sum(-1)
    best = [divmod(int(place), BLOCK) for place in np.argsort(-strength)[:_PLACES]]
    return list(dict.fromkeys([(0, 0), *best]))


def _find(views: Sequence[Observed], reach: NDArray[np.float64] | None) -> History | None:
    views = [each for each in views if min(each.size) >= SMALLEST and not each.is_flat]
    if not views:
        return None
    lumas, is_file = [each.luma() for each in views], reach is not None
    evidence = table.by_phase(grid.histograms([each.planes[0] for each in lumas]))
    best = _of_known_table(lumas, evidence, reach)
    tried = [] if best is None else [best]
    if best is None or best.proof[0] < _SURE:
        tried += [played(lumas, each) for each in own.hypotheses(lumas, evidence, reach)]
    if len(views[0].planes) > 1:
        # Rounded with chroma to RGB, luma by itself does not come back to the code, and the less
        # the better its table is known.
        tried = [with_chroma(views, each) for each in tried if each.proof[0] > _least_alone(each)]
    best = max(tried, key=lambda each: _margin(each, is_file=is_file), default=None)
    return None if best is None or _margin(best, is_file=is_file) < 0 else best


def _least_alone(history: History) -> float:
    """The share of a colour picture's luma that has to come back before chroma is looked at."""
    return _LUMA_CLIPPED if history.evidence > _MUCH_EVIDENCE else _LUMA_ALONE


def _of_known_table(
    lumas: Sequence[Observed], evidence: NDArray[np.float64], reach: NDArray[np.float64] | None
) -> History | None:
    """The hypothesis with a well-known table that brings back most, if there is any.

    Which that is, one part of the picture tells, the one that tells most. It is by how much more
    comes back than has to: half the true steps bring back all that these do, and more by chance.
    """

    def margin(history: History) -> float:
        return _margin(history, is_file=reach is not None)

    best: History | None = None
    tried = _hypotheses(lumas, evidence, reach)
    part = most_telling(lumas)
    while tried:
        first = max((played(part, each) for each in tried), key=margin)
        if best is not None and margin(first) <= margin(best):
            break
        # Of steps about as fine as the last ones, the finer always bring more back.
        certain = first.proof[0] > _SURE or first.coarseness < MUCH_COARSER
        tried = [] if certain else _neighbours(first, lumas)
        best = first
    return None if best is None else played(lumas, best)


def _margin(history: History, *, is_file: bool) -> float:
    """By how much more of luma comes back than has to; of few codes more, as some do by chance."""
    few = max(0.0, _CHANCE / max(1, history.telling) ** 0.5 - _CHANCE / _MANY**0.5)
    return history.proof[0] - _least_proof(history, is_file=is_file) - few


def _least_proof(history: History, *, is_file: bool) -> float:
    """The share of luma that has to come back; of what is hardly coarser most does in any case."""
    if is_file and all(place % BLOCK == 0 for place in history.grid):
        return least_on_last(history.coarseness)
    if not is_file and history.coarseness < _FINE:
        return _PROOF_FINE
    if history.encoder == OWN:
        return _PROOF_COMPARABLE
    if history.coarseness < MUCH_COARSER:
        return _PROOF_COMPARABLE if history.evidence > _EVIDENCE_COMPARABLE else 1.0
    return PROOF if history.coarseness > _PLAIN else _PROOF_PLAIN


def _hypotheses(
    lumas: Sequence[Observed], evidence: NDArray[np.float64], reach: NDArray[np.float64] | None
) -> list[History]:
    """What luma's coefficients suggest, without proof."""
    last = last_table(lumas)
    used = used_frequencies(lumas)
    found: list[History] = []
    if reach is not None:
        for strength, known in table.best_known(
            reach, 3, last=last, used=used, coarser=COARSER, apart=_APART
        ):
            found.append(hypothesis((0, 0), known, strength, last, used))
        evidence = np.concatenate([np.full_like(evidence[:1], -np.inf), evidence[1:]])
    for coarser, is_equal in ((MUCH_COARSER, False), (_COMPARABLE, True)):
        ranked = []
        for place, each in enumerate(evidence):
            where = place // BLOCK, place % BLOCK
            if is_equal and (reach is None or 0 in where):
                continue  # places where the last compression's own edges look like a grid
            for strength, known in table.best_known(each, 1, last=last, used=used, coarser=coarser):
                ranked.append(hypothesis(where, known, strength, last, used))
        ranked.sort(key=lambda each: -each.evidence)
        next_best = ranked[1].evidence if len(ranked) > 1 else 0.0
        if ranked and ranked[0].evidence > STANDS_OUT * next_best:
            found.append(ranked[0])
    return [each for each in found if each.evidence > _EVIDENCE]


def _neighbours(history: History, lumas: Sequence[Observed]) -> list[History]:
    """The same with tables of qualities near by: evidence may miss by one or two."""
    last, used = last_table(lumas), used_frequencies(lumas)
    found = []
    for quality in range(max(1, history.quality - 2), min(100, history.quality + 2) + 1):
        if quality != history.quality:
            steps = table.of_quality(history.encoder, quality)
            known = table.Known(history.encoder, quality, steps)
            found.append(hypothesis(history.grid, known, history.evidence, last, used))
    return [each for each in found if each.coarseness > COARSER]
