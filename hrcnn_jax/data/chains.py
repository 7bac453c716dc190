"""What happens to pictures on their way: compressed, resized, cropped, filtered; played by Pillow.

A *chain* is a sequence of steps. Played on a picture it gives two: what comes out, and what would
come out if none of its compressions lost anything. The second is what a network that restores
pixels is to make of the first: it gives back what compression took, and undoes neither resizing nor
filters, of which nobody can say that they were not wanted.

A chain is written as its steps with commas between them, `30,x0.75,+3:5,85`:

- `30` is JPEG of that quality, `30/444` with chroma at full, not half size, `30/flat` with a flat
  table, not Annex K's, `30/444/flat` with both;
- `w40` is WebP of that quality;
- `x0.75` is resized, `x0.75/lanczos` by that filter of Pillow's: `box`, `bilinear`, `hamming`,
  `bicubic` (which is meant if none is named), `lanczos`;
- `+3:5` is rows cut away above, and columns to the left;
- `turn90`, `turn180`, `turn270` is turned by so many degrees, anticlockwise;
- `mirror` is left and right swapped;
- `blur0.6` is a Gaussian blur of that radius in pixels;
- `sharpen80` is an unsharp mask of radius 1, by so many per cent;
- `gray` is colours taken out;
- `png` is kept without loss: of no effect, but that a file's codes are no longer there.

`clean` is the chain in which nothing happens.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hrcnn_jax.jpeg.tables import BLOCK, CHROMINANCE, LUMINANCE, quality_table

FILTERS = {
    name: Image.Resampling[name.upper()]
    for name in ("box", "bilinear", "hamming", "bicubic", "lanczos")
}
"""Pillow's resampling filters by the names that chains know them by; `nearest` is none."""

FLAT_STEP = 32
"""Of the flat table at quality 50: about as much damage as Annex K's do."""


class EmptyError(ValueError):
    """A chain leaves nothing of a picture."""


class Step(Protocol):
    """One thing that is done to a picture."""

    @property
    def lossy(self) -> bool:
        """Whether it is a compression, which the picture that is aimed at goes without."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """The picture after it, gray or RGB as before it, unless it takes out colours."""

    def __str__(self) -> str:
        """As `parse` takes it."""


Chain = tuple[Step, ...]

CLEAN = "clean"
"""How the chain without any step is written."""


@dataclass(frozen=True)
class Jpeg:
    """Compression as JPEG, by libjpeg.

    Attributes:
      quality: 1-100, scales the tables as libjpeg does.
      full_chroma: 4:4:4, not 4:2:0.
      flat: a table of equal steps for all components.
    """

    quality: int
    full_chroma: bool = False
    flat: bool = False
    lossy = True

    def __call__(self, image: Image.Image) -> Image.Image:
        """Written and read again."""
        return _loaded(io.BytesIO(self.file(image)))

    def file(self, image: Image.Image) -> bytes:
        """The file that is written."""
        bases = [np.full((BLOCK, BLOCK), FLAT_STEP)] * 2 if self.flat else [LUMINANCE, CHROMINANCE]
        tables = [quality_table(self.quality, base).ravel().tolist() for base in bases]
        subsampling = "4:4:4" if self.full_chroma else "4:2:0"
        file = io.BytesIO()
        image.save(file, "JPEG", qtables=tables, subsampling=subsampling)
        return file.getvalue()

    def __str__(self) -> str:
        return f"{self.quality}{'/444' * self.full_chroma}{'/flat' * self.flat}"


@dataclass(frozen=True)
class WebP:
    """Compression as lossy WebP, by libwebp at its usual effort: quality 1-100."""

    quality: int
    lossy = True

    def __call__(self, image: Image.Image) -> Image.Image:
        """Written and read again."""
        file = io.BytesIO()
        image.convert("RGB").save(file, "WEBP", quality=self.quality)
        return _loaded(file).convert(image.mode)

    def __str__(self) -> str:
        return f"w{self.quality}"


@dataclass(frozen=True)
class Resize:
    """Both sides multiplied by a factor, the result at least one pixel; by one of `FILTERS`."""

    factor: float
    by: str = "bicubic"
    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """Resized, by Pillow, whose filters grow wider where pictures shrink."""
        width, height = (max(1, round(side * self.factor)) for side in image.size)
        return image.resize((width, height), FILTERS[self.by])

    def __str__(self) -> str:
        return f"x{self.factor:g}" + (f"/{self.by}" if self.by != "bicubic" else "")


@dataclass(frozen=True)
class Cut:
    """Rows cut away above and columns to the left: what moves the grid of blocks."""

    top: int
    left: int
    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """What is left.

        Raises:
          EmptyError: if nothing is.
        """
        if self.left >= image.width or self.top >= image.height:
            raise EmptyError(f"{self} leaves nothing of {image.width}×{image.height} pixels")
        return image.crop((self.left, self.top, *image.size))

    def __str__(self) -> str:
        return f"+{self.top}:{self.left}"


@dataclass(frozen=True)
class Turn:
    """Turned anticlockwise by 90, 180 or 270 degrees."""

    degrees: int
    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """Turned; by one or three quarters rows become columns."""
        return image.transpose(Image.Transpose[f"ROTATE_{self.degrees}"])

    def __str__(self) -> str:
        return f"turn{self.degrees}"


@dataclass(frozen=True)
class Mirror:
    """Left and right swapped."""

    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """Swapped."""
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def __str__(self) -> str:
        return "mirror"


@dataclass(frozen=True)
class Blur:
    """Gaussian blur of a radius (standard deviation) in pixels."""

    radius: float
    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """Blurred."""
        return image.filter(ImageFilter.GaussianBlur(self.radius))

    def __str__(self) -> str:
        return f"blur{self.radius:g}"


@dataclass(frozen=True)
class Sharpen:
    """Unsharp mask of radius 1, by so many per cent."""

    percent: int
    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """Sharpened."""
        return image.filter(ImageFilter.UnsharpMask(1.0, self.percent, threshold=0))

    def __str__(self) -> str:
        return f"sharpen{self.percent}"


@dataclass(frozen=True)
class Gray:
    """Colours taken out."""

    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """Luma alone."""
        return image.convert("L")

    def __str__(self) -> str:
        return "gray"


@dataclass(frozen=True)
class Png:
    """Kept without loss: pixels, not codes, are what is left."""

    lossy = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """The same."""
        return image

    def __str__(self) -> str:
        return "png"


_QUALITY = "0*([1-9][0-9]?|100)"
_NUMBER = r"([0-9]{1,2}(?:\.[0-9]+)?)"
_STEPS: tuple[tuple[str, Callable[..., Step]], ...] = (
    (rf"{_QUALITY}(/444)?(/flat)?", lambda q, full, flat: Jpeg(int(q), bool(full), bool(flat))),
    (rf"w{_QUALITY}", lambda q: WebP(int(q))),
    (rf"x{_NUMBER}(?:/({'|'.join(FILTERS)}))?", lambda f, by: Resize(float(f), by or "bicubic")),
    (r"\+([0-9]+):([0-9]+)", lambda top, left: Cut(int(top), int(left))),
    ("turn(90|180|270)", lambda degrees: Turn(int(degrees))),
    ("mirror", Mirror),
    (rf"blur{_NUMBER}", lambda radius: Blur(float(radius))),
    (r"sharpen([0-9]{1,4})", lambda percent: Sharpen(int(percent))),
    ("gray", Gray),
    ("png", Png),
)
"""How each step is written, and what its parts make."""


def parse(text: str) -> Chain:
    """A chain from its text.

    Raises:
      ValueError: if a step is none of those above.
    """
    return () if text == CLEAN else tuple(map(_parse_step, text.split(",")))


def _parse_step(text: str) -> Step:
    for pattern, make in _STEPS:
        found = re.fullmatch(pattern, text)
        if found:
            return make(*found.groups())
    raise ValueError(
        f"{text!r} is no step of a chain: give for instance 30 or 30/444 (JPEG of that quality), "
        "w40 (WebP), x0.75 (resized), +3:5 (rows and columns cut away), turn90, mirror, blur0.6, "
        "sharpen80, gray, png (kept without loss); or clean alone"
    )


def played(chain: Chain, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What a chain makes of a picture `(H, W)` or `(H, W, 3)`, and what it would make without loss.

    Both are uint8 of the same shape, rounded after every step as files are.
    """
    damaged = intact = Image.fromarray(picture)
    for step in chain:
        damaged = step(damaged)
        if not step.lossy:
            intact = step(intact)
    return np.asarray(damaged), np.asarray(intact)


def _loaded(file: io.BytesIO) -> Image.Image:
    image = Image.open(file)
    image.load()
    return image


# What is drawn for training. Shares are guesses at what pictures on the web went through, bent
# towards what is hard: histories that no grid explains.

_CLEAN = 0.1
_COMPRESSIONS = (0.45, 0.4, 0.15)
"""Shares of one, two and three."""

_FACTORS = (0.4, 1.5)
_MARGIN = 2 * BLOCK
"""Pixels that are cut away from the result on all sides: compression and filters know borders."""

_GRID = 2 * BLOCK
_CUTS = 3 * _GRID
"""As much as the cuts of the longest chain take away."""

AROUND = 2 * _MARGIN + _CUTS
"""Pixels that a picture must have more, down and across, than what is taken of it."""


def draw(
    random: Generator,
    quality: Sequence[int],
    *,
    smallest: float = _FACTORS[0],
    clean: float = _CLEAN,
) -> tuple[Chain, float]:
    """A random chain, and the factor by which it resizes, at least `smallest` altogether.

    Args:
      random: where from.
      quality: the lowest and the highest of its compressions, between which half of them are
        uniform, half log-uniform: the latter do most of the damage, the former are most common.
      smallest: at most 1.
      clean: share of chains without compressions.
    """
    count = 0 if random.random() < clean else 1 + int(random.choice(3, p=_COMPRESSIONS))
    full_chroma = bool(random.random() < 0.3)
    chain: list[Step] = [Gray()] if random.random() < 0.12 else []
    factor = 1.0

    def between(shares: tuple[float, float]) -> None:
        """Resizing, cutting or nothing; and now and then a filter."""
        nonlocal factor
        what = random.random()
        if what < shares[0]:
            low, high = max(_FACTORS[0], smallest / factor), max(_FACTORS[1], smallest / factor)
            step = Resize(
                round(float(np.exp(random.uniform(np.log(low), np.log(high)))), 3),
                str(random.choice(list(FILTERS))),
            )
            factor *= step.factor
            chain.append(step)
        elif what < sum(shares):
            chain.append(Cut(*map(int, random.integers(_GRID, size=2))))
        if random.random() < 0.07:
            chain.append(Blur(round(float(random.uniform(0.3, 0.9)), 2)))
        elif random.random() < 0.07:
            chain.append(Sharpen(int(random.integers(20, 120))))

    for index in range(count):
        if index:
            between((0.5, 0.4))
        chain.append(_compression(random, quality, full_chroma))
    between((0.15, 0.1) if count else (0.3, 0.0))
    return tuple(chain), factor


def _compression(random: Generator, quality: Sequence[int], full_chroma: bool) -> Step:
    low, high = quality[0], quality[-1]
    even = random.uniform(low, high + 1)
    in_logarithms = np.exp(random.uniform(np.log(low), np.log(high + 1)))
    drawn = int(np.clip(even if random.random() < 0.5 else in_logarithms, low, high))
    if random.random() < 0.08:
        return WebP(drawn)
    return Jpeg(drawn, full_chroma, bool(random.random() < 0.15))


def pair(
    picture: NDArray[np.uint8],
    size: int,
    random: Generator,
    quality: Sequence[int],
    *,
    clean: float = _CLEAN,
) -> NDArray[np.uint8]:
    """A place in a picture, damaged by a random chain, beside what it would be without loss.

    It lies on the grid of the chain's last compression as a whole picture does, unless the chain
    moved it: its place in what the chain gives is a multiple of 16 pixels.

    Args:
      picture: `(H, W, 3)` uint8, sides at least `size` and `AROUND`.
      size: side in pixels.
      random: where from.
      quality: as that of `draw`.
      clean: as that of `draw`.

    Returns:
      `(size, size, 6)` uint8: R, G and B damaged, then intact.
    """
    needed = size + 2 * _MARGIN
    room = min(picture.shape[:2]) - _CUTS
    chain, factor = draw(random, quality, smallest=min(needed / room, 1.0), clean=clean)
    side = min(int(np.ceil(needed / factor)) + _CUTS, *picture.shape[:2])
    top, left = (int(random.integers(length - side + 1)) for length in picture.shape[:2])
    both = played(chain, np.ascontiguousarray(picture[top : top + side, left : left + side]))
    cut = slice(_MARGIN, _MARGIN + size)
    planes = [np.atleast_3d(each)[cut, cut] for each in both]
    return np.concatenate([np.broadcast_to(each, (size, size, 3)) for each in planes], axis=-1)
