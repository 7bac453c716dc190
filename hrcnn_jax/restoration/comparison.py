"""Before and after in one picture."""

import numpy as np
from numpy.typing import NDArray

GAP = 8
"""Pixels between two pictures side by side."""


def side_by_side(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pictures next to each other, a white gap between them.

    Args:
      before: `(H, W)` gray or `(H, W, 3)` RGB.
      after: as high and wide; gray is made RGB if the other is.

    Returns:
      `(H, 2*W + GAP)` or `(H, 2*W + GAP, 3)` uint8.

    Raises:
      ValueError: if the sizes differ.
    """
    if before.shape[:2] != after.shape[:2]:
        raise ValueError(f"pictures of different sizes: {before.shape[:2]}, {after.shape[:2]}")
    if before.ndim != after.ndim:
        before, after = (
            np.dstack([picture] * 3) if picture.ndim == 2 else picture
            for picture in (before, after)
        )
    gap = np.full((before.shape[0], GAP, *before.shape[2:]), 255, np.uint8)
    return np.concatenate([before, gap, after], axis=1)
