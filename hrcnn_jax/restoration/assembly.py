"""From component planes to a picture: crop, upsample, convert colour, round; tile by tile.

Planes arrive in strips of rows and leave as rows of the finished picture, so that the picture
itself is all that is held in full, in the depth that was asked for.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax.files.depths import LARGEST, Depth
from hrcnn_jax.files.reader import Colour, Component, JpegFile
from hrcnn_jax.jpeg import color
from hrcnn_jax.restoration.programs import Program
from hrcnn_jax.restoration.tiles import Rows

TILE = 384
"""Side of the tiles that colours are converted in, in pixels: one size, so that one program serves
all pictures of a kind; 1, 2, 3 and 4 blocks divide it."""

MARGIN = 12
"""Pixels around a tile that upsampling may look at; the sampling factors 1 to 4 divide it."""


class Plane(NamedTuple):
    """A component's pixels on their way into a picture.

    Attributes:
      strips: from the top down, of full rows, at least `size` together, near [0, 1].
      size: height and width in samples.
      factor: how many times coarser than the picture, `(down, across)`.
    """

    strips: Iterator[NDArray[np.float32]]
    size: tuple[int, int]
    factor: tuple[int, int]

    @classmethod
    def of(cls, part: Component, strips: Iterator[NDArray[np.float32]]) -> "Plane":
        """A component's own samples."""
        return cls(strips, part.size, part.factor)


def assemble(
    file: JpegFile,
    planes: Sequence[Plane],
    depth: Depth = "uint8",
    *,
    guidance: float = 0.0,
) -> NDArray[np.generic]:
    """Component planes to a picture.

    Args:
      file: for the picture's size and colour space.
      planes: of each component; values are clipped to [0, 1].
      depth: of the picture's samples.
      guidance: how much detail of luma goes into subsampled chroma: 0, none, to 1.

    Returns:
      `(H, W)` gray, `(H, W, 3)` RGB, or `(H, W, 4)` CMYK in which the largest value is full
      ink, as stored: not turned by an EXIF orientation.
    """
    rows = [Rows(plane.size, plane.strips) for plane in planes]
    factors = tuple(plane.factor for plane in planes)
    guided = guidance > 0.0 and any(factor != (1, 1) for factor in factors)
    picture = np.empty((file.height, file.width, len(rows)), depth)
    if file.colour == "gray":
        _finish_gray(picture[..., 0], rows[0])
        return picture[..., 0]
    finish = _program(factors, file.colour, depth, guided)
    for top in range(0, file.height, TILE):
        for left in range(0, file.width, TILE):
            tiles = tuple(
                each.take(_reach(top, TILE, down), _reach(left, TILE, across))
                for each, (down, across) in zip(rows, factors, strict=True)
            )
            target = picture[top : top + TILE, left : left + TILE]
            finished = finish(tiles, np.float32(guidance))
            target[:] = np.asarray(finished)[: target.shape[0], : target.shape[1]]
    return picture


def _finish_gray(picture: NDArray[np.generic], rows: Rows) -> None:
    """Fills a picture `(H, W)`; nothing that would be worth a program."""
    height, width = picture.shape
    white = np.float32(LARGEST[picture.dtype.name])
    for top in range(0, height, TILE):
        pixels = rows.take(np.arange(top, min(top + TILE, height)), np.arange(width))
        pixels = np.clip(pixels, 0.0, 1.0)
        picture[top : top + TILE] = pixels if white == 1.0 else np.rint(pixels * white)


def _reach(start: int, length: int, factor: int) -> NDArray[np.intp]:
    """The samples that a tile and its margin take of a plane."""
    return np.arange((start - MARGIN) // factor, (start + length + MARGIN) // factor)


@cache
def _program(
    factors: tuple[tuple[int, int], ...], colour: Colour, depth: Depth, guided: bool
) -> Program:
    return Program(partial(_finish, factors=factors, colour=colour, depth=depth, guided=guided))


def _finish(
    planes: tuple[Array, ...],
    guidance: Array,
    *,
    factors: tuple[tuple[int, int], ...],
    colour: Colour,
    depth: Depth,
    guided: bool,
) -> Array:
    """A tile of the picture from its components' pixels, those of the margin included."""
    # Every decoder clips here, and the samples that were encoded lay in this range.
    clipped = [jnp.clip(plane, 0.0, 1.0) for plane in planes]
    has_luma = colour in ("ycbcr", "ycck")
    first = color.upsample(clipped[0], factors[0])
    full = [first]
    for index, (plane, factor) in enumerate(zip(clipped[1:], factors[1:], strict=True), 1):
        if guided and has_luma and index in (1, 2):
            full.append(color.upsample_guided(plane, first, factor, strength=guidance))
        else:
            full.append(color.upsample(plane, factor))
    inside = slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN)
    picture = jnp.stack([plane[inside] for plane in full], axis=-1)
    if has_luma:
        rgb = color.ycbcr_to_rgb(picture[..., :3])
        picture = jnp.concatenate([rgb, picture[..., 3:]], axis=-1)
    if colour == "cmyk":
        picture = 1.0 - picture
    elif colour == "ycck":  # whose RGB is that of the inverted inks
        picture = jnp.concatenate([picture[..., :3], 1.0 - picture[..., 3:]], axis=-1)
    picture = jnp.clip(picture, 0.0, 1.0)
    return picture if depth == "float32" else jnp.round(picture * LARGEST[depth]).astype(depth)
