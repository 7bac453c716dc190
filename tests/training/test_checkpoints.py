"""Checkpoints: what comes back, what is kept, and what is refused."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import random_params

from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.training.checkpoints import CheckpointError, Checkpoints, load_best
from hrcnn_jax.training.settings import Config
from hrcnn_jax.training.step import TrainState

pytestmark = pytest.mark.usefixtures("standard_promotion")


def configured(**options: Any) -> Config:
    defaults: dict[str, Any] = {"architecture": "compact", "width": 8, "blocks": 0}
    return Config(**(defaults | {"quality": (5, 95)} | options))


def state_of(config: Config, step: int, *, seed: int = 0) -> TrainState:
    module = registry.build(config.architecture, config.network_options)
    state = step.create_state(module, config, random_params(module, seed=seed))
    averaged = jax.tree.map(lambda leaf: leaf + 1, state.params)
    return state.replace(step=jnp.int32(step), ema=averaged)


def assert_equal(first: Any, second: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "muon"])
def test_latest_comes_back_to_the_bit(optimiser: str, tmp_path: Path) -> None:
    config = configured(optimiser=optimiser)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state_of(config, 0), config) is None
        for step in (2, 4, 6):
            checkpoints.save(state_of(config, step, seed=step), config)
        checkpoints.save(state_of(config, 6, seed=7), config)  # saved already
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(state_of(config, 0), config)
    assert_equal(restored, state_of(config, 6, seed=6))


def test_best_is_the_highest_score(tmp_path: Path) -> None:
    """Its averaged parameters, and only one is kept."""
    config = configured(workdir="elsewhere", scales=(1.0, 0.5))
    scores = {1: 0.1, 2: 0.5, 3: 0.5, 4: 0.3}
    with Checkpoints(tmp_path) as checkpoints:
        states = {step: state_of(config, step, seed=step) for step in scores}
        kept = [checkpoints.save_if_best(states[step], config, scores[step]) for step in scores]
    assert kept == [True, True, False, False]
    saved_config, params, step, score = load_best(tmp_path)
    assert (saved_config, step, score) == (config, 2, 0.5)
    assert_equal(params, states[2].ema)
    with Checkpoints(tmp_path) as checkpoints:
        assert not checkpoints.save_if_best(states[4], config, 0.4)
        assert checkpoints.save_if_best(states[4], config, 0.6)
    assert load_best(tmp_path)[2:] == (4, 0.6)
    assert [path.name for path in (tmp_path / "best").iterdir() if path.is_dir()] == ["4"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"architecture": "hrcnn", "quality": (10,)}, r"architecture \(compact\).*\(hrcnn\)"),
        ({"width": 12}, r"network options \(.*'width': 8.*'width': 12.*--workdir"),
        ({"optimiser": "adam"}, r"optimiser \(sgd\) differs from this run's \(adam\)"),
    ],
)
def test_another_runs_checkpoint(other: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = configured()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(config, 1), config)
    changed = configured(**other)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=message):
        checkpoints.restore(state_of(changed, 0), changed)


def test_what_may_change_between_runs(tmp_path: Path) -> None:
    """Rates, clipping, data and length are no part of the state's shape."""
    config = configured(clip=1.0, momentum=0.9)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(config, 1), config)
    changed = configured(clip=0.0, momentum=0.5, steps=7, learning_rate=1.0, data=("x",))
    with Checkpoints(tmp_path) as checkpoints:
        assert_equal(checkpoints.restore(state_of(changed, 0), changed), state_of(config, 1))


def test_folders_without_a_best(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint of a training run here"):
        load_best(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_best(tmp_path / "none")
    with Checkpoints(tmp_path):
        pass
    with pytest.raises(CheckpointError, match="empty; train until the first validation"):
        load_best(tmp_path)


def test_a_run_can_be_loaded_as_a_network(tmp_path: Path) -> None:
    config = configured()
    state = state_of(config, 3)
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save_if_best(state, config, 0.25)
    network = zoo.load_any(str(tmp_path / "run"))
    assert network.name == "run"
    assert network.module == registry.build("compact", config.network_options)
    assert network.table is None
    assert_equal(network.params, state.ema)
    assert network.card["steps"] == 3
    assert network.card["validation_gain_db"] == 0.25
    assert network.card["parameters"] == registry.count_parameters(state.ema)


def test_a_run_can_be_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured()
    state = state_of(config, 3)
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save_if_best(state, config, 0.25)
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "weights")
    path = zoo.release(tmp_path / "run", "new", folder=zoo.WEIGHTS)
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode
    network = zoo.load("new")
    assert network.card["steps"] == 3
    jax.tree.map(
        # Half precision keeps eleven bits.
        partial(np.testing.assert_allclose, rtol=2.0**-11, atol=2.0**-24),
        network.params,
        state.ema,
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(network.params)} == {np.dtype("float32")}


def test_unknown_networks(tmp_path: Path) -> None:
    with pytest.raises(zoo.ModelError, match="no network 'huge': choose from"):
        zoo.load("huge")
    with pytest.raises(zoo.ModelError, match=r"no network 'huge'.*or give the folder"):
        zoo.load_any("huge")
