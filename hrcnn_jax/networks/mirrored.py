"""Convolution on the four cells of every block, which are mirror images of one another.

An 8x8 block is cut into four cells of 4x4 pixels, one a corner. Whatever the block grid does to the
top left cell it does, mirrored, to the other three: the block's edges lie on the other sides, and
so do its neighbours. So each cell's pixels are read from its block's corner inwards, and a 3x3
kernel is turned likewise: its taps are not left, middle, right but *outer* (the neighbour across
the block's edge), *self* and *inner* (the neighbour in the same block), down as well as across.
One set of weights then serves all four cells alike, and none of it is spent on telling them apart.

It also makes the convolution cheap. Take two blocks side by side, cells a, b and c, d, and z and e
beyond them. With S, I and O the taps self, inner and outer, a becomes `S a + I b + O z`,
b `S b + I a + O c`, and c and d are their mirror images. So sums and differences about the middle
go apart: of `u = z + e`, `v = a + d` and `w = b + c` one gets ::

    a' + d' = S v + I w + O u = P + Q + R      P = (S + O + I)/2 (v + w)
    b' + c' = S w + I v + O w = P - Q          Q = (S + O - I)/2 (v - w),   R = O (u - v)

and the same of their differences, with O for -O where it meets the middle. Four cells take six
products, not twelve. As this holds down and across, the 16 cells of 2x2 blocks take 36 products
instead of 144: as many as by Winograd's F(4x4, 3x3) for ordinary convolutions, but of nothing
except sums and halves, so that no digits are lost.

Cells are kept in groups, those of 2x2 blocks: `(B, 4, 4, h, w, C)` are the cells in row r and
column c of group `(i, j)`, at `[:, r, c, i, j]`. So what is added up are whole pieces of
memory, which XLA's CPU back end does well, and one batched product of matrices does the rest:
of float32 or of bfloat16, which processors may multiply twice as fast. All else is float32.

Beyond its borders a plane is continued by its mirror image, as tiles are (`tiles.py`); here that
says no more than that a cell at the border is its own outer neighbour. So networks are trained on
small patches without ever seeing what no picture holds.

Every picture has a kernel of its own, since networks choose their kernels by its table.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg.tables import BLOCK

CELL = BLOCK // 2
"""Side of a cell in pixels."""

PIXELS = CELL * CELL

GROUP = 4
"""Cells of a group, down and across: those of two blocks."""

SPARED = 9 - 36 / GROUP**2
"""Products of matrices that a convolution spares a cell, beside one that goes tap by tap."""

_ROWS, _COLUMNS = (1, 3), (2, 4)
"""Axes of groups: a cell's place in its group and the group's own, down and across."""


def to_cells(plane: Array, side: int = CELL) -> Array:
    """Planes `(B, H, W)` to cells of side by side pixels, read from their blocks' corners.

    Args:
      plane: H and W multiples of twice the side.
      side: of a cell in pixels: half that of what the block grid repeats.

    Returns:
      `(B, H/side, W/side, side*side)`, in the plane's order.
    """
    batch, height, width = plane.shape
    down, across = height // (2 * side), width // (2 * side)
    split = _turn(plane.reshape(batch, down, 2, side, across, 2, side))
    cells = split.transpose(0, 1, 2, 4, 5, 3, 6)
    return cells.reshape(batch, 2 * down, 2 * across, side**2)


def from_cells(cells: Array, side: int = CELL) -> Array:
    """Inverse of `to_cells`."""
    batch, down, across, _ = cells.shape
    split = cells.reshape(batch, down // 2, 2, across // 2, 2, side, side)
    return _turn(split.transpose(0, 1, 2, 5, 3, 4, 6)).reshape(batch, side * down, side * across)


def _turn(split: Array) -> Array:
    """Reverses the rows of lower cells and the columns of right ones; its own inverse.

    `(B, h, 2, side, w, 2, side)`: block, cell and pixel, down and across.
    """
    split = jnp.stack([split[:, :, 0], split[:, :, 1, ::-1]], axis=2)
    return jnp.stack([split[..., 0, :], split[..., 1, ::-1]], axis=5)


def to_groups(cells: Array) -> Array:
    """Cells `(B, 4*h, 4*w, C)` in the plane's order to groups `(B, 4, 4, h, w, C)`."""
    batch, down, across, channels = cells.shape
    split = cells.reshape(batch, down // GROUP, GROUP, across // GROUP, GROUP, channels)
    return split.transpose(0, 2, 4, 1, 3, 5)


def from_groups(groups: Array) -> Array:
    """Inverse of `to_groups`."""
    batch, _, _, down, across, channels = groups.shape
    split = groups.transpose(0, 3, 1, 4, 2, 5)
    return split.reshape(batch, GROUP * down, GROUP * across, channels)


class Layer(NamedTuple):
    """A convolution's parameters as they are used, for each of B pictures.

    Attributes:
      factors: `(B, 36, C, D)` float32 or bfloat16, as `to_factors` makes them; `(B, 1, C, D)` of a
        pointwise convolution.
      bias: `(B, D)` float32.
    """

    factors: Array
    bias: Array


class MirroredConv(nn.Module):
    """The parameters of a 3x3 or 1x1 convolution of cells, to be used by `convolve`.

    Apart from the cells, so that what they depend on is worked out once, not for every tile.

    Attributes:
      inputs: channels of the cells, C.
      features: output channels, D.
      kernel_init: of `kernel`, `(3, 3, C, D)`: outer, self, inner, down and across.
      pointwise: the kernel is `(1, 1, C, D)`: every cell by itself.
      dtype: of what is multiplied; parameters and sums are float32.
    """

    inputs: int
    features: int
    kernel_init: Callable[..., Array] = nn.initializers.he_normal()
    pointwise: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        pictures: int,
        weights: Array | None = None,
        scale: Array | None = None,
        shift: Array | None = None,
    ) -> Layer:
        """The kernel and the bias of every picture.

        Args:
          pictures: how many, B.
          weights: `(B, K)`, how much of each of K further kernels, `deltas`, is added to the
            kernel of a picture; none if not given.
          scale: `(B, D)`, what the result is multiplied by; 1 if not given.
          shift: `(B, D)`, what is then added to it; 0 if not given.
        """
        side = 1 if self.pointwise else 3
        shape = (side, side, self.inputs, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        kernel = jnp.broadcast_to(kernel, (pictures, *shape))
        if weights is not None:
            further = (weights.shape[1], *shape)
            deltas = self.param("deltas", nn.initializers.zeros, further, jnp.float32)
            kernel += jnp.einsum("bk,kyxcd->byxcd", weights, deltas)
        bias = jnp.broadcast_to(bias, (pictures, self.features))
        if scale is not None:
            kernel *= scale[:, None, None, None]
            bias *= scale
        if shift is not None:
            bias += shift
        return Layer(to_factors(kernel).astype(self.dtype), bias)


def apply(
    layer: Layer,
    groups: Array,
    residual: Array | float = 0.0,
    *,
    slope: float = 1.0,
    inside: bool = False,
) -> Array:
    """Leaky ReLU and convolution of cells, of planes continued by their mirror images.

    Args:
      layer: the parameters; what is multiplied is brought to the dtype of its factors.
      groups: `(B, 4, 4, h, w, C)`.
      residual: added to the result: anything that broadcasts to it.
      slope: of the ReLU below zero; 1, and there is none.
      inside: leave out the blocks at the border, instead of continuing them; a pointwise
        convolution looks at none, and leaves out none.

    Returns:
      `(B, 4, 4, h, w, D)` float32, or one less than h and w.
    """
    convolved = convolve(groups, layer.factors, slope, inside)
    return convolved + (residual + layer.bias[:, None, None, None, None])


def trimmed(groups: Array) -> Array:
    """Groups without the blocks at the border: of the blocks that remain, new groups."""
    for place, group in (_ROWS, _COLUMNS):
        groups = jnp.stack(_neighbours(groups, place, group, inside=True)[1:5], axis=place)
    return groups


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(groups: Array, factors: Array, slope: float, inside: bool = False) -> Array:
    """Leaky ReLU, then mirrored convolution.

    Args:
      groups: `(B, 4, 4, h, w, C)` float32; their mirror images are taken to surround them.
      factors: `(B, 36, C, D)` or `(B, 1, C, D)`, as `to_factors` makes them; terms are brought to
        their dtype.
      slope: of the ReLU below zero, at most 1.
      inside: leave out the blocks at the border, unless it is pointwise.

    Returns:
      `(B, 4, 4, h, w, D)`, or `(B, 4, 4, h - 1, w - 1, D)` inside.
    """
    return _convolved("btnc,btcd->btnd", _rectified(groups, slope), factors, inside)


def _convolved(matrices: str, groups: Array, factors: Array, inside: bool) -> Array:
    """Of groups, by factors that are multiplied by as `matrices` says."""
    terms = _terms(groups, factors, inside)
    products = _products(matrices, _as_matrices(terms, factors), factors, factors.dtype)
    products = products.reshape(*terms.shape[:-1], -1)
    return products if is_pointwise(factors) else _collect(products)


def is_pointwise(factors: Array) -> bool:
    """Whether a convolution of these factors sees every cell by itself."""
    return factors.shape[1] == 1


def _products(matrices: str, left: Array, right: Array, dtype: DTypeLike) -> Array:
    """Products of matrices of a dtype, summed in float32."""
    left, right = left.astype(dtype), right.astype(dtype)
    return jnp.einsum(matrices, left, right, preferred_element_type=jnp.float32)


def _rectified(groups: Array, slope: float) -> Array:
    """Leaky ReLU of a slope up to 1."""
    return groups if slope == 1 else jnp.maximum(groups, slope * groups)


def _forward(
    groups: Array, factors: Array, slope: float, inside: bool
) -> tuple[Array, tuple[Array, Array]]:
    return convolve(groups, factors, slope, inside), (groups, factors)


def _backward(
    slope: float, inside: bool, saved: tuple[Array, Array], of_result: Array
) -> tuple[Array, Array]:
    groups, factors = saved
    gradient = of_result
    if inside and not is_pointwise(factors):  # nothing depends on what was left out
        border = [(0, 0), (2, 2), (2, 2), (0, 0)]
        gradient = to_groups(jnp.pad(from_groups(gradient), border))
    # If one cell is another's inner (or outer) neighbour, so is that one its own, at borders too:
    # the transposed operator is the mirrored convolution with each tap's matrix transposed.
    of_groups = _convolved("btnd,btcd->btnc", gradient, factors, inside=False)
    of_groups = jnp.where(groups > 0, of_groups, slope * of_groups)
    terms = _as_matrices(_terms(_rectified(groups, slope), factors, inside), factors)
    spread = of_result if is_pointwise(factors) else _spread(of_result)
    of_products = _as_matrices(spread, factors)
    multiply = partial(_products, "btnc,btnd->btcd")
    # XLA's CPU back end multiplies transposed matrices in float32 only.
    of_factors = jax.lax.platform_dependent(
        terms,
        of_products,
        cpu=partial(multiply, dtype=jnp.float32),
        default=partial(multiply, dtype=factors.dtype),
    )
    return of_groups, of_factors.astype(factors.dtype)


convolve.defvjp(_forward, _backward)


def to_factors(kernel: Array) -> Array:
    """Matrices `(B, 36, C, D)` of kernels `(B, 3, 3, C, D)`: what terms are multiplied by.

    Halves of them down and across, so that cells are sums of the products. Of kernels
    `(B, 1, 1, C, D)` it is one matrix, `(B, 1, C, D)`, and cells are their own terms.
    """
    if kernel.shape[1] == 1:
        return kernel[:, 0]
    for axis in (1, 2):  # the taps across move on to the second axis once those down are six
        outer, own, inner = jnp.moveaxis(kernel, axis, 0)
        six = []
        for middle in (own + outer, own - outer):
            six += [(middle + inner) / 4, (middle - inner) / 4, outer / 2]
        kernel = jnp.stack(six, axis=axis)
    batch, down, across, *matrix = kernel.shape
    return kernel.reshape(batch, down * across, *matrix)


def _terms(groups: Array, factors: Array, inside: bool) -> Array:
    """What the 36 matrices are applied to, `(B, 6, 6, h, w, C)`, in the order of the matrices.

    What a single one is applied to are the groups.
    """
    if is_pointwise(factors):
        return groups
    for place, group in (_COLUMNS, _ROWS):
        z, a, b, c, d, e = _neighbours(groups, place, group, inside=inside)
        six = []
        for sign, edge in ((1, -1), (-1, 1)):
            u, v, w = z + sign * e, a + sign * d, b + sign * c
            six += [v + w, v - w, u + edge * v]
        groups = jnp.stack(six, axis=place)
    return groups


def _neighbours(groups: Array, place: int, group: int, *, inside: bool) -> list[Array]:
    """The four cells of every group along an axis, and those before and after them.

    Args:
      groups: `(B, 4, 4, h, w, C)`, or with what took the place of the fours.
      place: the axis of a cell's place in its group.
      group: the axis of groups.
      inside: of the blocks but those at the border, which are half a group further on.
    """
    count = groups.shape[group]

    def cells(row: int, start: int, stop: int) -> Array:
        piece = jax.lax.index_in_dim(groups, row, place, keepdims=False)
        return jax.lax.slice_in_dim(piece, start, stop, axis=group - 1)

    if inside:
        rows = range(GROUP // 2 - 1, GROUP // 2 + GROUP + 1)
        return [cells(row % GROUP, row // GROUP, row // GROUP + count - 1) for row in rows]
    before = [cells(0, 0, 1), cells(GROUP - 1, 0, count - 1)]  # at the border its own neighbour
    after = [cells(0, 1, count), cells(GROUP - 1, count - 1, count)]
    own = [cells(row, 0, count) for row in range(GROUP)]
    return [jnp.concatenate(before, group - 1), *own, jnp.concatenate(after, group - 1)]


def _as_matrices(values: Array, factors: Array) -> Array:
    """Terms or groups to what each of the factors multiplies, `(B, 36, h*w, C)`."""
    batch, channels = values.shape[0], values.shape[-1]
    return values.reshape(batch, factors.shape[1], -1, channels)


def _collect(products: Array) -> Array:
    """The 36 products `(B, 6, 6, h, w, D)` to the cells of groups."""
    for axis in (1, 2):
        p, q, r, s, t, u = _unstacked(products, axis)
        outer, inner = (p + q + r, s + t + u), (p - q, s - t)  # sums about the middle, differences
        cells = [outer[0] + outer[1], inner[0] + inner[1], inner[0] - inner[1], outer[0] - outer[1]]
        products = jnp.stack(cells, axis=axis)
    return products


def _unstacked(values: Array, axis: int) -> list[Array]:
    """The pieces along an axis; no axis is moved, for which XLA would copy them all."""
    count = values.shape[axis]
    return [jax.lax.index_in_dim(values, index, axis, keepdims=False) for index in range(count)]


def _spread(groups: Array) -> Array:
    """Transpose of `_collect`: gradients of cells to those of the products."""
    for axis in (1, 2):
        a, b, c, d = _unstacked(groups, axis)
        six = []
        for outer, inner in ((a + d, b + c), (a - d, b - c)):
            six += [outer + inner, outer - inner, outer]
        groups = jnp.stack(six, axis=axis)
    return groups
