"""What presets say of themselves."""

import re

import jax
import jax.numpy as jnp
import pytest

from hrcnn_jax.networks import cards, registry
from hrcnn_jax.training import loop
from hrcnn_jax.training.presets import PRESETS

BEGUN = [
    (name, start)
    for name, preset in PRESETS.items()
    for start in re.findall(r"--warm-start\s+(\S+)", preset.about)
    if start in cards.all_names()
]


@pytest.mark.parametrize(("name", "start"), BEGUN)
def test_it_can_begin_with_what_its_command_names(name: str, start: str) -> None:
    settings = PRESETS[name].settings.changed(warm_start=start)
    architecture = registry.get(settings.architecture)
    module = architecture.build(settings.options)
    shapes = jax.eval_shape(lambda: architecture.init(module, jax.random.key(0)))
    fresh = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    grown = architecture.grow(loop.warm_params(architecture, settings), fresh)
    assert jax.tree.map(jnp.shape, grown) == jax.tree.map(jnp.shape, fresh)


def test_some_begin_with_others() -> None:
    assert {("large", "small"), ("chroma-large", "chroma")} <= set(BEGUN)
