"""Hypotheses with a table that is none of the well-known ones: Photoshop's, a camera's, a video's.

They are suspected where the steps that explain each frequency best explain very much more than
chance does, and have to be proved as any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import grid, steps, table
from hrcnn_jax.history.chroma import COARSER
from hrcnn_jax.history.hypothesis import (
    MUCH_COARSER,
    STANDS_OUT,
    hypothesis,
    last_table,
    used_frequencies,
)
from hrcnn_jax.history.observed import Observed
from hrcnn_jax.history.record import OWN, History
from hrcnn_jax.jpeg.tables import BLOCK

_EVIDENCE = 1000.0
"""Logarithm of the likelihood ratio, over all frequencies, below which nothing is suspected.
Measured: pictures that were compressed once have 20 to 300 on the last grid."""

_BY_CHANCE = 6.0
"""What the best of all steps explains by chance."""


def hypotheses(
    lumas: Sequence[Observed], evidence: NDArray[np.float64], reach: NDArray[np.float64] | None
) -> Iterator[History]:
    """What luma's coefficients suggest, without proof; two at most.

    Args:
      lumas: the parts of the picture that are looked at.
      evidence: of each place, frequency of the corner and step, as `table.by_phase` gives it.
      reach: of the last grid's place, as `table.by_reach` gives it; None of pixels.
    """
    last, used = last_table(lumas), used_frequencies(lumas)
    for where, strength, own in _tables(lumas, evidence, reach):
        known = table.Known(OWN, table.nearest_quality(own), own)
        guess = hypothesis(where, known, strength, last, used)
        is_same_grid = reach is not None and where == (0, 0)
        if guess.coarseness >= (COARSER if is_same_grid else MUCH_COARSER):
            better = steps.corrected(lumas, guess)
            found = better.tables[0]
            assert found is not None
            yield replace(
                better,
                quality=table.nearest_quality(found),
                coarseness=table.coarseness(found, last, used),
            )


def _tables(
    lumas: Sequence[Observed], evidence: NDArray[np.float64], reach: NDArray[np.float64] | None
) -> Iterator[tuple[tuple[int, int], float, NDArray[np.int32]]]:
    """Places, how much is explained there, and by which steps."""
    strength = _strength(evidence)
    if reach is not None:
        strength[0] = 0.0
        on_last = float(_strength(reach))
        if on_last > _EVIDENCE:
            counted = [grid.of_codes(each.codes[0]) for each in lumas if each.codes is not None]
            last = last_table(lumas)
            own = steps.from_evidence(steps.by_codes(np.sum(counted, 0), last.ravel()))
            if own is not None:
                # Of finer steps than the last nothing is left to tell: there it did the damage.
                yield (0, 0), on_last, np.maximum(own, last)
    place = int(strength.argmax())
    if strength[place] > max(_EVIDENCE, STANDS_OUT * float(np.sort(strength)[-2])):
        where = divmod(place, BLOCK)
        sizes = grid.of_place([each.planes[0] for each in lumas], where, clear=True)
        own = steps.from_evidence(table.by_phase(sizes))
        if own is not None:
            yield where, float(strength[place]), own


def _strength(evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much the best step of each frequency explains, beyond what chance does."""
    found: NDArray[np.float64] = np.maximum(evidence.max(-1) - _BY_CHANCE, 0).sum(-1)
    return found
