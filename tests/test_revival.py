"""Idle channels begun anew: nothing changes, and what was silent is heard."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import made_card, make_photo, random_params
from PIL import Image

from benchmarks import idle
from hrcnn_jax.networks import base, registry, zoo
from hrcnn_jax.networks.cards import ModelError
from hrcnn_jax.networks.zoo import Network
from reproduce import revival

OPTIONS = {"width": 8, "blocks": 2, "kernels": 2}
ARCHITECTURE = registry.get("compact")
MODULE = ARCHITECTURE.build(OPTIONS)
CARD = made_card("compact", OPTIONS, qualities=[40, 60])


def silenced() -> Network:
    """Channels 0 and 1 are far below zero from the first block on, channel 2 from the second."""
    params = jax.tree.map(np.array, random_params(MODULE))
    params["head"]["bias"][:2] = -30.0
    params["residual1"]["conv2"]["bias"][2] = -30.0
    return Network("silenced", ARCHITECTURE, MODULE, params, CARD)


def test_the_function_stays_and_channels_are_heard_again() -> None:
    network = silenced()
    pixels = jnp.asarray([make_photo(64, 64, seed)[..., 1] for seed in range(5)]) / 255
    before = idle.seen(network, pixels)
    params, count = revival.revived(network, pixels)
    assert count == 3
    after = idle.seen(replace(network, params=params), pixels)
    for place, channels in (("before block 1", [0, 1]), ("before block 2", [2])):
        assert before[place].passed[channels].max() == 0
        assert after[place].passed[channels].min() > 0.1
    codes = jnp.asarray(np.random.default_rng(0).integers(-3, 4, (1, 4, 4, 8, 8)))
    table = jnp.full((1, 8, 8), 16)
    was, new = (base.restore(MODULE, each, codes, table) for each in (network.params, params))
    np.testing.assert_allclose(new, was, rtol=0, atol=1e-6)


def test_weights_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        Image.fromarray(make_photo(160, 160, seed)).save(tmp_path / f"{seed}.png")
    given, target = tmp_path / "given.safetensors", tmp_path / "anew.safetensors"
    zoo.write_weights(given, silenced().params, CARD)
    flags = ["--crops", "2", "--cache", str(tmp_path / "crops"), "--output", str(target)]
    revival.main([str(given), "--data", str(tmp_path), *flags])
    assert capsys.readouterr().out == f"{target}: 3 channels begin anew\n"
    written = zoo.load(target).params["tail"]["kernel"]
    np.testing.assert_array_equal(written[:, :, :3], 0)
    assert np.abs(written[:, :, 3:]).min() > 0


def test_filters_of_the_papers_network() -> None:
    architecture = registry.get("hrcnn")
    module = architecture.build({"blocks": 1})
    params = jax.tree.map(np.abs, jax.tree.map(np.array, random_params(module, scale=0.01)))
    params["residual1"]["conv1"]["bias"][:] = 10
    params["residual1"]["conv1"]["bias"][:2] = -1e4
    params["residual1"]["conv2"]["bias"][5] = -1e4
    network = Network("silenced", architecture, module, params, made_card("hrcnn", {}))
    pixels = jnp.asarray([make_photo(64, 64, seed)[..., 1] for seed in range(3)]) / 255
    before = idle.seen(network, pixels)
    revived, count = revival.revived(network, pixels)
    after = idle.seen(replace(network, params=revived), pixels)
    assert count == 3
    for place, silent in (("inside block 1, 1", [0, 1]), ("inside block 1, 2", [5])):
        assert before[place].passed[silent].max() == 0
        assert after[place].passed[silent].min() > 0.1
        spread = after[place].spread[silent]
        np.testing.assert_allclose(spread, np.median(before[place].spread), rtol=1e-3)
    codes = jnp.asarray(np.random.default_rng(0).integers(-3, 4, (1, 64, 64, 1)))
    was, new = (module.apply({"params": each}, codes) for each in (params, revived))
    np.testing.assert_allclose(new, was, rtol=1e-5)


def test_what_has_no_such_channels() -> None:
    with pytest.raises(ModelError, match="fast: only the paper's networks and those of mirrored"):
        revival.revived(zoo.load("fast"), jnp.zeros((1, 64, 64)))


def test_a_network_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        revival.main(["nope", "--data", "nowhere", "--output", "none.safetensors"])
    assert capsys.readouterr().err.startswith("reproduce.revival: no network 'nope': choose")
