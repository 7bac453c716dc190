"""The planes of a picture that networks are trained and measured on: one entry each.

Source: ITU-T T.871 (JFIF), clause 7, for Y, Cb and Cr; ITU-R BT.601 for luma in studio range.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.jpeg import jfif
from hrcnn_jax.jpeg.tables import MAX_SAMPLE


class Channel(NamedTuple):
    """One plane of an RGB picture: `offset + weights . (R, G, B)`, samples from 0 to 255.

    Attributes:
      weights: of red, green and blue.
      offset: added to the weighted sum, in levels.
      is_chroma: whether encoders give it the chrominance table, and often halve its sides.
    """

    weights: tuple[float, float, float]
    offset: float = 0.0
    is_chroma: bool = False

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """This plane `(...)` of a picture `(..., 3)`, to the nearest level that there is."""
        plane = picture @ np.asarray(self.weights, np.float32) + np.float32(self.offset)
        return np.clip(np.round(plane), 0, MAX_SAMPLE).astype(np.uint8)


RED = Channel((1.0, 0.0, 0.0))
GREEN = Channel((0.0, 1.0, 0.0))
BLUE = Channel((0.0, 0.0, 1.0))
LUMA = Channel((jfif.RED, jfif.GREEN, jfif.BLUE))
CB = Channel((-0.168736, -0.331264, 0.5), 128.0, is_chroma=True)
CR = Channel((0.5, -0.418688, -0.081312), 128.0, is_chroma=True)
STUDIO = Channel((65.481 / 255, 128.553 / 255, 24.966 / 255), 16.0)
"""Luma from 16 to 235, MATLAB's `rgb2ycbcr`, as the literature on JPEG artefacts reports it."""


@dataclass(frozen=True)
class Planes:
    """What a training step draws from a colour picture.

    Attributes:
      channels: each drawn equally often, or all at once.
      at_once: whether a patch holds all channels, `(H, W, 3)`, instead of one, `(H, W)`.
      damaged: whether crops went through a random chain (`chains.py`) and are stored beside what
        they would be without loss.
      validated: the channel that validation measures; None for all at once.
    """

    channels: tuple[Channel, ...]
    at_once: bool = False
    damaged: bool = False
    validated: Channel | None = GREEN

    @property
    def stored(self) -> Channel | None:
        """What crops are stored of: the only channel there is, or None for RGB."""
        return self.channels[0] if len(self.channels) == 1 else None

    @property
    def has_chroma(self) -> bool:
        """Whether chroma is among the channels: halved in half of the draws."""
        return any(channel.is_chroma for channel in self.channels)


PLANES = {
    "green": Planes((GREEN,)),
    "luma": Planes((LUMA,), validated=LUMA),
    "rgb": Planes((RED, GREEN, BLUE)),
    # Y three times, for it is what files mostly hold.
    "any": Planes((RED, GREEN, BLUE, LUMA, LUMA, LUMA, CB, CR)),
    "colour": Planes((RED, GREEN, BLUE), at_once=True, validated=None),
    "damaged": Planes((RED, GREEN, BLUE), at_once=True, damaged=True, validated=None),
}
"""What can be trained on, by the name that `--planes` knows it by."""

MEASURED = {"green": GREEN, "luma": LUMA, "studio": STUDIO, "cb": CB, "cr": CR}
"""What can be measured on, by the name that `evaluate.py --planes` knows it by."""
