"""The compact network: HR-CNN's idea at a fraction of its cost, one network for every table.

Still end to end from codes to pixels, still residual and fully convolutional, but it works where
the information is: on cells of 4x4 pixels, not at full resolution, and with kernels that know
where in its block a cell lies (``mirrored.py``). It is told the quantisation table, and its result
is faithful by construction: every coefficient of the correction stays within half its own
quantisation step, so the restored plane quantises to the codes it came from, whatever the weights.

Codes ``(B, H, W, 1)``, tables ``(B, 8, 8)``, pixels ``(B, H, W, 1)`` float32 near [0, 1].
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax import jpeg
from hrcnn_jax.mirrored import CELL, PIXELS, MirroredConv, from_cells, to_cells, trimmed
from hrcnn_jax.model import check_codes

MARGIN = 1e-3
"""How far inside its half step a coefficient stays, in steps: room for float rounding."""

MEAN_STEP = 57.6
"""Mean step of Annex K's luminance table, quality 50."""


LARGEST_STEP = 255
"""That 8-bit tables can hold, and networks are trained on. Larger ones of 16-bit tables are taken
for it: no more is corrected then than training taught."""


def describe_table(table: Array) -> Array:
    """Quantisation steps ``(B, 8, 8)`` as 64 well-scaled features ``(B, 64)``."""
    steps = table.reshape(table.shape[0], jpeg.BLOCK**2).astype(jnp.float32)
    return 0.3 * (jnp.log2(steps) - 4.0)


def usual_error(table: Array) -> Array:
    """About how large a table's errors are, ``(B, 1, 1)``: they grow as the root of its steps."""
    mean = jnp.mean(table.astype(jnp.float32), axis=(1, 2), keepdims=True)
    return jnp.sqrt(mean / MEAN_STEP)


def bound(correction: Array, steps: Array) -> Array:
    """Squashes a correction of coefficients into plus or minus half a quantisation step.

    Nothing is corrected where the step is 1: 8-bit samples tell no more than that.
    """
    half = (0.5 - MARGIN) * steps
    return jnp.where(steps > 1, half * jnp.tanh(correction / half), 0.0)


class Mixture(nn.Module):
    """How much of each of K kernels the table asks for: ``(B, K)`` float32 in [-1, 1]."""

    kernels: int

    @nn.compact
    def __call__(self, told: Array) -> Array:
        # Biases apart, so that the kernels' shares turn at different qualities.
        biases = nn.initializers.normal(0.5)
        return nn.tanh(nn.Dense(self.kernels, bias_init=biases, name="dense")(told))


SLOPE = 0.1
"""Of the inner ReLUs below zero: without one, half of a block's channels died in training."""


class ResidualBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, added to its input cells; the table sets scale, shift and kernels.

    Inside, a block less on every side: as far as its two convolutions reach.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, features: Array, told: Array, mix: Array | None, *, inside: bool = False
    ) -> Array:
        width = features.shape[-1]
        zeros = nn.initializers.zeros
        scale_shift = nn.Dense(2 * width, kernel_init=zeros, name="table")(told)
        scale, shift = jnp.split(scale_shift, 2, axis=-1)
        shift = shift[:, None, None, None, None]
        conv1 = MirroredConv(width, slope=0.0, dtype=self.dtype, name="conv1")
        conv2 = MirroredConv(width, slope=SLOPE, dtype=self.dtype, name="conv2")
        detail = conv1(features, mix, 1 + scale, shift, inside=inside)
        return conv2(detail, mix, onto=trimmed(features) if inside else features)


class Compact(nn.Module):
    """Dequantise, inverse DCT, residual mirrored convolutions on cells, bounded correction.

    Attributes:
      width: channels of the residual blocks.
      blocks: residual blocks.
      kernels: mixed by the table into that of every residual convolution.
      orientations: 1, or 2: pictures are read transposed as well, and both corrections' mean taken.
      dtype: what convolutions compute in, float32 or bfloat16.
    """

    width: int = 48
    blocks: int = 3
    kernels: int = 0
    orientations: int = 1
    dtype: DTypeLike = jnp.float32

    @property
    def context(self) -> int:
        """Blocks on every side of a block that its pixels depend on (the receptive field)."""
        reach = (2 * self.blocks + 2) * CELL
        return -(-reach // jpeg.BLOCK)

    @nn.compact
    def __call__(self, codes: Array, table: Array, *, inside: bool = False) -> Array:
        """Decodes and restores planes of codes.

        Args:
          codes: ``(B, H, W, 1)`` integers of any dtype, H and W multiples of 8.
          table: ``(B, 8, 8)`` quantisation steps of each plane.
          inside: leave out ``context`` blocks on every side, which need not be computed.

        Returns:
          Pixels ``(B, H, W, 1)`` float32, or 16 times ``context`` less than H and W; each plane
          quantises to exactly its codes.
        """
        check_codes(codes)
        steps = jpeg.per_block(table).astype(jnp.float32)
        blocks = jpeg.to_blocks(codes[..., 0].astype(jnp.float32))
        decoded = jpeg.coefficients_to_pixels(jpeg.dequantise(blocks, steps))
        table, steps = jnp.minimum(table, LARGEST_STEP), jnp.minimum(steps, LARGEST_STEP)
        correct = self._corrector(inside)
        correction = correct(decoded, table)
        if self.orientations == 2:
            # The picture turned over its diagonal, as its codes and table would be.
            turned = correct(decoded.swapaxes(1, 2), table.swapaxes(1, 2))
            correction = 0.5 * (correction + turned.swapaxes(1, 2))
        if inside:
            decoded = jpeg.without_border(decoded, jpeg.BLOCK * self.context)
        bounded = bound(jpeg.dct(jpeg.to_blocks(correction)), steps)
        restored = decoded + jpeg.from_blocks(jpeg.idct(bounded)) / jpeg.MAX_SAMPLE
        return restored[..., None]

    def _corrector(self, inside: bool) -> Callable[[Array, Array], Array]:
        """From decoded planes ``(B, H, W)`` and tables to what they lack, in levels of 255."""
        lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        mixture = Mixture(self.kernels, name="mixture") if self.kernels else None
        head = MirroredConv(self.width, kernel_init=lecun, dtype=self.dtype, name="head")
        blocks = [ResidualBlock(self.dtype, name=f"residual{i + 1}") for i in range(self.blocks)]
        tail = MirroredConv(PIXELS, slope=0.0, kernel_init=zeros, dtype=self.dtype, name="tail")

        def correct(decoded: Array, table: Array) -> Array:
            told = describe_table(table)
            mix = mixture(told) if mixture else None
            features = head(to_cells(decoded - 0.5))
            for block in blocks:
                features = block(features, told, mix, inside=inside)
            cells = tail(features, inside=inside)
            return from_cells(cells.astype(jnp.float32)) * usual_error(table) * jpeg.MAX_SAMPLE

        return correct
