"""What chroma's part in an earlier compression was, once luma's is known."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import grid, steps, table
from hrcnn_jax.history.chain import Factor
from hrcnn_jax.history.observed import Observed
from hrcnn_jax.history.record import OWN, History
from hrcnn_jax.history.replay import layout_of, most_telling, played, samples_of
from hrcnn_jax.jpeg.tables import BLOCK

FACTORS: tuple[Factor, ...] = ((1, 1), (2, 2), (1, 2), (2, 1))
"""How many times coarser than luma chroma may have been."""

_CANDIDATES = 4
"""Hypotheses on chroma that are played again: of luma's quality; half as many of others."""

PROOF = 0.68
"""Share that has to come back when the chain is played again. Measured, of steps at least 1.5
times as coarse: mostly less than 0.61 where there was nothing, more than 0.73 where there was."""

_SLACK = 0.15
"""How much less of one part, the one that tells most, may come back than has to of all."""

_SAME_GRID = 0.04
"""On the last compression's grid, by how much more has to come back than would by chance. Of 404
pictures that were compressed once three have as much of luma at quality 10, none from 30 to 85."""

_NEIGHBOURING = 1.1
"""How many times as much those of a neighbouring quality explain at most."""

_EVERY = np.ones(table.CORNER**2)
"""Frequencies of chroma, all counting alike."""

_ALIKE = 0.1
"""Difference in proof, over all components, that tells nothing."""

COARSER = 1.3
"""How coarse earlier steps on the last ones' grid have to be, in those, to matter."""


def with_chroma(views: Sequence[Observed], luma: History) -> History:
    """Luma's history, and chroma's as far as there is one that comes back."""
    part = most_telling(views)
    tried = [played(part, each) for each in _chroma_hypotheses(views, luma)]
    tried = [each for each in tried if min(each.proof[1:]) >= PROOF - _SLACK]
    if tried:
        # Of those that bring back about as much, those that explain it with least; of neighbouring
        # qualities among these the one that brings back most.
        most = max(sum(each.proof) for each in tried)
        tried = [each for each in tried if sum(each.proof) > most - _ALIKE]
        least = min(map(_freedom, tried))
        tried = [each for each in tried if _freedom(each) < _NEIGHBOURING * least]
        best = played(views, max(tried, key=lambda each: sum(each.proof)))
        if min(best.proof[1:]) >= _least_proof(views[0], best):
            return best
    plain = played(views, without_chroma(luma))
    return replace(plain, proof=(plain.proof[0], 0.0, 0.0))


def _least_proof(view: Observed, history: History) -> float:
    """The share of chroma that has to come back: on the last compression's own blocks, more."""
    (_, last, _), lasts = view.factors, view.tables
    factor, steps = history.factors[1], history.tables[1]
    on_last = factor == last and all(
        place % (BLOCK * each) == 0 for place, each in zip(history.grid, factor, strict=True)
    )
    if lasts is None or steps is None or not on_last:
        return PROOF
    return least_on_last(table.coarseness(steps, lasts[1], _EVERY))


def least_on_last(coarseness: float) -> float:
    """The share of codes that has to come back on the last compression's grid.

    Half of those that its steps would not tell apart come back by chance.

    Args:
      coarseness: of the earlier steps, in the last ones.
    """
    return max(PROOF, (1 + 1 / coarseness) / 2 + _SAME_GRID)


def without_chroma(luma: History) -> History:
    """Luma's history, nothing told of chroma."""
    return replace(
        luma,
        factors=((1, 1), (1, 1), (1, 1)),
        tables=(luma.tables[0], None, None),
        proof=(luma.proof[0], 0.0, 0.0),
    )


def _freedom(history: History) -> float:
    """How finely chroma was described: samples a pixel, and codes for each."""
    steps = history.tables[1]
    assert steps is not None
    return float(np.sum(1 / steps)) / (history.factors[1][0] * history.factors[1][1])


def _chroma_hypotheses(views: Sequence[Observed], luma: History) -> list[History]:
    """How chroma may have been sampled and quantised, by falling evidence, without proof."""
    last = views[0].factors[1]
    lasts = views[0].tables
    finest = np.ones((BLOCK, BLOCK), np.int32) if lasts is None else lasts[1]
    usual: list[tuple[float, History]] = []
    others: list[tuple[float, History]] = []
    for guess in sampled(luma, last, finest):
        expected, rest = _chroma_tables(views, guess, finest)
        usual += expected
        others += rest
    for each in (usual, others):  # by evidence a sample: coarser chroma has fewer
        each.sort(key=lambda pair: -pair[0] * np.prod(pair[1].factors[1]))
    return [history for _, history in usual[:_CANDIDATES] + others[: _CANDIDATES // 2]]


def sampled(luma: History, last: Factor, steps: NDArray[np.int32]) -> Iterator[History]:
    """Luma's history with each way in which chroma may have been sampled, and lain, before.

    Args:
      luma: its history.
      last: how many times coarser than the picture chroma is now: it was no finer.
      steps: of chroma, `(8, 8)`.
    """
    for factor in FACTORS:
        if factor[0] < last[0] or factor[1] < last[1]:
            continue  # detail that chroma had is lost
        for down in range(factor[0]):
            for across in range(factor[1]):
                yield replace(
                    luma,
                    grid=(luma.grid[0] + BLOCK * down, luma.grid[1] + BLOCK * across),
                    factors=((1, 1), factor, factor),
                    tables=(luma.tables[0], steps, steps),
                )


def _chroma_tables(
    views: Sequence[Observed], guess: History, last: NDArray[np.int32]
) -> tuple[list[tuple[float, History]], list[tuple[float, History]]]:
    """Tables that explain chroma so sampled: the one that goes with luma's, and others."""
    counted = np.zeros((BLOCK * BLOCK, table.LARGEST), np.float32)
    for view in views:
        layout = layout_of(view.size, guess, guess.factors[1])
        start = -layout.offset[0] % BLOCK, -layout.offset[1] % BLOCK
        planes = [samples_of(view, guess, index, view.planes) for index in (1, 2)]
        counted += grid.of_place(planes, start)
    evidence = table.by_phase(counted)
    low = table.corner(np.arange(BLOCK * BLOCK, dtype=np.int32).reshape(BLOCK, BLOCK))
    ranked = table.best_known(
        evidence[low], 2, last=last, used=_EVERY, coarser=COARSER, is_chroma=True
    )
    expected = []
    own = _own_table(views, guess, evidence)
    # Finer steps bring more back in any case.
    if own is not None and table.coarseness(own, last, _EVERY) >= COARSER:
        strength = float(evidence[low, np.minimum(table.corner(own), table.STEPS[-1]) - 1].sum())
        expected.append((strength, table.Known(guess.encoder, guess.quality, own)))
    usual, others = (
        [
            (strength, replace(guess, tables=(guess.tables[0], known.steps, known.steps)))
            for strength, known in each
        ]
        for each in (expected, ranked)
    )
    return usual, others


def _own_table(
    views: Sequence[Observed], guess: History, evidence: NDArray[np.float64]
) -> NDArray[np.int32] | None:
    """The one that goes with luma's: of its quality, or none of the known ones if that is none."""
    if guess.encoder != OWN:
        return table.of_quality(guess.encoder, guess.quality, is_chroma=True)
    lasts = views[0].tables
    if lasts is not None and guess.grid == (0, 0) and guess.factors == views[0].factors:
        planes = [codes for each in views if each.codes is not None for codes in each.codes[1:]]
        counted = sum(grid.of_codes(each) for each in planes)
        own = steps.from_evidence(steps.by_codes(np.asarray(counted), lasts[1].ravel()))
        return None if own is None else np.maximum(own, lasts[1])
    return steps.from_evidence(evidence)
