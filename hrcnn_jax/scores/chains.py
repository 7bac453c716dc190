"""Pictures with a past, made to order: what was done to them, and what a restorer makes of them."""

import io
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrcnn_jax.data import chains
from hrcnn_jax.data.chains import Cut, Jpeg, Mirror, Png, Resize, Sharpen, Step, Turn
from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.history import History
from hrcnn_jax.history.record import Resizing, Span
from hrcnn_jax.history.table import TURNED
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.restoration.restorer import Restorer

TOLERANCE = 1
"""Of a quality that is found: neighbours often have the same effect."""

_NEAR = 0.25
"""Samples by which what is shown of an earlier picture may be told otherwise: if it was not cropped
after it was resized, none."""


class Along(NamedTuple):
    """Where a coordinate of an earlier picture lies in what was made of it.

    Attributes:
      scale: samples now for each that there was; below zero where they go the other way.
      start: where its first sample begins.
      side: of the picture now.
    """

    scale: float
    start: float
    side: int

    def cut(self, count: int) -> "Along":
        """With so many samples cut away before it."""
        return Along(self.scale, self.start - count, self.side - count)

    def turned(self) -> "Along":
        """The other way round."""
        return Along(-self.scale, self.side - self.start, self.side)

    def resized(self, factor: float) -> "Along":
        """As `hrcnn_jax.data.chains.Resize` does it."""
        side = max(1, round(self.side * factor))
        exact = side / self.side
        return Along(self.scale * exact, self.start * exact, side)

    @property
    def span(self) -> Span:
        """What is shown of the earlier picture, from where blocks began; turned, if it is."""
        first = -self.start / abs(self.scale)
        return first, first + self.side / abs(self.scale)


class Earlier(NamedTuple):
    """A compression whose codes may be had back.

    Attributes:
      quality: of it, 1-100.
      since: what was done after it, the last compression left out: cuts, turns, and one resizing,
        after which it may have been sharpened.
    """

    quality: int
    since: tuple[Step, ...] = ()

    @property
    def resized(self) -> Resize | None:
        """How the picture was resized since, if it was."""
        return next((step for step in self.since if isinstance(step, Resize)), None)

    def is_told(self, found: History, size: tuple[int, int]) -> bool:
        """Whether it is what was found in a picture that was of this size, at first."""
        axes, is_turned = self._since(size)
        if abs(found.quality - self.quality) > TOLERANCE:
            return False
        if (found.encoder == TURNED) != is_turned:
            return False
        if not self._is_resized_so(found.resizing):
            return False
        whole = tuple((0.0, float(axis.side)) for axis in axes)
        shown = whole if found.resizing is None else found.resizing.spans
        return all(
            _is_near(axis.span, span, place)
            for axis, span, place in zip(axes, shown, found.grid, strict=True)
        )

    def _is_resized_so(self, found: Resizing | None) -> bool:
        """Whether it was resized by its filter, or sharpened, which hides which filter that was."""
        resized = self.resized
        if found is None or resized is None:
            return found is None and resized is None
        if any(isinstance(step, Sharpen) for step in self.since):
            return found.sharpened is not None
        return found.sharpened is None and found.by == resized.by

    def _since(self, size: tuple[int, int]) -> tuple[tuple[Along, Along], bool]:
        """Rows and columns after all that was done, and whether they had been the other ones."""
        down, across = (Along(1.0, 0.0, side) for side in size)
        is_turned = False
        for step in self.since:
            if isinstance(step, Cut):
                down, across = down.cut(step.top), across.cut(step.left)
            elif isinstance(step, Resize):
                down, across = down.resized(step.factor), across.resized(step.factor)
            elif isinstance(step, Mirror):
                across = across.turned()
            elif isinstance(step, Turn):
                for _ in range(step.degrees // 90):
                    down, across = across.turned(), down
                is_turned ^= step.degrees % 180 == 90
        return (down, across), is_turned


def _is_near(span: Span, found: Span, place: int) -> bool:
    """Whether a span is what was found, in which blocks begin at a place."""
    off = (found[0] - place - span[0] + BLOCK / 2) % BLOCK - BLOCK / 2
    longer = (found[1] - found[0]) - (span[1] - span[0])
    return max(abs(off), abs(longer)) <= _NEAR


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

        There is none if anything but cuts, turns and one resizing, perhaps sharpened, came after
        it, or if it is the last and the picture is kept as a file.
        """
        steps = list(self.steps)
        if steps and isinstance(steps[-1], Jpeg):
            del steps[-1]
        for index, step in reversed(list(enumerate(steps))):
            if isinstance(step, Jpeg):
                since = tuple(each for each in steps[index + 1 :] if not isinstance(each, Png))
                return Earlier(step.quality, since) if _may_be_undone(since) else None
        return None


def _may_be_undone(since: tuple[Step, ...]) -> bool:
    """Whether there are cuts, turns, and one resizing at most, that may be sharpened at last."""
    resized = sum(isinstance(step, Resize) for step in since)
    if resized and isinstance(since[-1], Sharpen):
        since = since[:-1]
    return resized <= 1 and all(isinstance(step, Cut | Turn | Mirror | Resize) for step in since)


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
