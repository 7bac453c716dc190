"""The count of idle channels: of networks some of whose channels are silenced, or never silent."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import made_card, make_photo, random_params

from benchmarks import idle
from hrcnn_jax.networks import registry
from hrcnn_jax.networks.zoo import Network

SILENT, LOUD = -1e4, 1e4


def network(name: str, options: dict[str, Any], convolution: str, qualities: Any) -> Network:
    """Channels 0 to 2 of a convolution in block 1 are far below zero, channel 3 is far above."""
    architecture = registry.get(name)
    module = architecture.build(options)
    params = jax.tree.map(np.array, random_params(module))
    blocks = architecture.trunk_of(params) if name == "wild" else params
    bias = blocks["residual1"][convolution]["bias"]
    bias[:3], bias[3] = SILENT, LOUD
    card = made_card(name, options, qualities=qualities)
    return Network("made", architecture, module, params, card)


def crops(channels: int) -> jax.Array:
    stack = jnp.asarray([make_photo(32, 32, seed) for seed in range(5)], jnp.float32) / 255
    return stack[..., 0] if channels == 1 else jnp.concatenate([stack, stack], axis=-1)


@pytest.mark.parametrize(
    ("name", "options", "convolution", "qualities", "channels", "place"),
    [
        ("compact", {"width": 8, "blocks": 2}, "conv1", [40, 60], 1, "inside block 1"),
        ("compact", {"width": 8, "blocks": 2}, "conv2", [40, 60], 1, "before block 2"),
        ("wild", {"width": 8, "blocks": 2}, "conv1", [5, 98], 6, "inside block 1"),
        ("hrcnn", {"blocks": 1, "quality": 20}, "conv2", [20], 1, "inside block 1, 2"),
    ],
)
def test_what_channels_pass(
    name: str, options: dict[str, Any], convolution: str, qualities: Any, channels: int, place: str
) -> None:
    made = network(name, options, convolution, qualities)
    seen = idle.seen(made, crops(channels))
    passed = {where: each.passed for where, each in seen.items()}
    assert list(passed) == idle.places(made)
    np.testing.assert_array_equal(passed[place][:4], [0, 0, 0, 1])
    others = np.concatenate([each for where, each in passed.items() if where != place])
    assert np.all((others >= 0) & (others <= 1))
    assert others.max() > idle.IDLE
    assert np.all(seen[place].mean[:3] < SILENT / 2)
    assert seen[place].mean[3] > LOUD / 2
