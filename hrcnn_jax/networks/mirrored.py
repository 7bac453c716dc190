"""Convolution on the four cells of every block, which are mirror images of one another.

An 8x8 block is cut into four cells of 4x4 pixels, one a corner. Whatever the block grid does to the
top left cell it does, mirrored, to the other three: the block's edges lie on the other sides, and
so do its neighbours. So each cell's pixels are read from its block's corner inwards, and a 3x3
kernel is turned likewise: its taps are not left, middle, right but *outer* (the neighbour across
the block's edge), *self* and *inner* (the neighbour in the same block), down as well as across.
One set of weights then serves all four cells alike, and none of it is spent on telling them apart.

Cells are ``(B, h, 2, 2, w, C)``: ``[:, i, p, q, j]`` are those in row p and column q of block
``(i, j)``. A band of blocks is a piece of memory.

It also makes the convolution cheap. Two cells a, b beside one another in a block are each other's
inner neighbours: with S, I and O the taps self, inner and outer, and a', b' the cells beyond the
block's edges, one gets ``S a + I b + O a'``, the other ``S b + I a + O b'``. Their sum is
``(S + I)(a + b) + O (a' + b')`` and their difference ``(S - I)(a - b) + O (a' - b')``: two products
each, not three. As this holds down and across, a block's four cells take 16 products instead of 36.
Unlike Winograd's algorithm for ordinary convolutions, which saves as much, it takes but sums
and halves of weights.

Beyond its borders a plane is continued by its mirror image, as tiles are (``tiles.py``); here that
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

BAND = 216
"""About how many blocks are worked on at once on a CPU: what its cache holds of the 16 terms."""

SIGNS = (1, -1)
"""Of the lower or the right cell: sums, then differences."""


def to_cells(plane: Array, side: int = CELL) -> Array:
    """Planes ``(B, H, W)`` to cells of side by side pixels, read from their blocks' corners.

    Args:
      plane: H and W multiples of twice the side.
      side: of a cell in pixels: half that of what the block grid repeats.

    Returns:
      ``(B, H/(2*side), 2, 2, W/(2*side), side*side)``.
    """
    batch, height, width = plane.shape
    down, across = height // (2 * side), width // (2 * side)
    split = plane.reshape(batch, down, 2, side, across, 2, side)
    cells = _turn(split).transpose(0, 1, 2, 5, 4, 3, 6)
    return cells.reshape(batch, down, 2, 2, across, side**2)


def from_cells(cells: Array, side: int = CELL) -> Array:
    """Inverse of :func:`to_cells`."""
    batch, down, _, _, across, _ = cells.shape
    split = cells.reshape(batch, down, 2, 2, across, side, side).transpose(0, 1, 2, 5, 4, 3, 6)
    return _turn(split).reshape(batch, 2 * side * down, 2 * side * across)


def _turn(split: Array) -> Array:
    """Reverses the rows of lower cells and the columns of right ones; its own inverse.

    ``(B, h, 2, side, w, 2, side)``: block, cell and pixel, down and across.
    """
    split = jnp.stack([split[:, :, 0], split[:, :, 1, ::-1]], axis=2)
    return jnp.stack([split[..., 0, :], split[..., 1, ::-1]], axis=5)


Surrounded = tuple[Array, Array]
"""The upper and the lower cells of h by w blocks and of those around them, ``(B, h + 1, 2, w + 2,
C)`` each: the former without those of the blocks above, the latter without those of the blocks
below, which do not touch the h by w."""


class Layer(NamedTuple):
    """A convolution's parameters as they are used, for each of B pictures.

    Attributes:
      factors: ``(B, 4, 4*C, D)``, as :func:`to_factors` makes them.
      bias: ``(B, D)``.
    """

    factors: Array
    bias: Array


class MirroredConv(nn.Module):
    """The parameters of a 3x3 convolution of cells, to be used by :func:`convolve`.

    Apart from the cells, so that what they depend on is worked out once, not for every tile.

    Attributes:
      inputs: channels of the cells, C.
      features: output channels, D.
      kernel_init: of ``kernel``, ``(3, 3, C, D)``: outer, self, inner, down and across.
      dtype: computed in; parameters are float32.
    """

    inputs: int
    features: int
    kernel_init: Callable[..., Array] = nn.initializers.he_normal()
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
          weights: ``(B, K)``, how much of each of K further kernels, ``deltas``, is added to the
            kernel of a picture; none if not given.
          scale: ``(B, D)``, what the result is multiplied by; 1 if not given.
          shift: ``(B, D)``, what is then added to it; 0 if not given.
        """
        shape = (3, 3, self.inputs, self.features)
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
        return Layer(to_factors(kernel).astype(self.dtype), bias.astype(self.dtype))


def apply(
    layer: Layer,
    cells: Array,
    residual: Array | float = 0.0,
    *,
    slope: float = 1.0,
    inside: bool = False,
) -> Array:
    """Leaky ReLU and 3x3 convolution of cells, of planes continued by their mirror images.

    Args:
      layer: the parameters, in whose dtype it is computed.
      cells: ``(B, h, 2, 2, w, C)``.
      residual: added to the result: anything that broadcasts to it.
      slope: of the ReLU below zero; 1, and there is none.
      inside: leave out the blocks at the border, instead of continuing them.

    Returns:
      ``(B, h, 2, 2, w, D)``, or two less than h and w.
    """
    dtype, features = layer.bias.dtype, layer.bias.shape[-1]
    cells, residual = (jnp.asarray(each, dtype) for each in (cells, residual))
    residual += layer.bias[:, None, None, None, None]
    grid = (trimmed(cells) if inside else cells).shape[:-1]
    residual = jnp.broadcast_to(residual, (*grid, features))
    return convolve(cells, layer.factors, residual, slope, inside)


def trimmed(cells: Array) -> Array:
    """Cells without the blocks at the border."""
    return cells[:, 1:-1, :, :, 1:-1]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def convolve(
    cells: Array, factors: Array, residual: Array, slope: float, inside: bool = False
) -> Array:
    """Leaky ReLU, then mirrored convolution.

    Args:
      cells: ``(B, h, 2, 2, w, C)``; their mirror images are taken to surround them.
      factors: ``(B, 4, 4*C, D)``, as :func:`to_factors` makes them.
      residual: added to the result.
      slope: of the ReLU below zero, at most 1.
      inside: leave out the blocks at the border.

    Returns:
      ``(B, h, 2, 2, w, D)``, or ``(B, h - 2, 2, 2, w - 2, D)`` inside.
    """
    return jax.lax.platform_dependent(
        _rectified(cells, slope),
        factors,
        residual,
        cpu=partial(convolve_in_bands, inside=inside),
        default=partial(convolve_whole, inside=inside),
    )


def _rectified(cells: Array, slope: float) -> Array:
    """Leaky ReLU of a slope up to 1."""
    return cells if slope == 1 else jnp.maximum(cells, slope * cells)


def convolve_whole(cells: Array, factors: Array, residual: Array, inside: bool = False) -> Array:
    """The convolution in one piece, of cells after the ReLU and matrices ``(B, 4, 4*C, D)``."""
    return residual + _convolve(_whole(cells, inside), factors)


def convolve_in_bands(cells: Array, factors: Array, residual: Array, inside: bool = False) -> Array:
    """The same band by band, so that what is between its steps stays in a CPU's cache."""
    rows = _rows(residual)
    bands = residual.shape[1] // rows

    def add_band(number: Array, result: Array) -> Array:
        picture, top = number // bands, number % bands * rows
        band = _convolve(_band(cells, picture, top, rows, inside), factors[picture][None])
        return result.at[number].add(band[0])

    result = residual.reshape(-1, rows, *residual.shape[2:])
    return jax.lax.fori_loop(0, len(result), add_band, result).reshape(residual.shape)


def _convolve(cells: Surrounded, factors: Array) -> Array:
    products = [_multiply(terms, factors[:, n]) for n, terms in enumerate(_terms(*cells))]
    return _collect(products)


def _forward(
    cells: Array, factors: Array, residual: Array, slope: float, inside: bool
) -> tuple[Array, tuple[Array, Array]]:
    return convolve(cells, factors, residual, slope, inside), (cells, factors)


def _backward(
    slope: float, inside: bool, saved: tuple[Array, Array], of_result: Array
) -> tuple[Array, Array, Array]:
    cells, factors = saved
    border = (1, 1) if inside else (0, 0)  # nothing depends on what was left out
    gradient = jnp.pad(of_result, [(0, 0), border, (0, 0), (0, 0), border, (0, 0)])
    of_cells = convolve(gradient, _transposed(factors), jnp.zeros_like(cells), 1.0)
    of_factors = jax.lax.platform_dependent(
        _rectified(cells, slope), gradient, cpu=contract_in_bands, default=contract_whole
    )
    return jnp.where(cells > 0, of_cells, slope * of_cells), of_factors, of_result


def _transposed(factors: Array) -> Array:
    """The factors ``(B, 4, 4*D, C)`` of the transposed operator.

    If one cell is another's inner (or outer) neighbour, so is that one its own, at borders too: it
    is the mirrored convolution with the matrix of each tap, and so of each term, transposed.
    """
    batch, signs, rows, features = factors.shape
    by_term = factors.reshape(batch, signs, 4, rows // 4, features).swapaxes(3, 4)
    return by_term.reshape(batch, signs, 4 * features, rows // 4)


convolve.defvjp(_forward, _backward)


def contract_whole(cells: Array, gradient: Array) -> Array:
    """The gradient of the matrices, ``(B, 4, 4*C, D)``, given that of the result."""
    return _contract(_whole(cells), gradient)


def contract_in_bands(cells: Array, gradient: Array) -> Array:
    """The same band by band."""
    rows = _rows(cells)
    bands = cells.shape[1] // rows

    def contract_band(number: Array) -> Array:
        picture, top = number // bands, number % bands * rows
        of_result = _cut(gradient, picture, top, rows)
        return _contract(_band(cells, picture, top, rows), of_result)[0]

    matrices = jax.lax.map(contract_band, jnp.arange(cells.shape[0] * bands))
    return jnp.sum(matrices.reshape(-1, bands, *matrices.shape[1:]), axis=1)


def _contract(cells: Surrounded, gradient: Array) -> Array:
    pairs = zip(_terms(*cells), _sums_and_differences(gradient), strict=True)
    return jnp.stack(
        [
            jnp.einsum("bnc,bnd->bcd", _as_matrices(each), _as_matrices(products))
            for each, products in pairs
        ],
        axis=1,
    )


def to_factors(kernel: Array) -> Array:
    """Matrices ``(B, 4, 4*C, D)`` of kernels ``(B, 3, 3, C, D)``: what terms are multiplied by.

    Quarters of them, so that cells are sums of the products.
    """
    outer, own, inner = jnp.moveaxis(kernel, 1, 0)  # down; (B, 3, C, D) each
    factors = []
    for down in SIGNS:
        rows = [jnp.moveaxis(taps, 1, 0) for taps in (own + down * inner, outer)]
        for across in SIGNS:
            taps = [tap for o, s, i in rows for tap in (s + across * i, o)]
            factors.append(jnp.concatenate(taps, axis=1))
    return jnp.stack(factors, axis=1) / 4


def _terms(uppers: Array, lowers: Array) -> list[Array]:
    """What the four matrices are applied to, ``(B, h, w, 4*C)`` each.

    They are sums and differences down and across: of a block's cells; of those beyond its left and
    right edge; beyond its upper and lower edge; beyond its corners.
    """
    upper, further_down = uppers[:, :-1], uppers[:, 1:]
    further_up, lower = lowers[:, :-1], lowers[:, 1:]
    terms = []
    for down in SIGNS:
        rows = [upper + down * lower, further_up + down * further_down]
        split = [(row[:, :, 0], row[:, :, 1]) for row in rows]  # (B, h, w + 2, C)
        for across in SIGNS:
            parts = [
                part
                for left, right in split
                for part in (
                    left[:, :, 1:-1] + across * right[:, :, 1:-1],
                    right[:, :, :-2] + across * left[:, :, 2:],
                )
            ]
            terms.append(jnp.concatenate(parts, axis=-1))
    return terms


def _multiply(terms: Array, matrices: Array) -> Array:
    """``(B, h, w, C)`` by ``(B, C, D)``."""
    batch, down, across, _ = terms.shape
    products = jnp.einsum("bnc,bcd->bnd", _as_matrices(terms), matrices)
    return products.reshape(batch, down, across, -1)


def _as_matrices(values: Array) -> Array:
    # XLA's CPU back end copies what it contracts along several axes.
    return values.reshape(values.shape[0], -1, values.shape[-1])


def _collect(products: list[Array]) -> Array:
    """The four products ``(B, h, w, D)`` to cells."""
    sums, differences = _pair(products[0], products[2]), _pair(products[1], products[3])
    rows = [jnp.stack(_pair(*row), axis=2) for row in zip(sums, differences, strict=True)]
    return jnp.stack(rows, axis=2)


def _sums_and_differences(cells: Array) -> list[Array]:
    """Transpose of :func:`_collect`: gradients of cells to those of the products."""
    rows = _pair(cells[:, :, 0], cells[:, :, 1])
    return [product for row in rows for product in _pair(row[:, :, 0], row[:, :, 1])]


def _pair(one: Array, other: Array) -> tuple[Array, Array]:
    return one + other, one - other


def _whole(cells: Array, inside: bool = False) -> Surrounded:
    """All blocks, or those inside."""
    if inside:
        return cells[:, 1:, 0], cells[:, :-1, 1]
    return _continued(cells, cells[:, :1, 0], cells[:, -1:, 1])


def _band(cells: Array, picture: Array, top: Array, rows: int, inside: bool = False) -> Surrounded:
    """Rows of the blocks, or of those inside; of one picture."""
    if inside:
        # In two halves: what is concatenated, XLA's CPU back end computes by itself. It would weave
        # a mere slice into all that follows, and find its place anew for every number.
        middle, across = cells.shape[4] // 2, cells.shape[4]
        below, above = (
            jnp.concatenate(
                [
                    _cut(cells, picture, start, rows + 1, slice(0, middle)),
                    _cut(cells, picture, start, rows + 1, slice(middle, across)),
                ],
                axis=4,
            )
            for start in (top + 1, top)
        )
        return below[:, :, 0], above[:, :, 1]
    # Beyond the borders these are the band's own rows, whose other cells are the mirror image.
    last = cells.shape[1] - 1
    up = _cut(cells, picture, jnp.maximum(top - 1, 0), 1)
    under = _cut(cells, picture, jnp.minimum(top + rows, last), 1)
    above = jnp.where(top > 0, up[:, :, 1], up[:, :, 0])
    below = jnp.where(top + rows <= last, under[:, :, 0], under[:, :, 1])
    return _continued(_cut(cells, picture, top, rows), above, below)


def _cut(
    cells: Array, picture: Array, top: Array, rows: int, columns: slice | None = None
) -> Array:
    """Rows of one picture's blocks, ``(1, rows, 2, 2, w, C)``, or some of their columns."""
    _, _, *of_block, across, channels = cells.shape
    columns = columns or slice(0, across)
    corner = (picture, top, 0, 0, columns.start, 0)
    size = (1, rows, *of_block, columns.stop - columns.start, channels)
    return jax.lax.dynamic_slice(cells, [jnp.asarray(each, top.dtype) for each in corner], size)


def _continued(cells: Array, above: Array, below: Array) -> Surrounded:
    """Blocks that end at the left and the right border.

    Args:
      cells: ``(B, h, 2, 2, w, C)``.
      above: the lower cells of the blocks above, ``(B, 1, 2, w, C)``.
      below: the upper ones of those below.
    """
    return (
        _between_mirrors(jnp.concatenate([cells[:, :, 0], below], axis=1)),
        _between_mirrors(jnp.concatenate([above, cells[:, :, 1]], axis=1)),
    )


def _between_mirrors(row: Array) -> Array:
    """Rows of blocks' cells ``(B, h, 2, w, C)`` with the mirrored first and last: ``w + 2``."""
    turned = row[:, :, ::-1]
    return jnp.concatenate([turned[:, :, :, :1], row, turned[:, :, :, -1:]], axis=3)


def _rows(cells: Array) -> int:
    """Rows of blocks to work on at once: what divides all, and comes nearest to BAND blocks."""
    down, across = cells.shape[1], cells.shape[4]
    fitting = [n for n in range(1, down + 1) if down % n == 0 and n * across <= BAND]
    return max(fitting, default=1)
