"""An earlier compression as far as it can be had back."""

from dataclasses import dataclass

from hrcnn_jax.files.reader import Component
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.codes import Codes, Mask
from hrcnn_jax.history.record import History
from hrcnn_jax.jpeg.tables import BLOCK


@dataclass(frozen=True, eq=False)
class Earlier:
    """The earlier compression.

    Attributes:
      height: rows of the earlier picture, down to the last that is left.
      width: its columns likewise.
      components: with the recovered codes and the earlier tables; None for chroma whose history
        is not told.
      unsure: which codes may well be others, `(hb, wb, 8, 8)` a component.
      offset: rows and columns to cut away above and left: the picture is the rest.
      history: what was done, its proof being that of the whole picture.
      rest: of a picture that was resized since, what of each of its own components the codes do not
        explain, `(h, w)` in levels of 255; all but the level shift of those that are None.
    """

    height: int
    width: int
    components: tuple[Component | None, ...]
    unsure: tuple[Mask | None, ...]
    offset: tuple[int, int]
    history: History
    rest: tuple[Floats, ...] = ()


def component(codes: Codes, size: tuple[int, int], history: History, index: int) -> Component:
    """A component of an earlier picture of this size."""
    down, across = history.factors[index]
    steps = history.tables[index]
    assert steps is not None
    return Component(
        codes=codes,
        table=steps,
        sampling=(history.mcu[1] // BLOCK // across, history.mcu[0] // BLOCK // down),
        factor=(down, across),
        size=(-(-size[0] // down), -(-size[1] // across)),
    )
