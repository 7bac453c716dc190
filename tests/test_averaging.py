"""The mean of two networks' weights."""

from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import made_card, random_params

from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.networks.cards import ModelError
from reproduce import averaging

OPTIONS = {"width": 8, "blocks": 1}


def written(path: Path, scale: float, **more: int) -> Path:
    options = OPTIONS | more
    module = registry.get("compact").build(options)
    zoo.write_weights(path, random_params(module, scale=scale), made_card("compact", options))
    return path


def test_weights_are_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (written(tmp_path / f"{scale}.safetensors", scale) for scale in (0.1, 0.3))
    target = tmp_path / "mean.safetensors"
    averaging.main([str(first), str(second), "--share", "0.75", "--output", str(target)])
    assert capsys.readouterr().out == f"{target}\n"
    given = [zoo.load(path) for path in (first, second, target)]
    assert given[2].card == given[1].card
    for a, b, mean in zip(*(jax.tree.leaves(each.params) for each in given), strict=True):
        np.testing.assert_allclose(mean, a + 0.75 * (b - a), rtol=1e-5, atol=1e-7)


def test_what_it_grew_from_counts(tmp_path: Path) -> None:
    """All of the first, in the second one's layers, does what the first does."""
    first = zoo.load(written(tmp_path / "first.safetensors", 0.1))
    second = zoo.load(written(tmp_path / "second.safetensors", 0.3, blocks=2))
    codes = np.random.default_rng(0).integers(-3, 4, (1, 16, 24, 1))
    table = np.full((1, 8, 8), 20)
    params = averaging.averaged(first, second, 0.0)
    found = second.module.apply({"params": params}, codes, table)
    expected = first.module.apply({"params": first.params}, codes, table)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    mean = averaging.averaged(first, second, 0.5)
    for a, b, both in zip(*map(jax.tree.leaves, (params, second.params, mean)), strict=True):
        np.testing.assert_allclose(both, (a + b) / 2, rtol=1e-5, atol=1e-7)


def test_what_cannot_be_averaged(capsys: pytest.CaptureFixture[str]) -> None:
    small, fast = zoo.load("small"), zoo.load("fast")
    with pytest.raises(ModelError, match="fast cannot have grown from small"):
        averaging.averaged(small, fast, 0.5)
    with pytest.raises(SystemExit, match="1"):
        averaging.main(["small", "nope", "--share", "0.5", "--output", "none.safetensors"])
    assert capsys.readouterr().err.startswith("reproduce.averaging: no network 'nope': choose")
    with pytest.raises(SystemExit, match="2"):
        averaging.main(["small", "small", "--share", "1.5", "--output", "none.safetensors"])
    assert "--share must be from 0 to 1, got 1.5" in capsys.readouterr().err
