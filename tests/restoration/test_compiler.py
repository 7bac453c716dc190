"""The compiler itself, on what it is known to get wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrcnn_jax.restoration.programs import Program


@pytest.mark.parametrize("count", [1000, 32_769, 70_001])
def test_products_with_vectors_that_are_summed(count: int) -> None:
    """Of many vectors at once: jax 0.10.2 fuses these for CPUs, and leaves the last ones wrong.

    Published with jax issue 39103.
    """
    vectors = np.zeros((count, 3), np.float32)
    vectors[:, 0] = np.arange(count)

    @Program
    def lengths(vectors: jax.Array) -> jax.Array:
        matrix = jnp.eye(3)
        return jax.vmap(lambda vector: jnp.sum((matrix @ vector) ** 2))(vectors)

    np.testing.assert_array_equal(lengths(jnp.asarray(vectors)), vectors[:, 0] ** 2)


def test_sums_of_products_of_many_axes() -> None:
    """Over rank 7, where jax 0.10.2 crashes or never ends: jax issue 39257."""
    random = np.random.default_rng(0)
    few, many = random.random((5, 2, 6)), random.random((5, 2, 6, 3, 3, 3, 3, 3))

    @Program
    def logarithms(few: jax.Array, many: jax.Array) -> jax.Array:
        sums = jnp.sum(few[..., None, None, None, None, None] * many, axis=2)
        return jnp.log(jnp.maximum(sums, 1e-16))

    ours = logarithms(jnp.asarray(few, jnp.float32), jnp.asarray(many, jnp.float32))
    expected = np.log(np.einsum("abi,abivwxyz->abvwxyz", few, many))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
