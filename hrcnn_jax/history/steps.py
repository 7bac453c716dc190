"""Which steps an earlier compression had where no well-known table explains it, one by one.

Every frequency tells of its own step. What they tell is held together by tables being smooth: a
surface through the steps that are told best says about where the others lie, and is what is taken
where a frequency tells nothing, being mostly zero.

Source: Fan and de Queiroz, "Identification of bitmap compression history: JPEG detection and
quantizer estimation", 2003; Lukáš and Fridrich, "Estimation of primary quantization matrix in
double compressed JPEG images", 2003.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import blocks, codes, replay
from hrcnn_jax.history.observed import NO_MARGINS, Observed
from hrcnn_jax.history.record import History
from hrcnn_jax.history.table import STEPS, smoothed
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT

FEWEST = 6
"""Frequencies that have to tell of their steps."""

_TELLS = 20.0
"""Logarithm of a likelihood ratio beyond which a frequency counts for the surface: the best of 255
steps has up to 10 by chance."""

_CAP = 400.0
"""Most that a frequency counts for the surface."""

_PENALTY = 40.0
"""What a step loses that is twice or half of what the surface says, four times as much for a factor
of four: few coefficients gather at divisors of their step as well."""

_FITS = 4
"""How often the surface is laid, and steps are chosen anew."""

_TURNS = 3
"""How often steps are corrected by what the chain makes of them."""

_STRAY = 0.03
"""Share of codes that no step explains: the encoder was another, samples were clipped."""

_FLOOR = 1e-3
"""Codes there may be of any size."""

_ROUNDING = 0.4
"""Standard deviation of a coefficient by its samples' rounding to 8 bits, clipping included."""


def from_evidence(evidence: NDArray[np.float64]) -> NDArray[np.int32] | None:
    """The table that coefficients tell of.

    Args:
      evidence: by frequency and step, `(64, len(STEPS))`, logarithms of likelihood ratios.

    Returns:
      Steps `(8, 8)`, or None if too few frequencies tell of theirs.
    """
    penalty = np.zeros_like(evidence)
    for _ in range(_FITS):
        best = (evidence - penalty).argmax(-1)
        strength = np.take_along_axis(evidence, best[:, None], 1)[:, 0]
        if np.count_nonzero(strength > _TELLS) < FEWEST:  # of steps that lie on a surface, too
            return None
        weights = np.where(strength > _TELLS, np.minimum(strength, _CAP), 0.0)
        surface = _surface(np.log2(STEPS[best]), weights)
        penalty = _PENALTY * (np.log2(STEPS) - surface[:, None]) ** 2
    best = (evidence - penalty).argmax(-1)
    return STEPS[best].astype(np.int32).reshape(BLOCK, BLOCK)


def _surface(logs: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth function of the frequency near logarithms of steps, by weighted least squares."""
    terms = _terms()
    # A little ridge: few frequencies, all of them low, must not tell of curves further out.
    ridge = np.diag([0, 1, 30, 30]) * weights.max()
    return terms @ np.linalg.solve(
        terms.T @ (weights[:, None] * terms) + ridge, terms.T @ (weights * logs)
    )


@cache
def _terms() -> NDArray[np.float64]:
    down, across = np.divmod(np.arange(BLOCK * BLOCK), BLOCK)
    total, difference = (down + across) / BLOCK, (down - across) / BLOCK
    return np.stack([np.ones_like(total), total, total**2, difference**2], axis=1)


def by_codes(histograms: NDArray[np.int64], last: NDArray[np.int32]) -> NDArray[np.float64]:
    """How much better than none each earlier step on the same grid explains the last codes.

    Each step is taken to have gathered a smooth histogram at its multiples, of which the last
    compression made codes.

    Args:
      histograms: of sizes of codes, `(frequencies, codes)`.
      last: steps of the last table, `(frequencies,)`.

    Returns:
      By step, `(frequencies, len(STEPS))`, logarithms of likelihood ratios; 0 for steps that are
      not coarser than the last.
    """
    found = np.zeros((len(last), len(STEPS)))
    for place, (step, counts) in enumerate(zip(last, histograms, strict=True)):
        largest = int(np.flatnonzero(counts)[-1])
        if largest == 0 or counts[1:].sum() < BLOCK:
            continue
        density = smoothed(counts[1:]) + _FLOOR
        density = np.concatenate([density[:1], density])
        below = np.concatenate([[0.0], np.cumsum(density)])
        counts, expected = counts[1 : largest + 1], density[1 : largest + 1]
        expected = expected / expected.sum()
        coarser = step < STEPS
        gathered = _gathered(below, STEPS[coarser] / step, int(step), largest)
        total = gathered.sum(-1, keepdims=True)
        is_any = total > 0
        share = (1 - _STRAY) * gathered / np.where(is_any, total, 1.0) + _STRAY * expected
        likely = (counts * np.log(share / expected)).sum(-1)
        found[place, coarser] = np.where(is_any[:, 0], likely, 0.0)
    return found


def _gathered(
    below: NDArray[np.float64], ratios: NDArray[np.float64], last: int, largest: int
) -> NDArray[np.float64]:
    """Histograms of the codes from 1 on that a smooth one becomes, gathered at multiples.

    Args:
      below: how much of the smooth one lies below each code less a half.
      ratios: of earlier steps to the last.
      last: step.
      largest: code.

    Returns:
      A histogram for each ratio, `(len(ratios), largest)`.
    """
    # The multiples of all steps in one row, those of the first step first.
    counts = ((largest + 1) / ratios).astype(int) + 1
    step = np.repeat(np.arange(len(ratios)), counts)
    multiples = np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    lowest, highest = (
        np.interp((multiples + side) * ratios[step] + 0.5, np.arange(len(below)), below)
        for side in (-0.5, 0.5)
    )
    values = multiples * ratios[step]
    lower = np.floor(values).astype(int)
    # Where a multiple lies between two codes, rounding to 8 bits decides.
    upward = 1 / (1 + np.exp(-1.7 * (values - lower - 0.5) * last / _ROUNDING))
    out = np.zeros(len(ratios) * (largest + 2))
    for code, share in ((lower, 1 - upward), (lower + 1, upward)):
        place = step * (largest + 2) + np.minimum(code, largest + 1)
        out += np.bincount(place, (highest - lowest) * share, minlength=len(out))
    return out.reshape(len(ratios), largest + 2)[:, 1:-1]


def corrected(views: Sequence[Observed], history: History) -> History:
    """A hypothesis on luma with steps that are off by little put right.

    The last compression takes more of small coefficients than it gives, so that multiples lie
    nearer to zero than they were. By how much, the chain itself tells when it is played with steps
    that are nearly right.
    """
    for _ in range(_TURNS):
        steps = history.tables[0]
        assert steps is not None
        theirs, ours = np.zeros((BLOCK, BLOCK)), np.zeros((BLOCK, BLOCK))
        for view in views:
            layout = replay.layout_of(view.size, history, (1, 1))
            found = codes.recover(view.planes[0], steps, layout)
            _, (missed,) = view.compare(replay.picture([found], history, view), NO_MARGINS)
            multiples = np.where(layout.cut()[..., None, None], 0, found.codes)
            seen = found.codes + found.distance
            rest = blocks.to_blocks(layout.filled(missed))
            theirs += (multiples * seen).sum((0, 1))
            ours += (multiples * (seen - blocks.dct(rest + np.float32(LEVEL_SHIFT)) / steps)).sum(
                (0, 1)
            )
        ratio = np.where(ours > 0, theirs / np.maximum(ours, 1e-9), 1.0)
        better = np.clip(np.rint(steps * ratio), 1, STEPS[-1]).astype(np.int32)
        if (better == steps).all():
            break
        history = replace(history, tables=(better,))
    return history
