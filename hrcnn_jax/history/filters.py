"""Resampling filters as sparse matrices along an axis: of tools that resize, decoders and encoders.

A sample of the result is a weighted mean of the samples around its place in the source. Where a
picture shrinks the filter grows as wide as a step, in tools that do it well.

Source: Pillow, `Resample.c`; libjpeg, `jdsample.c` and `jcsample.c`; Mitchell and Netravali,
"Reconstruction filters in computer graphics", 1988, for the cubics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from hrcnn_jax.history.record import Span

Matrix: TypeAlias = scipy.sparse.csr_array
Values = NDArray[np.float64]

_BLURRED = 3.0
"""Standard deviations beyond which nothing is left of a Gaussian."""


@dataclass(frozen=True)
class Filter:
    """A filter by its shape.

    Attributes:
      support: distance in steps from which on it is zero.
      weight: at distances in steps, not normalised, given how many samples a step has.
      widens: whether it grows where a picture shrinks, steps being those of the result.
    """

    support: float
    weight: Callable[[Values, float], Values]
    widens: bool = True


def _shaped(support: float, shape: Callable[[Values], Values], *, widens: bool = True) -> Filter:
    """A filter whose shape is the same however wide it is."""
    return Filter(support, lambda distance, _: shape(distance), widens)


def _cubic(b: float, c: float) -> Callable[[Values], Values]:
    """Mitchell's and Netravali's cubics."""
    near = np.array([12 - 9 * b - 6 * c, -18 + 12 * b + 6 * c, 0, 6 - 2 * b]) / 6
    far = np.array([-b - 6 * c, 6 * b + 30 * c, -12 * b - 48 * c, 8 * b + 24 * c]) / 6

    def weight(distance: Values) -> Values:
        x = np.abs(distance)
        curves = np.where(x < 1, np.polyval(near, x), np.polyval(far, x))
        return np.where(x < 2, curves, 0.0)

    return weight


def _box(distance: Values) -> Values:
    return ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)


def _triangle(distance: Values) -> Values:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _hamming(distance: Values) -> Values:
    window = 0.54 + 0.46 * np.cos(np.pi * distance)
    return np.where(np.abs(distance) < 1, np.sinc(distance) * window, 0.0)


def _lanczos(lobes: int) -> Callable[[Values], Values]:
    def weight(distance: Values) -> Values:
        window = np.sinc(distance / lobes)
        return np.where(np.abs(distance) < lobes, np.sinc(distance) * window, 0.0)

    return weight


def _area(distance: Values, samples: float) -> Values:
    """How much of a sample lies in a step, in samples."""
    return np.clip((0.5 - np.abs(distance)) * samples + 0.5, 0.0, 1.0)


FILTERS = {
    "bicubic": _shaped(2.0, _cubic(0.0, 0.5)),
    "lanczos": _shaped(3.0, _lanczos(3)),
    "bilinear": _shaped(1.0, _triangle),
    "hamming": _shaped(1.0, _hamming),
    "box": _shaped(0.5, _box),
    "mitchell": _shaped(2.0, _cubic(1 / 3, 1 / 3)),
    "area": Filter(1.0, _area),
    "narrow-linear": _shaped(1.0, _triangle, widens=False),
    "narrow-cubic": _shaped(2.0, _cubic(0.0, 0.75), widens=False),
    "narrow-lanczos": _shaped(4.0, _lanczos(4), widens=False),
}
"""Pillow's; ImageMagick's for enlarging; and OpenCV's, most of which do not widen."""


def matrix(by: str, count: int, size: int, scale: float, start: float = 0.0) -> Matrix:
    """What makes so many samples of a source's.

    Args:
      by: a key of `FILTERS`.
      count: samples of the result.
      size: samples of the source.
      scale: of the source, to a sample of the result.
      start: where in the source, in samples, the result begins.

    Returns:
      `(count, size)`, whose rows add up to 1.
    """
    shape = FILTERS[by]
    width = max(scale, 1.0) if shape.widens else 1.0
    centres = start + (np.arange(count) + 0.5) * scale
    reach = int(np.ceil(shape.support * width)) + 1
    places = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)
    # In Pillow's order: where a box ends between two samples, rounding decides.
    weights = shape.weight((places - centres[:, None] + 0.5) * (1.0 / width), width)
    weights[(places < 0) | (places >= size)] = 0.0
    total = weights.sum(1, keepdims=True)
    weights /= np.where(total == 0, 1.0, total)
    rows, columns = np.nonzero(weights)
    entries = weights[rows, columns], (rows, places[rows, columns])
    return scipy.sparse.csr_array(entries, shape=(count, size))


def of_span(by: str, count: int, span: Span) -> Matrix:
    """What makes so many samples of a span of a source's, which ends where the span does.

    Returns:
      `(count, size)`, size being the span's end rounded up.
    """
    start, stop = span
    return matrix(by, count, ceil(stop), (stop - start) / count, start)


def enlarging(count: int, factor: int) -> Matrix:
    """As a decoder enlarges so many samples, once or twice: a triangle filter."""
    return matrix("bilinear", factor * count, count, 1 / factor)


def shrinking(count: int, factor: int) -> Matrix:
    """As an encoder shrinks so many samples: means of one or two, the last perhaps of one."""
    return matrix("box", -(-count // factor), count, factor)


def blurring(count: int, radius: float) -> Matrix:
    """A Gaussian filter's means of so many samples, of which the first and the last are repeated.

    Args:
      count: of samples.
      radius: the standard deviation, in samples.
    """
    reach = ceil(_BLURRED * radius)
    distances = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (distances / radius) ** 2)
    rows = np.repeat(np.arange(count), len(distances))
    columns = np.clip(rows + np.tile(distances, count), 0, count - 1)
    entries = np.tile(weights / weights.sum(), count), (rows, columns)
    return scipy.sparse.csr_array(entries, shape=(count, count))
