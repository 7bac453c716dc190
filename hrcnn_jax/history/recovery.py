"""An earlier compression's codes recovered from a whole picture, band by band.

A band is some rows of MCUs with their surroundings: as many as what came after the earlier
compression can carry over, when chroma was enlarged or the chain corrected. So a picture of any
height takes the memory of a band, and each band stops once all of it has come back.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hrcnn_jax import threads
from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import observed, replay, resized
from hrcnn_jax.history.chain import Factor, Samples
from hrcnn_jax.history.codes import Codes, Mask, Recovered
from hrcnn_jax.history.earlier import Earlier, component
from hrcnn_jax.history.observed import Shares
from hrcnn_jax.history.record import History
from hrcnn_jax.jpeg.tables import BLOCK

_ROUNDS = 6
"""Corrections of the picture by what the chain leaves over, at most."""

_AREA = 1 << 20
"""Pixels of a band, about."""

_LEAST = 128
"""Rows of a band of the widest pictures."""

_ALIGNED = 2 * BLOCK
"""Bands begin at multiples of this: at whole MCUs, of the file and of what came before."""

_CONTEXT = 4 * _ALIGNED
"""Rows above and below a band that are looked at, too. Where chroma was enlarged and shrunk again
by rows that lie between each other, an earlier sample depends on 48 rows to either side."""


def recover(source: JpegFile | Samples, history: History) -> Earlier:
    """The codes of an earlier compression.

    Args:
      source: the file, or the pixels, in which the history was found.
      history: as found, or said by hand (its proof and evidence do not matter).

    Raises:
      ValueError: if pixels are of another shape or type, or of other components.
    """
    if history.resizing is not None:
        return resized.recover(source, history)
    size, count = observed.extent(source)
    if count != len(history.tables):
        raise ValueError(f"a history of {len(history.tables)} components does not fit {count}")
    kept = [
        None if steps is None else _Kept.of(size, history, factor)
        for steps, factor in zip(history.tables, history.factors, strict=True)
    ]
    proof = [Shares() for _ in kept]
    alone = count == 1 and not replay.reaches_over(history)

    def recovered(band: _Band) -> tuple[_Band, list[Recovered | None], list[Shares]]:
        view = observed.part_of(source, band.seen, slice(0, size[1]))
        return band, *replay.recovered(view, history, _ROUNDS, (band.above, band.below))

    bands = _bands(size, 0 if alone else _CONTEXT)
    for band, found, shares in threads.in_order(recovered, bands):
        for total, share in zip(proof, shares, strict=True):
            total.add(share)
        for whole, part in zip(kept, found, strict=True):
            if whole is not None and part is not None:
                whole.put(part, band)
    before = size[0] + history.offset[0], size[1] + history.offset[1]
    return Earlier(
        height=before[0],
        width=before[1],
        components=tuple(
            None if each is None else component(each.codes, before, history, index)
            for index, each in enumerate(kept)
        ),
        unsure=tuple(None if each is None else each.unsure for each in kept),
        offset=history.offset,
        history=replace(history, proof=tuple(each.share for each in proof)),
    )


class _Band(NamedTuple):
    """Some rows of a picture, and how many are seen above and below them."""

    start: int
    stop: int
    above: int
    below: int

    @property
    def seen(self) -> slice:
        return slice(self.start - self.above, self.stop + self.below)


def _bands(size: tuple[int, int], context: int) -> Iterator[_Band]:
    height, width = size
    count = max(1, min(height * width // _AREA, height // _LEAST))
    rows = -(-height // (count * _ALIGNED)) * _ALIGNED
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        yield _Band(start, stop, min(context, start), min(context, height - stop))


class _Kept(NamedTuple):
    """A component's codes `(hb, wb, 8, 8)` as far as bands have come, and those that are unsure."""

    codes: Codes
    unsure: Mask
    factor: Factor

    @classmethod
    def of(cls, size: tuple[int, int], history: History, factor: Factor) -> "_Kept":
        """None yet; what the crop cut is unsure in any case."""
        layout = replay.layout_of(size, history, factor)
        shape = *layout.blocks, BLOCK, BLOCK
        cut = np.broadcast_to(layout.cut()[..., None, None], shape)
        return cls(np.zeros(shape, np.int16), cut.copy(), factor)

    def put(self, part: Recovered, band: _Band) -> None:
        """Takes over a band's own rows of blocks: down to the end if nothing is below."""
        side = BLOCK * self.factor[0]
        skipped = band.above // side
        own = slice(skipped, skipped + (band.stop - band.start) // side if band.below else None)
        codes, unsure = part.codes[own], part.unsure()[own]
        rows = slice(band.start // side, band.start // side + len(codes))
        self.codes[rows] = codes
        self.unsure[rows] |= unsure
