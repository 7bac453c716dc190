"""HR-CNN: the paper's network, one Flax module per segment.

Codes in, pixels out, NHWC float32: codes `(B, H, W, 1)` are integers laid out as a plane (each
8x8 block holds its own 64 codes), pixels `(B, H, W, 1)` are in [0, 1]; H and W are multiples
of 8. What makes a picture or reads one runs in float32: bfloat16 has 8 bits, and would round pixels
near 0.5 to half a level of 255. The second and third layers of the residual blocks, four fifths of
the multiply-adds, run in `dtype`. Parameters are float32.

Source: Niu, "End-to-End JPEG Decoding and Artifacts Suppression Using Heterogeneous Residual
Convolutional Neural Network", equations 1-8. The paper prints no activation inside the segments;
taken literally nearly the whole network is linear, so `hidden_relu` is on by default.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT, MAX_SAMPLE
from hrcnn_jax.networks.convolution import PRECISE, Conv, cropped

CHANNELS = BLOCK**2
"""Spectral channels of a JPEG code."""

CODE_UNIT = 1 / 64
"""Layer 2's kernel is stored divided by this: it reads codes of some tens, and would otherwise
learn some tens of times faster than the layers after it."""

REACHES = 5, 3
"""Pixels around a pixel that the first and the second layer of a residual block see."""

REACH = sum(REACHES)

STAGES = ("extracted", "reconstructed", "decoded", "enhanced")
"""What the segments hand on: the output of each, in order."""

Initializer = Callable[..., Any]


def channel_masks() -> np.ndarray:
    """The 64 coded masks, `(8, 8, 1, 64)` float32: mask `ch` is one at row `ch mod 8`,
    column `ch // 8` and zero elsewhere (Eq. 2)."""  # noqa: D205, D209
    channel = np.arange(CHANNELS)
    masks = np.zeros((BLOCK, BLOCK, 1, CHANNELS), np.float32)
    masks[channel % BLOCK, channel // BLOCK, 0, channel] = 1
    return masks


def spectral_basis(table: Array) -> Array:
    """What a unit code in each channel adds to its 8x8 pixels: `(8, 8, 64)`, pixel scale."""
    channel = np.arange(CHANNELS)
    v, u = channel % BLOCK, channel // BLOCK
    steps = table[v, u].astype(jnp.float32) / MAX_SAMPLE
    down, across = transform.DCT_BASIS[v], transform.DCT_BASIS[u]
    return jnp.einsum("cy,cx,c->yxc", down, across, steps, precision=transform.EXACT)


def retarget(params: Any, old_table: Array, new_table: Array) -> Any:
    """Parameters of `HRCNN` for another table: the same pictures from the same coefficients.

    Layer 2 reads codes in units of their steps, so its kernel is rescaled, channel by channel. A
    network trained at one quality is a good start for another.

    Args:
      params: trained on codes of `old_table`.
      old_table: `(8, 8)` quantisation steps.
      new_table: `(8, 8)` quantisation steps.
    """
    channel = np.arange(CHANNELS)
    v, u = channel % BLOCK, channel // BLOCK
    ratio = new_table[v, u].astype(jnp.float32) / old_table[v, u].astype(jnp.float32)
    layer = params["reconstruction"]
    kernel = layer["kernel"] * ratio.reshape(1, 1, CHANNELS, 1)
    return {**params, "reconstruction": {**layer, "kernel": kernel}}


class ChannelExtraction(nn.Module):
    """Codes `(B, H, W, 1)` to snapshots `(B, H/8, W/8, 64)` by constant masks (Eq. 1-4).

    Has no parameter, and its masks pass no gradient to themselves.
    """

    @nn.compact
    def __call__(self, codes: Array) -> Array:
        masks = jax.lax.stop_gradient(jnp.asarray(channel_masks()))
        return jax.lax.conv_general_dilated(
            codes.astype(jnp.float32),
            masks,
            window_strides=(BLOCK, BLOCK),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class SpectralReconstruction(nn.Module):
    """Snapshots `(B, hb, wb, 64)` to full size `(B, 8*hb, 8*wb, 64)` (Eq. 5).

    A transposed convolution whose stride equals its kernel never overlaps itself: it is one matrix
    product a block, written as such. `kernel[y, x, i, o]` is what channel `i` paints on pixel
    `(y, x)` of snapshot `o`, in units of `CODE_UNIT`.
    """

    kernel_init: Initializer

    @nn.compact
    def __call__(self, snapshots: Array) -> Array:
        shape = (BLOCK, BLOCK, CHANNELS, CHANNELS)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (CHANNELS,), jnp.float32)
        kernel = kernel * CODE_UNIT  # of NumPy, in place, it would change params
        painted = jnp.einsum("bhwi,yxio->bhywxo", snapshots, kernel, precision=PRECISE)
        batch, down, _, across, _, _ = painted.shape
        full = painted.reshape(batch, down * BLOCK, across * BLOCK, CHANNELS)
        return full + bias.reshape(1, 1, 1, CHANNELS)


class Decoding(nn.Module):
    """Snapshots `(B, H, W, 64)` to a picture `(B, H, W, 1)`, then ReLU (Eq. 6).

    The paper applies that ReLU to "F5"; the segment ends at layer 4, so it is read as F4.
    """

    decoder_init: bool
    hidden_relu: bool

    @nn.compact
    def __call__(self, snapshots: Array) -> Array:
        third: dict[str, Any] = {"kernel_init": _sum_at_centre, "bias_init": _level_shift}
        fourth: dict[str, Any] = {"kernel_init": _copy_first}
        if not self.decoder_init:
            third = fourth = {}
        merged = Conv(8, 5, name="conv3", **third)(snapshots)
        merged = nn.relu(merged) if self.hidden_relu else merged
        picture = Conv(1, 3, name="conv4", **fourth)(merged)
        return nn.relu(picture)


class ResidualBlock(nn.Module):
    """Adds detail to a picture `(B, H, W, 1)` (Eq. 7, three layers and the shortcut).

    Inside, `REACH` pixels less on every side: as far as its layers reach.
    """

    hidden_relu: bool
    last_init: Initializer
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, picture: Array, *, inside: bool = False) -> Array:
        activate = nn.relu if self.hidden_relu else _identity
        conv1 = Conv(64, 11, centre=0.5, name="conv1")
        conv2 = Conv(16, 7, dtype=self.dtype, name="conv2")
        conv3 = Conv(1, 1, kernel_init=self.last_init, dtype=self.dtype, name="conv3")
        # Convolved, then cropped: XLA's CPU back end is ten times as slow without padding.
        borders = REACHES if inside else (0, 0)
        detail = cropped(activate(conv1(picture)), borders[0])
        detail = cropped(activate(conv2(detail)), borders[1])
        return cropped(picture, sum(borders)) + conv3(detail).astype(jnp.float32)


class HRCNN(nn.Module):
    """The paper's network: 507,157 parameters with the default four residual blocks.

    One network serves one table: it sees raw codes, not coefficients.

    Attributes:
      quality: the libjpeg quality (1-100, Annex K luminance) of the codes it reads; with
        `decoder_init` the untrained network is the plain JPEG decoder at that quality.
      blocks: residual blocks of the enhancement segment.
      hidden_relu: ReLU after layer 3 and after the first two layers of every residual block; off
        gives the paper's equations to the letter.
      decoder_init: start as the plain decoder; off starts every kernel at random.
      dtype: what layers that see features only compute in, float32 or bfloat16.

    The features after each stage are sown in the collection `intermediates` under the names of
    `STAGES` (paper Fig. 4).
    """

    quality: int = 10
    blocks: int = 4
    hidden_relu: bool = True
    decoder_init: bool = True
    dtype: DTypeLike = jnp.float32

    @property
    def halo(self) -> int:
        """Blocks on every side of a block that its pixels depend on (the receptive field)."""
        reach = 2 + 1 + self.blocks * REACH
        return -(-reach // BLOCK)

    @nn.compact
    def __call__(self, codes: Array, table: Array | None = None, *, inside: bool = False) -> Array:
        """Decodes and restores planes of codes.

        Args:
          codes: `(B, H, W, 1)` integers of any dtype, H and W multiples of 8.
          table: ignored (every architecture takes it): the weights know their table.
          inside: leave out `halo` blocks on every side.

        Returns:
          Pixels `(B, H, W, 1)` float32, or 16 times `halo` less than H and W; not below 0
          (Eq. 8).
        """
        del table
        check_codes(codes)
        he_normal = nn.initializers.he_normal
        if self.decoder_init:
            reconstruction_init, last_init = self._paint_basis, nn.initializers.zeros
        else:  # no two pixels of a block share weights of layer 2: they are no fan-in
            reconstruction_init, last_init = he_normal(batch_axis=(0, 1)), he_normal()

        snapshots = ChannelExtraction(name="extraction")(codes)
        self.sow("intermediates", "extracted", snapshots)
        full = SpectralReconstruction(reconstruction_init, name="reconstruction")(snapshots)
        self.sow("intermediates", "reconstructed", full)
        picture = Decoding(self.decoder_init, self.hidden_relu, name="decoding")(full)
        self.sow("intermediates", "decoded", picture)
        for index in range(self.blocks):
            picture = ResidualBlock(
                self.hidden_relu, last_init, self.dtype, name=f"residual{index + 1}"
            )(picture)
        picture = nn.relu(picture)
        self.sow("intermediates", "enhanced", picture)
        if not inside:
            return picture
        return cropped(picture, BLOCK * self.halo)

    def _paint_basis(self, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Every channel paints its own basis picture on its own snapshot."""
        del key, shape
        basis = spectral_basis(transform.quality_table(self.quality)).astype(dtype)
        return jnp.einsum("yxi,io->yxio", basis / CODE_UNIT, jnp.eye(CHANNELS, dtype=dtype))


def _sum_at_centre(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Layer 3 as a decoder: output 0 sums the snapshots; the other outputs are free to learn."""
    free = nn.initializers.he_normal()(key, shape, dtype)
    return free.at[..., 0].set(0).at[shape[0] // 2, shape[1] // 2, :, 0].set(1)


def _level_shift(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    del key
    return jnp.zeros(shape, dtype).at[0].set(LEVEL_SHIFT / MAX_SAMPLE)


def _copy_first(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Layer 4 as a decoder: passes input 0 on, and ignores the others at first."""
    del key
    return jnp.zeros(shape, dtype).at[shape[0] // 2, shape[1] // 2, 0].set(1)


def _identity(values: Array) -> Array:
    return values


def check_codes(codes: Array) -> None:
    """Raises ValueError unless codes are `(B, H, W, 1)` with H and W multiples of 8."""
    if codes.ndim != 4 or codes.shape[-1] != 1:
        raise ValueError(f"expected codes of shape (B, H, W, 1), got {codes.shape}")
    if codes.shape[1] % BLOCK or codes.shape[2] % BLOCK:
        raise ValueError(
            f"codes of {codes.shape[1]}x{codes.shape[2]} do not split into 8x8 blocks: "
            "both sides must be multiples of 8"
        )
