"""Configurations: presets fit together and say how to run them; values survive JSON."""

import inspect
import json
from typing import Any

import pytest

from hrcnn_jax.networks import registry
from hrcnn_jax.training import settings
from hrcnn_jax.training.settings import PRESETS, Config, from_preset


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    made = from_preset(name, data=("photos",))
    made.check()
    registry.build(made.architecture, made.network_options, dtype=made.dtype)
    about = inspect.getdoc(PRESETS[name]) or ""
    assert f"python train.py --preset {name}" in " ".join(about.split())


def test_what_is_given_beside_a_preset_wins() -> None:
    assert from_preset("hrcnn").batch == PRESETS["hrcnn"]()["batch"]
    assert from_preset("hrcnn", batch=3).batch == 3
    with pytest.raises(ValueError, match="no preset 'tiny': choose from paper, hrcnn"):
        from_preset("tiny")


def test_json_and_back() -> None:
    made = Config(data=("a", "b"), quality=(5, 95), balance=True)
    assert settings.from_dict(json.loads(json.dumps(settings.to_dict(made)))) == made


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": ()}, "no training pictures"),
        ({"quality": (0,)}, "from 1 to 100"),
        ({"quality": (50, 10)}, "lowest first"),
        ({"quality": (10, 50)}, "hrcnn is trained for one quality"),
        ({"patch": 60}, "multiple of 8"),
        ({"patch": 256}, "at most --crop"),
        ({"planes": "any", "patch": 96}, "at least twice --patch"),
        ({"planes": "colour"}, "--planes colour and --architecture chroma go together"),
        ({"architecture": "chroma"}, "--planes colour and --architecture chroma go together"),
        (
            {"architecture": "chroma", "planes": "colour", "patch": 24},
            "--patch 24 must be a multiple of 16",
        ),
        ({"steps": 0}, "--steps must be at least 1"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_together(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**{"data": ("photos",), **wrong}).check()
