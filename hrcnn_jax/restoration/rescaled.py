"""A picture that was resized after the compression that it is restored from: resized once more.

What is restored at the earlier size goes the way that the picture went. Then whatever of the
picture the earlier codes do not explain is added: nothing where they are right, as the last
compression's noise is explained by them, too; where something was drawn over it, that.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.history import History
from hrcnn_jax.history.chain import Factor
from hrcnn_jax.history.resized import geometry
from hrcnn_jax.jpeg import jfif
from hrcnn_jax.jpeg.tables import LEVEL_SHIFT, MAX_SAMPLE


@dataclass(frozen=True, eq=False)
class Rescaled:
    """How it was resized.

    Attributes:
      history: with its resizing.
      size: of the picture that is there, `(height, width)`.
      rest: of each of its components, what the earlier codes do not explain, in levels of 255.
      factors: how many times coarser than the picture these are, `(down, across)`.
    """

    history: History
    size: tuple[int, int]
    rest: tuple[NDArray[np.float32], ...]
    factors: tuple[Factor, ...]

    @property
    def samples(self) -> float:
        """How many samples the picture has for each that it had."""
        assert self.history.resizing is not None
        spans = zip(self.size, self.history.resizing.spans, strict=True)
        return prod(side / (stop - start) for side, (start, stop) in spans)

    def finished(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """The picture at its own size.

        Args:
          picture: restored at the earlier size, `(H, W)` luma or `(H, W, 3)` RGB in [0, 1].

        Returns:
          `(h, w)` if it has one component, else `(h, w, 3)`, in [0, 1].
        """
        resized = geometry.of_plane(self.history, self.size)
        levels = jfif.components(picture * np.float32(MAX_SAMPLE))
        planes = [resized.forth(each) for each in levels]
        planes += [np.full(self.size, np.float32(LEVEL_SHIFT))] * (len(self.rest) - len(planes))
        for index, (rest, factor) in enumerate(zip(self.rest, self.factors, strict=True)):
            whole = geometry.enlarged(rest, factor)[: self.size[0], : self.size[1]]
            planes[index] = planes[index] + whole
        samples = planes[0] if len(planes) == 1 else jfif.rgb(*planes)
        return np.clip(samples / np.float32(MAX_SAMPLE), 0.0, 1.0)
