"""An earlier compression's codes recovered, and its chain played again with them.

The picture is cut into the earlier blocks; what came after is undone as far as it can be (chroma
was enlarged, samples were rounded and clipped); coefficients near multiples of the earlier steps
give the codes. Then the chain goes forward, to the integer: decoded, cropped, compressed as the
file was. What comes back is the proof, and where it misses, the picture is corrected by part of
what is missing and recovered anew.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hrcnn_jax.history import chain, codes, resampling
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.chain import Factor, Samples
from hrcnn_jax.history.codes import Layout, Recovered
from hrcnn_jax.history.observed import Observed, Shares
from hrcnn_jax.history.record import History
from hrcnn_jax.jpeg.tables import BLOCK

_ENOUGH = 0.99
"""Share that has come back, beyond which nothing is corrected any more."""

_RELAXATION = 0.15
"""How much of it is put back at once: more overshoots."""


def played(views: Sequence[Observed], history: History) -> History:
    """A hypothesis with the shares that come back over all views."""
    shares = [Shares() for _ in views[0].planes]
    for view in views:
        for total, part in zip(shares, recovered(view, history, 0)[1], strict=True):
            total.add(part)
    return replace(history, proof=tuple(each.share for each in shares), telling=shares[0].total)


def most_telling(views: Sequence[Observed]) -> Sequence[Observed]:
    """The one view in which luma has most codes, or samples, that tell something."""
    return [max(views, key=lambda view: view.telling())] if len(views) > 1 else views


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


def reaches_over(history: History) -> bool:
    """Whether a block of the earlier compression, or of the last, is more than one of the other."""
    return history.grid != (0, 0) or history.mcu != (BLOCK, BLOCK)


def recovered(
    view: Observed, history: History, rounds: int, context: tuple[int, int] = (0, 0)
) -> tuple[list[Recovered | None], list[Shares]]:
    """Codes, and what comes back of a view when the chain is played again with them.

    Args:
      view: of the picture, or of some rows of it.
      history: that is tried.
      rounds: corrections of the view by what the chain leaves over, at most.
      context: rows above and below that do not count.
    """
    planes = list(view.planes)
    border = max(history.mcu) if reaches_over(history) else 0
    margins = (max(border, context[0]), max(border, context[1])), (border, border)
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
        shares, rest = view.compare(picture(found, history, view), margins)
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
