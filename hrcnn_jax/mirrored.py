"""Convolution on the four cells of every block, which are mirror images of one another.

An 8x8 block is cut into four cells of 4x4 pixels, one a corner. Whatever the block grid does to the
top left cell it does, mirrored, to the other three: the block's edges lie on the other sides, and
so do its neighbours. So each cell's pixels are read from its block's corner inwards, and a 3x3
kernel is turned likewise: its taps are not left, middle, right but *outer* (the neighbour across
the block's edge), *self* and *inner* (the neighbour in the same block), down as well as across.
One set of weights then serves all four cells alike, and none of it is spent on telling them apart.

Cells are ``(2, 2, B, h, w, C)``: ``[p, q, :, i, j]`` are those in row p and column q of their
blocks, ``(i, j)``.

It also makes the convolution cheap. Two cells beside one another in a block are each other's inner
neighbours: with S and I the taps self and inner, one gets ``S a + I b``, the other ``S b + I a``.
Their sum is ``(S + I)(a + b)`` and their difference ``(S - I)(a - b)``: two products, not four.
With one product each for the outer neighbours a pair takes four instead of six, and, as this holds
down and across, a block's four cells 16 instead of 36. Unlike Winograd's algorithm for ordinary
convolutions, which saves as much, it takes nothing but sums and halves of weights.
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

BAND = 320
"""About how many blocks are worked on at once on a CPU: what its cache holds of the 16 products."""


def to_cells(plane: Array, side: int = CELL) -> Array:
    """Planes ``(B, H, W)`` to cells of side by side pixels, read from their blocks' corners.

    Args:
      plane: H and W multiples of twice the side.
      side: of a cell in pixels: half that of what the block grid repeats.

    Returns:
      ``(2, 2, B, H/(2*side), W/(2*side), side*side)``.
    """
    batch, height, width = plane.shape
    down, across = height // (2 * side), width // (2 * side)
    split = plane.reshape(batch, down, 2, side, across, 2, side)
    cells = _turn(split).transpose(2, 5, 0, 1, 4, 3, 6)
    return cells.reshape(2, 2, batch, down, across, side**2)


def from_cells(cells: Array, side: int = CELL) -> Array:
    """Inverse of :func:`to_cells`."""
    _, _, batch, down, across, _ = cells.shape
    split = cells.reshape(2, 2, batch, down, across, side, side).transpose(2, 3, 0, 5, 4, 1, 6)
    return _turn(split).reshape(batch, 2 * side * down, 2 * side * across)


def _turn(split: Array) -> Array:
    """Reverses the rows of lower cells and the columns of right ones; its own inverse.

    ``(B, h, 2, side, w, 2, side)``: block, cell and pixel, down and across.
    """
    split = jnp.stack([split[:, :, 0], split[:, :, 1, ::-1]], axis=2)
    return jnp.stack([split[..., 0, :], split[..., 1, ::-1]], axis=5)


class MirroredConv(nn.Module):
    """3x3 convolution of cells, C channels to ``features``, zeros beyond borders.

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
        return convolve(cells.astype(self.dtype), kernel) + bias.reshape(1, 1, 1, 1, 1, -1)


@jax.custom_vjp
def convolve(cells: Array, kernel: Array) -> Array:
    """Mirrored convolution.

    Args:
      cells: ``(2, 2, B, h, w, C)``; zeros are taken to surround them.
      kernel: ``(3, 3, C, D)``, its taps outer, self and inner, down and across.

    Returns:
      ``(2, 2, B, h, w, D)``.
    """
    return jax.lax.platform_dependent(
        cells, _factors(kernel), cpu=convolve_in_bands, default=convolve_whole
    )


def convolve_whole(cells: Array, factors: Array) -> Array:
    """The convolution in one piece, given the kernel's 16 matrices ``(16, C, D)``."""
    return _collect(_multiply(_spread(*_whole(cells)), factors))


def convolve_in_bands(cells: Array, factors: Array) -> Array:
    """The same band by band, so that what is between its steps stays in a CPU's cache."""
    rows, numbers = _bands(cells)
    bands = jax.lax.map(
        lambda n: _collect(_multiply(_spread(*_band(cells, n, rows)), factors)), numbers
    )
    return _join(bands, cells.shape[2])


def _forward(cells: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolve(cells, kernel), (cells, kernel)


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    cells, kernel = saved
    # If one cell is another's inner (or outer) neighbour, so is that one its own: the transposed
    # operator is the mirrored convolution with each tap's matrix transposed.
    to_cells = convolve(gradient, kernel.swapaxes(2, 3))
    to_factors = jax.lax.platform_dependent(
        cells, gradient, cpu=contract_in_bands, default=contract_whole
    )
    (to_kernel,) = jax.vjp(_factors, kernel)[1](to_factors)
    return to_cells, to_kernel


convolve.defvjp(_forward, _backward)


def contract_whole(cells: Array, gradient: Array) -> Array:
    """The gradient of the 16 matrices, ``(16, C, D)``, given that of the result."""
    return _contract(_spread(*_whole(cells)), _collect_transposed(gradient))


def contract_in_bands(cells: Array, gradient: Array) -> Array:
    """The same band by band."""
    rows, numbers = _bands(cells)

    def add(total: Array, n: Array) -> tuple[Array, None]:
        products = _collect_transposed(_band(gradient, n, rows)[0])
        return total + _contract(_spread(*_band(cells, n, rows)), products), None

    zero = jnp.zeros((16, cells.shape[-1], gradient.shape[-1]), cells.dtype)
    return jax.lax.scan(add, zero, numbers)[0]


def _multiply(spread: Array, factors: Array) -> Array:
    """``(16, B, h, w, C)`` by ``(16, C, D)``."""
    products = jnp.einsum("knc,kcd->knd", _as_matrices(spread), factors)
    return products.reshape(*spread.shape[:-1], -1)


def _contract(spread: Array, products: Array) -> Array:
    """Gradient of the factors: ``(16, B, h, w, C)`` by ``(16, B, h, w, D)``."""
    return jnp.einsum("knc,knd->kcd", _as_matrices(spread), _as_matrices(products))


def _as_matrices(values: Array) -> Array:
    # XLA's CPU back end copies what it contracts along several axes.
    return values.reshape(16, -1, values.shape[-1])


def _factors(kernel: Array) -> Array:
    """The 16 matrices ``(16, C, D)`` of a kernel: for sum, difference and both outer neighbours."""

    def along(taps: Array) -> Array:
        outer, own, inner = taps
        return jnp.stack([(own + inner) / 2, (own - inner) / 2, outer, outer])

    both = along(kernel.swapaxes(0, 1)).swapaxes(0, 1)  # (3, 4, C, D)
    return along(both).reshape(16, *kernel.shape[2:])


def _spread(cells: Array, above: Array, below: Array) -> Array:
    """What the 16 matrices are applied to, ``(16, B, h, w, C)``.

    Args:
      cells: ``(2, 2, B, h, w, C)``.
      above: the lower cells of the blocks above them, ``(2, B, 1, w, C)``.
      below: the upper cells of those below.
    """
    upper, lower = cells[0], cells[1]  # (2, B, h, w, C)
    further_up = jnp.concatenate([above, lower[:, :, :-1]], axis=2)
    further_down = jnp.concatenate([upper[:, :, 1:], below], axis=2)
    spread = []
    for left, right in (upper + lower, upper - lower, further_up, further_down):
        further_left = _pad(right[:, :, :-1], (1, 0))
        further_right = _pad(left[:, :, 1:], (0, 1))
        spread += [left + right, left - right, further_left, further_right]
    return jnp.stack(spread)


def _collect(products: Array) -> Array:
    """The 16 products ``(16, B, h, w, D)`` to cells."""
    upper, lower = _pair(products.reshape(4, 4, *products.shape[1:]))
    return jnp.stack([jnp.stack(_pair(upper)), jnp.stack(_pair(lower))])


def _pair(parts: Array) -> tuple[Array, Array]:
    return parts[0] + parts[1] + parts[2], parts[0] - parts[1] + parts[3]


def _collect_transposed(cells: Array) -> Array:
    """Gradients of cells to those of the 16 products."""
    rows = [cells[0] + cells[1], cells[0] - cells[1], cells[0], cells[1]]
    return jnp.stack(
        [part for left, right in rows for part in (left + right, left - right, left, right)]
    )


def _pad(values: Array, width: tuple[int, int]) -> Array:
    """Zeros before and behind columns ``(B, h, w, C)``."""
    return jnp.pad(values, ((0, 0), (0, 0), width, (0, 0)))


def _whole(cells: Array) -> tuple[Array, Array, Array]:
    """All cells, with nothing above and below."""
    nothing = jnp.zeros_like(cells[0, :, :, :1])
    return cells, nothing, nothing


def _bands(cells: Array) -> tuple[int, Array]:
    """Rows of blocks to work on at once, and the numbers of such bands in all pictures."""
    batch, down, across = cells.shape[2:5]
    # What divides all rows, and comes nearest to BAND blocks.
    fitting = [n for n in range(1, down + 1) if down % n == 0 and n * across <= BAND]
    rows = max(fitting, default=1)
    return rows, jnp.arange(batch * (down // rows))


def _band(cells: Array, number: Array, rows: int) -> tuple[Array, Array, Array]:
    """A band ``(2, 2, 1, rows, w, C)``, and the cells above and below that touch it."""
    _, _, _, down, across, channels = cells.shape
    picture, top = number // (down // rows), number % (down // rows) * rows
    zero = jnp.zeros_like(number)

    def cut(start: Array, count: int) -> Array:
        corner = (zero, zero, picture, start, zero, zero)
        return jax.lax.dynamic_slice(cells, corner, (2, 2, 1, count, across, channels))

    # Beyond the borders the slices are clamped, and what they hold is not to be taken.
    above = jnp.where(top > 0, cut(top - 1, 1)[1], 0)
    below = jnp.where(top + rows < down, cut(top + rows, 1)[0], 0)
    return cut(top, rows), above, below


def _join(bands: Array, batch: int) -> Array:
    """Cells of bands ``(N, 2, 2, 1, rows, w, D)``."""
    _, _, _, _, rows, across, channels = bands.shape
    split = bands.reshape(batch, -1, 2, 2, rows, across, channels)
    return split.transpose(2, 3, 0, 1, 4, 5, 6).reshape(2, 2, batch, -1, across, channels)
