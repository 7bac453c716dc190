"""The compact network: HR-CNN's idea at a fraction of its cost, one network for every table.

Still end to end from codes to pixels, still residual and fully convolutional, but it works where
the information is: on cells of 4x4 pixels, not at full resolution, and with kernels that know
where in its block a cell lies (`mirrored.py`). The quantisation table conditions it, and its
result is faithful by construction (`trunk.py`): every coefficient of the correction stays within
half its own quantisation step, so the restored plane quantises to the codes it came from, whatever
the weights.

Codes `(B, H, W, 1)`, tables `(B, 8, 8)`, pixels `(B, H, W, 1)` float32 near [0, 1].
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import damage, transform
from hrcnn_jax.jpeg.tables import BASELINE_STEP, BLOCK, MAX_SAMPLE
from hrcnn_jax.networks import trunk
from hrcnn_jax.networks.hrcnn import check_codes
from hrcnn_jax.networks.mirrored import PIXELS, from_cells, to_cells


class Compact(nn.Module):
    """Dequantise, inverse DCT, residual mirrored convolutions on cells, bounded correction.

    Attributes:
      width: channels of the residual blocks.
      blocks: residual blocks.
      kernels: deltas of every residual convolution, weighted by what the table asks for.
      orientations: 1, or 2: pictures are read transposed as well, and both corrections' mean taken.
      pointwise: the first and the last convolution are 1x1: faster, and see less.
      largest_step: the largest quantisation step it is trained on. Larger ones are taken for it: no
        more is corrected then than training taught.
      dtype: what is multiplied, float32 or bfloat16; sums are float32.
    """

    width: int = 48
    blocks: int = 3
    kernels: int = 0
    orientations: int = 1
    pointwise: bool = False
    largest_step: int = BASELINE_STEP
    dtype: DTypeLike = jnp.float32

    @property
    def halo(self) -> int:
        """Blocks on every side of a block that its pixels depend on (the receptive field)."""
        return trunk.halo(self.blocks, self.pointwise)

    @nn.compact
    def prepare(self, table: Array) -> trunk.Layers:
        """What depends on the tables `(B, 8, 8)` alone; for 2B readings if orientations are 2."""
        (tables,) = trunk.readings(self.orientations, jnp.minimum(table, self.largest_step))
        return trunk.prepare(
            trunk.describe_table(tables),
            width=self.width,
            blocks=self.blocks,
            kernels=self.kernels,
            inputs=PIXELS,
            outputs=PIXELS,
            dtype=self.dtype,
            pointwise=self.pointwise,
        )

    def __call__(
        self,
        codes: Array,
        table: Array,
        *,
        inside: bool = False,
        layers: trunk.Layers | None = None,
    ) -> Array:
        """Decodes and restores planes of codes.

        Args:
          codes: `(B, H, W, 1)` integers of any dtype, H and W multiples of 8.
          table: `(B, 8, 8)` quantisation steps of each plane.
          inside: leave out `halo` blocks on every side, which need not be computed.
          layers: what `prepare` made of the tables; worked out if not given.

        Returns:
          Pixels `(B, H, W, 1)` float32, or 16 times `halo` less than H and W; each plane
          quantises to exactly its codes.
        """
        check_codes(codes)
        layers = self.prepare(table) if layers is None else layers
        blocks = transform.to_blocks(codes[..., 0].astype(jnp.float32))
        decoded = transform.decode(blocks, table, clip=False)
        correct = partial(_correction, inside)
        correction = trunk.mean_correction(correct, layers, (decoded,), self.orientations)
        table = jnp.minimum(table, self.largest_step)
        correction *= damage.usual_error(table) * MAX_SAMPLE  # the same for both orientations
        if inside:
            decoded = transform.without_border(decoded, BLOCK * self.halo)
        steps = transform.per_block(table).astype(jnp.float32)
        return (decoded + trunk.bounded_correction(correction, steps))[..., None]


def _correction(inside: bool, layers: trunk.Layers, decoded: Array) -> Array:
    """What planes `(B, H, W)` lack, of unit size or so."""
    return from_cells(trunk.run(layers, to_cells(decoded - 0.5), inside=inside))
