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


def written(path: Path, scale: float) -> Path:
    module = registry.get("compact").build(OPTIONS)
    zoo.write_weights(path, random_params(module, scale=scale), made_card("compact", OPTIONS))
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


def test_what_cannot_be_averaged(capsys: pytest.CaptureFixture[str]) -> None:
    small, fast = zoo.load("small"), zoo.load("fast")
    with pytest.raises(ModelError, match="small and fast are networks of different"):
        averaging.averaged(small, fast, 0.5)
    with pytest.raises(SystemExit, match="1"):
        averaging.main(["small", "nope", "--share", "0.5", "--output", "none.safetensors"])
    assert capsys.readouterr().err.startswith("reproduce.averaging: no network 'nope': choose")
    with pytest.raises(SystemExit, match="2"):
        averaging.main(["small", "small", "--share", "1.5", "--output", "none.safetensors"])
    assert "--share must be from 0 to 1, got 1.5" in capsys.readouterr().err
