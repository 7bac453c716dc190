"""Settings: presets fit together and say how to run them; values survive JSON, old ones too."""

import json
from typing import Any

import pytest

from hrcnn_jax.networks import cards, registry
from hrcnn_jax.training.presets import PRESETS, from_preset
from hrcnn_jax.training.settings import Settings


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    made = from_preset(name).changed(pictures=("photos",))
    made.check()
    registry.get(made.architecture).build(made.options, dtype=made.run.dtype)
    about = " ".join(PRESETS[name].about.split())
    assert f"python train.py --preset {name}" in about


def test_what_is_given_beside_a_preset_wins() -> None:
    assert from_preset("hrcnn").optimisation.batch == 8
    assert from_preset("hrcnn").changed(batch=3).optimisation.batch == 3
    assert from_preset("hrcnn_gpu") == from_preset("hrcnn-gpu")
    with pytest.raises(ValueError, match="no preset 'tiny': choose from paper, hrcnn"):
        from_preset("tiny")


def test_options_of_the_network() -> None:
    """Those left out are at their defaults; the quality that it serves is the one of its codes."""
    made = Settings().changed(blocks=2, quality=(30,))
    expected = {"quality": 30, "blocks": 2, "hidden_relu": True, "decoder_init": True}
    assert made.options == expected
    with pytest.raises(ValueError, match=r"no setting width, and no option of .*hrcnn"):
        made.changed(width=3)


def test_json_and_back() -> None:
    made = Settings().changed(pictures=("a", "b"), quality=(5, 95), balance=True, blocks=1)
    kept = json.loads(json.dumps(made.to_dict()))
    assert kept["version"] == 2
    assert Settings.from_dict(kept, "here") == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version 3 is later than this package's 2"),
        ({"optimisation": {"speed": 3}}, "here: optimisation: unknown settings speed"),
        ({"more": {}}, "here: unknown sections more"),
        ({"data": None}, "here: the saved settings lack 'data'"),
    ],
    ids=str,
)
def test_saved_settings_that_cannot_be_understood(change: dict[str, Any], message: str) -> None:
    kept: dict[str, Any] = {**Settings().to_dict(), **change}
    kept = {name: value for name, value in kept.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        Settings.from_dict(kept, "here")


FLAT = {
    "workdir": "runs/x",
    "steps": 7,
    "seed": 1,
    "log_every": 2,
    "eval_every": 3,
    "save_every": 4,
    "parallel": "pmap",
    "warm_start": "small",
    "architecture": "compact",
    "blocks": 2,
    "hidden_relu": True,
    "decoder_init": True,
    "width": 24,
    "kernels": 1,
    "orientations": 2,
    "luma": "large",
    "dtype": "bfloat16",
    "data": ["photos"],
    "validation": [],
    "planes": "any",
    "crops": 5,
    "validation_crops": 6,
    "crop": 192,
    "patch": 96,
    "scales": [1.0, 0.5],
    "placement": "host",
    "quality": [5, 95],
    "tables": "any",
    "batch": 3,
    "loss": "charbonnier",
    "balance": True,
    "optimiser": "muon",
    "learning_rate": 0.5,
    "momentum": 0.25,
    "warmup": 8,
    "clip": 2.0,
    "ema": 0.75,
}
"""Settings as version 0.1 saved them."""


def test_settings_of_the_first_version() -> None:
    """None is lost: each is where it belongs today, but for options of other architectures."""
    made = Settings.from_dict(FLAT, "here")
    options = {"width": 24, "blocks": 2, "kernels": 1, "orientations": 2}
    # Which it did not know.
    assert made.options == {**options, "pointwise": False, "largest_step": 255}
    assert not made.optimisation.decibels
    values = {
        name: v
        for part in made.to_dict().values()
        if isinstance(part, dict)
        for name, v in part.items()
    }
    others = {"hidden_relu", "decoder_init"}
    for name, value in FLAT.items():
        if name not in others | {"architecture"}:
            assert values["pictures" if name == "data" else name] == value


@pytest.mark.parametrize("name", cards.all_names())
def test_the_settings_of_released_networks_can_be_trained_with(name: str) -> None:
    card = cards.released(name)
    made = Settings.from_dict(card.training, name)
    made.check()
    assert made.options == registry.get(card.architecture).options | dict(card.options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pictures": ()}, "no training pictures"),
        ({"planes": "cyan"}, "--planes: no 'cyan': choose from green"),
        ({"quality": (0,)}, "from 1 to 100"),
        ({"quality": (50, 10)}, "lowest first"),
        ({"quality": (10, 50)}, "hrcnn is trained for one quality"),
        ({"balance": True, "decibels": True}, "--decibels takes the place of --balance: add --no-"),
        ({"teacher_share": (1.5,)}, "--teacher-share takes one or two values from 0 to 1"),
        ({"teacher_share": ()}, "--teacher-share takes one or two"),
        ({"tables": "any"}, "hrcnn is not told its table, and so trained for one"),
        ({"minutes": -1.0}, "--minutes must be 0 or more"),
        ({"patch": 60}, "multiple of 8"),
        ({"patch": 256}, "at most --crop"),
        ({"planes": "any", "patch": 96}, "at least twice --patch"),
        ({"planes": "colour"}, "--planes colour and --architecture hrcnn do not go together"),
        ({"architecture": "chroma"}, "--planes green and --architecture chroma do not go"),
        (
            {"architecture": "chroma", "planes": "colour", "patch": 24},
            "--patch 24 must be a multiple of 16",
        ),
        ({"steps": 0}, "--steps must be 1 or more"),
        ({"minutes": float("nan")}, "--minutes must be 0 or more"),
        ({"clip": -1.0}, "--clip must be 0 or more"),
        ({"ema": -1.0}, "--ema must be from 0 to 1"),
        ({"momentum": 1.5}, "--momentum must be from 0 to 1"),
        ({"seed": -1}, "--seed must be from 0 to 4294967295"),
        ({"scales": ()}, "--scales takes values above 0"),
        ({"scales": (1.0, 0.0)}, "--scales takes values above 0"),
        (
            {"architecture": "wild", "planes": "damaged", "crop": 44, "patch": 16},
            "--crop 44 must be a multiple of 8 for damaged",
        ),
        ({"save_every": 0}, "--save-every must be 1 or more"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_together(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings().changed(**{"pictures": ("photos",), **wrong}).check()
