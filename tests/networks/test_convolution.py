"""Our convolutions against Flax's: the same values and the same gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrcnn_jax.networks.convolution import Conv, Squares

SHAPES = [
    ((2, 16, 24, 1), 64, 11),  # the one with gradients of its own
    ((1, 10, 12, 1), 5, 3),
    ((2, 16, 16, 64), 16, 7),
    ((2, 16, 16, 16), 1, 1),
    ((1, 8, 8, 8), 1, 3),
]


OF_SQUARES = [
    ((1, 21, 30, 6), 48, 8, 4),
    ((1, 8, 9, 6), 5, 8, 4),
    ((1, 7, 12, 48), 48, 3, 1),
    ((1, 3, 3, 2), 1, 3, 1),
    ((2, 21, 30, 6), 48, 8, 4),
]
"""Some of sides that squares do not divide; the last is no product of matrices."""


@pytest.mark.parametrize(("shape", "features", "size"), SHAPES)
def test_values_and_gradients_are_flaxs(shape: tuple[int, ...], features: int, size: int) -> None:
    compare(Conv(features, size), nn.Conv(features, (size, size)), shape)


@pytest.mark.parametrize(("shape", "features", "size", "stride"), OF_SQUARES)
def test_so_are_those_of_squares(
    shape: tuple[int, ...], features: int, size: int, stride: int
) -> None:
    theirs = nn.Conv(features, (size, size), stride, "VALID", precision="highest")
    compare(Squares(features, size, stride), theirs, shape)


def compare(ours: nn.Module, theirs: nn.Module, shape: tuple[int, ...]) -> None:
    """Holds one convolution of inputs of a shape against another of the same weights."""
    random = np.random.default_rng(0)
    inputs = jnp.asarray(random.normal(size=shape), jnp.float32)
    shapes = jax.eval_shape(ours.init, jax.random.key(0), inputs)["params"]
    weights = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype("f"), shapes)
    towards = jax.eval_shape(lambda: ours.apply({"params": weights}, inputs))
    gradient = jnp.asarray(random.normal(size=towards.shape), jnp.float32)

    def pulled(module: nn.Module) -> tuple[jax.Array, ...]:
        outputs, pull = jax.vjp(lambda w, x: module.apply({"params": w}, x), weights, inputs)
        return outputs, pull(gradient)

    with jax.numpy_rank_promotion("allow"):  # Flax adds its bias by promotion
        expected = jax.jit(lambda: pulled(theirs))()
    # float32 sums of up to 7*7*64 products, or of 2*16*24 pixels, in another order
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6 * np.abs(b).max() + 1e-4),
        jax.jit(lambda: pulled(ours))(),
        expected,
    )


def test_names_and_shapes_are_flaxs() -> None:
    inputs = jnp.zeros((1, 8, 8, 3))
    shapes = [
        jax.tree.map(jnp.shape, jax.eval_shape(module.init, jax.random.key(0), inputs))
        for module in (Conv(4, 5), nn.Conv(4, (5, 5)))
    ]
    assert shapes[0] == shapes[1]


def test_centred_inputs_are_what_the_bias_is_stored_for() -> None:
    """Away from the zeros beyond the border it is Flax's convolution of what is centred."""
    random = np.random.default_rng(0)
    inputs = jnp.asarray(random.uniform(size=(1, 24, 24, 2)), jnp.float32)
    weights = {
        "kernel": jnp.asarray(random.normal(size=(5, 5, 2, 3)), jnp.float32),
        "bias": jnp.asarray(random.normal(size=3), jnp.float32),
    }
    ours = Conv(3, 5, centre=0.5).apply({"params": weights}, inputs)
    with jax.numpy_rank_promotion("allow"):  # Flax adds its bias by promotion
        expected = nn.Conv(3, (5, 5)).apply({"params": weights}, inputs - 0.5)
    inside = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(ours[inside], expected[inside], atol=1e-4)
