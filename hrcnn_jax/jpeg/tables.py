"""Quantisation tables, and the DCT's basis, as NumPy arrays: nothing here needs a compiler.

Source: ITU-T T.81 (JPEG), clause A.3.3 and Annex K; libjpeg for the quality scale; mozjpeg.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 8
"""Block side in samples (T.81 A.1.3)."""

LEVEL_SHIFT = 128.0
"""Subtracted from 8-bit samples before the DCT (T.81 A.3.1)."""

MAX_SAMPLE = 255.0
"""The largest 8-bit sample: pixel 1.0."""

LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.int32,
)
"""Quantisation table K.1 (T.81 Annex K), `(8, 8)` int32, natural order."""

CHROMINANCE = np.array(
    [
        [17, 18, 24, 47, 99, 99, 99, 99],
        [18, 21, 26, 66, 99, 99, 99, 99],
        [24, 26, 56, 99, 99, 99, 99, 99],
        [47, 66, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
    ],
    np.int32,
)
"""Quantisation table K.2 (T.81 Annex K), `(8, 8)` int32, natural order."""

ROBIDOUX = np.array(
    [
        [16, 16, 16, 18, 25, 37, 56, 85],
        [16, 17, 20, 27, 34, 40, 53, 75],
        [16, 20, 24, 31, 43, 62, 91, 135],
        [18, 27, 31, 40, 53, 74, 106, 156],
        [25, 34, 43, 53, 69, 94, 131, 189],
        [37, 40, 62, 74, 94, 124, 169, 238],
        [56, 53, 91, 106, 131, 169, 226, 311],
        [85, 75, 135, 156, 189, 238, 311, 418],
    ],
    np.int32,
)
"""Nicolas Robidoux's table, for every component: mozjpeg's default (its `jcparam.c`)."""

_FREQUENCY, _SAMPLE = np.mgrid[:BLOCK, :BLOCK]
DCT_BASIS: NDArray[np.float64] = np.cos(
    (2 * _SAMPLE + 1) * _FREQUENCY * np.pi / (2 * BLOCK)
) * np.sqrt(np.where(_FREQUENCY == 0, 1, 2) / BLOCK)
"""Orthonormal DCT-II basis, `(8, 8)` float64: row = frequency, column = sample (T.81 A.3.3)."""


BASELINE_STEP = 255
"""The largest step of baseline JPEG, all that tables of 8 bits can hold (T.81 B.2.4.1)."""

LIBJPEG_STEP = 32_767
"""The largest step that libjpeg scales to unless it is told to keep to baseline."""


def quality_table(
    quality: Any, base: Any = LUMINANCE, largest: Any = BASELINE_STEP, *, xp: Any = np
) -> Any:
    """Scales a base table to libjpeg's quality 1-100 (`jpeg_quality_scaling`).

    Args:
      quality: integer or integer array of any shape; clipped to 1-100 as libjpeg does.
      base: the table at quality 50, `(8, 8)`; Annex K luminance by default.
      largest: what steps are clipped to; `LIBJPEG_STEP` where files need not be baseline.
      xp: the array library, `numpy` or `jax.numpy`; the latter takes traced values.

    Returns:
      Quantisation steps from 1 to `largest`, int32, shape `quality.shape + (8, 8)`.
    """
    quality = xp.clip(xp.asarray(quality, xp.int32), 1, 100)[..., None, None]
    percent = xp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    base = xp.asarray(base, xp.int32).reshape((1,) * (quality.ndim - 2) + (BLOCK, BLOCK))
    return xp.clip((base * percent + 50) // 100, 1, largest)
