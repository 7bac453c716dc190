"""Collapses what is linear in the paper's network: the same function with fewer multiply-adds.

From the codes to the first ReLU everything is linear: extraction, reconstruction and layer 3 are
one convolution of the block grid, from the 64 codes of 3x3 blocks to the 64 pixels of the middle
one. Without hidden ReLUs layer 4 joins it, and each residual block is a single 17x17 convolution
of the picture. Kernels are found by sending unit impulses through the layers themselves.

Only next to the borders of a plane does the folded network differ, where the layers took zeros for
what lies beyond it. Nothing there is ever kept: planes are restored with `halo` blocks around
them, borders included.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.networks.convolution import Conv, cropped
from hrcnn_jax.networks.hrcnn import (
    CHANNELS,
    HRCNN,
    REACH,
    ChannelExtraction,
    ResidualBlock,
    SpectralReconstruction,
    check_codes,
)


class FoldedHRCNN(nn.Module):
    """`HRCNN` after `fold`; called as it is, with the same halo.

    Attributes:
      blocks: residual blocks.
      hidden_relu: as in `HRCNN`.
      dtype: as in `HRCNN`.
    """

    blocks: int = 4
    hidden_relu: bool = True
    dtype: DTypeLike = jnp.float32

    @property
    def halo(self) -> int:
        """Blocks on every side of a block that its pixels depend on (the receptive field)."""
        return HRCNN(blocks=self.blocks).halo

    @nn.compact
    def __call__(self, codes: Array, table: Array | None = None, *, inside: bool = False) -> Array:
        """Codes `(B, H, W, 1)` to pixels, as `HRCNN` does; the table is ignored."""
        del table
        check_codes(codes)
        batch, height, width, _ = codes.shape
        blocks = transform.to_blocks(codes[..., 0]).reshape(
            batch, height // 8, width // 8, CHANNELS
        )
        merged = 8 if self.hidden_relu else 1
        painted = Conv(CHANNELS * merged, 3, name="decoding")(blocks)
        painted = painted.reshape(batch, height // 8, width // 8, 8, 8, merged)
        picture = painted.swapaxes(2, 3).reshape(batch, height, width, merged)
        if self.hidden_relu:
            picture = Conv(1, 3, name="conv4")(nn.relu(picture))
        picture = nn.relu(picture)
        if inside:  # all but what the residual blocks are about to take
            margin = BLOCK * self.halo - REACH * self.blocks
            picture = cropped(picture, margin)
        for index in range(self.blocks):
            name = f"residual{index + 1}"
            if self.hidden_relu:
                block = ResidualBlock(True, nn.initializers.zeros, self.dtype, name=name)
                picture = block(picture, inside=inside)
            else:
                folded = Conv(1, 2 * REACH + 1, name=name)
                picture = cropped(folded(picture), REACH if inside else 0)
        return nn.relu(picture)


def fold(module: HRCNN, params: Any) -> tuple[FoldedHRCNN, Any]:
    """The paper's network with its linear parts collapsed.

    Args:
      module: an `HRCNN`.
      params: its parameters.

    Returns:
      A module and its parameters, to be used instead.
    """
    with jax.default_matmul_precision("highest"):
        folded: dict[str, Any] = {"decoding": _fold_decoding(module, params)}
        for index in range(module.blocks):
            name = f"residual{index + 1}"
            folded[name] = params[name] if module.hidden_relu else _fold_residual(params[name])
    if module.hidden_relu:
        folded["conv4"] = params["decoding"]["conv4"]
    return FoldedHRCNN(module.blocks, module.hidden_relu, module.dtype), folded


def _fold_decoding(module: HRCNN, params: Any) -> dict[str, Array]:
    """Codes of 3x3 blocks to the middle one's pixels, up to the first ReLU."""
    zeros = nn.initializers.zeros
    fourth = params["decoding"]["conv4"]

    def apply(codes: Array) -> Array:
        snapshots = _run(ChannelExtraction(), {}, codes)
        full = _run(SpectralReconstruction(zeros), params["reconstruction"], snapshots)
        merged = _run(Conv(8, 5), params["decoding"]["conv3"], full)
        return merged if module.hidden_relu else _run(Conv(1, 3), fourth, merged)

    # A code of the middle block among 5x5, so that the 3x3 around it are away from borders.
    impulses = jnp.zeros((CHANNELS, 5, 5, CHANNELS)).at[:, 2, 2].set(jnp.eye(CHANNELS))
    planes = transform.from_blocks(impulses.reshape(CHANNELS, 5, 5, 8, 8))[..., None]
    response, constant = _response(apply, planes)
    response = response[:, 8:32, 8:32].reshape(CHANNELS, 3, 8, 3, 8, -1)
    # What a block does to those after it is what they read before them.
    kernel = response[:, ::-1, :, ::-1].transpose(1, 3, 0, 2, 4, 5)
    bias = jnp.broadcast_to(constant[20, 20], (8, 8, constant.shape[-1]))
    return {"kernel": kernel.reshape(3, 3, CHANNELS, -1), "bias": bias.reshape(-1)}


def _fold_residual(params: Any) -> dict[str, Array]:
    """A residual block without hidden ReLUs, its shortcut included."""
    block = ResidualBlock(False, nn.initializers.zeros)
    side = 4 * REACH + 1
    impulse = jnp.zeros((1, side, side, 1)).at[0, 2 * REACH, 2 * REACH].set(1.0)
    response, constant = _response(lambda picture: _run(block, params, picture), impulse)
    inside = slice(REACH, -REACH)
    kernel = response[0, inside, inside][::-1, ::-1, :, None]
    return {"kernel": kernel, "bias": constant[2 * REACH, 2 * REACH]}


def _response(apply: Callable[[Array], Array], impulses: Array) -> tuple[Array, Array]:
    """What an affine function makes of impulses beyond what it makes of zeros, and the latter."""
    constant = apply(jnp.zeros_like(impulses[:1]))
    return apply(impulses) - constant, constant[0]


def _run(layer: nn.Module, params: Any, inputs: Array) -> Array:
    outputs: Any = layer.apply({"params": params}, inputs)
    return outputs
