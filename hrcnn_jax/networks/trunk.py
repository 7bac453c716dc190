"""What the compact networks share: residual blocks on cells, conditioned on the table, and bounds.

A network that serves every table has to know which it is reading. The table conditions every
residual block in two ways: by a scale and a shift of its channels (FiLM: Perez et al., "FiLM:
visual reasoning with a general conditioning layer", 2018), and by the weights of further kernels,
*deltas*, that are added to each convolution's own (CondConv: Yang et al., "CondConv: conditionally
parameterized convolutions for efficient inference", 2019).

Corrections are bounded so that a result quantises to the codes it was made from, whatever the
parameters: it is faithful by construction.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE
from hrcnn_jax.networks.mirrored import CELL, MirroredConv, trimmed

MARGIN = 1e-3
"""How far inside its half step a coefficient stays, in steps: room for float rounding."""

MEAN_STEP = 57.6
"""Mean step of Annex K's luminance table, quality 50."""

LARGEST_STEP = 255
"""The largest step that 8-bit tables can hold, and that networks are trained on. Larger ones, of
16-bit tables, are taken for it: no more is corrected then than training taught."""

SLOPE = 0.1
"""Slope of the inner ReLUs below zero: without one, half of a block's channels died in training."""


def describe_table(table: Array) -> Array:
    """Quantisation steps ``(B, 8, 8)`` as 64 well-scaled features ``(B, 64)``."""
    steps = table.reshape(table.shape[0], BLOCK**2).astype(jnp.float32)
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


def bounded_correction(correction: Array, steps: Array) -> Array:
    """A correction of planes, its coefficients bounded.

    Args:
      correction: ``(..., H, W)`` in levels of 255.
      steps: ``(..., 1, 1, 8, 8)`` quantisation steps, float32.

    Returns:
      ``(..., H, W)`` in units of pixels in [0, 1].
    """
    bounded = bound(transform.dct(transform.to_blocks(correction)), steps)
    return transform.from_blocks(transform.idct(bounded)) / MAX_SAMPLE


def halo(blocks: int) -> int:
    """Blocks on every side of a block that its pixels depend on, given the residual blocks."""
    reach = (2 * blocks + 2) * CELL
    return -(-reach // BLOCK)


class KernelWeights(nn.Module):
    """How much of each of K deltas the conditioning asks for: ``(B, K)`` float32 in [-1, 1]."""

    kernels: int

    @nn.compact
    def __call__(self, conditioning: Array) -> Array:
        # Biases apart, so that the weights turn at different qualities.
        biases = nn.initializers.normal(0.5)
        return nn.tanh(nn.Dense(self.kernels, bias_init=biases, name="dense")(conditioning))


class ResidualBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, added to its input cells; conditioned by FiLM and kernel weights.

    Inside, a block less on every side: as far as its two convolutions reach.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, features: Array, conditioning: Array, weights: Array | None, *, inside: bool = False
    ) -> Array:
        width = features.shape[-1]
        zeros = nn.initializers.zeros
        film = nn.Dense(2 * width, kernel_init=zeros, name="film")(conditioning)
        scale, shift = jnp.split(film, 2, axis=-1)
        shift = shift[:, None, None, None, None]
        conv1 = MirroredConv(width, slope=0.0, dtype=self.dtype, name="conv1")
        conv2 = MirroredConv(width, slope=SLOPE, dtype=self.dtype, name="conv2")
        detail = conv1(features, weights, 1 + scale, shift, inside=inside)
        shortcut = trimmed(features) if inside else features
        return conv2(detail, weights, residual=shortcut)


Trunk = Callable[[Array, Array], Array]
"""From cells ``(B, h, 2, 2, w, C)`` and conditioning ``(B, F)`` to cells of other channels."""


def make_trunk(
    width: int, blocks: int, kernels: int, outputs: int, *, inside: bool, dtype: DTypeLike
) -> Trunk:
    """The layers between cells in and cells out, to be called once or often by a Flax module.

    Args:
      width: channels of the residual blocks.
      blocks: how many residual blocks.
      kernels: deltas of every residual convolution; 0 for none.
      outputs: channels that come out, zero at first.
      inside: leave out ``halo(blocks)`` blocks on every side.
      dtype: what convolutions compute in.
    """
    lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
    routing = KernelWeights(kernels, name="kernel_weights") if kernels else None
    head = MirroredConv(width, kernel_init=lecun, dtype=dtype, name="head")
    residuals = [ResidualBlock(dtype, name=f"residual{i + 1}") for i in range(blocks)]
    tail = MirroredConv(outputs, slope=0.0, kernel_init=zeros, dtype=dtype, name="tail")

    def run(cells: Array, conditioning: Array) -> Array:
        weights = routing(conditioning) if routing else None
        features = head(cells)
        for block in residuals:
            features = block(features, conditioning, weights, inside=inside)
        return tail(features, inside=inside).astype(jnp.float32)

    return run
