"""What is there to see of a picture: a file's components or pixels, and how a chain compares.

Everything is kept as planes of floats: of a file its components as decoded, neither clipped nor
rounded; of pixels themselves luma and chroma. A *played* picture, what a chain of compressions
made, is compared with them after it took the last step, too: the file's own encoding, or none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import blocks, chain
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.chain import Factor, Samples
from hrcnn_jax.jpeg import jfif
from hrcnn_jax.jpeg.tables import BLOCK

Margins = tuple[tuple[int, int], tuple[int, int]]
"""Rows above and below, and columns left and right."""

NO_MARGINS: Margins = ((0, 0), (0, 0))

_FLAT = 2
"""Blocks whose samples differ by no more tell nothing: any table can make them."""


_ROUNDING = 0.6


@dataclass
class Shares:
    """How much comes back when a chain is played again.

    Attributes:
      equal: codes, or samples of pixels, that are the same.
      total: that tell something: codes that are not zero in both, samples of blocks not flat.
    """

    equal: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1; 0 if there is nothing that tells."""
        return self.equal / self.total if self.total else 0.0

    def add(self, other: "Shares") -> None:
        """Counts another part of the picture."""
        self.equal += other.equal
        self.total += other.total


@dataclass(frozen=True, eq=False)
class Observed:
    """A picture, or a part of one, as it is there to see.

    Attributes:
      size: of the picture, `(height, width)`.
      planes: of each component, samples near 0-255.
      factors: how many times coarser each is than the picture, `(down, across)`.
      codes: of the file, by component; None of pixels.
      tables: of the file; None of pixels.
      tolerance: by how much samples of pixels may differ and still count as equal: colours lose
        up to half a level when RGB is rounded.
    """

    size: tuple[int, int]
    planes: tuple[Floats, ...]
    factors: tuple[Factor, ...]
    codes: tuple[NDArray[np.int16], ...] | None = None
    tables: tuple[NDArray[np.int32], ...] | None = None
    tolerance: float = 0.0

    @classmethod
    def of_codes(
        cls,
        size: tuple[int, int],
        codes: Sequence[NDArray[np.int16]],
        tables: Sequence[NDArray[np.int32]],
        factors: Sequence[Factor],
    ) -> "Observed":
        """Of a file's components, or a part of them."""
        planes = []
        for each, table, factor in zip(codes, tables, factors, strict=True):
            height, width = _shrunk(size, factor)
            planes.append(blocks.decoded(each, table)[:height, :width])
        return cls(size, tuple(planes), tuple(factors), tuple(codes), tuple(tables))

    @classmethod
    def of_pixels(cls, picture: Samples) -> "Observed":
        """Of pixels `(H, W)` or `(H, W, 3)`."""
        size = picture.shape[0], picture.shape[1]
        planes = jfif.components(picture)
        tolerance = 0.0 if picture.ndim == 2 else _ROUNDING
        return cls(size, planes, ((1, 1),) * len(planes), tolerance=tolerance)

    def luma(self) -> "Observed":
        """The first component alone, as if it were a gray picture."""
        return self.component(0)

    def component(self, index: int) -> "Observed":
        """A component alone, as if it were a gray picture."""
        which = slice(index, index + 1)
        plane = self.planes[index]
        alone = replace(self, size=plane.shape, planes=(plane,), factors=((1, 1),))
        if self.codes is None or self.tables is None:
            return alone
        return replace(alone, codes=self.codes[which], tables=self.tables[which])

    @property
    def is_flat(self) -> bool:
        """Whether its luma has one level only: many tables make it, and none can be told."""
        return float(np.ptp(self.planes[0])) < 1

    def telling(self) -> int:
        """How many of luma's codes are not zero, or samples are in blocks that are not flat."""
        if self.codes is not None:
            return int(np.count_nonzero(self.codes[0]))
        height, width = (side // BLOCK * BLOCK for side in self.size)
        cut = blocks.to_blocks(self.planes[0][:height, :width])
        return BLOCK * BLOCK * int((np.ptp(cut, (2, 3)) > _FLAT).sum())

    def compare(self, played: Samples, margins: Margins) -> tuple[list[Shares], list[Floats]]:
        """How far a played picture is what is there.

        Args:
          played: `(H, W)` or `(H, W, 3)`, before the last compression.
          margins: pixels at the edges that do not count.

        Returns:
          For each component what came back, and the planes that are observed less those played.
        """
        if self.codes is None or self.tables is None:
            return self._compare_pixels(played, margins)
        components = (
            [played] if played.ndim == 2 else list(np.moveaxis(chain.to_ycc(played), -1, 0))
        )
        shares, rest = [], []
        for component, codes, table, factor, plane in zip(
            components, self.codes, self.tables, self.factors, self.planes, strict=True
        ):
            down, across = codes.shape[:2]
            ours = chain.encode(chain.shrink(component, factor, (down, across)), table)
            inner = _inner((down, across), (BLOCK * factor[0], BLOCK * factor[1]), margins)
            a, b = ours[inner], codes[inner]
            tells = (a != 0) | (b != 0)
            shares.append(Shares(int(((a == b) & tells).sum()), int(tells.sum())))
            missed = blocks.decoded(codes - ours, table) - np.float32(128)
            rest.append(missed[: plane.shape[0], : plane.shape[1]])
        return shares, rest

    def _compare_pixels(
        self, played: Samples, margins: Margins
    ) -> tuple[list[Shares], list[Floats]]:
        ours = jfif.components(played)
        height, width = (side // BLOCK * BLOCK for side in self.size)
        shares, rest = [], []
        for mine, plane in zip(ours, self.planes, strict=True):
            cut = blocks.to_blocks(plane[:height, :width])
            tells = np.broadcast_to(np.ptp(cut, (2, 3))[..., None, None] > _FLAT, cut.shape)
            equal = blocks.to_blocks(np.abs(mine - plane)[:height, :width] <= self.tolerance)
            inner = _inner(cut.shape[:2], (BLOCK, BLOCK), margins)
            shares.append(Shares(int((equal & tells)[inner].sum()), int(tells[inner].sum())))
            rest.append(plane - mine)
        return shares, rest


def extent(source: JpegFile | Samples) -> tuple[tuple[int, int], int]:
    """A picture's height and width, and how many components are looked at.

    Raises:
      ValueError: unless pixels are `(H, W)` or `(H, W, 3)`, uint8.
    """
    if isinstance(source, JpegFile):
        return (source.height, source.width), _looked_at(source)
    fits = source.ndim == 2 or (source.ndim == 3 and source.shape[2] == 3)
    if source.dtype != np.uint8 or not fits:
        raise ValueError(f"expected (H, W) or (H, W, 3) uint8, got {source.shape} {source.dtype}")
    return (source.shape[0], source.shape[1]), 1 if source.ndim == 2 else 3


def part_of(source: JpegFile | Samples, rows: slice, columns: slice) -> Observed:
    """A part of a picture; of a file it begins and ends at whole MCUs, or at the edge."""
    if isinstance(source, JpegFile):
        return _of_file(source, rows, columns)
    return Observed.of_pixels(source[rows, columns])


def _looked_at(file: JpegFile) -> int:
    return 3 if file.colour in ("ycbcr", "ycck") else 1


def _of_file(file: JpegFile, rows: slice, columns: slice) -> Observed:
    count = _looked_at(file)
    size = rows.stop - rows.start, columns.stop - columns.start
    codes = []
    for part in file.components[:count]:
        down, across = (BLOCK * each for each in part.factor)
        codes.append(
            part.codes[
                rows.start // down : -(-rows.stop // down),
                columns.start // across : -(-columns.stop // across),
            ]
        )
    parts = file.components[:count]
    return Observed.of_codes(
        size, codes, [part.table for part in parts], [part.factor for part in parts]
    )


def _inner(count: tuple[int, ...], block: tuple[int, int], margins: Margins) -> tuple[slice, slice]:
    """Blocks, of so many pixels each, that no margin reaches into."""
    rows, columns = (
        slice(-(-before // side), all_of_them - -(-after // side))
        for all_of_them, side, (before, after) in zip(count, block, margins, strict=True)
    )
    return rows, columns


def _shrunk(size: tuple[int, int], factor: Factor) -> tuple[int, int]:
    return -(-size[0] // factor[0]), -(-size[1] // factor[1])
