"""From JPEG file to picture: codes through the network, plane by plane, then colour.

A plane is cut into tiles with enough blocks around each that its pixels do not depend on where it
was cut, and the picture is continued beyond its borders by its mirror image, which in the codes is
a change of sign. Tiles come in few shapes, so that pictures of all sizes share compiled programs.
"""

import os
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from hrcnn_jax import codec, color, jpeg, registry, released
from hrcnn_jax.codec import Component, JpegError, JpegFile
from hrcnn_jax.released import Network

TILE = 96
"""Largest tile side in blocks, without what surrounds it."""

TILE_STEP = 8
"""Tile sides are multiples of this many blocks, so that there are few."""

COLOUR_STEP = 192
"""Pictures are padded to multiples of this for colour conversion: 1, 2, 3 and 4 divide it."""


class Restorer:
    """Restores planes and files with one network; keeps its compiled programs between calls.

    Safe to share among threads.
    """

    def __init__(
        self,
        network: str | Network = released.DEFAULT,
        *,
        faithful: bool = True,
        strength: float = 1.0,
    ) -> None:
        """Prepares a network.

        Args:
          network: a released network's name, or a network.
          faithful: project every plane onto those that quantise to exactly the file's codes.
          strength: 0 gives the plain decode, 1 the restored picture, between them a mix; a
            faithful mix stays faithful.

        Raises:
          ModelError: if there is no such network.
          ValueError: if the strength is outside 0-1.
        """
        if not 0.0 <= strength <= 1.0:
            raise ValueError(f"strength must be from 0 to 1, got {strength}")
        self.network = released.load(network) if isinstance(network, str) else network
        self._restore_tile = jax.jit(
            partial(restore_tile, self.network.module, faithful=faithful, strength=strength)
        )

    def serves(self, table: ArrayLike) -> bool:
        """Whether the network knows planes with this quantisation table ``(8, 8)``."""
        own = self.network.table
        return own is None or np.array_equal(own, table)

    def restore_codes(self, codes: ArrayLike, table: ArrayLike) -> NDArray[np.float32]:
        """Restores one plane of codes.

        Args:
          codes: ``(hb, wb, 8, 8)`` integers, natural order ``[v, u]``.
          table: ``(8, 8)`` quantisation steps.

        Returns:
          Pixels ``(8*hb, 8*wb)`` float32, neither clipped to [0, 1] nor rounded.

        Raises:
          ValueError: if the shapes are others, or the network does not know the table.
        """
        codes, table = np.asarray(codes), np.asarray(table)
        if codes.ndim != 4 or codes.shape[2:] != (8, 8) or table.shape != (8, 8):
            raise ValueError(
                "expected codes (hb, wb, 8, 8) and a table (8, 8), got "
                f"{codes.shape} and {table.shape}"
            )
        if not self.serves(table):
            raise ValueError(f"network {self.network.name} does not know this quantisation table")
        down, across = codes.shape[:2]
        rows, columns = tile_side(down), tile_side(across)
        context = self.network.module.context
        extended = extend(codes.astype(np.int16), context, -down % rows, -across % columns)
        steps = jnp.asarray(table, jnp.int32)
        pixels = np.empty((8 * down, 8 * across), np.float32)
        for top in range(0, down, rows):
            for left in range(0, across, columns):
                tile = extended[top : top + rows + 2 * context, left : left + columns + 2 * context]
                target = pixels[8 * top : 8 * (top + rows), 8 * left : 8 * (left + columns)]
                restored = np.asarray(self._restore_tile(self.network.params, tile, steps))
                target[:] = restored[: target.shape[0], : target.shape[1]]
        return pixels

    def restore(
        self, source: str | os.PathLike[str] | bytes | JpegFile, *, max_pixels: int | None = None
    ) -> NDArray[np.uint8]:
        """Restores a JPEG file.

        A network that knows one table only restores luma; chroma is then decoded plainly.

        Args:
          source: a path, a file's content, or a file already read.
          max_pixels: refuse larger pictures; ``codec.MAX_PIXELS`` when None.

        Returns:
          ``(H, W)`` uint8 of a grayscale file, ``(H, W, 3)`` uint8 RGB of a colour file, as
          stored: not turned by an EXIF orientation.

        Raises:
          JpegError: if the file cannot be read, its colours are CMYK, or the network does not
            know the table of its luma.
        """
        file = _open(source, max_pixels)
        self._check_serves(file)
        planes = [
            self.restore_codes(part.codes, part.table) if self.serves(part.table) else _decode(part)
            for part in file.components
        ]
        return assemble(file, planes)

    def _check_serves(self, file: JpegFile) -> None:
        if not self.serves(file.components[0].table):
            quality = self.network.card["options"]["quality"]
            raise JpegError(
                f"{file.name}: {self.network.name} only serves luma with the standard table of "
                f"quality {quality}, and this file has another; use --model {released.DEFAULT}"
            )


def restore(
    source: str | os.PathLike[str] | bytes, *, model: str = released.DEFAULT
) -> NDArray[np.uint8]:
    """Restores a JPEG file with a released network.

    Args:
      source: a path or a file's content.
      model: name of a released network.

    Returns:
      ``(H, W)`` uint8 of a grayscale file, ``(H, W, 3)`` uint8 RGB of a colour file.

    Raises:
      JpegError: if the file cannot be restored; the message says why.
      ModelError: if there is no such network.
    """
    return Restorer(model).restore(source)


def decode(source: str | os.PathLike[str] | bytes | JpegFile) -> NDArray[np.uint8]:
    """Decodes a JPEG file plainly, with this package's own colour and upsampling.

    Args and returns as :meth:`Restorer.restore`.

    Raises:
      JpegError: if the file cannot be read.
    """
    file = _open(source, None)
    return assemble(file, [_decode(part) for part in file.components])


def _decode(part: Component) -> NDArray[np.float32]:
    return np.asarray(jpeg.decode(jnp.asarray(part.codes), jnp.asarray(part.table)))


def restore_tile(
    module: nn.Module,
    params: Any,
    codes: Array,
    table: Array,
    *,
    faithful: bool,
    strength: float,
) -> Array:
    """Restores the inside of a tile; pure and jit-able.

    Args:
      module: an architecture, of context c.
      params: its parameters.
      codes: ``(h + 2c, w + 2c, 8, 8)`` integers: a tile and c blocks on every side.
      table: ``(8, 8)`` quantisation steps.
      faithful: whether to project onto the codes.
      strength: from 0, the plain decode, to 1.

    Returns:
      Pixels ``(8*h, 8*w)`` float32, not clipped.
    """
    context = module.context
    codes = codes.astype(jnp.float32)
    restored = registry.restore(module, params, codes[None], table[None])[0]
    inside = codes[context:-context, context:-context]
    margin = 8 * context
    restored = restored[margin:-margin, margin:-margin]
    if faithful:
        restored = jpeg.project(restored, inside, table)
    if strength < 1.0:
        steps = jpeg.per_block(table)
        plain = jpeg.coefficients_to_pixels(jpeg.dequantise(inside, steps))
        restored = plain + strength * (restored - plain)
    return restored


def tile_side(blocks: int) -> int:
    """Side of equal tiles that cover a number of blocks with little left over."""
    count = -(-blocks // TILE)
    side = -(-blocks // count)
    return -(-side // TILE_STEP) * TILE_STEP


def extend(
    codes: NDArray[np.int16], context: int, more_down: int, more_across: int
) -> NDArray[np.int16]:
    """Continues a plane of codes beyond its borders by its mirror image.

    Mirroring a block's pixels changes the sign of its odd frequencies (T.81 A.3.3: the basis
    functions are even or odd about the block's middle).

    Args:
      codes: ``(hb, wb, 8, 8)``.
      context: blocks to add on every side.
      more_down: blocks to add below those.
      more_across: blocks to add to the right of those.

    Returns:
      ``(hb + 2*context + more_down, wb + 2*context + more_across, 8, 8)``.
    """
    rows, row_signs = _mirror(codes.shape[0], context, more_down)
    columns, column_signs = _mirror(codes.shape[1], context, more_across)
    wide = codes[rows[:, None], columns]
    return wide * row_signs[:, None, :, None] * column_signs[None, :, None, :]


def _mirror(count: int, context: int, more: int) -> tuple[NDArray[np.intp], NDArray[np.int16]]:
    """Which block stands at each place, and the signs of its eight frequencies there."""
    period, offset = np.divmod(np.arange(-context, count + context + more), count)
    mirrored = period % 2 == 1
    index = np.where(mirrored, count - 1 - offset, offset)
    odd = np.arange(jpeg.BLOCK) % 2 == 1
    signs = np.where(mirrored[:, None] & odd, -1, 1).astype(np.int16)
    return index, signs


def assemble(file: JpegFile, planes: list[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Component planes to a picture: crop, upsample, convert colour, round to 8 bits.

    Args:
      file: for sizes, sampling and colour space: gray, YCbCr or RGB.
      planes: float32 pixels of each component, at least its size.

    Returns:
      ``(H, W)`` or ``(H, W, 3)`` uint8.
    """
    height, width = (-(-side // COLOUR_STEP) * COLOUR_STEP for side in (file.height, file.width))
    padded = []
    for part, plane in zip(file.components, planes, strict=True):
        rows, columns = part.size
        down, across = part.factor
        margins = (0, height // down - rows), (0, width // across - columns)
        padded.append(np.pad(plane[:rows, :columns], margins, mode="edge"))
    factors = tuple(part.factor for part in file.components)
    picture = np.asarray(_to_8_bit_colour(tuple(padded), factors, file.colour == "ycbcr"))
    picture = picture[: file.height, : file.width]
    return picture[..., 0] if len(planes) == 1 else picture


@partial(jax.jit, static_argnums=(1, 2))
def _to_8_bit_colour(
    planes: tuple[Array, ...], factors: tuple[tuple[int, int], ...], is_ycbcr: bool
) -> Array:
    full = [color.upsample(p, f) for p, f in zip(planes, factors, strict=True)]
    picture = jnp.stack(full, axis=-1)
    if is_ycbcr:
        picture = color.ycbcr_to_rgb(picture)
    return jnp.round(jnp.clip(picture, 0.0, 1.0) * jpeg.MAX_SAMPLE).astype(jnp.uint8)


def _open(source: str | os.PathLike[str] | bytes | JpegFile, max_pixels: int | None) -> JpegFile:
    if not isinstance(source, JpegFile):
        source = codec.read(source, max_pixels=max_pixels or codec.MAX_PIXELS)
    if source.colour in ("cmyk", "ycck"):
        raise JpegError(f"{source.name}: is a CMYK file; convert it to RGB or grayscale first")
    return source
