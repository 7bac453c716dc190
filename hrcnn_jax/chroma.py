"""The chroma network: both chroma planes of a 4:2:0 file at full size, guided by restored luma.

A subsampled chroma plane has lost its detail twice, to the box filter and to the table, and most of
what it lost happens where luma happens: at the edges of things. So this network does not restore
chroma first and enlarge it afterwards. It reads, cell by cell (``mirrored.py``), 4x4 samples of Cb
and of Cr and the 8x8 pixels of restored luma that they cover, and gives 8x8 pixels of each, to be
added to what guided upsampling alone makes of them. The mean of every box of 2x2 pixels is a sample
of the plane that was encoded: those are bounded as the compact network's are (``compact.py``), so
that chroma, shrunk as the encoder shrank it, quantises to the file's own codes, whatever the
weights.

Luma ``(B, H, W)`` and pixels ``(B, H, W, 2)``, H and W multiples of 16, are float32 near [0, 1];
codes ``(B, H/2, W/2, 2)`` hold Cb and Cr.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax import color, jpeg
from hrcnn_jax.compact import (
    LARGEST_STEP,
    Mixture,
    ResidualBlock,
    bound,
    describe_table,
    usual_error,
)
from hrcnn_jax.jpeg import without_border
from hrcnn_jax.mirrored import CELL, MirroredConv, from_cells, to_cells

FACTOR = (2, 2)
"""Pixels of luma to a sample of chroma, down and across."""

MCU = 2 * jpeg.BLOCK
"""Side in pixels of what a block of chroma covers (T.81 A.2.3)."""

_LUMA_CELL = 2 * CELL

_CONTRAST = 4.0
"""Chroma varies about this much less than luma does; it is brought to the same range."""


class Chroma(nn.Module):
    """Dequantise, inverse DCT, residual mirrored convolutions on cells of all three planes.

    Attributes:
      width: channels of the residual blocks.
      blocks: residual blocks.
      kernels: mixed by the tables into that of every residual convolution.
      dtype: what convolutions compute in, float32 or bfloat16.
    """

    width: int = 64
    blocks: int = 2
    kernels: int = 0
    dtype: DTypeLike = jnp.float32

    @property
    def context(self) -> int:
        """Blocks of chroma on every side of a block that its pixels depend on."""
        reach = (2 * self.blocks + 2) * CELL
        return -(-reach // jpeg.BLOCK)

    @nn.compact
    def __call__(
        self,
        codes: Array,
        tables: Array,
        luma: Array,
        luma_table: Array,
        *,
        inside: bool = False,
    ) -> Array:
        """Decodes, restores and enlarges chroma.

        Args:
          codes: ``(B, H/2, W/2, 2)`` integers of any dtype.
          tables: ``(B, 2, 8, 8)`` quantisation steps of Cb and of Cr.
          luma: ``(B, H, W)``, restored.
          luma_table: ``(B, 8, 8)`` quantisation steps of luma: how far it can be trusted.
          inside: leave out ``context`` blocks on every side, which need not be computed.

        Returns:
          Pixels ``(B, H, W, 2)`` float32, or 32 times ``context`` less than H and W; the means of
          their 2x2 boxes quantise to the codes.

        Raises:
          ValueError: if the shapes do not fit.
        """
        batch, height, width = luma.shape
        if height % MCU or width % MCU or codes.shape != (batch, height // 2, width // 2, 2):
            raise ValueError(
                f"codes {codes.shape} and luma {luma.shape} are not those of a 4:2:0 picture of "
                f"whole MCUs, {MCU}x{MCU} pixels"
            )
        steps = jpeg.per_block(tables).astype(jnp.float32)
        blocks = jpeg.to_blocks(jnp.moveaxis(codes, -1, 1).astype(jnp.float32))
        decoded = jpeg.coefficients_to_pixels(jpeg.dequantise(blocks, steps))  # (B, 2, H/2, W/2)
        tables, luma_table, steps = (
            jnp.minimum(each, LARGEST_STEP) for each in (tables, luma_table, steps)
        )

        told = describe_table(tables[:, 0]) + describe_table(tables[:, 1])
        told = jnp.concatenate([describe_table(luma_table), 0.5 * told], axis=-1)
        correction = self._correction(decoded, luma, told, inside)
        correction *= usual_error(tables.reshape(-1, 8, 8)).reshape(batch, 2, 1, 1) / _CONTRAST
        guide = luma[:, None]
        if inside:  # but for a block, further than a pixel of the guided planes reaches
            spared = self.context - 1
            decoded = without_border(decoded, jpeg.BLOCK * spared)
            guide = without_border(guide, MCU * spared)
        pixels = color.upsample_guided(decoded, guide, FACTOR)
        if inside:
            decoded, pixels = without_border(decoded, jpeg.BLOCK), without_border(pixels, MCU)
        # No two samples are further apart than 1; beyond it sums would lose the codes' bits.
        pixels += jnp.clip(correction, -1, 1)

        # The samples that the encoder saw: bounded, then given back to their boxes of pixels.
        samples = color.downsample(pixels, FACTOR)
        moved = jpeg.dct(jpeg.to_blocks((samples - decoded) * jpeg.MAX_SAMPLE))
        bounded = jpeg.from_blocks(jpeg.idct(bound(moved, steps))) / jpeg.MAX_SAMPLE
        pixels += color.replicate(decoded + bounded - samples, FACTOR)
        return jnp.moveaxis(pixels, 1, -1)

    def _correction(self, decoded: Array, luma: Array, told: Array, inside: bool) -> Array:
        """What the convolutions would add: ``(B, 2, H, W)``, of unit size or so."""
        lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        cells = [to_cells(_CONTRAST * (decoded[:, plane] - 0.5)) for plane in (0, 1)]
        cells.append(to_cells(luma - 0.5, _LUMA_CELL))
        features = jnp.concatenate(cells, axis=-1)
        features = MirroredConv(self.width, kernel_init=lecun, dtype=self.dtype, name="head")(
            features
        )
        mix = Mixture(self.kernels, name="mixture")(told) if self.kernels else None
        for index in range(self.blocks):
            block = ResidualBlock(self.dtype, name=f"residual{index + 1}")
            features = block(features, told, mix, inside=inside)
        pixels = 2 * _LUMA_CELL**2
        tail = MirroredConv(pixels, slope=0.0, kernel_init=zeros, dtype=self.dtype, name="tail")
        both = tail(features, inside=inside)
        planes = jnp.split(both.astype(jnp.float32), 2, axis=-1)
        return jnp.stack([from_cells(plane, _LUMA_CELL) for plane in planes], axis=1)
