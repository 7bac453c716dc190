"""An earlier compression's codes recovered, and its chain played again with them.

The picture is cut into the earlier blocks; what came after is undone as far as it can be (chroma
was enlarged, samples were rounded and clipped); coefficients near multiples of the earlier steps
give the codes. Then the chain goes forward, to the integer: decoded, cropped, compressed as the
file was. What comes back is the proof, and where it misses, the picture is corrected by part of
what is missing and recovered anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import Component, JpegFile
from hrcnn_jax.history import chain, codes, observed, resampling
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.codes import Layout, Recovered
from hrcnn_jax.history.observed import Factor, Observed, Samples, Shares
from hrcnn_jax.history.record import History
from hrcnn_jax.jpeg.tables import BLOCK

_ROUNDS = 6
"""Corrections of the picture by what the chain leaves over, at most."""


_ENOUGH = 0.99
"""Share that has come back, beyond which nothing is corrected any more."""

_RELAXATION = 0.15
"""How much of it is put back at once: more overshoots."""


@dataclass(frozen=True, eq=False)
class Earlier:
    """The earlier compression as far as it can be had back.

    Attributes:
      height: rows of the earlier picture, down to the last that is left.
      width: its columns likewise.
      components: with the recovered codes and the earlier tables; None for chroma whose history
        is not told.
      unsure: which codes may well be others, `(hb, wb, 8, 8)` a component.
      offset: rows and columns to cut away above and left: the picture is the rest.
      history: what was done, its proof being that of the whole picture.
    """

    height: int
    width: int
    components: tuple[Component | None, ...]
    unsure: tuple[NDArray[np.bool_] | None, ...]
    offset: tuple[int, int]
    history: History


def recover(source: JpegFile | Samples, history: History) -> Earlier:
    """The codes of an earlier compression.

    Args:
      source: the file, or the pixels, in which the history was found.
      history: as found, or said by hand (its proof and evidence do not matter).

    Raises:
      ValueError: if pixels are of another shape or type, or of other components.
    """
    if isinstance(source, JpegFile):
        whole = observed.of_file(source, slice(0, source.height), slice(0, source.width))
    else:
        check(source)
        whole = Observed.of_pixels(source)
    if len(whole.planes) != len(history.tables):
        raise ValueError(
            f"a history of {len(history.tables)} components does not fit {len(whole.planes)}"
        )
    found, shares = _recovered(whole, history, _ROUNDS)
    height, width = (side + cut for side, cut in zip(whole.size, history.offset, strict=True))
    return Earlier(
        height=height,
        width=width,
        components=tuple(
            None if each is None else _component((height, width), history, index, each)
            for index, each in enumerate(found)
        ),
        unsure=tuple(
            None
            if each is None
            else each.unsure() | layout_of(whole.size, history, factor).cut()[..., None, None]
            for each, factor in zip(found, history.factors, strict=True)
        ),
        offset=history.offset,
        history=replace(history, proof=tuple(each.share for each in shares)),
    )


def _component(size: tuple[int, int], history: History, index: int, found: Recovered) -> Component:
    down, across = history.factors[index]
    steps = history.tables[index]
    assert steps is not None
    return Component(
        codes=found.codes,
        table=steps,
        sampling=(history.mcu[1] // BLOCK // across, history.mcu[0] // BLOCK // down),
        factor=(down, across),
        size=(-(-size[0] // down), -(-size[1] // across)),
    )


def check(picture: Any) -> None:
    """Raises ValueError unless a picture is `(H, W)` or `(H, W, 3)`, uint8."""
    fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not fits:
        raise ValueError(f"expected (H, W) or (H, W, 3) uint8, got {picture.shape} {picture.dtype}")


def played(views: Sequence[Observed], history: History) -> History:
    """A hypothesis with the shares that come back over all views."""
    shares = [Shares() for _ in views[0].planes]
    for view in views:
        for total, part in zip(shares, _recovered(view, history, 0)[1], strict=True):
            total.add(part)
    return replace(history, proof=tuple(each.share for each in shares), telling=shares[0].total)


def layout_of(size: tuple[int, int], history: History, factor: Factor) -> Layout:
    """Where a component's blocks lie around its samples that are left of the picture."""
    top, left = history.offset
    start = top // factor[0], left // factor[1]
    stop = -(-(size[0] + top) // factor[0]), -(-(size[1] + left) // factor[1])
    return Layout.of((stop[0] - start[0], stop[1] - start[1]), start)


def samples_of(view: Observed, history: History, index: int, planes: Sequence[Floats]) -> Floats:
    """A component's samples as they were before what came after its first coding."""
    factor, last = history.factors[index], view.factors[index]
    if factor == last == (1, 1):
        return planes[index]
    layout = layout_of(view.size, history, factor)
    (top, left), (height, width) = layout.offset, layout.size
    full = resampling.restored(
        planes[index], factor, last, history.offset, (top + height, left + width)
    )
    return full[top:, left:]


def picture(found: Sequence[Recovered | None], history: History, view: Observed) -> Samples:
    """The earlier file decoded and cropped, `(H, W)` or `(H, W, 3)`.

    Components that have no history are taken as they are.
    """
    top, left = history.offset
    rows, columns = slice(top, top + view.size[0]), slice(left, left + view.size[1])
    full = []
    for index, each in enumerate(found):
        if each is None:
            rounded = np.clip(np.rint(view.planes[index]), 0, 255).astype(np.uint8)
            enlarged = chain.enlarge(rounded, view.factors[index])
            full.append(enlarged[: view.size[0], : view.size[1]])
            continue
        steps, factor = history.tables[index], history.factors[index]
        assert steps is not None
        samples = chain.decode(each.codes, steps)
        height, width = -(-rows.stop // factor[0]), -(-columns.stop // factor[1])
        full.append(chain.enlarge(samples[:height, :width], factor)[rows, columns])
    return full[0] if len(full) == 1 else chain.to_rgb(np.stack(full, axis=-1))


def _recovered(
    view: Observed, history: History, rounds: int
) -> tuple[list[Recovered | None], list[Shares]]:
    """Codes, and what comes back of a view when the chain is played again with them."""
    planes = list(view.planes)
    by_block = history.grid == (0, 0) and history.mcu == (BLOCK, BLOCK)
    border = 0 if by_block else max(history.mcu)
    best: tuple[list[Recovered | None], list[Shares]] | None = None
    for _ in range(rounds + 1):
        found = [
            None
            if steps is None
            else codes.recover(
                samples_of(view, history, index, planes),
                steps,
                layout_of(view.size, history, history.factors[index]),
            )
            for index, steps in enumerate(history.tables)
        ]
        shares, rest = view.compare(picture(found, history, view), border)
        if best is not None and _total(shares) <= _total(best[1]):
            break
        best = found, shares
        if _total(shares) > _ENOUGH:
            break
        for index, missed in enumerate(rest):
            planes[index] = planes[index] + np.float32(_RELAXATION) * missed
    assert best is not None
    return best


def _total(shares: Sequence[Shares]) -> float:
    return sum(each.equal for each in shares) / max(1, sum(each.total for each in shares))
