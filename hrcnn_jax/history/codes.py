"""Codes of an earlier compression, recovered from what came of its picture.

Cut into the earlier blocks and transformed, the picture's coefficients lie near multiples of the
earlier steps: rounding gives the codes. Three things are in the way. Samples that the decoder
clipped, and those that were cropped away, are not known: they are taken from the codes as far as
those are told, in turn with the codes (Papoulis' and Gerchberg's way). And where the last table
was not much finer, or had its blocks elsewhere, rounding goes wrong here and there: then the chain
is played again, and the picture corrected by part of what its codes are still off, which mostly
gets nearer to the truth. The round that gives back most of the file's codes is kept.

Source: Papoulis, "A new algorithm in spectral analysis and band-limited extrapolation", 1975;
Landweber, "An iteration formula for Fredholm integral equations of the first kind", 1951.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import blocks
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE

Codes = NDArray[np.int16]
Mask = NDArray[np.bool_]

_TURNS = 6
"""How often unknown samples and codes are told from one another."""

_AT_ONCE = 1024
"""Blocks, about, that are worked on together: they stay in the cache."""

_CLIPPED = 3.0
"""How far from black or white a sample can be that had been clipped to it."""

_DOUBT = 0.3
"""Distance from a whole code, in steps, beyond which it is unsure."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a component's earlier blocks lie around a plane.

    Attributes:
      size: of the plane, `(height, width)`.
      offset: samples of the first blocks that lie above and left of the plane, 0-15.
      blocks: that touch the plane, `(down, across)`.
    """

    size: tuple[int, int]
    offset: tuple[int, int]
    blocks: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], offset: tuple[int, int]) -> "Layout":
        """As many blocks as touch the plane, and those above and left of it."""
        down, across = (
            -(-(side + before) // BLOCK) for side, before in zip(size, offset, strict=True)
        )
        return cls(size, offset, (down, across))

    @property
    def inside(self) -> tuple[slice, slice]:
        """The plane among the samples of its blocks."""
        (top, left), (height, width) = self.offset, self.size
        return slice(top, top + height), slice(left, left + width)

    @property
    def outside(self) -> list[tuple[int, int]]:
        """Samples of its blocks above and below the plane, and to its left and right."""
        return [
            (before, BLOCK * count - before - side)
            for before, count, side in zip(self.offset, self.blocks, self.size, strict=True)
        ]

    def filled(self, plane: NDArray[Any]) -> NDArray[Any]:
        """The plane on whole blocks, its edges repeated."""
        return np.pad(plane, self.outside, mode="edge")

    def is_inside(self) -> Mask:
        """Which samples of its blocks are the plane's, `(8*hb, 8*wb)`."""
        inside = np.zeros([BLOCK * count for count in self.blocks], bool)
        inside[self.inside] = True
        return inside

    def cut(self) -> Mask:
        """Which blocks reach beyond the plane, `(hb, wb)`."""
        return np.asarray(~blocks.to_blocks(self.is_inside()).all((2, 3)))


@dataclass(frozen=True, eq=False)
class Recovered:
    """Codes of one component.

    Attributes:
      codes: `(hb, wb, 8, 8)` int16.
      distance: of the picture's coefficients from them, in steps, `(hb, wb, 8, 8)` float32.
    """

    codes: Codes
    distance: Floats

    def unsure(self) -> Mask:
        """Which codes may well be others, `(hb, wb, 8, 8)`."""
        return np.abs(self.distance) > _DOUBT


def recover(plane: Floats, table: NDArray[np.int32], layout: Layout) -> Recovered:
    """Codes by rounding; samples that were clipped or cut off are told in turn with them.

    Args:
      plane: samples `(H, W)`, best not rounded or clipped if a file's.
      table: the earlier steps `(8, 8)`.
      layout: where the earlier blocks lie.
    """
    steps = table.astype(np.float32)
    samples = blocks.to_blocks(layout.filled(plane.astype(np.float32, copy=False)))
    is_inside = blocks.to_blocks(layout.is_inside())
    codes, distance = np.empty(samples.shape, np.int16), np.empty(samples.shape, np.float32)
    rows = -(-_AT_ONCE // layout.blocks[1])
    for top in range(0, len(samples), rows):
        part = slice(top, top + rows)
        scaled = _scaled(samples[part], steps, is_inside[part])
        whole = np.rint(scaled)
        codes[part], distance[part] = whole, scaled - whole
    return Recovered(codes, distance)


def _scaled(samples: Floats, steps: Floats, is_inside: Mask) -> Floats:
    """Coefficients in steps, `(hb, wb, 8, 8)`, of blocks of samples that may not all be known."""
    scaled: Floats = blocks.dct(samples) / steps
    extreme = (samples > MAX_SAMPLE - 1) | (samples < 1)
    which = (extreme | ~is_inside).any((2, 3))
    if not which.any():
        return scaled
    told, known = samples[which], is_inside[which]
    ours = scaled[which]
    for _ in range(_TURNS):
        guess = blocks.idct(np.rint(ours) * steps)
        white = (guess > MAX_SAMPLE) & (told > MAX_SAMPLE - _CLIPPED)
        black = (guess < 0) & (told < _CLIPPED)
        ours = blocks.dct(np.where(white | black | ~known, guess, told)) / steps
    scaled[which] = ours
    return scaled
