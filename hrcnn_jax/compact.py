"""The compact network: HR-CNN's idea at a thirtieth of its cost, one network for every table.

Still end to end from codes to pixels, still residual and fully convolutional, but it works where
the information is: on cells of a few pixels inside each 8x8 block, not at full resolution. It is
told the quantisation table, and its result is faithful by construction: every coefficient of the
correction stays within half its own quantisation step, so the restored plane quantises to the
codes it came from, whatever the weights.

Codes ``(B, H, W, 1)``, tables ``(B, 8, 8)``, pixels ``(B, H, W, 1)`` float32 near [0, 1].
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax import jpeg
from hrcnn_jax.model import check_codes

MARGIN = 1e-3
"""How far inside its half step a coefficient stays, in steps: room for float rounding."""


def space_to_depth(plane: Array, cell: int) -> Array:
    """Planes ``(B, H, W)`` to cells ``(B, H/cell, W/cell, cell*cell)``, row by row."""
    batch, height, width = plane.shape
    split = plane.reshape(batch, height // cell, cell, width // cell, cell)
    return split.swapaxes(2, 3).reshape(batch, height // cell, width // cell, cell * cell)


def depth_to_space(cells: Array, cell: int) -> Array:
    """Inverse of :func:`space_to_depth`."""
    batch, down, across, _ = cells.shape
    split = cells.reshape(batch, down, across, cell, cell)
    return split.swapaxes(2, 3).reshape(batch, down * cell, across * cell)


def cell_places(down: int, across: int, cell: int) -> Array:
    """One-hot place of each cell within its 8x8 block: ``(down, across, (8 // cell)**2)``."""
    side = jpeg.BLOCK // cell
    row, column = jnp.indices((down, across))
    place = (row % side) * side + column % side
    return nn.one_hot(place, side * side)


def describe_table(table: Array) -> Array:
    """Quantisation steps ``(B, 8, 8)`` as 64 well-scaled features ``(B, 64)``."""
    steps = table.reshape(table.shape[0], jpeg.BLOCK**2).astype(jnp.float32)
    return 0.3 * (jnp.log2(steps) - 4.0)


def bound(correction: Array, steps: Array) -> Array:
    """Squashes a correction of coefficients into plus or minus half a quantisation step."""
    half = (0.5 - MARGIN) * steps
    return half * jnp.tanh(correction / half)


class ResidualBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, added to its input ``(B, h, w, C)``; the table sets scale and shift."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: Array, told: Array) -> Array:
        width = features.shape[-1]
        init = nn.initializers.he_normal()
        zeros = nn.initializers.zeros
        scale_shift = nn.Dense(2 * width, kernel_init=zeros, dtype=self.dtype, name="table")(told)
        scale, shift = jnp.split(scale_shift[:, None, None, :], 2, axis=-1)
        inner = nn.relu(features)
        inner = nn.Conv(width, (3, 3), kernel_init=init, dtype=self.dtype, name="conv1")(inner)
        inner = nn.relu(inner * (1 + scale) + shift)
        inner = nn.Conv(width, (3, 3), kernel_init=init, dtype=self.dtype, name="conv2")(inner)
        return features + inner


class Compact(nn.Module):
    """Dequantise, inverse DCT, residual 3x3 convolutions on cells, bounded correction.

    Attributes:
      width: channels of the residual blocks.
      blocks: residual blocks.
      cell: side of a cell in pixels: 2, 4 or 8.
      dtype: what convolutions compute in, float32 or bfloat16.
    """

    width: int = 48
    blocks: int = 3
    cell: int = 4
    dtype: DTypeLike = jnp.float32

    @property
    def context(self) -> int:
        """Blocks on every side of a block that its pixels depend on (the receptive field)."""
        reach = (2 * self.blocks + 2) * self.cell
        return -(-reach // jpeg.BLOCK)

    @nn.compact
    def __call__(self, codes: Array, table: Array) -> Array:
        """Decodes and restores planes of codes.

        Args:
          codes: ``(B, H, W, 1)`` integers of any dtype, H and W multiples of 8.
          table: ``(B, 8, 8)`` quantisation steps of each plane.

        Returns:
          Pixels ``(B, H, W, 1)`` float32; each plane quantises to exactly its codes.
        """
        check_codes(codes)
        steps = jpeg.per_block(table).astype(jnp.float32)
        blocks = jpeg.to_blocks(codes[..., 0].astype(jnp.float32))
        decoded = jpeg.coefficients_to_pixels(jpeg.dequantise(blocks, steps))

        cells = space_to_depth(decoded - 0.5, self.cell).astype(self.dtype)
        batch, down, across, _ = cells.shape
        places = cell_places(down, across, self.cell).astype(self.dtype)
        places = jnp.broadcast_to(places, (batch, *places.shape))
        told = describe_table(table).astype(self.dtype)

        features = jnp.concatenate([cells, places], axis=-1)
        features = nn.Conv(self.width, (3, 3), dtype=self.dtype, name="head")(features)
        for index in range(self.blocks):
            features = ResidualBlock(self.dtype, name=f"residual{index + 1}")(features, told)
        correction = nn.Conv(
            self.cell**2,
            (3, 3),
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="tail",
        )(nn.relu(features))

        pixels = depth_to_space(correction.astype(jnp.float32), self.cell) * jpeg.MAX_SAMPLE
        bounded = bound(jpeg.dct(jpeg.to_blocks(pixels)), steps)
        restored = decoded + jpeg.from_blocks(jpeg.idct(bounded)) / jpeg.MAX_SAMPLE
        return restored[..., None]
