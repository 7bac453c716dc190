"""Pictures with a past, made to order: what was done to them, and what a restorer makes of them."""

import io
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrcnn_jax.data import chains
from hrcnn_jax.data.chains import Cut, Jpeg, Png, Resize, Step
from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.history import History
from hrcnn_jax.history.record import Resizing
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.restoration.restorer import Restorer

TOLERANCE = 1
"""Of a quality that is found: neighbours often have the same effect."""

_NEAR = 0.25
"""Samples by which what is shown of an earlier picture may be told otherwise."""


class Earlier(NamedTuple):
    """A compression whose codes may be had back.

    Attributes:
      quality: of it, 1-100.
      cut: rows and columns that were cut away since.
      resized: by what factor and filter the picture was resized after that, if it was.
      cropped: rows and columns that were cut away after that.
    """

    quality: int
    cut: tuple[int, int]
    resized: Resize | None = None
    cropped: tuple[int, int] = (0, 0)

    def is_told(self, found: History, size: tuple[int, int]) -> bool:
        """Whether it is what was found in a picture that was of this size, at first."""
        if abs(found.quality - self.quality) > TOLERANCE:
            return False
        size_then = size[0] - self.cut[0], size[1] - self.cut[1]
        if self.resized is not None and any(self.cropped):
            return self._is_shown(found, size_then)
        resizing = None if self.resized is None else Resizing(size_then, self.resized.by)
        on_grid = [
            (place + cut) % BLOCK == 0 for place, cut in zip(found.grid, self.cut, strict=True)
        ]
        return all(on_grid) and found.resizing == resizing

    def _is_shown(self, found: History, size: tuple[int, int]) -> bool:
        """Whether the rows and columns that are left of a picture are those that were found."""
        told = found.resizing
        if self.resized is None or told is None or told.shown is None or told.by != self.resized.by:
            return False
        sides = zip(size, self.cut, self.cropped, found.grid, told.shown, strict=True)
        for side, cut, cropped, place, (start, stop) in sides:
            first = cropped * side / max(1, round(side * self.resized.factor))
            off = (start - place - cut - first + BLOCK / 2) % BLOCK - BLOCK / 2
            if max(abs(off), abs(stop - start - (side - first))) > _NEAR:
                return False
        return True


class Chain(NamedTuple):
    """What is done to a picture, by Pillow.

    Attributes:
      text: as it was written.
      steps: one after another.
    """

    text: str
    steps: chains.Chain

    def __str__(self) -> str:
        """As `parse` takes it."""
        return self.text

    @property
    def earlier(self) -> Earlier | None:
        """The compression before the last whose codes may be had back, if there is one.

        There is none if anything but cuts and one resizing came after it, or if it is the last
        and the picture is kept as a file.
        """
        steps = list(self.steps)
        if steps and isinstance(steps[-1], Jpeg):
            del steps[-1]
        top = left = 0
        resized, cropped = None, (0, 0)
        for step in reversed(steps):
            if isinstance(step, Jpeg):
                return Earlier(step.quality, (top, left), resized, cropped)
            if isinstance(step, Cut):
                top, left = top + step.top, left + step.left
            elif isinstance(step, Resize) and resized is None:
                resized, cropped, top, left = step, (top, left), 0, 0
            elif not isinstance(step, Png):
                return None
        return None


def parse(text: str) -> Chain:
    """A chain such as `20,x0.75,85`, as `hrcnn_jax.data.chains` writes it.

    Two compressions may be written shorter, as `30,10,4,4`: two qualities, or `png` for the second,
    and the rows and columns that are cut away in between.

    Raises:
      ValueError: if it is another text.
    """
    quality = "0*([1-9][0-9]?|100)"
    found = re.fullmatch(rf"{quality},(?:{quality}|png),([0-9]+),([0-9]+)", text)
    if found is None:
        return Chain(text, chains.parse(text))
    steps: list[Step] = [Jpeg(int(found[1]))]
    if int(found[3]) or int(found[4]):
        steps.append(Cut(int(found[3]), int(found[4])))
    steps.append(Png() if found[2] is None else Jpeg(int(found[2])))
    return Chain(text, tuple(steps))


class Outcome(NamedTuple):
    """What became of a picture.

    Attributes:
      original: what would have become of it without its compressions' loss, uint8.
      plain: as it came out of the chain, uint8.
      restored: in [0, 1].
      found: whether a history was.
      right: whether it is what was done; nothing is right where nothing can be had back.
    """

    original: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    restored: NDArray[Any]
    found: bool
    right: bool


class Made(NamedTuple):
    """What comes out of a chain.

    Attributes:
      given: as it is read: a file if the last step compresses as JPEG, else pixels.
      plain: as it looks, uint8.
      original: without the compressions' loss, uint8.
    """

    given: Stored
    plain: NDArray[np.uint8]
    original: NDArray[np.uint8]


def compressed(samples: NDArray[np.uint8], quality: int) -> bytes:
    """A picture `(H, W)` or `(H, W, 3)` as a file, its chroma at 4:2:0."""
    return Jpeg(quality).file(Image.fromarray(samples))


def decompressed(file: bytes) -> NDArray[np.uint8]:
    """As Pillow decodes it."""
    return np.asarray(Image.open(io.BytesIO(file)))


def made(samples: NDArray[np.uint8], chain: Chain) -> Made:
    """Sends a picture through a chain."""
    last = chain.steps[-1] if chain.steps else None
    if not isinstance(last, Jpeg):
        plain, original = chains.played(chain.steps, samples)
        return Made(pictures.of_array(plain), plain, original)
    before, original = chains.played(chain.steps[:-1], samples)
    file = last.file(Image.fromarray(before))
    return Made(reader.read(file), decompressed(file), original)


def restored(restorer: Restorer, samples: NDArray[np.uint8], chain: Chain) -> Outcome:
    """Sends a picture through a chain and restores it, with whatever history is found."""
    given, plain, original = made(samples, chain)
    source = restorer.damaged(given)
    found, earlier = source.history, chain.earlier
    if found is None or earlier is None:
        right = found is None and earlier is None
    else:
        right = earlier.is_told(found, (samples.shape[0], samples.shape[1]))
    picture = restorer.picture(given, source, "float32")
    return Outcome(original, plain, picture, found is not None, right)
