"""Which table an earlier compression had: of the well-known ones.

Coefficients that were quantised with a step lie at its multiples, spread by what came after. How
well they do is told for every step by one number, the logarithm of a likelihood ratio: of phases
that gather at whole multiples, over phases that are spread evenly. Only coefficients that
are nearer to another multiple than to zero count: near zero natural pictures gather anyway.

Where the last compression had the same grid its step leaves phases in a regular pattern whatever
came before. There, codes are counted that the earlier step can reach at all, over how many of
them a smooth histogram would have there.

Source: Bianchi and Piva, "Detection of nonaligned double JPEG compression based on integer
periodicity maps", 2012; Fan and de Queiroz, "Identification of bitmap compression history: JPEG
detection and quantizer estimation", 2003; Lukáš and Fridrich, "Estimation of primary quantization
matrix in double compressed JPEG images", 2003; Mardia and Jupp, "Directional statistics", 2000,
for von Mises' distribution.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.jpeg.tables import CHROMINANCE, LUMINANCE, ROBIDOUX, quality_table

TURNED = "libjpeg-turned"
"""What stands for the encoder where a picture was turned to its side since: only libjpeg's table of
luma is another then."""

_BASES = {
    "libjpeg": (LUMINANCE, CHROMINANCE),
    "mozjpeg": (ROBIDOUX, ROBIDOUX),
    TURNED: (LUMINANCE.T, CHROMINANCE),
}
"""Each encoder's tables at quality 50, of luma and of chroma."""

ENCODERS = tuple(_BASES)
"""Whose tables are known by quality."""

STEPS = np.arange(1, 256)
"""Earlier steps that are looked for."""

FINEST = 3
"""Steps that are finer are no damage to speak of, and cannot be told from rounding."""

CORNER = 4
"""Of each block, so many frequencies down and across are looked at: the others are mostly zero."""

LARGEST = 1024
"""Sizes of coefficients that are told apart, in steps of 1."""

_NOISE = 0.6
"""By how much rounding to 8 bits can move a coefficient, but rarely more."""

_SPREAD = 1.5
"""A histogram is smooth over codes up to so many times one another."""


@dataclass(frozen=True, eq=False)
class Known:
    """A table that encoders have by default.

    Attributes:
      encoder: one of `ENCODERS`.
      quality: on the encoder's scale, 1-100.
      steps: `(8, 8)` int32.
    """

    encoder: str
    quality: int
    steps: NDArray[np.int32]


@cache
def known(is_chroma: bool = False) -> tuple[Known, ...]:
    """Well-known tables, libjpeg's first, by falling quality; those that are equal only once."""
    tables: dict[bytes, Known] = {}
    for encoder in _BASES:
        for quality in range(100, 0, -1):
            steps = of_quality(encoder, quality, is_chroma)
            tables.setdefault(steps.tobytes(), Known(encoder, quality, steps))
    return tuple(tables.values())


def of_quality(encoder: str, quality: int, is_chroma: bool = False) -> NDArray[np.int32]:
    """An encoder's table `(8, 8)` of a quality, 1-100."""
    base = _BASES[encoder][is_chroma]
    return np.asarray(quality_table(quality, base), np.int32)


def nearest_quality(steps: NDArray[np.int32]) -> int:
    """Libjpeg's quality whose table of luma is nearest to one `(8, 8)`, in ratios of steps."""
    tables = np.asarray(quality_table(np.arange(1, 101), LUMINANCE))
    return int(np.abs(np.log(tables / steps)).sum((1, 2)).argmin()) + 1


def corner(steps: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of tables `(..., 8, 8)` the frequencies that are looked at, `(..., CORNER**2)`."""
    return steps[..., :CORNER, :CORNER].reshape(*steps.shape[:-2], CORNER * CORNER)


@cache
def _cosines() -> NDArray[np.float32]:
    """Cosines of the phases of coefficients, by size and step; 0 for those that do not count."""
    sizes = np.arange(LARGEST)[:, None]
    counts = (sizes > STEPS / 2) & (STEPS >= FINEST)
    return (np.cos(2 * np.pi * sizes / STEPS) * counts).astype(np.float32)


def by_phase(histograms: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much better than no step each step explains coefficients, as logarithms of likelihoods.

    Args:
      histograms: of sizes of coefficients, rounded, `(..., frequencies, LARGEST)`.

    Returns:
      By step, `(..., frequencies, len(STEPS))`; steps that coefficients shun are below 0.
    """
    at_least = np.cumsum(histograms[..., ::-1], axis=-1)[..., ::-1]
    number = at_least[..., STEPS // 2 + 1] * (STEPS >= FINEST)
    mean = _sums_of_cosines(histograms) / np.maximum(number, 1)
    return np.sign(mean) * number * _gathering(np.abs(mean).astype(np.float64))


def _sums_of_cosines(histograms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums `(..., F, len(STEPS))` over coefficients, counted by frequency and size.

    By `einsum`, and no further than there are coefficients: for a product, BLAS would wake threads
    that then wait, busily, for longer than all of it takes.
    """
    cosines = _cosines()
    sums = np.empty((*histograms.shape[:-1], len(STEPS)), np.float32)
    for frequency in range(histograms.shape[-2]):
        counts = histograms[..., frequency, :].reshape(-1, LARGEST)
        end = LARGEST - int(np.argmax(counts.sum(0)[::-1] > 0))
        made = np.einsum("ps,sq->pq", counts[:, :end], cosines[:end])
        sums[..., frequency, :] = made.reshape(*histograms.shape[:-2], -1)
    return sums


def _gathering(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean logarithm of von Mises' density over an even one, of phases of this mean cosine.

    Concentrations by Best and Fisher's approximation (Mardia and Jupp, 5.3.10); the normalising
    constant by Abramowitz and Stegun, 9.8.1 and 9.8.2.
    """
    mean = np.minimum(mean, 0.9999)
    concentration = np.where(
        mean < 0.53,
        2 * mean + mean**3 + 5 * mean**5 / 6,
        np.where(
            mean < 0.85,
            -0.4 + 1.39 * mean + 0.43 / (1 - mean),
            1 / np.maximum(mean**3 - 4 * mean**2 + 3 * mean, 1e-9),
        ),
    )
    small = (np.minimum(concentration, 3.75) / 3.75) ** 2
    near = np.log(
        np.polyval([0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1], small)
    )
    large = np.maximum(concentration, 3.75)
    far = large - 0.5 * np.log(2 * np.pi * large) + 1 / (8 * large)
    return concentration * mean - np.where(concentration < 3.75, near, far)


def by_reach(histograms: NDArray[np.int64], last: NDArray[np.int32]) -> NDArray[np.float64]:
    """The same from codes of the last compression, whose grid the earlier one had.

    Args:
      histograms: of sizes of codes, `(frequencies, codes)`.
      last: steps of the last table, `(frequencies,)`.

    Returns:
      By step, `(frequencies, len(STEPS))`; 0 for steps that are not coarser than the last.
    """
    sizes = np.arange(1, histograms.shape[1])
    found = np.zeros((len(last), len(STEPS)))
    for place, (step, counts) in enumerate(zip(last, histograms[:, 1:], strict=True)):
        total = int(counts.sum())
        if total == 0:
            continue
        smooth = smoothed(counts)
        coarser = step < STEPS
        values = int(step) * sizes
        off = np.abs(values - STEPS[coarser, None] * np.rint(values / STEPS[coarser, None]))
        reached = off <= step / 2 + _NOISE
        share = np.clip(reached @ counts / total, 1e-3, 1 - 1e-3)
        expected = np.clip(reached @ smooth / smooth.sum(), 1e-3, 1 - 1e-3)
        gain = share * np.log(share / expected)
        gain += (1 - share) * np.log((1 - share) / (1 - expected))
        found[place, coarser] = np.sign(share - expected) * total * gain
    return found


def smoothed(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """A histogram of the codes from 1 on, each the mean of those around it."""
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    sizes = np.arange(1, len(counts) + 1)
    first = np.ceil(sizes / _SPREAD).astype(int) - 1
    end = np.minimum(np.floor(sizes * _SPREAD).astype(int), len(counts))
    return (sums[end] - sums[first]) / (end - first)


def best_known(
    evidence: NDArray[np.float64],
    count: int,
    *,
    last: NDArray[np.int32],
    used: NDArray[np.float64],
    coarser: float,
    apart: float = 0.0,
    is_chroma: bool = False,
) -> list[tuple[float, Known]]:
    """The well-known tables that explain most.

    Args:
      evidence: by frequency of the corner and step, `(CORNER**2, len(STEPS))`.
      count: of tables.
      last: the last compression's table, `(8, 8)`.
      used: how much each frequency counts in that, `(CORNER**2,)`.
      coarser: how coarse a table has to be, as `coarseness` tells.
      apart: by how much tables have to differ, as the mean logarithm of the ratios of their steps:
        neighbouring qualities explain much the same.
      is_chroma: whether chroma's tables are meant.

    Returns:
      Logarithms of likelihood ratios and tables, the best first.
    """
    tables = known(is_chroma)
    steps = _corners(is_chroma)
    sums = evidence[np.arange(evidence.shape[0]), np.minimum(steps, STEPS[-1]) - 1].sum(-1)
    enough = np.log(steps / corner(last)) @ (used / used.sum()) >= np.log(coarser)
    sums = np.where(enough, sums, -np.inf)
    chosen: list[int] = []
    for place in np.argsort(-sums, kind="stable")[: int(enough.sum())]:
        if len(chosen) == count:
            break
        ratios = np.abs(np.log(steps[chosen] / steps[place])).mean(-1)
        if not (ratios < apart).any():
            chosen.append(int(place))
    return [(float(sums[place]), tables[place]) for place in chosen]


@cache
def _corners(is_chroma: bool) -> NDArray[np.int32]:
    return corner(np.stack([each.steps for each in known(is_chroma)]))


def coarseness(
    steps: NDArray[np.int32], last: NDArray[np.int32], used: NDArray[np.float64]
) -> float:
    """How coarse a table is, in the last one's steps: the geometric mean of low frequencies.

    Args:
      steps: of a table, `(8, 8)`.
      last: the last compression's, `(8, 8)`.
      used: how much each frequency of the corner counts, `(CORNER**2,)`.
    """
    return float(np.exp(np.log(corner(steps) / corner(last)) @ (used / used.sum())))
