"""Colour as JFIF files hold it, of samples in levels of 255: NumPy, nothing here needs a compiler.

For pixels in [0, 1] under `jit` there is `hrcnn_jax.jpeg.color`.

Source: ITU-T T.871 (JFIF), clause 7.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.jpeg.tables import LEVEL_SHIFT

RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""Their weights in luma (T.871 clause 7; from BT.601)."""

CB_SPAN, CR_SPAN = 2.0 * (1.0 - BLUE), 2.0 * (1.0 - RED)
"""Chroma is a difference from luma, blue's or red's, divided by these: it spans 255 levels, too."""


def components(picture: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
    """Luma, and chroma if there is any, `(H, W)` float32 of pixels `(H, W)` or `(H, W, 3)`."""
    if picture.ndim == 2:
        return (picture.astype(np.float32),)
    red, green, blue = np.moveaxis(picture.astype(np.float32), -1, 0)
    luma = RED * red + GREEN * green + BLUE * blue
    return luma, (blue - luma) / CB_SPAN + LEVEL_SHIFT, (red - luma) / CR_SPAN + LEVEL_SHIFT


def rgb(
    luma: NDArray[np.float32], cb: NDArray[np.float32], cr: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Pixels `(H, W, 3)` float32 of luma and chroma `(H, W)`, neither rounded nor clipped."""
    red = luma + CR_SPAN * (cr - LEVEL_SHIFT)
    blue = luma + CB_SPAN * (cb - LEVEL_SHIFT)
    return np.stack([red, (luma - RED * red - BLUE * blue) / GREEN, blue], axis=-1)
