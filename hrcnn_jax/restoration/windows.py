"""Windows of a picture, by which a network of pictures estimates how bad all of it is.

As many for every picture, of one shape and colour, so that one program sees them all: RGB of 8 bits
a colour, of JPEG files to the integer as libjpeg decodes them, since that is what such networks are
trained on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import Component
from hrcnn_jax.history import chain
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.restoration import tiles

UNIT = 4
"""Blocks of a picture that windows are multiples of: whole blocks of components that are up to 4
times coarser."""

SIDE = 16
"""Of a window, in blocks."""

_COUNT = 4
"""Windows down, and across."""

Corners = Sequence[tuple[int, int]]


def of(given: Stored) -> NDArray[np.uint8]:
    """Windows `(N, S, S, 3)` spread evenly over a picture, which is continued by its mirror image.

    Args:
      given: a picture without inks; components of files are up to 4 times coarser than others, but
        not 3 times.
    """
    down, across = (_spread(-(-length // BLOCK)) for length in (given.height, given.width))
    corners = [(top, left) for top in down for left in across]
    if isinstance(given, Picture):
        return np.stack([_cut(given.samples, corner) for corner in corners])
    planes = [_decoded(part, corners) for part in given.components]
    if given.colour == "gray":
        planes *= 3
    windows = np.stack(planes, axis=-1)
    return chain.to_rgb(windows) if given.colour == "ycbcr" else windows


def _spread(count: int) -> list[int]:
    """Where windows begin that are spread over so many blocks."""
    last = max(count - SIDE, 0)
    starts = sorted({int(place) // UNIT * UNIT for place in np.linspace(0, last, _COUNT)})
    return [starts[index * len(starts) // _COUNT] for index in range(_COUNT)]


def _cut(samples: NDArray[np.uint8], corner: tuple[int, int]) -> NDArray[np.uint8]:
    """A window `(S, S, 3)` of gray or RGB samples."""
    window = tiles.square(samples, corner, SIDE)
    return window if window.ndim == 3 else np.stack([window] * 3, axis=-1)


def _decoded(part: Component, corners: Corners) -> NDArray[np.uint8]:
    """Windows `(N, S, S)` of a component at the picture's size."""
    down, across = part.factor
    margin = 0 if part.factor == (1, 1) else UNIT  # which enlarging looks at
    wide = SIDE + 2 * margin
    codes = [
        tiles.window(
            part.codes,
            ((top - margin) // down, (left - margin) // across),
            (wide // down, wide // across),
        )
        for top, left in corners
    ]
    # One below the other: what enlarging mixes where they meet is cut off.
    samples = chain.enlarge(chain.decode(np.concatenate(codes), part.table), part.factor)
    inside = slice(BLOCK * margin, BLOCK * (margin + SIDE))
    return samples.reshape(len(corners), BLOCK * wide, -1)[:, inside, inside]
