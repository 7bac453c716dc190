"""The lines that a grid of blocks leaves in a picture that was resized since.

Decoders leave edges between blocks, resizing keeps them, at distances that are no longer 8. Mean
second differences along an axis show them, and their spectrum tells the distance: it has lines at
its inverse and at multiples of that. Those of the file's own grid are taken out first.

Source: Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images", 2005;
Kirchner and Gloe, "On resampling detection in re-compressed images", 2009.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.jpeg.tables import BLOCK

Values = NDArray[np.float64]

Pair = tuple[float, float]
"""Factors down and across."""

FACTORS = np.exp(np.arange(np.log(0.52), np.log(1.7), 4e-4))
"""By how much pictures may have been resized. Shrunk to half, little of the damage is left, and
WebP's blocks of 4 pixels look like theirs."""

_HARMONICS = (1, 2, 3)
_PADDING = 16
"""How many times finer than its length a spectrum is sampled."""

_LARGEST = 10.0
"""Second differences above it are edges of what the picture shows."""

_SMOOTH = 17
"""Samples over which the mean is taken out."""

_OWN = 1.5
"""How near to the own grid's lines, in steps of the spectrum, nothing can be told."""

_AROUND = 31
"""Steps of the spectrum around each that its power is compared with: pictures have more of slow
waves than of fast ones, and last compressions leave humps."""

_SLOW = 0.03
"""Cycles a sample below which pictures have lines of their own."""

_APART = 0.006
"""Distance of factors that are told apart, in their logarithm."""

_EXACT = 0.0015
"""As near, one need not be looked into when the other is."""

_SAME = 0.01
"""As near to 1 nothing was resized."""

_FAINT = 3.3
"""Strength that is not looked into. Measured: half of all pictures have 4 somewhere by chance."""

_FAINTER = 2.3
"""The same of factors that are usual. Measured: one in twenty of the right ones is below."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Along one axis.

    Attributes:
      profile: mean second differences, weighted to vanish at both ends.
      own: whether the picture has a grid of blocks of its own, of 8 samples.
    """

    profile: Values
    own: bool

    @classmethod
    def of(cls, plane: Floats, axis: int, *, own: bool) -> "Lines":
        """Of a plane `(H, W)` in levels of 255."""
        bends = np.minimum(np.abs(np.diff(plane, n=2, axis=axis)), _LARGEST)
        profile = bends.mean(1 - axis, dtype=np.float64)
        if own:
            place = np.arange(len(profile)) % BLOCK
            profile -= (np.bincount(place, profile) / np.bincount(place))[place]
        margin = _SMOOTH // 2
        sums = np.cumsum(np.pad(np.pad(profile, margin, mode="edge"), (1, 0)))
        profile -= (sums[_SMOOTH:] - sums[:-_SMOOTH]) / _SMOOTH
        return cls(profile * np.hanning(len(profile)), own)

    def turned(self) -> "Lines":
        """Of the picture turned round."""
        return Lines(self.profile[::-1], self.own)

    @cached_property
    def _power(self) -> Values:
        """The spectrum; 1 is about the mean of what is around."""
        power = np.abs(np.fft.rfft(self.profile, _PADDING * len(self.profile))) ** 2
        steps = power[: len(power) // _PADDING * _PADDING].reshape(-1, _PADDING).mean(1)
        around = median_filter(steps, _AROUND, mode="nearest")
        centres = _PADDING * (np.arange(len(steps)) + 0.5)
        noise = np.interp(np.arange(len(power)), centres, around)
        scaled: Values = power / np.maximum(noise, 1e-12)
        return scaled

    def strength(self) -> Values:
        """For each of `FACTORS`, how much speaks for blocks that were resized by it."""
        total = np.zeros_like(FACTORS)
        for harmonic in _HARMONICS:
            cycles = harmonic / (BLOCK * FACTORS)
            cycles = np.abs(cycles - np.rint(cycles))  # as sampling folds it
            places = np.linspace(0, 0.5, len(self._power))
            power = np.interp(cycles, places, self._power)
            hidden = cycles < _SLOW
            if self.own:
                off = np.abs(BLOCK * cycles - np.rint(BLOCK * cycles))
                hidden |= off < _OWN * BLOCK / len(self.profile)
            total += np.log1p(np.where(hidden, 1.0, power) / 4)
        return total

    def start(self, factor: float) -> float:
        """About where blocks resized by a factor begin, in samples from 0 to eight times it."""
        period = BLOCK * factor
        places = np.arange(len(self.profile)) + 1.5  # second differences are centred there
        tried = np.arange(0, period, 0.1 * factor)
        waves = np.zeros(len(tried))
        for harmonic in _HARMONICS:
            turn = 2j * np.pi * harmonic / period
            waves += (np.exp(turn * tried) * (np.exp(-turn * places) @ self.profile)).real
        return float(tried[np.argmax(waves)])


def candidates(
    axes: tuple[Lines, Lines], count: int, *, least: float = _FAINT, usual: Sequence[Pair] = ()
) -> list[Pair]:
    """Factors by which a picture may have been resized, down and across, the likeliest first.

    They differ a little, as both sides are rounded to whole pixels.

    Args:
      axes: down and across.
      count: of those that lines suggest, at most.
      least: strength that these need.
      usual: others that are looked into if lines speak for them at all.
    """
    each = [axis.strength() for axis in axes]
    total = np.where(np.abs(np.log(FACTORS)) < _SAME, -np.inf, each[0] + each[1])
    left = total.copy()
    found: list[Pair] = []
    while len(found) < count and left.max() > least:
        near = _near(float(FACTORS[np.argmax(left)]))
        down, across = (float(FACTORS[np.argmax(np.where(near, own, -np.inf))]) for own in each)
        found.append((down, across))
        left[near] = -np.inf
    for pair in usual:
        is_new = all(np.abs(np.log(pair[1] / other[1])) > _EXACT for other in found)
        if is_new and max(total[_near(pair[1])], default=-np.inf) > _FAINTER:
            found.append(pair)
    return found


def _near(factor: float) -> NDArray[np.bool_]:
    """Which of `FACTORS` are not told apart from one."""
    return np.abs(np.log(FACTORS / factor)) < _APART
