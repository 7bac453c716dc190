"""Checkpoints: what comes back, what is kept, and what is refused."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import made_card, random_params, write_network
from flax.traverse_util import flatten_dict, unflatten_dict
from test_settings import FLAT

from hrcnn_jax.networks import cards, cost, registry, zoo
from hrcnn_jax.training import step
from hrcnn_jax.training.checkpoints import CheckpointError, Checkpoints
from hrcnn_jax.training.export import describe, release
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.step import TrainState

pytestmark = pytest.mark.usefixtures("standard_promotion")


def configured(**options: Any) -> Settings:
    defaults: dict[str, Any] = {"architecture": "compact", "width": 8, "blocks": 0}
    return Settings().changed(**(defaults | {"quality": (5, 95)} | options))


def state_of(settings: Settings, number: int, *, seed: int = 0) -> TrainState:
    architecture = registry.get(settings.architecture)
    params = random_params(architecture.build(settings.options), seed=seed)
    state = step.create_state(architecture, settings, params)
    averaged = jax.tree.map(lambda leaf: leaf + 1, state.params)
    return state.replace(step=jnp.int32(number), ema=averaged)


def assert_equal(first: Any, second: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "muon"])
def test_latest_comes_back_to_the_bit(optimiser: str, tmp_path: Path) -> None:
    settings = configured(optimiser=optimiser)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state_of(settings, 0), settings) is None
        for number in (2, 4, 6):
            checkpoints.save(state_of(settings, number, seed=number), settings)
        checkpoints.save(state_of(settings, 6, seed=7), settings)  # saved already
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(state_of(settings, 0), settings)
    assert_equal(restored, state_of(settings, 6, seed=6))


def test_best_is_the_highest_score(tmp_path: Path) -> None:
    """Its averaged parameters, and only one is kept."""
    settings = configured(workdir="elsewhere", scales=(1.0, 0.5))
    blank = describe(settings)
    scores = {1: 0.1, 2: 0.5, 3: 0.5, 4: 0.3}
    states = {number: state_of(settings, number, seed=number) for number in scores}

    def save(checkpoints: Checkpoints, number: int, score: float) -> bool:
        card = made_card("compact", settings.options, steps=number, validation_gain_db=score)
        return checkpoints.save_if_best(states[number].ema, card)

    with Checkpoints(tmp_path) as checkpoints:
        assert [save(checkpoints, *each) for each in scores.items()] == [True, True, False, False]
    network = zoo.load(tmp_path)
    assert (network.card.steps, network.card.validation_gain_db) == (2, 0.5)
    assert_equal(network.params, states[2].ema)
    with Checkpoints(tmp_path) as checkpoints:
        assert not save(checkpoints, 4, 0.4)
        assert save(checkpoints, 4, 0.6)
    assert zoo.load(tmp_path).card.steps == 4
    assert {path.name for path in tmp_path.iterdir()} == {"latest", zoo.BEST}
    assert Settings.from_dict(blank.training, "card").options == settings.options


@pytest.mark.parametrize(
    ("resumed", "is_kept"),
    [
        ({}, True),
        ({"learning_rate": 1.0, "crops": 7, "cache": "elsewhere"}, True),
        ({"validation": ("some/./folder/",)}, True),  # the same, written otherwise
        ({"validation_crops": 7}, False),  # scores on other pictures do not compare
        ({"validation": ("others",)}, False),
        (None, False),  # begun anew: what is there is another run's
    ],
    ids=str,
)
def test_when_the_best_is_believed(
    resumed: dict[str, Any] | None, is_kept: bool, tmp_path: Path
) -> None:
    settings = configured(validation=("some/folder",))
    state = state_of(settings, 1)
    card = made_card("compact", settings.options, steps=1, validation_gain_db=0.5)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save_if_best(state.ema, card)
        if resumed is not None:
            checkpoints.save(state, settings)
    again = configured(**({"validation": ("some/folder",)} | (resumed or {})))
    told: list[str] = []
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(state_of(again, 0), again, tell=told.append)
        assert checkpoints.has_best == is_kept
    assert [line.endswith("; kept as best.before.safetensors") for line in told] == (
        [] if is_kept else [True]
    )
    assert (tmp_path / "best.before.safetensors").is_file() != is_kept
    with Checkpoints(tmp_path) as checkpoints:  # started twice before its first validation
        checkpoints.restore(state_of(again, 0), again)
        assert checkpoints.has_best == is_kept
        worse = replace(card, validation_gain_db=0.1)
        assert checkpoints.save_if_best(state.ema, worse) != is_kept


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"architecture": "hrcnn", "quality": (10,)},
            r"architecture \(compact there, hrcnn here\)",
        ),
        ({"width": 12}, r"another network \(.*'width': 8.*'width': 12.*--workdir"),
        ({"optimiser": "adam"}, r"optimiser \(sgd there, adam here\)"),
        ({"loss": "ssim"}, r"loss \(mse there, ssim here\)"),
        ({"quality": (5, 90)}, r"quality \(\(5, 95\) there, \(5, 90\) here\)"),
        ({"tables": "any", "balance": True}, r"tables \(.*, balance \("),
        ({"planes": "luma"}, r"planes \(green there, luma here\)"),
        ({"teacher": ("large",)}, r"teacher \(\(\) there, \('large',\) here\)"),
    ],
    ids=str,
)
def test_another_runs_checkpoint(other: dict[str, Any], message: str, tmp_path: Path) -> None:
    settings = configured()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(settings, 1), settings)
    changed = Settings().changed(**other) if "architecture" in other else configured(**other)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=message):
        checkpoints.restore(state_of(changed, 0), changed)


def test_what_may_change_between_runs(tmp_path: Path) -> None:
    """Rates, clipping, data and length are no part of the state's shape."""
    settings = configured(clip=1.0, momentum=0.9)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(settings, 1), settings)
    changed = configured(clip=0.0, momentum=0.5, steps=7, learning_rate=1.0, pictures=("x",))
    with Checkpoints(tmp_path) as checkpoints:
        assert_equal(checkpoints.restore(state_of(changed, 0), changed), state_of(settings, 1))


def save(workdir: Path, settings: Settings, *steps: int) -> None:
    """States of a run, each of its own seed."""
    with Checkpoints(workdir) as checkpoints:
        for step in steps:
            checkpoints.save(state_of(settings, step, seed=step), settings)


def damage(folder: Path, how: str) -> None:
    """Makes a checkpoint unreadable, as a full disk or a lost file does."""
    if how == "settings lost":
        shutil.rmtree(folder / "config")
    elif how == "state lost":
        shutil.rmtree(folder / "state")
    else:
        for path in folder.rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("how", ["cut off", "settings lost", "state lost"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(how: str, tmp_path: Path) -> None:
    settings, told = configured(), []
    save(tmp_path, settings, 2, 4)
    damage(tmp_path / "latest" / "4", how)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(state_of(settings, 0), settings, tell=told.append)
    assert_equal(restored, state_of(settings, 2, seed=2))
    (line,) = told
    assert "latest/4: this checkpoint is damaged" in line
    assert "going on from step 2" in line
    save(tmp_path, settings, 3, 4)  # of which two are kept
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(state_of(settings, 0), settings, tell=told.append)
        with pytest.raises(CheckpointError, match="holds a later step than 3"):
            checkpoints.save(state_of(settings, 3), settings)
    assert_equal(restored, state_of(settings, 4, seed=4))
    assert (tmp_path / "damaged" / "4").is_dir()
    assert len(told) == 1


@pytest.mark.parametrize("how", ["cut off", "settings lost", "state lost"])
def test_nothing_is_left_if_all_checkpoints_are_damaged(how: str, tmp_path: Path) -> None:
    settings, told = configured(), []
    save(tmp_path, settings, 2, 4)
    damage(tmp_path / "latest" / "4", how)
    damage(tmp_path / "latest" / "2", how)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match=r"no other is whole: remove .*latest to begin anew"),
    ):
        checkpoints.restore(state_of(settings, 0), settings, tell=told.append)


def test_folders_without_a_best(tmp_path: Path) -> None:
    with pytest.raises(cards.ModelError, match=r"holds no weights \(best\.safetensors\)"):
        zoo.load(tmp_path)
    with pytest.raises(CheckpointError, match="no weights of a training run here"):
        release(tmp_path, "new", tmp_path / "out")
    with pytest.raises(cards.ModelError, match="no network"):
        zoo.load(tmp_path / "none")


def test_a_run_can_be_loaded_and_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where and when it was trained stays on its card, whoever loads it."""
    settings = configured()
    state = state_of(settings, 3)
    card = describe(settings, step=3, gain=0.25125)
    assert card.parameters == cost.count_parameters(state.ema)
    elsewhere = made_card(
        **{**vars(card), "hardware": "an abacus", "date": "1899-12-31"}  # type: ignore[arg-type]
    )
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save_if_best(state.ema, elsewhere)
    network = zoo.load(tmp_path / "run", dtype="float32")
    assert network.name == "run"
    assert network.module == registry.get("compact").build(settings.options)
    assert network.table is None
    assert_equal(network.params, state.ema)
    assert network.card == elsewhere

    write_network(tmp_path, "blue", "chroma", width=8, blocks=1)
    monkeypatch.setattr(cards, "WEIGHTS", tmp_path)
    path = release(tmp_path / "run", "new", tmp_path / "weights", chroma="blue")
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode
    released = zoo.load(path)
    assert (released.name, released.card.steps) == ("new", 3)
    assert (network.card.chroma, released.card.chroma) == ("chroma", "blue")
    assert (released.card.hardware, released.card.date) == ("an abacus", "1899-12-31")
    assert released.card.validation_gain_db == 0.251
    jax.tree.map(
        # Half precision keeps eleven bits.
        partial(np.testing.assert_allclose, rtol=2.0**-11, atol=2.0**-24),
        released.params,
        state.ema,
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(released.params)} == {np.dtype("float32")}


OLD_NAMES = {"kernel_weights": "mixture", "deltas": "changes", "film": "table"}


def test_a_run_of_the_first_version_can_be_released(tmp_path: Path) -> None:
    """Orbax's folder of the best, flat settings, and the names that parameters had then."""
    flat_settings = FLAT | {"width": 8, "blocks": 1}
    settings = Settings.from_dict(flat_settings, "here")
    params = random_params(registry.get("compact").build(settings.options))
    flat = flatten_dict(params, sep="/")
    renamed = {
        "/".join(OLD_NAMES.get(part, part) for part in path.split("/")): leaf
        for path, leaf in flat.items()
    }
    assert renamed.keys() != flat.keys()
    options = ocp.CheckpointManagerOptions(best_fn=lambda m: m["score"], best_mode="max")
    with ocp.CheckpointManager(tmp_path / "run" / "best", options=options) as manager:
        manager.save(
            7,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(unflatten_dict(renamed, sep="/")),
                config=ocp.args.JsonSave(flat_settings),
            ),
            metrics={"score": 0.5},
        )
    with pytest.raises(
        cards.ModelError, match=r"saved by version 0\.1; convert .* hrcnn-jax release"
    ):
        zoo.load(tmp_path / "run")
    network = zoo.load(release(tmp_path / "run", "old", tmp_path))
    assert (network.card.steps, network.card.validation_gain_db) == (7, 0.5)
    assert network.card.hardware == "not noted"
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=2.0**-11, atol=2.0**-24), network.params, params
    )


def test_a_state_of_the_first_version_says_what_to_do(tmp_path: Path) -> None:
    settings = Settings.from_dict(FLAT, "here")
    with ocp.CheckpointManager(tmp_path / "latest") as manager:
        manager.save(
            3,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave({"step": jnp.int32(3)}),
                config=ocp.args.JsonSave(FLAT),
            ),
        )
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match=r"version 0\.1 and cannot be resumed; .*--warm-start"),
    ):
        checkpoints.restore(state_of(settings, 0), settings)


def test_unknown_networks() -> None:
    with pytest.raises(cards.ModelError, match=r"no network 'huge': choose from .*weights file"):
        zoo.load("huge")
    with pytest.raises(cards.ModelError, match="no network 'huge': choose from"):
        cards.released("huge")


def test_weights_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(cards.ModelError, match=r"x\.safetensors: is no safetensors file"):
        zoo.load(path)
    ocp_free = {"a": jnp.zeros(3)}
    zoo.write_weights(path, ocp_free, made_card("compact", {"depth": 3}))
    with pytest.raises(cards.ModelError, match=r"x\.safetensors: Compact has no option depth"):
        zoo.load(path)
    for content, message in (
        (b"{}", "its card cannot be read"),
        (b"[]", r"its card cannot be read \(it is no JSON object\)"),
        (b"\xff", "is no card"),
    ):
        path.with_suffix(".json").write_bytes(content)
        with pytest.raises(cards.ModelError, match=rf"{tmp_path}/x\.json: {message}"):
            zoo.load(path)
    path.with_suffix(".json").unlink()
    path.write_bytes((2).to_bytes(8, "little") + b"[]")
    with pytest.raises(cards.ModelError, match=r"x\.safetensors: is no safetensors file .*header"):
        zoo.load(path)
