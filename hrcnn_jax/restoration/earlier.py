"""Which compression a picture is restored from: the file's own, or the one that did the damage."""

from dataclasses import replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hrcnn_jax import history
from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import Component, JpegError, JpegFile
from hrcnn_jax.history import Earlier, History, Mode, Said
from hrcnn_jax.history.chain import Samples
from hrcnn_jax.restoration import mixture
from hrcnn_jax.restoration.blind import Verdict
from hrcnn_jax.restoration.rescaled import Rescaled

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
      share: the weight of that luma, or of a picture that was resized since; the rest is what is
        restored from the file's own codes, or pixels.
      rescaled: how the picture was resized since; None if it was not.
      verdict: how bad the pixels are, if a network of pictures is to restore them.
    """

    file: Stored
    offset: tuple[int, int] = (0, 0)
    history: History | None = None
    luma: Component | None = None
    luma_offset: tuple[int, int] = (0, 0)
    share: float = 1.0
    rescaled: Rescaled | None = None
    verdict: Verdict | None = None

    def finished(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A picture `(H, W, ...)` of the compression as it was given: cropped, perhaps resized."""
        top, left = self.offset
        cropped = picture[top:, left:]
        return cropped if self.rescaled is None else self.rescaled.finished(cropped)


def damaged(given: Stored, believed: Mode | Said) -> Damaged:
    """The compression that did the damage.

    Args:
      given: a file or a picture. Inks have no history that is looked for.
      believed: whether an earlier compression is looked for, or which there was.

    Raises:
      JpegError: if it cannot have been resized from the size that it is said to have had.
    """
    source = history.visible(given)
    if believed == "off" or source is None:
        return Damaged(given)
    found = (
        _told(given.name, source, believed) if isinstance(believed, Said) else history.find(source)
    )
    if found is None:
        return Damaged(given)
    if found.resizing is not None:
        return _of_resized(given, history.recover(source, found))
    if isinstance(given, JpegFile):
        return _of_file(given, history.recover(source, found))
    return _of_pixels(given, history.recover(source, found.with_fine_chroma()), found)


def _told(name: str, source: JpegFile | Samples, said: Said) -> History:
    try:
        return history.told(source, said)
    except ValueError as error:
        raise JpegError(f"{name}: {error}") from error


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
    return Damaged(_file(picture, earlier), earlier.offset, replace(found, proof=proof))


def _of_resized(given: Stored, earlier: Earlier) -> Damaged:
    """What was resized; luma alone, if nothing is told of chroma."""
    factors = [(1, 1)] * len(earlier.rest)
    if isinstance(given, JpegFile):
        factors = [part.factor for part in given.components]
    size = given.height, given.width
    rescaled = Rescaled(earlier.history, size, earlier.rest, tuple(factors))
    share = mixture.share_of_resized(earlier.history.coarseness, rescaled.samples)
    file = _file(given, earlier)
    return Damaged(file, earlier.offset, earlier.history, share=share, rescaled=rescaled)


def _file(given: Stored, earlier: Earlier) -> JpegFile:
    """The earlier compression as a file, under the name and with the metadata of what was given."""
    components = tuple(each for each in earlier.components if each is not None)
    return JpegFile(
        name=given.name,
        height=earlier.height,
        width=earlier.width,
        components=components,
        colour="gray" if len(components) == 1 else "ycbcr",
        progressive=False,
        arithmetic=False,
        restart_interval=0,
        exif=given.exif,
        icc=given.icc,
        xmp=given.xmp,
        resolution=given.resolution,
        comment=None,
        permissions=given.permissions,
    )
