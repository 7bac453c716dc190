"""Pictures with a past, made to order: compressed, cropped, compressed again or kept as pixels."""

import io
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.restoration.restorer import Restorer

TOLERANCE = 1
"""Of a quality that is found: neighbours often have the same effect."""


class Chain(NamedTuple):
    """What is done to a picture, by Pillow; chroma, if it has any, is at 4:2:0.

    Attributes:
      first: quality of the first compression, 1-100.
      second: of the second; None if the picture is kept without loss.
      shift: rows and columns that are cut away in between, above and left.
    """

    first: int
    second: int | None
    shift: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        """As `parse` takes it."""
        return ",".join(map(str, (self.first, self.second or "png", *self.shift)))


def parse(text: str) -> Chain:
    """A chain such as `30,10,4,4`: two qualities, the rows and columns cut away; `png` for none.

    Raises:
      ValueError: if it is another text.
    """
    quality = "0*([1-9][0-9]?|100)"
    found = re.fullmatch(rf"{quality},(?:{quality}|png),([0-9]+),([0-9]+)", text)
    if found is None:
        raise ValueError(f"{text}: give two qualities (or png) and rows and columns, as 30,10,4,4")
    second = None if found[2] is None else int(found[2])
    return Chain(int(found[1]), second, (int(found[3]), int(found[4])))


class Outcome(NamedTuple):
    """What became of a picture.

    Attributes:
      original: what is left of it after cropping, uint8.
      plain: as it came out of the chain, uint8.
      restored: in [0, 1].
      found: whether a history was.
      right: whether it is what was done.
    """

    original: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    restored: NDArray[Any]
    found: bool
    right: bool


def compressed(samples: NDArray[np.uint8], quality: int) -> bytes:
    """A picture `(H, W)` or `(H, W, 3)` as a file."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def decompressed(file: bytes) -> NDArray[np.uint8]:
    """As Pillow decodes it."""
    return np.asarray(Image.open(io.BytesIO(file)))


def made(samples: NDArray[np.uint8], chain: Chain) -> tuple[Stored, NDArray[np.uint8]]:
    """What comes out of a chain, as it is read and as it looks."""
    top, left = chain.shift
    once = np.ascontiguousarray(decompressed(compressed(samples, chain.first))[top:, left:])
    if chain.second is None:
        return pictures.of_array(once), once
    twice = compressed(once, chain.second)
    return reader.read(twice), decompressed(twice)


def restored(restorer: Restorer, samples: NDArray[np.uint8], chain: Chain) -> Outcome:
    """Sends a picture through a chain and restores it, with whatever history is found."""
    given, plain = made(samples, chain)
    source = restorer.damaged(given)
    top, left = chain.shift
    found = source.history
    right = (
        found is not None
        and abs(found.quality - chain.first) <= TOLERANCE
        and all((place + cut) % 8 == 0 for place, cut in zip(found.grid, chain.shift, strict=True))
    )
    picture = restorer.picture(given, source, "float32")
    return Outcome(samples[top:, left:], plain, picture, found is not None, right)
