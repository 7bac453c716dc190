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


def interleaved(cells: np.ndarray) -> np.ndarray:
    """Cells ``(B, h, 2, 2, w, C)`` in the order of the plane, ``(B, 2*h, 2*w, C)``."""
    batch, down, _, _, across, channels = cells.shape
    return cells.swapaxes(3, 4).reshape(batch, 2 * down, 2 * across, channels)


def test_cells_are_read_from_their_blocks_corner() -> None:
    plane = jnp.arange(2 * 16 * 24).reshape(2, 16, 24)
    cells = mirrored.to_cells(plane)
    assert cells.shape == (2, 2, 2, 2, 3, 16)
    # The block at (8, 16), its four cells: the corner first, then along its upper or lower edge.
    block = cells[1, 1, :, :, 2]
    assert block[0, 0].tolist() == plane[1, 8:12, 16:20].ravel().tolist()
    assert block[0, 1].tolist() == plane[1, 8:12, 23:19:-1].ravel().tolist()
    assert block[1, 0].tolist() == plane[1, 15:11:-1, 16:20].ravel().tolist()
    assert block[1, 1].tolist() == plane[1, 15:11:-1, 23:19:-1].ravel().tolist()
    np.testing.assert_array_equal(mirrored.from_cells(cells), plane)


def test_cells_of_other_sizes() -> None:
    plane = jnp.arange(32 * 48).reshape(1, 32, 48)
    cells = mirrored.to_cells(plane, 8)
    assert cells.shape == (1, 2, 2, 2, 3, 64)
    assert cells[0, 0, 1, 0, 1].tolist() == plane[0, 15:7:-1, 16:24].ravel().tolist()
    np.testing.assert_array_equal(mirrored.from_cells(cells, 8), plane)


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


@pytest.fixture(params=[1, 9, 1000])
def band(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row at once, a few, all of a picture."""
    monkeypatch.setattr(mirrored, "BAND", request.param)


SHAPES = [(2, 6, 2, 2, 4, 3), (1, 1, 2, 2, 1, 4), (2, 5, 2, 2, 3, 2)]


@pytest.mark.parametrize("slope", [1.0, 0.1, 0.0])
@pytest.mark.parametrize(
    ("shape", "inside"), [*((shape, False) for shape in SHAPES), (SHAPES[0], True)]
)
def test_convolution(shape: tuple[int, ...], inside: bool, slope: float, band: None) -> None:
    cells = jax.random.normal(KEY, shape)
    kernel = jax.random.normal(KEY, (shape[0], 3, 3, shape[-1], 5))
    residual = jax.random.normal(KEY, (*shape[:-1], 5))
    passed = jnp.maximum(cells, 0) + slope * jnp.minimum(cells, 0)
    expected = by_scipy(interleaved(np.asarray(passed)), np.asarray(kernel))
    expected += interleaved(np.asarray(residual))
    if inside:
        residual, expected = mirrored.trimmed(residual), expected[:, 2:-2, 2:-2]
    factors = mirrored.to_factors(kernel)
    for ours in (
        jax.jit(mirrored.convolve, static_argnums=(3, 4))(cells, factors, residual, slope, inside),
        jax.jit(mirrored.convolve_whole, static_argnums=3)(passed, factors, residual, inside),
        jax.jit(mirrored.convolve_in_bands, static_argnums=3)(passed, factors, residual, inside),
    ):
        # float32: sums of 36 products
        np.testing.assert_allclose(interleaved(np.asarray(ours)), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_inside(dtype: Any) -> None:
    """What was left out has none."""
    cells = jax.random.normal(KEY, (1, 4, 2, 2, 5, 3), dtype)
    factors = mirrored.to_factors(jax.random.normal(KEY, (1, 3, 3, 3, 4), dtype))
    residual = jax.random.normal(KEY, (1, 4, 2, 2, 5, 4), dtype)

    def whole(cells: jax.Array, factors: jax.Array, residual: jax.Array) -> jax.Array:
        return mirrored.trimmed(mirrored.convolve(cells, factors, residual, 0.1))

    def inside(cells: jax.Array, factors: jax.Array, residual: jax.Array) -> jax.Array:
        return mirrored.convolve(cells, factors, mirrored.trimmed(residual), 0.1, True)

    arguments = cells, factors, residual
    expected, found = (
        jax.jit(lambda each=each: jax.vjp(each, *arguments)[1](whole(*arguments)))()
        for each in (whole, inside)
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("slope", [1.0, 0.1, 0.0])
def test_gradients(slope: float, band: None) -> None:
    """Against finite differences, at cells that these do not take across zero."""
    cells = jax.random.normal(KEY, (2, 4, 2, 2, 3, 3))
    cells += 0.1 * jnp.sign(cells)
    factors = mirrored.to_factors(jax.random.normal(KEY, (2, 3, 3, 3, 4)))
    residual = jax.random.normal(KEY, (2, 4, 2, 2, 3, 4))
    convolve = jax.jit(partial(mirrored.convolve, slope=slope))
    check_grads(convolve, (cells, factors, residual), order=1, modes=["rev"], eps=1e-2)
    gradient = jax.random.normal(jax.random.key(1), residual.shape)
    whole = jax.jit(mirrored.convolve_whole)
    _, transpose = jax.vjp(whole, cells, factors, residual)
    for ours in (mirrored.contract_whole, mirrored.contract_in_bands):
        found = jax.jit(ours)(cells, gradient)
        np.testing.assert_allclose(found, transpose(gradient)[1], atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2])
def test_mirroring(axis: int) -> None:
    """A plane's mirror image has the mirror image of its output."""
    plane = jax.random.normal(KEY, (1, 16, 24))
    conv = mirrored.MirroredConv(16, 16)
    params = conv.init(KEY, 1)

    def apply(plane: jax.Array) -> jax.Array:
        layer = conv.apply(params, 1)
        return mirrored.from_cells(mirrored.apply(layer, mirrored.to_cells(plane)))

    turned = jnp.flip(apply(jnp.flip(plane, axis)), axis)
    np.testing.assert_allclose(turned, apply(plane), atol=1e-5)
    assert np.abs(apply(plane)).max() > 0.1


def test_16_bit_floats() -> None:
    """Computed in them; parameters stay float32."""
    conv = mirrored.MirroredConv(3, 4, dtype=jnp.bfloat16)
    cells = jnp.ones((1, 2, 2, 2, 2, 3))
    params = conv.init(KEY, 1)
    assert mirrored.apply(conv.apply(params, 1), cells).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


def test_every_picture_has_its_own_mixture() -> None:
    """The kernel and what is mixed into it, scaled and shifted, as separate convolutions."""
    conv = mirrored.MirroredConv(3, 4)
    cells, weights, scale, shift = (
        jax.random.normal(KEY, (2, 3, 2, 2, 4, 3)),
        jnp.array([[0.5, -1.0], [0.0, 2.0]]),
        jnp.array([[1.0, 2.0, 0.5, -1.0], [3.0, 1.0, 0.0, 0.5]]),
        jnp.array([[0.0, 1.0, -2.0, 3.0], [0.5, 0.0, 1.0, 0.0]]),
    )
    params = conv.init(KEY, 2, weights)["params"]
    params["deltas"] = jax.random.normal(KEY, params["deltas"].shape)
    params["bias"] = jnp.arange(4.0)
    mixed = mirrored.apply(conv.apply({"params": params}, 2, weights, scale, shift), cells)
    for picture in (0, 1):
        kernel = params["kernel"] + weights[picture, 0] * params["deltas"][0]
        kernel += weights[picture, 1] * params["deltas"][1]
        one = {"params": {"kernel": kernel, "bias": params["bias"]}}
        plain = mirrored.apply(conv.apply(one, 1), cells[picture : picture + 1])
        expected = scale[picture] * plain + shift[picture]
        np.testing.assert_allclose(mixed[picture : picture + 1], expected, atol=1e-5)
