"""Growing networks: what they compute must not change."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import architecture_of, random_params
from jax import Array

from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks import mirrored
from hrcnn_jax.networks.chroma import Chroma
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.networks.growth import grow
from hrcnn_jax.networks.hrcnn import HRCNN
from hrcnn_jax.networks.mirrored import MirroredConv

TABLE = transform.quality_table(20)[None]


def planes() -> tuple[Array, ...]:
    random = np.random.default_rng(0)
    return jnp.asarray(random.integers(-3, 4, (1, 16, 24, 1)), jnp.int16), TABLE


def chroma() -> tuple[Array, ...]:
    random = np.random.default_rng(0)
    codes = jnp.asarray(random.integers(-3, 4, (1, 16, 8, 2)), jnp.int16)
    luma = jnp.asarray(random.uniform(size=(1, 32, 16)), jnp.float32)
    return codes, jnp.stack([TABLE, TABLE], axis=1), luma, TABLE


@pytest.mark.parametrize(
    ("small", "large", "inputs"),
    [
        (Compact(4, 1), Compact(7, 3, 2), planes()),
        (Compact(4, 1, 2), Compact(4, 2, 3), planes()),
        (Chroma(4, 1), Chroma(6, 2, 3), chroma()),
        (HRCNN(20, 1), HRCNN(20, 2), planes()[:1]),
    ],
)
def test_a_larger_network_begins_as_the_smaller(
    small: Any, large: Any, inputs: tuple[Array, ...]
) -> None:
    params = random_params(small)
    fresh = architecture_of(large).init(large, jax.random.key(1))
    grown = grow(params, fresh)
    assert jax.tree.map(jnp.shape, grown) == jax.tree.map(jnp.shape, fresh)
    before = jax.jit(small.apply)({"params": params}, *inputs)

    def move(params: dict[str, Array]) -> tuple[Array, Array]:
        after = large.apply({"params": params}, *inputs)
        return jnp.sum(jnp.square(after - before + 0.1)), after

    (_, after), gradient = jax.jit(jax.value_and_grad(move, has_aux=True))(
        jax.tree.map(jnp.asarray, grown)
    )
    np.testing.assert_allclose(after, before, atol=1e-4, rtol=1e-4)
    last = f"residual{large.blocks}"
    layers = [name for name in gradient[last] if name.startswith("conv")]
    assert np.abs(gradient[last][max(layers)]["kernel"]).max() > 0  # what was added can learn


def test_fewer_taps_are_the_middle_of_more() -> None:
    """What a 1x1 convolution does with every cell, a 3x3 one begins by doing."""
    groups = jax.random.normal(jax.random.key(0), (1, 4, 4, 2, 3, 3))
    small, large = (
        MirroredConv(3, count, pointwise=each) for count, each in ((5, True), (6, False))
    )
    params = small.init(jax.random.key(1), 1)["params"]
    grown = grow(params, large.init(jax.random.key(2), 1)["params"])
    before, after = (
        jax.jit(lambda p, conv=conv: mirrored.apply(conv.apply({"params": p}, 1), groups))(p)
        for conv, p in ((small, params), (large, grown))
    )
    np.testing.assert_allclose(after[..., :5], before, atol=1e-5)
    assert np.abs(after[..., 5]).max() > 0.1


def test_networks_do_not_shrink() -> None:
    with pytest.raises(ValueError, match=r"--warm-start: its network has layers"):
        grow(random_params(Compact(4, 2)), random_params(Compact(4, 1)))
    with pytest.raises(ValueError, match=r"--warm-start: its network has layers"):
        grow(random_params(Compact(6, 1)), random_params(Compact(4, 1)))
