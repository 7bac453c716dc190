"""Convolution on the four cells of every block, which are mirror images of one another.

An 8x8 block is cut into four cells of 4x4 pixels, one a corner. Whatever the block grid does to the
top left cell it does, mirrored, to the other three: the block's edges lie on the other sides, and
so do its neighbours. So each cell's pixels are read from its block's corner inwards, and a 3x3
kernel is turned likewise: its taps are not left, middle, right but *outer* (the neighbour across
the block's edge), *self* and *inner* (the neighbour in the same block), down as well as across.
One set of weights then serves all four cells alike, and none of it is spent on telling them apart.

Cells are ``(B, h, w, C)`` in the order of the plane, h and w even: row ``2*i + p`` and column
``2*j + q`` hold cell ``(p, q)`` of block ``(i, j)``.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import BLOCK

CELL = BLOCK // 2
"""Side of a cell in pixels."""

PIXELS = CELL * CELL


def to_cells(plane: Array, side: int = CELL) -> Array:
    """Planes ``(B, H, W)`` to cells ``(B, H/side, W/side, side*side)``, read from their corners.

    Args:
      plane: H and W multiples of twice the side.
      side: of a cell in pixels: half that of what the block grid repeats.
    """
    batch, height, width = plane.shape
    down, across = height // side, width // side
    split = plane.reshape(batch, down // 2, 2, side, across // 2, 2, side)
    return _turn(split).transpose(0, 1, 2, 4, 5, 3, 6).reshape(batch, down, across, side**2)


def from_cells(cells: Array, side: int = CELL) -> Array:
    """Inverse of :func:`to_cells`."""
    batch, down, across, _ = cells.shape
    split = cells.reshape(batch, down // 2, 2, across // 2, 2, side, side)
    plane = _turn(split.transpose(0, 1, 2, 5, 3, 4, 6))
    return plane.reshape(batch, down * side, across * side)


def _turn(split: Array) -> Array:
    """Reverses the rows of lower cells and the columns of right ones; its own inverse.

    ``(B, hb, 2, side, wb, 2, side)``: block, cell and pixel, down and across.
    """
    split = jnp.stack([split[:, :, 0], split[:, :, 1, ::-1]], axis=2)
    return jnp.stack([split[..., 0, :], split[..., 1, ::-1]], axis=5)


class MirroredConv(nn.Module):
    """3x3 convolution of cells ``(B, h, w, C)`` to ``(B, h, w, features)``, zeros beyond borders.

    Attributes:
      features: output channels.
      kernel_init: of ``kernel``, ``(3, 3, C, features)``: outer, self, inner, down and across.
      dtype: computed in; parameters are float32.
    """

    features: int
    kernel_init: Callable[..., Array] = nn.initializers.he_normal()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, cells: Array) -> Array:
        shape = (3, 3, cells.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        return convolve(cells.astype(self.dtype), kernel) + bias.reshape(1, 1, 1, -1)


@jax.custom_vjp
def convolve(cells: Array, kernel: Array) -> Array:
    """Mirrored convolution.

    Args:
      cells: ``(B, h, w, C)``, h and w even; zeros are taken to surround them.
      kernel: ``(3, 3, C, D)``, its taps outer, self and inner, down and across.

    Returns:
      ``(B, h, w, D)``.
    """
    batch, height, width, _ = cells.shape
    rows = [jnp.stack([_quarter(cells, kernel, p, q) for q in (0, 1)], axis=3) for p in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(batch, height, width, -1)


def _quarter(cells: Array, kernel: Array, p: int, q: int) -> Array:
    """The output of cell ``(p, q)`` of every block: that of an ordinary kernel and stride 2."""
    return jax.lax.conv_general_dilated(
        cells,
        kernel[:: -1 if p else 1, :: -1 if q else 1],
        window_strides=(2, 2),
        padding=((1 - p, p), (1 - q, q)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _forward(cells: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolve(cells, kernel), (cells, kernel)


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    cells, kernel = saved
    # If one cell is another's inner (or outer) neighbour, so is that one its own: the transposed
    # operator is the mirrored convolution with each tap's matrix transposed.
    to_cells = convolve(gradient, kernel.swapaxes(2, 3))
    return to_cells, _to_kernel(cells, gradient).reshape(kernel.shape)


def _to_kernel(cells: Array, gradient: Array) -> Array:
    """Gradient of the kernel, ``(9 * C, D)``.

    XLA's CPU back end runs this product at half its rate or less unless a picture's part of it
    stays in the cache, so pictures are taken one by one there; other back ends want it whole.
    """

    def whole(cells: Array, gradient: Array) -> Array:
        return jnp.einsum("bhwc,bhwd->dc", neighbours(cells), gradient)

    def one_by_one(cells: Array, gradient: Array) -> Array:
        def add(total: Array, picture: tuple[Array, Array]) -> tuple[Array, None]:
            return total + whole(picture[0][None], picture[1][None]), None

        zero = jnp.zeros((gradient.shape[-1], 9 * cells.shape[-1]), gradient.dtype)
        return jax.lax.scan(add, zero, (cells, gradient))[0]

    return jax.lax.platform_dependent(cells, gradient, cpu=one_by_one, default=whole).T


def neighbours(cells: Array) -> Array:
    """Each cell's neighbours, in the order of a kernel's taps: ``(B, h, w, 9 * C)``."""
    taps = [tap for row in _along(cells, 1) for tap in _along(row, 2)]
    return jnp.concatenate(taps, axis=-1)


def _along(cells: Array, axis: int) -> list[Array]:
    """Outer, self and inner neighbours of each cell down (axis 1) or across (axis 2)."""
    surrounded = jnp.pad(cells, [(0, 0)] * axis + [(1, 1)] + [(0, 0)] * (3 - axis))
    length = cells.shape[axis]
    before = jax.lax.slice_in_dim(surrounded, 0, length, axis=axis)
    after = jax.lax.slice_in_dim(surrounded, 2, length + 2, axis=axis)
    is_first = (jnp.arange(length) % 2 == 0).reshape([1] * axis + [-1] + [1] * (3 - axis))
    return [jnp.where(is_first, before, after), cells, jnp.where(is_first, after, before)]


convolve.defvjp(_forward, _backward)
