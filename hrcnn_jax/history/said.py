"""What is to be believed of a picture's past: looked for, nothing, or what somebody says."""

import re
from dataclasses import dataclass
from typing import Literal

from hrcnn_jax.history.table import ENCODERS
from hrcnn_jax.jpeg.tables import BLOCK

Mode = Literal["auto", "off"]
"""Earlier compressions are looked for, or not."""

_USAGE = (
    "history must be auto, off, or such as quality=20, quality=20,grid=3:5 or "
    "quality=20,size=1024x768 (and encoder=mozjpeg if it was that)"
)


@dataclass(frozen=True)
class Said:
    """A compression that somebody knows of.

    Attributes:
      quality: 1-100, of the encoder's tables.
      grid: rows above and columns left of the first whole block of luma, 0-7; None if not known.
      encoder: one of `hrcnn_jax.history.table.ENCODERS`.
      size: of the picture before it was resized, `(height, width)`; None if it was not. The grid is
        that of the earlier picture then.

    Raises:
      ValueError: if there is no such compression.
    """

    quality: int
    grid: tuple[int, int] | None = None
    encoder: str = ENCODERS[0]
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuses what no compression has."""
        known = (
            self.quality in range(1, 101)
            and self.encoder in ENCODERS
            and all(place in range(BLOCK) for place in self.grid or ())
            and all(side in range(1, 100_000) for side in self.size or ())
        )
        if not known:
            raise _refused(repr(self))


def parse(text: str) -> Mode | Said:
    """What a flag or an argument means.

    Args:
      text: `auto`, `off`, or pairs such as `quality=20,grid=3:5,encoder=mozjpeg,size=1024x768`
        (width and height), of which the quality has to be there.

    Raises:
      ValueError: if it means nothing.
    """
    if text == "auto":
        return "auto"
    if text == "off":
        return "off"
    parts = [part.partition("=")[::2] for part in text.split(",")]
    told = dict(parts)
    if len(told) < len(parts) or not set(told) <= {"quality", "grid", "encoder", "size"}:
        raise _refused(text)
    if not re.fullmatch("0*([1-9][0-9]?|100)", told.get("quality", "")):
        raise _refused(text)
    place = re.fullmatch("([0-7]):([0-7])", told.get("grid", "0:0"))
    sides = re.fullmatch("([1-9][0-9]{0,4})[x×]([1-9][0-9]{0,4})", told.get("size", "1x1"))
    encoder = told.get("encoder", ENCODERS[0])
    if place is None or sides is None or encoder not in ENCODERS:
        raise _refused(text)
    grid = (int(place[1]), int(place[2])) if "grid" in told else None
    size = (int(sides[2]), int(sides[1])) if "size" in told else None
    return Said(int(told["quality"]), grid, encoder, size)


def _refused(text: str) -> ValueError:
    return ValueError(f"{_USAGE}, got {text!r}")
