"""Cells and the mirrored convolution, against SciPy's correlation and by their symmetry."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.signal import correlate2d

from hrcnn_jax.networks import mirrored

KEY = jax.random.key(0)

# Compiled whole: step by step they are dozens of programs.
to_factors = jax.jit(mirrored.to_factors)


@partial(jax.jit, static_argnums=0)
def convolved(
    conv: mirrored.MirroredConv, params: Any, groups: jax.Array, *conditions: jax.Array
) -> jax.Array:
    return mirrored.apply(conv.apply(params, len(groups), *conditions), groups)


def initial(conv: mirrored.MirroredConv, pictures: int, *conditions: jax.Array) -> Any:
    return jax.jit(conv.init, static_argnums=1)(KEY, pictures, *conditions)


def test_cells_are_read_from_their_blocks_corner() -> None:
    plane = jnp.arange(2 * 16 * 24).reshape(2, 16, 24)
    cells = mirrored.to_cells(plane)
    assert cells.shape == (2, 4, 6, 16)
    # The block at (8, 16), its four cells: the corner first, then along its upper or lower edge.
    assert cells[1, 2, 4].tolist() == plane[1, 8:12, 16:20].ravel().tolist()
    assert cells[1, 2, 5].tolist() == plane[1, 8:12, 23:19:-1].ravel().tolist()
    assert cells[1, 3, 4].tolist() == plane[1, 15:11:-1, 16:20].ravel().tolist()
    assert cells[1, 3, 5].tolist() == plane[1, 15:11:-1, 23:19:-1].ravel().tolist()
    np.testing.assert_array_equal(mirrored.from_cells(cells), plane)


def test_cells_of_other_sizes() -> None:
    plane = jnp.arange(32 * 48).reshape(1, 32, 48)
    cells = mirrored.to_cells(plane, 8)
    assert cells.shape == (1, 4, 6, 64)
    assert cells[0, 1, 2].tolist() == plane[0, 15:7:-1, 16:24].ravel().tolist()
    np.testing.assert_array_equal(mirrored.from_cells(cells, 8), plane)


def test_groups_are_of_two_blocks_down_and_across() -> None:
    cells = jnp.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    groups = mirrored.to_groups(cells)
    assert groups.shape == (2, 4, 4, 2, 3, 3)
    np.testing.assert_array_equal(groups[:, 3, 1, 1, 2], cells[:, 7, 9])
    np.testing.assert_array_equal(mirrored.from_groups(groups), cells)
    inside = mirrored.from_groups(mirrored.trimmed(groups))
    np.testing.assert_array_equal(inside, cells[:, 2:-2, 2:-2])


def by_scipy(cells: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Every cell's output by an ordinary correlation with the kernel turned for its place."""
    channels = cells.shape[-1]
    output = np.zeros((*cells.shape[:3], kernel.shape[-1]))
    for p, q in np.ndindex(2, 2):
        turned = kernel[:, :: 1 - 2 * p, :: 1 - 2 * q]
        for b, c, d in np.ndindex(len(cells), channels, kernel.shape[-1]):
            plane = correlate2d(
                cells[b, :, :, c], turned[b, :, :, c, d], mode="same", boundary="symm"
            )
            output[b, p::2, q::2, d] += plane[p::2, q::2]
    return output


SHAPES = [(2, 12, 8, 3), (1, 4, 4, 4), (2, 4, 12, 2)]


@pytest.mark.parametrize("slope", [1.0, 0.1, 0.0])
@pytest.mark.parametrize(
    ("shape", "inside"), [*((shape, False) for shape in SHAPES), (SHAPES[0], True)]
)
def test_convolution(shape: tuple[int, ...], inside: bool, slope: float) -> None:
    cells = jax.random.normal(KEY, shape)
    kernel = jax.random.normal(KEY, (shape[0], 3, 3, shape[-1], 5))
    passed = jnp.maximum(cells, 0) + slope * jnp.minimum(cells, 0)
    expected = by_scipy(np.asarray(passed), np.asarray(kernel))
    if inside:
        expected = expected[:, 2:-2, 2:-2]
    convolve = jax.jit(mirrored.convolve, static_argnums=(2, 3))
    ours = convolve(mirrored.to_groups(cells), to_factors(kernel), slope, inside)
    # float32: sums of 36 products
    np.testing.assert_allclose(mirrored.from_groups(ours), expected, atol=2e-5)


@pytest.mark.parametrize("inside", [False, True])
def test_pointwise_convolution(inside: bool) -> None:
    """Every cell by itself, and none is left out, whatever is asked for."""
    groups = jax.random.normal(KEY, (2, 4, 4, 2, 3, 3))
    conv = mirrored.MirroredConv(3, 5, pointwise=True)
    weights, shift = jax.random.normal(KEY, (2, 2)), jax.random.normal(KEY, (2, 5))
    params = initial(conv, 2, weights)
    params["params"]["deltas"] = jax.random.normal(KEY, (2, 1, 1, 3, 5))
    layer = conv.apply(params, 2, weights, 1 + shift, shift)
    assert isinstance(layer, mirrored.Layer)
    found = jax.jit(partial(mirrored.apply, slope=0.1, inside=inside))(layer, groups)
    kernel, deltas = (np.asarray(params["params"][name]) for name in ("kernel", "deltas"))
    kernels = kernel[0, 0] + np.einsum("bk,kcd->bcd", weights, deltas[:, 0, 0])
    given = np.where(groups > 0, groups, 0.1 * groups)
    shifts = np.asarray(shift)[:, None, None, None, None]
    expected = np.einsum("b...c,bcd->b...d", given, kernels) * (1 + shifts) + shifts
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("inside", [False, True])
def test_pointwise_gradients(inside: bool) -> None:
    """Against finite differences."""
    groups = jax.random.normal(KEY, (2, 4, 4, 2, 3, 3))
    groups += 0.1 * jnp.sign(groups)
    factors = jax.random.normal(KEY, (2, 1, 3, 4))
    convolve = jax.jit(partial(mirrored.convolve, slope=0.1, inside=inside))
    check_grads(convolve, (groups, factors), order=1, modes=["rev"], eps=1e-2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_inside(dtype: Any) -> None:
    """What was left out has none."""
    groups = jax.random.normal(KEY, (1, 4, 4, 2, 3, 3))
    kernel = jax.random.normal(KEY, (1, 3, 3, 3, 4))

    def whole(groups: jax.Array, kernel: jax.Array) -> jax.Array:
        return mirrored.trimmed(mirrored.convolve(groups, to_factors(kernel).astype(dtype), 0.1))

    def inside(groups: jax.Array, kernel: jax.Array) -> jax.Array:
        return mirrored.convolve(groups, to_factors(kernel).astype(dtype), 0.1, True)

    # Of the kernel, not of its 36 matrices: what one of these does, others can do for it, and how
    # they share a gradient depends on where groups begin.
    expected, found = (
        jax.jit(lambda each=each: jax.vjp(each, groups, kernel)[1](each(groups, kernel)))()
        for each in (whole, inside)
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == jnp.float32
        # Groups begin half a group further on, so that other sums are rounded.
        bound = 40 * float(jnp.finfo(dtype).eps) * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, atol=bound)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("slope", [1.0, 0.1, 0.0])
def test_gradients(slope: float, inside: bool) -> None:
    """Against finite differences, at cells that these do not take across zero."""
    groups = jax.random.normal(KEY, (2, 4, 4, 2, 3, 3))
    groups += 0.1 * jnp.sign(groups)
    factors = to_factors(jax.random.normal(KEY, (2, 3, 3, 3, 4)))
    convolve = jax.jit(partial(mirrored.convolve, slope=slope, inside=inside))
    check_grads(convolve, (groups, factors), order=1, modes=["rev"], eps=1e-2)


@pytest.mark.parametrize("axis", [1, 2])
def test_mirroring(axis: int) -> None:
    """A plane's mirror image has the mirror image of its output."""
    plane = jax.random.normal(KEY, (1, 16, 32))
    conv = mirrored.MirroredConv(16, 16)
    params = initial(conv, 1)

    @jax.jit
    def apply(plane: jax.Array) -> jax.Array:
        groups = mirrored.to_groups(mirrored.to_cells(plane))
        applied = convolved(conv, params, groups)
        return mirrored.from_cells(mirrored.from_groups(applied))

    turned = jnp.flip(apply(jnp.flip(plane, axis)), axis)
    np.testing.assert_allclose(turned, apply(plane), atol=1e-5)
    assert np.abs(apply(plane)).max() > 0.1


def test_16_bit_floats() -> None:
    """Factors are rounded to them; sums and parameters are not."""
    conv = mirrored.MirroredConv(64, 4, dtype=jnp.bfloat16)
    groups = jax.random.randint(KEY, (1, 4, 4, 1, 2, 64), -9, 10).astype(jnp.float32)
    params = initial(conv, 1)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    found = convolved(conv, params, groups)
    assert found.dtype == jnp.float32
    layer: mirrored.Layer = conv.apply(params, 1)
    exact = to_factors(jnp.asarray(params["params"]["kernel"])[None])
    rounded = exact.astype(jnp.bfloat16).astype(jnp.float32)
    np.testing.assert_array_equal(layer.factors.astype(jnp.float32), rounded)
    # Integers of sums and differences have few digits: nothing else is rounded.
    in_float32 = mirrored.convolve(groups, rounded, 1.0)
    np.testing.assert_allclose(found, in_float32, atol=1e-4)
    assert np.abs(found - mirrored.convolve(groups, exact, 1.0)).max() > 1e-2


def test_every_picture_has_its_own_mixture() -> None:
    """The kernel and what is mixed into it, scaled and shifted, as separate convolutions."""
    conv = mirrored.MirroredConv(3, 4)
    groups = jax.random.normal(KEY, (2, 4, 4, 3, 2, 3))
    weights = jnp.array([[0.5, -1.0], [0.0, 2.0]])
    scale = jnp.array([[1.0, 2.0, 0.5, -1.0], [3.0, 1.0, 0.0, 0.5]])
    shift = jnp.array([[0.0, 1.0, -2.0, 3.0], [0.5, 0.0, 1.0, 0.0]])
    params = initial(conv, 2, weights)["params"]
    params["deltas"] = jax.random.normal(KEY, params["deltas"].shape)
    params["bias"] = jnp.arange(4.0)
    mixed = convolved(conv, {"params": params}, groups, weights, scale, shift)
    for picture in (0, 1):
        kernel = params["kernel"] + weights[picture, 0] * params["deltas"][0]
        kernel += weights[picture, 1] * params["deltas"][1]
        one = {"params": {"kernel": kernel, "bias": params["bias"]}}
        plain = np.asarray(convolved(conv, one, groups[picture : picture + 1])[0])
        expected = np.asarray(scale)[picture] * plain + np.asarray(shift)[picture]
        np.testing.assert_allclose(mixed[picture], expected, atol=2e-5)
