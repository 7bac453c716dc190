"""The folded network against the layers it stands for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_photo, random_params

from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks import folding, registry
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.networks.hrcnn import HRCNN
from hrcnn_jax.restoration import pure


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("hidden_relu", [True, False])
def test_same_pictures(blocks: int, hidden_relu: bool) -> None:
    """With random weights, to the borders of the plane."""
    module: Any = HRCNN(blocks=blocks, hidden_relu=hidden_relu)
    params = random_params(module, scale=0.1)
    plane = jnp.asarray(make_photo(40, 56)[..., 1] / np.float32(255))
    table = transform.quality_table(10)
    codes = transform.encode(plane, table)
    folded, folded_params = folding.fold(module, params)
    pictures = [
        np.asarray(
            jax.jit(pure.restore_plane, static_argnums=0, static_argnames="faithful")(
                each, its_params, codes, table, faithful=False
            )
        )
        for each, its_params in ((module, params), (folded, folded_params))
    ]
    assert np.ptp(pictures[0]) > 0.1, "ReLUs have not made it all black"
    # float32: sums of thousands of products, in another order.
    np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-4 * np.abs(pictures[0]).max())
    assert folded.halo == module.halo  # type: ignore[attr-defined]


def test_costs() -> None:
    """Multiply-adds a pixel, counted by hand: 3x3 blocks' 64 codes, and 17x17 pixels."""
    for module, expected in (
        (HRCNN(hidden_relu=False), 9 * 64 + 4 * 17 * 17),
        (HRCNN(), 9 * 64 * 8 + 9 * 8 + 4 * (121 * 64 + 49 * 64 * 16 + 16)),
    ):
        folded, _ = folding.fold(module, random_params(module))
        assert Architecture(type(folded)).multiply_adds(folded) == expected


def test_others_stay_as_they_are() -> None:
    module = Compact(width=4, blocks=0)
    params = random_params(module)
    assert registry.get("compact").fold(module, params) == (module, params)
