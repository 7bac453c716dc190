"""Does a result agree with its file? Encoded again with the file's own tables, which codes return.

Component planes, before they are rounded, have to give back every code: that is what faithful
means. A picture as written gives back fewer, since rounding, colour conversion and resampling of
chroma all move its samples after the planes were made to agree. Written in NumPy, in float64 and
apart from `hrcnn_jax.jpeg.transform`, to be a second opinion.

Source: ITU-T T.81, clauses A.3.1, A.3.3 and A.3.4; T.871 clause 7 for the colours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.depths import LARGEST
from hrcnn_jax.files.reader import Component, JpegFile
from hrcnn_jax.restoration.assembly import Plane

_NAMES = {
    "gray": ("Y",),
    "ycbcr": ("Y", "Cb", "Cr"),
    "rgb": ("R", "G", "B"),
    "cmyk": ("C", "M", "Y", "K"),
    "ycck": ("Y", "Cb", "Cr", "K"),
}
_ROWS = 384
"""Of a picture that are encoded at once: whole blocks of components of any sampling."""

_FREQUENCY, _SAMPLE = np.mgrid[:8, :8]
BASIS = np.cos((2 * _SAMPLE + 1) * _FREQUENCY * np.pi / 16) / 2
BASIS[0] /= np.sqrt(2)
"""The DCT of eight samples, `[frequency, sample]`."""


@dataclass
class Tally:
    """How many codes came back.

    Attributes:
      equal: that are the file's.
      total: that were compared.
    """

    equal: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1; 1 if there was nothing to compare."""
        return self.equal / self.total if self.total else 1.0

    def add(self, ours: NDArray[Any], files: NDArray[np.int16]) -> None:
        """Compares codes of the same shape."""
        self.equal += int(np.count_nonzero(ours == files))
        self.total += files.size

    def __str__(self) -> str:
        if self.equal == self.total:
            return "100 %"
        return f"{min(100 * self.share, 99.999):.3f} %"  # never rounded up to all of them


def names(file: JpegFile) -> tuple[str, ...]:
    """What a file's components are called."""
    return _NAMES[file.colour]


def codes_of(plane: NDArray[Any], table: NDArray[Any]) -> NDArray[np.float64]:
    """Codes `(h, w, 8, 8)` of a plane of samples `(8*h, 8*w)` from 0 to 255."""
    height, width = plane.shape
    by_rows = BASIS @ (plane.astype(np.float64) - 128).reshape(height // 8, 8, width)
    blocks = by_rows.reshape(height // 8, 8, width // 8, 8) @ BASIS.T
    return np.rint(blocks.swapaxes(1, 2) / table)


def watched(plane: Plane, part: Component | None, tally: Tally) -> Plane:
    """Passes on a component's restored plane, and counts the codes that it gives back, if any.

    A plane that is finer than the component is first shrunk as an encoder would; what it has beyond
    the component's blocks is left out.
    """
    if part is None:  # pixels have none
        return plane
    down, across = (own // shown for own, shown in zip(part.factor, plane.factor, strict=True))

    def strips() -> Iterator[NDArray[np.float32]]:
        top = 0
        for strip in plane.strips:
            boxes = strip.reshape(len(strip) // down, down, -1, across)
            samples = boxes.mean((1, 3), dtype=np.float64)
            codes = part.codes[top : top + len(samples) // 8]
            samples = samples[: 8 * codes.shape[0], : 8 * codes.shape[1]]
            tally.add(codes_of(samples * 255.0, part.table), codes)
            top += len(codes)
            yield strip

    return plane._replace(strips=strips())


def of_picture(file: JpegFile, picture: NDArray[Any]) -> list[Tally]:
    """Codes that a finished picture gives back, by component.

    Only blocks inside the picture are counted: what an encoder put beyond the border is unknown.

    Args:
      file: the file the picture was restored from.
      picture: of any depth, as `hrcnn_jax.restoration.assembly.assemble` makes it.
    """
    scale = 255 / LARGEST[picture.dtype.name]
    tallies = [Tally() for _ in file.components]
    for top in range(0, file.height, _ROWS):
        samples = picture[top : top + _ROWS].astype(np.float64) * scale
        planes = _components(samples, file.colour)
        for part, plane, tally in zip(file.components, planes, tallies, strict=True):
            down, across = part.factor
            high, wide = plane.shape[0] // (8 * down), plane.shape[1] // (8 * across)
            boxes = plane[: 8 * high * down, : 8 * wide * across]
            boxes = boxes.reshape(8 * high, down, 8 * wide, across)
            first = top // (8 * down)
            codes = part.codes[first : first + high, :wide]
            if codes.size:
                tally.add(codes_of(boxes.mean((1, 3)), part.table), codes)
    return tallies


def report(file: JpegFile, planes: list[Tally], written: list[Tally], depth: str) -> str:
    """One line on what came back."""

    def told(tallies: list[Tally]) -> str:
        return ", ".join(f"{n} {tally}" for n, tally in zip(names(file), tallies, strict=True))

    return (
        f"codes that come back: {told(planes)} of the planes restored; {told(written)} of the "
        f"picture in {depth}, its colour conversion, chroma resampling and rounding included"
    )


def _components(samples: NDArray[np.float64], colour: str) -> list[NDArray[np.float64]]:
    """A picture's components, from 0 to 255, before any subsampling."""
    if colour == "gray":
        return [samples]
    if colour == "cmyk":
        samples = 255 - samples
    planes = list(np.moveaxis(samples, -1, 0))
    if colour in ("ycbcr", "ycck"):
        red, green, blue, *black = planes
        y = 0.299 * red + 0.587 * green + 0.114 * blue
        chroma = [(blue - y) / 1.772 + 128, (red - y) / 1.402 + 128]
        planes = [y, *chroma, *(255 - plane for plane in black)]
    return planes
