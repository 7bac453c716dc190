"""Which compression a picture is restored from: the file's own, or the one that did the damage."""

from dataclasses import replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hrcnn_jax import history
from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import Component, JpegFile
from hrcnn_jax.history import Earlier, History, Mode, Said
from hrcnn_jax.restoration import mixture
from hrcnn_jax.restoration.blind import Verdict

COMPARABLE = 1.5
"""How coarse an earlier compression on another grid has to be, in the last one's steps, to be all
that is restored from; of less coarse ones luma is mixed with the file's own. Measured: 1.3 gains by
that, 3 does not."""


class Damaged(NamedTuple):
    """What a picture is restored from.

    Attributes:
      file: codes, under the name and with the metadata of what was given: a file's own, or those
        of an earlier compression as far as they can be had back. Pixels if there are none.
      offset: rows and columns above and left that were cut away since.
      history: how the earlier compression was found; None for a file's own codes, and for pixels.
      luma: the earlier compression's luma, if only that could be told, or if the file's own did as
        much damage: it stands for the file's, or is mixed with that.
      luma_offset: rows and columns above and left that were cut away from it since.
      share: its weight; the rest is the file's own.
      verdict: how bad the pixels are, if a network of pictures is to restore them.
    """

    file: Stored
    offset: tuple[int, int] = (0, 0)
    history: History | None = None
    luma: Component | None = None
    luma_offset: tuple[int, int] = (0, 0)
    share: float = 1.0
    verdict: Verdict | None = None

    def cropped(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A picture `(H, W, ...)` of the compression as it was given."""
        top, left = self.offset
        return picture[top:, left:]


def damaged(given: Stored, believed: Mode | Said) -> Damaged:
    """The compression that did the damage.

    Args:
      given: a file or a picture. Inks have no history that is looked for.
      believed: whether an earlier compression is looked for, or which there was.
    """
    source = history.visible(given)
    if believed == "off" or source is None:
        return Damaged(given)
    found = (
        history.told(source, believed.quality, believed.grid, believed.encoder)
        if isinstance(believed, Said)
        else history.find(source)
    )
    if found is None:
        return Damaged(given)
    if isinstance(given, JpegFile):
        return _of_file(given, history.recover(source, found))
    return _of_pixels(given, history.recover(source, found.with_fine_chroma()), found)


def _of_file(file: JpegFile, earlier: Earlier) -> Damaged:
    components = tuple(each for each in earlier.components if each is not None)
    coarseness, luma = earlier.history.coarseness, components[0]
    if any(earlier.offset) and coarseness < COMPARABLE:
        share = mixture.share(coarseness)
        return Damaged(file, (0, 0), earlier.history, luma, earlier.offset, share)
    if len(components) < len(file.components):
        return Damaged(file, (0, 0), earlier.history, luma, earlier.offset)
    before = replace(file, height=earlier.height, width=earlier.width, components=components)
    return Damaged(before, earlier.offset, earlier.history)


def _of_pixels(picture: Picture, earlier: Earlier, found: History) -> Damaged:
    """The file that pixels come from; chroma of which nothing is told has steps of 1 there."""
    proof = tuple(
        0.0 if steps is None else share
        for steps, share in zip(found.tables, earlier.history.proof, strict=True)
    )
    file = JpegFile(
        name=picture.name,
        height=earlier.height,
        width=earlier.width,
        components=tuple(each for each in earlier.components if each is not None),
        colour="gray" if picture.colour == "gray" else "ycbcr",
        progressive=False,
        arithmetic=False,
        restart_interval=0,
        exif=picture.exif,
        icc=picture.icc,
        xmp=picture.xmp,
        resolution=picture.resolution,
        comment=None,
        permissions=picture.permissions,
    )
    return Damaged(file, earlier.offset, replace(found, proof=proof))
