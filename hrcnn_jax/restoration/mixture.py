"""Two compressions that did about as much damage: what is known of both.

Restored from either, a picture keeps the noise that the other compression left, about as large as
that one's steps. The mean weighed by their inverse squares has least of it. To be faithful it is
then moved to the nearest plane that gives the file's own codes, which costs next to nothing as long
as the earlier steps are hardly coarser.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import blocks
from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE

_MARGIN = 1e-3
"""How far inside the half step to stay, in steps."""


_RESIZED, _MOST = 0.7, 3.0
"""Of pictures that were resized since, how much of the coarseness counts, for each of the earlier
picture's samples that is left, and the most that ever does. Measured on chains of quality 10 to 40,
factors 0.6 to 1.3 and last qualities 55 to 92: a tenth of the file's own never costs anything."""


def share(coarseness: float) -> float:
    """The weight of what is restored from an earlier compression, so many times as coarse."""
    return coarseness**2 / (1 + coarseness**2)


def share_of_resized(coarseness: float, samples: float) -> float:
    """The same of a picture that was resized since: by this the last noise weighs more or less.

    Args:
      coarseness: of the earlier steps, in the last ones.
      samples: that the picture has, for each that it had.
    """
    return share(min(_RESIZED * coarseness * samples, _MOST))


def mixed(
    own: Iterator[NDArray[np.float32]],
    earlier: Iterator[NDArray[np.float32]],
    weight: float,
    codes: NDArray[np.int16],
    table: NDArray[np.int32],
    *,
    faithful: bool = True,
) -> Iterator[NDArray[np.float32]]:
    """Strips of the mean of two planes.

    Args:
      own: strips `(8*n, 8*wb)` of pixels near [0, 1], restored from the file's codes.
      earlier: the same, restored from an earlier compression's.
      weight: of the second, 0-1.
      codes: the file's, `(hb, wb, 8, 8)`.
      table: their steps, `(8, 8)`.
      faithful: whether the mean is moved to the nearest plane that gives the codes.
    """
    steps, top = table.astype(np.float32), 0
    for one, other in zip(own, earlier, strict=True):
        mean = one + np.float32(weight) * (other - one)
        if not faithful:
            yield mean
            continue
        scaled = blocks.dct(blocks.to_blocks(mean * np.float32(MAX_SAMPLE))) / steps
        nearest = codes[top : top + len(mean) // BLOCK].astype(np.float32)
        top += len(nearest)
        reach = np.float32(0.5 - _MARGIN)
        moved = np.clip(scaled, nearest - reach, nearest + reach) * steps
        pixels = blocks.from_blocks(blocks.idct(moved)) / MAX_SAMPLE
        yield pixels.astype(np.float32)
