"""From JPEG file to picture: codes through the network, plane by plane, then colour."""

import itertools
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from hrcnn_jax.files import reader
from hrcnn_jax.files.depths import Depth, check_depth
from hrcnn_jax.files.reader import Component, JpegError, JpegFile
from hrcnn_jax.jpeg import color, transform
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.networks import base, cards, zoo
from hrcnn_jax.networks.chroma import FACTOR, MCU
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration import compilation, tiles
from hrcnn_jax.restoration.assembly import Plane, assemble

_CHROMA_TILE = 4 / 3
"""Sides of chroma's tiles in those of luma's: with larger ones its memory would not stay in cache,
with smaller ones their surroundings cost more."""


class Restorer:
    """Restores planes and files with one network; keeps its compiled programs between calls.

    Safe to share among threads.
    """

    def __init__(
        self,
        network: str | os.PathLike[str] | Network = cards.DEFAULT,
        *,
        faithful: bool = True,
        strength: float = 1.0,
        tile: int = tiles.TILE * BLOCK,
        chroma: str | os.PathLike[str] | Network | None = cards.CHROMA,
    ) -> None:
        """Prepares a network.

        Args:
          network: a released network's name, a weights file, the folder of a training run, or a
            network.
          faithful: project every plane onto those that quantise to exactly the file's codes. A
            network that is faithful by construction cannot do without.
          strength: 0 gives the plain decode, 1 the restored picture, between them a mix; a
            faithful mix stays faithful. Subsampled chroma follows the detail of luma as far.
          tile: largest side in pixels of what is restored at once, a multiple of 64. It changes
            speed and memory, not the picture.
          chroma: the network that restores 4:2:0 chroma beside one that serves any table; None
            has each plane restored by itself.

        Raises:
          ModelError: if there is no such network, or one is of the other's kind.
          ValueError: if the strength is outside 0-1, the tile no multiple of 64, or ``faithful``
            off for a network that is faithful by construction.
        """
        if not 0.0 <= strength <= 1.0:
            raise ValueError(f"strength must be from 0 to 1, got {strength}")
        if tile < tiles.STEP or tile % tiles.STEP:
            raise ValueError(f"tile must be a multiple of {tiles.STEP} pixels, got {tile}")
        self.network = _load(network, for_chroma=False)
        if self.network.architecture.is_faithful and not faithful:
            raise ValueError(
                f"network {self.network.name} is faithful by construction: it has no other way; "
                "leave --no-faithful out"
            )
        self.strength = strength
        self._tile = tile
        module, self._params = self.network.architecture.fold(
            self.network.module, self.network.params
        )
        self._halo = module.halo
        mode: dict[str, Any] = {"faithful": faithful, "strength": strength}
        options = compilation.lean()
        self._restore_tile = jax.jit(
            partial(restore_tile, module, **mode), compiler_options=options
        )
        self._chroma = None
        if chroma is not None and self.network.table is None and strength > 0.0:
            self._chroma = _load(chroma, for_chroma=True)
            self._restore_chroma = jax.jit(
                partial(restore_chroma_tile, self._chroma.module, **mode),
                compiler_options=options,
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
        return np.concatenate(list(self._strips(codes.astype(np.int16), table)))

    def planes(self, file: JpegFile) -> list[Plane]:
        """Restores a file's components as far as they are asked for.

        A network that knows one table only restores luma; chroma is then decoded plainly.

        Returns:
          For each component its pixels, neither clipped nor rounded; chroma of 4:2:0 files at the
          picture's size.

        Raises:
          JpegError: if the network does not know the table of the file's luma.
        """
        self._check_serves(file)
        planes = [
            Plane.of(
                part,
                self._strips(part.codes, part.table) if self.serves(part.table) else _plain(part),
            )
            for part in file.components
        ]
        if self._chroma is not None and _is_420(file):
            luma, guide = itertools.tee(planes[0].strips)
            cb, cr = itertools.tee(self._chroma_strips(file, guide))
            size = file.height, file.width
            planes[:3] = [
                Plane(luma, size, (1, 1)),
                Plane((strip[..., 0] for strip in cb), size, (1, 1)),
                Plane((strip[..., 1] for strip in cr), size, (1, 1)),
            ]
        return planes

    def _chroma_strips(
        self, file: JpegFile, luma: Iterator[NDArray[np.float32]]
    ) -> Iterator[NDArray[np.float32]]:
        """Cb and Cr at the picture's size, in strips ``(16*n, 16*wb, 2)``."""
        y, cb, cr = file.components[:3]
        down, across = cb.codes.shape[:2]
        rows = tiles.Rows((BLOCK * y.codes.shape[0], BLOCK * y.codes.shape[1]), luma)
        tables = jnp.asarray(np.stack([cb.table, cr.table]))
        luma_table = jnp.asarray(y.table)
        assert self._chroma is not None
        params, halo = self._chroma.params, self._chroma.module.halo

        def cut(corner: tuple[int, int], size: tuple[int, int]) -> tuple[NDArray, NDArray]:
            codes = [tiles.surrounded(part.codes, corner, size, halo) for part in (cb, cr)]
            guide = rows.take(
                *(
                    tiles.mirrored(MCU * count, MCU * (start - halo), MCU * (start + length + halo))
                    for count, start, length in zip((down, across), corner, size, strict=True)
                )
            )
            return np.stack(codes), guide

        def decode(tile: tuple[NDArray, NDArray]) -> Array:
            codes, guide = tile
            return self._restore_chroma(params, codes, tables, guide, luma_table)

        largest = int(_CHROMA_TILE * self._tile) // tiles.STEP * tiles.STEP // MCU
        return tiles.cover((down, across), cut, decode, largest=largest, block=MCU)

    def _strips(self, codes: NDArray[np.int16], table: NDArray) -> Iterator[NDArray[np.float32]]:
        steps = jnp.asarray(table, jnp.int32)
        return tiles.strips(
            codes,
            lambda tile: self._restore_tile(self._params, tile, steps),
            halo=self._halo,
            largest=self._tile // BLOCK,
        )

    def restore(
        self,
        source: str | os.PathLike[str] | bytes | JpegFile,
        *,
        max_pixels: int | None = reader.MAX_PIXELS,
        depth: Depth = "uint8",
    ) -> NDArray[Any]:
        """Restores a JPEG file.

        A network that knows one table only restores luma; chroma is then decoded plainly.

        Args:
          source: a path, a file's content, or a file already read.
          max_pixels: refuse larger pictures; None for no limit.
          depth: of the result's samples: ``uint8`` and ``uint16`` use the type's whole range,
            ``float32`` is in [0, 1].

        Returns:
          ``(H, W)`` of a grayscale file, ``(H, W, 3)`` RGB of a colour file, ``(H, W, 4)`` of a
          CMYK file, the largest value being full ink; as stored: not turned by an EXIF
          orientation.

        Raises:
          JpegError: if the file cannot be read, or the network does not know the table of its
            luma.
          ValueError: if there is no such depth.
        """
        check_depth(depth)
        file = _open(source, max_pixels)
        return assemble(file, self.planes(file), depth, guidance=self.strength)

    def _check_serves(self, file: JpegFile) -> None:
        if not self.serves(file.components[0].table):
            quality = self.network.quality
            raise JpegError(
                f"{file.name}: {self.network.name} only serves luma with the standard table of "
                f"quality {quality}, and this file has another; use --model {cards.DEFAULT}"
            )


def restore(
    source: str | os.PathLike[str] | bytes,
    *,
    model: str | os.PathLike[str] = cards.DEFAULT,
    depth: Depth = "uint8",
) -> NDArray[Any]:
    """Restores a JPEG file.

    Args:
      source: a path or a file's content.
      model: a released network's name, a weights file, or the folder of a training run.
      depth: of the result's samples: ``uint8``, ``uint16`` or ``float32``.

    Returns:
      ``(H, W)`` of a grayscale file, ``(H, W, 3)`` RGB of a colour file, ``(H, W, 4)`` of a CMYK
      file.

    Raises:
      JpegError: if the file cannot be restored; the message says why.
      ModelError: if there is no such network.
      ValueError: if there is no such depth.
    """
    return Restorer(model).restore(source, depth=depth)


def decode(
    source: str | os.PathLike[str] | bytes | JpegFile, *, depth: Depth = "uint8"
) -> NDArray[Any]:
    """Decodes a JPEG file plainly, with this package's own colour and upsampling.

    Args and returns as :meth:`Restorer.restore`.

    Raises:
      JpegError: if the file cannot be read.
      ValueError: if there is no such depth.
    """
    check_depth(depth)
    file = _open(source, reader.MAX_PIXELS)
    planes = [Plane.of(part, _plain(part)) for part in file.components]
    return assemble(file, planes, depth)


def _plain(part: Component) -> Iterator[NDArray[np.float32]]:
    steps = jnp.asarray(part.table)
    return tiles.strips(part.codes, lambda tile: _plain_tile(tile, steps), halo=0)


@jax.jit
def _plain_tile(codes: Array, table: Array) -> Array:
    """Pixels ``(8*h, 8*w)`` of codes ``(h, w, 8, 8)``, not clipped: faithful to them."""
    return transform.decode(codes, table, clip=False)


def restore_plane(
    module: nn.Module,
    params: Any,
    codes: Array,
    table: Array,
    *,
    faithful: bool = True,
    strength: float = 1.0,
) -> Array:
    """Restores one plane of codes: what :meth:`Restorer.restore_codes` does, without its tiles.

    Pure, for ``jit``, ``vmap`` and ``grad`` in programs of your own; memory grows with the plane.

    Args:
      module: a network's architecture, such as ``hrcnn_jax.load().module``.
      params: its parameters.
      codes: ``(hb, wb, 8, 8)`` integers, natural order ``[v, u]``.
      table: ``(8, 8)`` quantisation steps; an architecture that serves one table ignores it
        where the network is concerned.
      faithful: project onto the planes that quantise to exactly these codes.
      strength: 0 gives the plain decode, 1 the restored plane.

    Returns:
      Pixels ``(8*hb, 8*wb)`` float32 near [0, 1], neither clipped nor rounded.
    """
    down, across = codes.shape[:2]
    halo = module.halo
    surrounded = tiles.window(codes, (-halo, -halo), (down + 2 * halo, across + 2 * halo))
    return restore_tile(module, params, surrounded, table, faithful=faithful, strength=strength)


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
      module: an architecture, of halo c.
      params: its parameters.
      codes: ``(h + 2c, w + 2c, 8, 8)`` integers: a tile and c blocks on every side.
      table: ``(8, 8)`` quantisation steps.
      faithful: whether to project onto the codes.
      strength: from 0, the plain decode, to 1.

    Returns:
      Pixels ``(8*h, 8*w)`` float32, not clipped.
    """
    halo = module.halo
    codes = codes.astype(jnp.float32)
    inside = codes[halo:-halo, halo:-halo]
    plain = _plain_tile(inside, table)
    if strength == 0.0:
        return plain
    restored = base.restore(module, params, codes[None], table[None], inside=True)[0]
    if faithful:
        restored = transform.project(restored, inside, table)
    return restored if strength == 1.0 else plain + strength * (restored - plain)


def restore_chroma_tile(
    module: nn.Module,
    params: Any,
    codes: Array,
    tables: Array,
    luma: Array,
    luma_table: Array,
    *,
    faithful: bool,
    strength: float,
) -> Array:
    """Restores the inside of a tile of 4:2:0 chroma at the picture's size; pure and jit-able.

    Args:
      module: a :class:`hrcnn_jax.chroma.Chroma`, of halo c.
      params: its parameters.
      codes: ``(2, h + 2c, w + 2c, 8, 8)`` integers of Cb and Cr: a tile and c blocks around it.
      tables: ``(2, 8, 8)`` quantisation steps.
      luma: ``(16*(h + 2c), 16*(w + 2c))``, restored.
      luma_table: ``(8, 8)``.
      faithful: whether a mix is made to agree with the codes, as the network's result does.
      strength: from 0, the plain decode, to 1.

    Returns:
      Pixels ``(16*h, 16*w, 2)`` float32, not clipped.
    """
    planes = jnp.moveaxis(transform.from_blocks(codes.astype(jnp.float32)), 0, -1)
    pixels: Any = module.apply(
        {"params": params}, planes[None], tables[None], luma[None], luma_table[None], inside=True
    )
    restored = jnp.moveaxis(pixels[0], -1, 0)
    if strength < 1.0:
        plain = transform.decode(codes, tables, clip=False)
        enlarged = transform.without_border(color.upsample(plain, FACTOR), MCU * module.halo)
        restored = enlarged + strength * (restored - enlarged)
        if faithful:  # linear interpolation moves the means of boxes
            samples = color.downsample(restored, FACTOR)
            inside = slice(module.halo, -module.halo)
            projected = transform.project(samples, codes[:, inside, inside], tables)
            restored += color.replicate(projected - samples, FACTOR)
    return jnp.moveaxis(restored, 0, -1)


def _is_420(file: JpegFile) -> bool:
    factors = [part.factor for part in file.components[:3]]
    return file.colour in ("ycbcr", "ycck") and factors == [(1, 1), FACTOR, FACTOR]


def _load(network: str | os.PathLike[str] | Network, *, for_chroma: bool) -> Network:
    loaded = network if isinstance(network, Network) else zoo.load(network)
    if (loaded.architecture.kind == "chroma") != for_chroma:
        kind = "is no network for chroma" if for_chroma else "only restores chroma beside another"
        raise cards.ModelError(f"network {loaded.name!r} {kind}: see the command models")
    return loaded


def _open(source: str | os.PathLike[str] | bytes | JpegFile, max_pixels: int | None) -> JpegFile:
    if isinstance(source, JpegFile):
        return source
    return reader.read(source, max_pixels=max_pixels)
