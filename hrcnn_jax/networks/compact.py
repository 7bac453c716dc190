"""The compact network: HR-CNN's idea at a fraction of its cost, one network for every table.

Still end to end from codes to pixels, still residual and fully convolutional, but it works where
the information is: on cells of 4x4 pixels, not at full resolution, and with kernels that know
where in its block a cell lies (``mirrored.py``). The quantisation table conditions it, and its
result is faithful by construction (``trunk.py``): every coefficient of the correction stays within
half its own quantisation step, so the restored plane quantises to the codes it came from, whatever
the weights.

Codes ``(B, H, W, 1)``, tables ``(B, 8, 8)``, pixels ``(B, H, W, 1)`` float32 near [0, 1].
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE
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
      dtype: what convolutions compute in, float32 or bfloat16.
    """

    width: int = 48
    blocks: int = 3
    kernels: int = 0
    orientations: int = 1
    dtype: DTypeLike = jnp.float32

    @property
    def halo(self) -> int:
        """Blocks on every side of a block that its pixels depend on (the receptive field)."""
        return trunk.halo(self.blocks)

    @nn.compact
    def __call__(self, codes: Array, table: Array, *, inside: bool = False) -> Array:
        """Decodes and restores planes of codes.

        Args:
          codes: ``(B, H, W, 1)`` integers of any dtype, H and W multiples of 8.
          table: ``(B, 8, 8)`` quantisation steps of each plane.
          inside: leave out ``halo`` blocks on every side, which need not be computed.

        Returns:
          Pixels ``(B, H, W, 1)`` float32, or 16 times ``halo`` less than H and W; each plane
          quantises to exactly its codes.
        """
        check_codes(codes)
        blocks = transform.to_blocks(codes[..., 0].astype(jnp.float32))
        decoded = transform.decode(blocks, table, clip=False)
        table = jnp.minimum(table, trunk.LARGEST_STEP)
        run = trunk.make_trunk(
            self.width, self.blocks, self.kernels, PIXELS, inside=inside, dtype=self.dtype
        )

        def correct(decoded: Array, table: Array) -> Array:
            """From decoded planes ``(B, H, W)`` to what they lack, in levels of 255."""
            cells = run(to_cells(decoded - 0.5), trunk.describe_table(table))
            return from_cells(cells) * trunk.usual_error(table) * MAX_SAMPLE

        correction = correct(decoded, table)
        if self.orientations == 2:
            # The picture turned over its diagonal, as its codes and table would be.
            turned = correct(decoded.swapaxes(1, 2), table.swapaxes(1, 2))
            correction = 0.5 * (correction + turned.swapaxes(1, 2))
        if inside:
            decoded = transform.without_border(decoded, BLOCK * self.halo)
        steps = transform.per_block(table).astype(jnp.float32)
        return (decoded + trunk.bounded_correction(correction, steps))[..., None]
