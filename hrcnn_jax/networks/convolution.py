"""Convolutions that suit XLA's CPU back end.

XLA runs the gradients of a convolution from one channel (11x11x1 -> 64) at a small part of the
machine's rate: too few channels to fill a matrix product. Written as matrix products over the
shifted input, the same sums take about half the time (`Conv`). Inside a loop, as of a training step
that takes its pictures one after another, it runs any convolution at a tenth of that rate, but
products of matrices as fast as elsewhere (`Squares` of one picture; of many their factors would
not stay in the cache). Elsewhere the library's convolution is used.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

NHWC = ("NHWC", "HWIO", "NHWC")

PRECISE = jax.lax.Precision.HIGH
"""Of products in float32: TPUs would round their factors to bfloat16, in which pictures are too
coarse. TensorFloat-32, as GPUs have it, costs a few hundredths of a level."""


class Conv(nn.Module):
    """`flax.linen.Conv` with stride 1 and zero ('SAME') padding: same names, same values.

    Takes `(B, H, W, C)`; the gradients from one channel need even H and W.

    Attributes:
      features: output channels.
      size: side of the kernel, odd.
      kernel_init: of `kernel`, `(size, size, C, features)`.
      bias_init: of `bias`, `(features,)`.
      dtype: computed in; parameters are float32.
      centre: what inputs are around. The bias is stored as for inputs less `centre`, so that a
        change of the kernel does not move the mean of the output: the same functions, but their
        gradients are far better conditioned.
    """

    features: int
    size: int
    kernel_init: Callable[..., Array] = nn.initializers.he_normal()
    bias_init: Callable[..., Array] = nn.initializers.zeros
    dtype: DTypeLike = jnp.float32
    centre: float = 0.0

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        shape = (self.size, self.size, inputs.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        bias -= self.centre * jnp.sum(kernel, axis=(0, 1, 2))
        kernel = kernel.astype(self.dtype)
        inputs = inputs.astype(self.dtype)
        convolve = _convolve_from_one if inputs.shape[-1] == 1 and self.size > 1 else _convolve
        return convolve(inputs, kernel) + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class Squares(nn.Module):
    """`flax.linen.Conv` of squares that lie within the picture ('VALID'): same names, same values.

    Takes `(B, H, W, C)` float32, H and W at least `size`.

    Attributes:
      features: output channels, D.
      size: side of the squares, a multiple of `stride`; `kernel` is `(size, size, C, D)`.
      stride: from square to square, down and across.
    """

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        shape = (self.size, self.size, inputs.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        if len(inputs) == 1:
            convolved = _squares_by_product(inputs, kernel, self.stride)
        else:
            convolved = jax.lax.conv_general_dilated(
                inputs,
                kernel,
                (self.stride, self.stride),
                "VALID",
                dimension_numbers=NHWC,
                precision=PRECISE,
            )
        return convolved + bias.reshape(1, 1, 1, -1)


def _squares_by_product(inputs: Array, kernel: Array, stride: int) -> Array:
    """What all squares hold, times the kernel: one product of matrices."""
    # A square consists of so many tiles of stride by stride pixels, down and across.
    count = kernel.shape[0] // stride
    tiles = _tiles(inputs, stride)
    rows, columns = (length - count + 1 for length in tiles.shape[1:3])
    taps = [(y, x) for y in range(count) for x in range(count)]
    held = [tiles[:, y : y + rows, x : x + columns] for y, x in taps]
    matrix = _tiles(kernel.transpose(3, 0, 1, 2), stride).reshape(kernel.shape[-1], -1).T
    return jnp.matmul(jnp.concatenate(held, axis=-1), matrix, precision=PRECISE)


def _tiles(pictures: Array, side: int) -> Array:
    """Whole squares `(B, H/side, W/side, side*side*C)` of pictures `(B, H, W, C)`."""
    batch, height, width, channels = pictures.shape
    down, across = height // side, width // side
    whole = pictures[:, : down * side, : across * side]
    split = whole.reshape(batch, down, side, across, side, channels)
    return split.swapaxes(2, 3).reshape(batch, down, across, side**2 * channels)


def cropped(pictures: Array, border: int) -> Array:
    """Pictures `(B, H, W, C)` without so many pixels on every side."""
    _, height, width, _ = pictures.shape
    return pictures[:, border : height - border, border : width - border]


def _convolve(inputs: Array, kernel: Array) -> Array:
    if kernel.shape[:2] == (1, 1):
        return jnp.matmul(inputs, kernel[0, 0], precision=_precision(inputs))
    return jax.lax.conv_general_dilated(
        inputs, kernel, (1, 1), "SAME", dimension_numbers=NHWC, precision=_precision(inputs)
    )


def _precision(inputs: Array) -> jax.lax.Precision | None:
    return PRECISE if inputs.dtype == jnp.float32 else None


@jax.custom_vjp
def _convolve_from_one(inputs: Array, kernel: Array) -> Array:
    return _convolve(inputs, kernel)


def _forward(inputs: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(inputs, kernel), (inputs, kernel)


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    by_library = jax.vjp(_convolve, *saved)[1]
    return jax.lax.platform_dependent(
        gradient, cpu=partial(_backward_by_products, *saved), default=by_library
    )


def _backward_by_products(inputs: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
    size, _, _, features = kernel.shape
    _, height, width, _ = inputs.shape
    pad = size // 2
    padded = jnp.pad(inputs[..., 0], ((0, 0), (pad, pad), (pad, pad)))
    shifts = jnp.stack(
        [padded[:, y : y + height, x : x + width] for y in range(size) for x in range(size)]
    )
    to_kernel = shifts.reshape(size * size, -1) @ gradient.reshape(-1, features)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    return _convolve_to_few(gradient, flipped), to_kernel.reshape(kernel.shape)


def _convolve_to_few(inputs: Array, kernel: Array) -> Array:
    """Convolution to few channels: each 2x2 square of outputs is one output of 4 times as many."""
    batch, height, width, _ = inputs.shape
    pad, few = kernel.shape[0] // 2, kernel.shape[-1]
    shifted = [
        jnp.pad(kernel, ((y, 1 - y), (x, 1 - x), (0, 0), (0, 0))) for y in (0, 1) for x in (0, 1)
    ]
    squares = jax.lax.conv_general_dilated(
        inputs,
        jnp.concatenate(shifted, axis=-1),
        window_strides=(2, 2),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=NHWC,
    )
    split = squares.reshape(batch, height // 2, width // 2, 2, 2, few)
    return split.swapaxes(2, 3).reshape(batch, height, width, few)


_convolve_from_one.defvjp(_forward, _backward)
