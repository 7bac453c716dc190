"""Signs in a file's codes that its picture had been a JPEG of another table before.

Coefficients that were quantised once with a step p lie at multiples of p. Decoding, rounding to
8 bits and quantising again with the file's step q gathers them at some codes and leaves others
(nearly) empty, in a comb that only p and q decide; a picture compressed once has no comb. For
each low frequency the histogram of codes is fitted twice, as a smooth curve and as a smooth curve
times the comb of each p, and the fits are compared: Poisson regression, the same number of
parameters in all of them.

Measured by ``python -m benchmarks.recompression URBAN100 --count 30``, Pillow's encoder: of 30
pictures compressed once none is suspected at quality 10 and 30, one to seven at 50 to 100 (more the
finer the file: some may have been JPEG files once); of 270 compressed again at a higher quality
(50-75, 50-90, 60-80, 75-90, 75-95, 85-95, 30-50, 20-90, 90-95) 239 are, 237 with the right earlier
quality to within two; of 90 compressed again at a lower one (90-75, 75-50, 85-75) ten are.

What it cannot see: an earlier step that divides the file's, an earlier step much finer than the
file's, and an earlier grid of blocks elsewhere, after cropping: see :mod:`hrcnn_jax.history.grid`.

The effect: Popescu and Farid, "Statistical tools for digital forensics", 2004; Lukáš and Fridrich,
"Estimation of primary quantization matrix in double compressed JPEG images", 2003. The test is
this package's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import Component
from hrcnn_jax.jpeg import transform

FREQUENCIES = ((0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0))
"""Looked at, ``(v, u)``: the lowest, whose codes are spread the widest."""

NOISE = 0.45
"""Standard deviation that rounding samples and colours to 8 bits gives a coefficient."""

MOST_CODES = 60
"""Codes farther from zero are too rare to tell anything."""

ENOUGH_CODES = 400
"""Fewer codes that are not zero make no histogram."""

AGREEING = 3
"""Frequencies that must each show a comb."""

LARGEST_STEP = 120

_FLOOR = 0.02  # of a comb: codes that should not be, and are
_POOR_FIT = 4.0  # deviance per code of a curve that a histogram does not follow
_BETTER = 0.25  # share of that deviance which a comb may leave

_ITERATIONS = 25
_STEPS = np.array([1.0, 0.5, 0.2, 0.05, 0.0])  # of Newton's


@dataclass(frozen=True)
class Earlier:
    """What can be told of an earlier compression.

    Attributes:
      steps: quantisation steps by frequency ``(v, u)``, of those that show a comb.
      quality: of libjpeg's luminance tables the one whose combs fit best, 1-100.
    """

    steps: dict[tuple[int, int], int]
    quality: int


@dataclass(frozen=True, eq=False)
class Fits:
    """How well a frequency's histogram agrees with each earlier step.

    Attributes:
      deviances: by earlier step, ``(LARGEST_STEP + 1,)``: less is better. Steps that leave no
        comb have that of a smooth curve, as has step 1.
      codes: that the histogram counts.
    """

    deviances: NDArray[np.float64]
    codes: int

    @property
    def step(self) -> int | None:
        """The step whose comb the histogram shows; None if it shows none."""
        smooth, best = self.deviances[1], int(np.argmin(self.deviances))
        is_comb = smooth > _POOR_FIT * self.codes and self.deviances[best] < _BETTER * smooth
        return best if is_comb else None


def detect(part: Component) -> Earlier | None:
    """Looks for the traces of an earlier table in a file's luma; None if there are none."""
    found = {place: fits(part, place) for place in FREQUENCIES}
    known = {place: each for place, each in found.items() if each is not None}
    steps = {place: each.step for place, each in known.items()}
    combs = {place: step for place, step in steps.items() if step is not None}
    return Earlier(combs, _quality(known)) if len(combs) >= AGREEING else None


def fits(part: Component, place: tuple[int, int]) -> Fits | None:
    """Compares one frequency's codes with every earlier step; None if they are too few."""
    step = int(part.table[place])
    codes = np.abs(part.codes[:, :, place[0], place[1]].astype(np.int32))
    counts = np.bincount(codes.ravel(), minlength=2)[1 : MOST_CODES + 1].astype(np.float64)
    if counts.sum() < ENOUGH_CODES:
        return None
    counts = counts[: int(np.flatnonzero(counts >= 3).max(initial=-1)) + 1]
    if len(counts) < 2 * _parameters(1).shape[1]:
        return None
    earlier = np.arange(2, LARGEST_STEP + 1)
    # A comb is seen if at least two of its teeth lie among the codes.
    earlier = earlier[(step % earlier != 0) & (2 * earlier <= step * len(counts))]
    combs = np.stack([np.ones(len(counts)), *(comb(len(counts), step, p) for p in earlier)])
    smooth, *toothed = deviances(counts, combs)
    by_step = np.full(LARGEST_STEP + 1, smooth)
    by_step[earlier] = toothed
    return Fits(by_step, len(counts))


def _quality(known: dict[tuple[int, int], Fits]) -> int:
    """Of the libjpeg qualities whose steps fit best together, the one in the middle."""
    tables = np.minimum(np.asarray(transform.quality_table(np.arange(1, 101))), LARGEST_STEP)
    total = np.sum([each.deviances[tables[:, v, u]] for (v, u), each in known.items()], axis=0)
    nearest = np.flatnonzero(total == total.min())
    return int(nearest[len(nearest) // 2]) + 1


def comb(count: int, step: int, earlier: int) -> NDArray[np.float64]:
    """How many times more often than by a smooth curve the codes 1 to ``count`` occur.

    Args:
      count: of codes.
      step: the file's.
      earlier: the step before.
    """
    codes = np.arange(1, count + 1)[:, None]
    teeth = earlier * np.arange(0, (count + 1) * step // earlier + 2)
    upper, lower = (_normal(((codes + side) * step - teeth) / NOISE) for side in (0.5, -0.5))
    return np.maximum((upper - lower).sum(1) * earlier / step, _FLOOR)


def deviances(counts: NDArray[np.float64], combs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviance that the best smooth curve leaves, times each comb ``(n, codes)``: ``(n,)``.

    Poisson regression by Newton's method, its steps shortened where they would overshoot; a
    curve's logarithm is a sum of a few powers.
    """
    features = _parameters(len(counts))
    solved = np.zeros((len(combs), features.shape[1]))
    solved[:, 0] = np.log(counts.sum() / combs.sum(1))
    ridge = 1e-9 * counts.sum() * np.eye(features.shape[1])

    def curves(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return combs * np.exp(np.clip(parameters @ features.T, -50, 50))

    def deviance(expected: NDArray[np.float64]) -> NDArray[np.float64]:
        logs = counts * np.log(np.maximum(counts, 1) / np.maximum(expected, 1e-300))
        return 2 * (logs - counts + expected).sum(-1)

    for _ in range(_ITERATIONS):
        expected = curves(solved)
        slope = (counts - expected) @ features
        curvature = np.einsum("cn,nf,ng->cfg", expected, features, features) + ridge
        change = np.linalg.solve(curvature, slope[..., None])[..., 0]
        tried = solved + _STEPS[:, None, None] * change
        best = deviance(curves(tried)).argmin(0)
        solved = tried[best, np.arange(len(combs))]
    return deviance(curves(solved))


def _parameters(count: int) -> NDArray[np.float64]:
    """Powers of the codes 1 to ``count``, ``(count, 4)``; generalised Gaussians are near."""
    place = np.arange(1, count + 1) / count
    return np.stack([np.ones(count), np.sqrt(place), place, place**2], axis=1)


def _normal(deviation: NDArray[np.floating]) -> NDArray[np.floating]:
    """The normal distribution function, near enough (to 0.01) by a logistic one."""
    return 1 / (1 + np.exp(np.clip(-1.702 * deviation, -50, 50)))
