"""The chroma network: both chroma planes of a 4:2:0 file at full size, guided by restored luma.

A subsampled chroma plane has lost its detail twice, to the box filter and to the table, and most of
what it lost happens where luma happens: at the edges of things. So this network does not restore
chroma first and enlarge it afterwards. It reads, cell by cell (`mirrored.py`), 4x4 samples of Cb
and of Cr and the 8x8 pixels of restored luma that they cover, and gives 8x8 pixels of each, to be
added to what guided upsampling alone makes of them. The mean of every box of 2x2 pixels is a sample
of the plane that was encoded: those are bounded as the compact network's are (`trunk.py`), so that
chroma, shrunk as the encoder shrank it, quantises to the file's own codes, whatever the weights.

Luma `(B, H, W)` and pixels `(B, H, W, 2)`, H and W multiples of 16, are float32 near [0, 1];
codes `(B, H/2, W/2, 2)` hold Cb and Cr.
"""

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import color, damage, transform
from hrcnn_jax.jpeg.tables import BASELINE_STEP, BLOCK, MAX_SAMPLE
from hrcnn_jax.jpeg.transform import without_border
from hrcnn_jax.networks import trunk
from hrcnn_jax.networks.cards import Kind
from hrcnn_jax.networks.mirrored import CELL, from_cells, to_cells

FACTOR = (2, 2)
"""Pixels of luma to a sample of chroma, down and across."""

MCU = 2 * BLOCK
"""Side in pixels of what a block of chroma covers (T.81 A.2.3)."""

_LUMA_CELL = 2 * CELL

_CONTRAST = 4.0
"""Chroma varies about this much less than luma does; it is brought to the same range."""


class Chroma(nn.Module):
    """Dequantise, inverse DCT, residual mirrored convolutions on cells of all three planes.

    Attributes:
      width: channels of the residual blocks.
      blocks: residual blocks.
      kernels: deltas of every residual convolution, weighted by what the tables ask for.
      orientations: 1, or 2: pictures are read transposed as well, and both corrections' mean taken.
      pointwise: the first and the last convolution are 1x1: faster, and see less.
      largest_step: the largest quantisation step it is trained on. Larger ones are taken for it.
      dtype: what is multiplied, float32 or bfloat16; sums are float32.
    """

    width: int = 64
    blocks: int = 2
    kernels: int = 0
    orientations: int = 1
    pointwise: bool = False
    largest_step: int = BASELINE_STEP
    dtype: DTypeLike = jnp.float32

    @property
    def halo(self) -> int:
        """Blocks of chroma on every side of a block that its pixels depend on."""
        return trunk.halo(self.blocks, self.pointwise)

    @nn.compact
    def prepare(self, tables: Array, luma_table: Array) -> trunk.Layers:
        """What depends on the tables alone: `(B, 2, 8, 8)`, and `(B, 8, 8)` of luma.

        It is for 2B readings if orientations are 2.
        """
        bounded = (jnp.minimum(each, self.largest_step) for each in (tables, luma_table))
        return trunk.prepare(
            _describe(*trunk.readings(self.orientations, *bounded)),
            width=self.width,
            blocks=self.blocks,
            kernels=self.kernels,
            inputs=2 * CELL**2 + _LUMA_CELL**2,
            outputs=2 * _LUMA_CELL**2,
            dtype=self.dtype,
            pointwise=self.pointwise,
        )

    def __call__(
        self,
        codes: Array,
        tables: Array,
        luma: Array,
        luma_table: Array,
        *,
        inside: bool = False,
        layers: trunk.Layers | None = None,
    ) -> Array:
        """Decodes, restores and enlarges chroma.

        Args:
          codes: `(B, H/2, W/2, 2)` integers of any dtype.
          tables: `(B, 2, 8, 8)` quantisation steps of Cb and of Cr.
          luma: `(B, H, W)`, restored.
          luma_table: `(B, 8, 8)` quantisation steps of luma: how far it can be trusted.
          inside: leave out `halo` blocks on every side, which need not be computed.
          layers: what `prepare` made of the tables; worked out if not given.

        Returns:
          Pixels `(B, H, W, 2)` float32, or 32 times `halo` less than H and W; the means of
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
        blocks = transform.to_blocks(jnp.moveaxis(codes, -1, 1).astype(jnp.float32))
        decoded = transform.decode(blocks, tables, clip=False)  # (B, 2, H/2, W/2)
        layers = self.prepare(tables, luma_table) if layers is None else layers
        correct = partial(_correction, inside)
        correction = trunk.mean_correction(correct, layers, (decoded, luma), self.orientations)
        tables = jnp.minimum(tables, self.largest_step)
        errors = damage.usual_error(tables.reshape(-1, 8, 8)).reshape(batch, 2, 1, 1)
        correction *= errors / _CONTRAST
        surrounded, guide = decoded, luma[:, None]
        if inside:
            border = BLOCK * self.halo
            spared = border - color.GUIDED_REACH
            decoded = without_border(decoded, border)
            surrounded = without_border(surrounded, spared)
            guide = without_border(guide, FACTOR[0] * spared)
        pixels = color.upsample_guided(surrounded, guide, FACTOR, inside=inside)
        # No two samples are further apart than 1; beyond it sums would lose the codes' bits.
        pixels += jnp.clip(correction, -1, 1)

        # The samples that the encoder saw: bounded, then given back to their boxes of pixels.
        samples = color.downsample(pixels, FACTOR)
        steps = transform.per_block(tables).astype(jnp.float32)
        bounded = trunk.bounded_correction((samples - decoded) * MAX_SAMPLE, steps)
        pixels += color.replicate(decoded + bounded - samples, FACTOR)
        return jnp.moveaxis(pixels, 1, -1)


def _correction(inside: bool, layers: trunk.Layers, decoded: Array, luma: Array) -> Array:
    """What chroma `(B, 2, H/2, W/2)` lacks beside luma `(B, H, W)`: `(B, 2, H, W)`, of about 1."""
    cells = [to_cells(_CONTRAST * (decoded[:, plane] - 0.5)) for plane in (0, 1)]
    cells.append(to_cells(luma - 0.5, _LUMA_CELL))
    found = trunk.run(layers, jnp.concatenate(cells, axis=-1), inside=inside)
    planes = jnp.split(found, 2, axis=-1)
    return jnp.stack([from_cells(plane, _LUMA_CELL) for plane in planes], axis=1)


def _describe(tables: Array, luma_table: Array) -> Array:
    """Conditioning `(B, 128)`: the table of luma, and the mean of those of chroma."""
    chroma = trunk.describe_table(tables[:, 0]) + trunk.describe_table(tables[:, 1])
    return jnp.concatenate([trunk.describe_table(luma_table), 0.5 * chroma], axis=-1)


@dataclass(frozen=True)
class ChromaArchitecture(trunk.TrunkArchitecture):
    """The network of chroma as the rest of the package asks about it."""

    module: type[nn.Module] = Chroma
    kind: Kind = "chroma"
    pixels: int = _LUMA_CELL**2

    def inputs(self, side: int) -> tuple[Array, ...]:
        """Blank codes, tables, luma and its table of one picture of side by side pixels."""
        table = jnp.ones((1, 8, 8))
        codes, luma = jnp.zeros((1, side // 2, side // 2, 2)), jnp.zeros((1, side, side))
        return codes, jnp.stack([table, table], axis=1), luma, table
