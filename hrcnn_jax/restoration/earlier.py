"""Which compression a picture is restored from: the file's own, or the one that did the damage."""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history.search import History, find, recover

HistoryMode = Literal["off", "auto"]
"""Whether earlier compressions are looked for."""


class Damaged(NamedTuple):
    """A compression to restore from.

    Attributes:
      file: the file, or what an earlier one held as far as it can be had back, under its name and
        with its metadata.
      offset: rows and columns above and left that were cut away since.
      history: how the earlier one was found; None for a file's own.
    """

    file: JpegFile
    offset: tuple[int, int]
    history: History | None

    def cropped(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A picture `(H, W, ...)` of the compression as the file shows it."""
        top, left = self.offset
        return picture[top:, left:]


def compressed_before(file: JpegFile) -> Damaged | None:
    """The earlier compression that did a file's damage.

    Args:
      file: gray or YCbCr; of others nothing is known.

    Returns:
      None if there is none that can be proved, or one whose chroma is not told.
    """
    history = find(file)
    if history is None:
        return None
    earlier = recover(file, history)
    components = tuple(each for each in earlier.components if each is not None)
    if len(components) < len(file.components):
        return None
    before = replace(file, height=earlier.height, width=earlier.width, components=components)
    return Damaged(before, earlier.offset, earlier.history)
