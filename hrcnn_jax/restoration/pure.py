"""What a network makes of a plane or of a tile, as pure functions, for `jit`, `vmap` and `grad`."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from hrcnn_jax.jpeg import color, transform
from hrcnn_jax.networks.chroma import FACTOR, MCU
from hrcnn_jax.restoration import tiles


def restore_plane(
    module: nn.Module,
    params: Any,
    codes: Array,
    table: Array,
    *,
    faithful: bool = True,
    strength: float = 1.0,
) -> Array:
    """Restores one plane of codes: what `Restorer.restore_codes` does, without its tiles.

    Pure, for `jit`, `vmap` and `grad` in programs of your own; memory grows with the plane.

    Args:
      module: a network's architecture, such as `hrcnn_jax.load().module`.
      params: its parameters.
      codes: `(hb, wb, 8, 8)` integers, natural order `[v, u]`.
      table: `(8, 8)` quantisation steps; an architecture that serves one table ignores it
        where the network is concerned.
      faithful: project onto the planes that quantise to exactly these codes.
      strength: 0 gives the plain decode, 1 the restored plane.

    Returns:
      Pixels `(8*hb, 8*wb)` float32 near [0, 1], neither clipped nor rounded.
    """
    down, across = codes.shape[:2]
    halo = module.halo
    surrounded = tiles.window(codes, (-halo, -halo), (down + 2 * halo, across + 2 * halo))
    prepared = prepare(module, params, table)
    mix = None if strength == 1.0 else strength
    return restore_tile(module, prepared, surrounded, table, faithful=faithful, strength=mix)


Prepared = tuple[dict[str, Any], dict[str, Any]]
"""The variables and further arguments of a network's call."""


def prepare(module: nn.Module, params: Any, *tables: ArrayLike) -> Prepared:
    """What a network is called with for all tiles of a picture; pure and jit-able.

    Networks that serve every table have a method `prepare`: it makes of parameters and tables the
    `layers` that they compute with, which is worth doing once, not for every tile.

    Args:
      module: an architecture.
      params: its parameters.
      tables: quantisation steps, as its call takes them, without the batch.
    """
    if not hasattr(module, "prepare"):
        return {"params": params}, {}
    batches = [jnp.asarray(table)[None] for table in tables]
    return {}, {"layers": module.apply({"params": params}, *batches, method="prepare")}


def restore_tile(
    module: nn.Module,
    prepared: Prepared,
    codes: Array,
    table: Array,
    *,
    faithful: bool,
    strength: float | Array | None = None,
) -> Array:
    """Restores the inside of a tile; pure and jit-able.

    Args:
      module: an architecture, of halo c.
      prepared: by `prepare`, for the table.
      codes: `(h + 2c, w + 2c, 8, 8)` integers: a tile and c blocks on every side.
      table: `(8, 8)` quantisation steps.
      faithful: whether to project onto the codes.
      strength: of a mix, from 0, the plain decode, to 1; None for what is restored, unmixed.

    Returns:
      Pixels `(8*h, 8*w)` float32, not clipped.
    """
    halo = module.halo
    codes = codes.astype(jnp.float32)
    inside = codes[halo : codes.shape[0] - halo, halo : codes.shape[1] - halo]
    variables, layers = prepared
    plane = transform.from_blocks(codes)[None, ..., None]
    pixels: Any = module.apply(variables, plane, table[None], inside=True, **layers)
    restored = pixels[0, ..., 0]
    if faithful:
        restored = transform.project(restored, inside, table)
    if strength is None:
        return restored
    plain = transform.decode(inside, table, clip=False)
    return plain + strength * (restored - plain)


def restore_chroma_tile(
    module: nn.Module,
    prepared: Prepared,
    codes: Array,
    luma: Array,
    tables: Array,
    luma_table: Array,
    *,
    faithful: bool,
    strength: float | Array | None = None,
) -> Array:
    """Restores the inside of a tile of 4:2:0 chroma at the picture's size; pure and jit-able.

    Args:
      module: a `hrcnn_jax.networks.chroma.Chroma`, of halo c.
      prepared: by `prepare`, for the tables.
      codes: `(2, h + 2c, w + 2c, 8, 8)` integers of Cb and Cr: a tile and c blocks around it.
      luma: `(16*(h + 2c), 16*(w + 2c))`, restored.
      tables: `(2, 8, 8)` quantisation steps.
      luma_table: `(8, 8)`.
      faithful: whether a mix is made to agree with the codes, as the network's result does.
      strength: as that of `restore_tile`.

    Returns:
      Cb and Cr, `(2, 16*h, 16*w)` float32, not clipped.
    """
    planes = jnp.moveaxis(transform.from_blocks(codes.astype(jnp.float32)), 0, -1)
    variables, layers = prepared
    arguments = planes[None], tables[None], luma[None], luma_table[None]
    pixels: Any = module.apply(variables, *arguments, inside=True, **layers)
    restored = jnp.moveaxis(pixels[0], -1, 0)
    if strength is not None:
        plain = transform.decode(codes, tables, clip=False)
        enlarged = transform.without_border(color.upsample(plain, FACTOR), MCU * module.halo)
        restored = enlarged + strength * (restored - enlarged)
        if faithful:  # linear interpolation moves the means of boxes
            inside = slice(module.halo, codes.shape[1] - module.halo)
            restored = projected(restored, codes[:, inside, inside], tables, FACTOR)
    return restored


def projected(planes: Array, codes: Array, table: Array, factor: tuple[int, int]) -> Array:
    """The nearest planes that, shrunk as an encoder shrinks them, have the codes.

    Args:
      planes: `(..., H, W)` pixels.
      codes: `(..., h, w, 8, 8)` of the planes at a size that is a factor smaller.
      table: `(..., 8, 8)` quantisation steps.
      factor: whole numbers `(down, across)`.

    Returns:
      `(..., H, W)`.
    """
    samples = color.downsample(planes, factor)
    return planes + color.replicate(transform.project(samples, codes, table) - samples, factor)
