"""What a GPU is to do, done by a CPU on networks that take it seconds."""

import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_photo, write_network
from PIL import Image

from hrcnn_jax.networks import cards, registry
from hrcnn_jax.scores.protocol import Protocol, means, recorded
from hrcnn_jax.training import loop, step
from hrcnn_jax.training.tasks import TASKS
from reproduce import gpu

pytestmark = pytest.mark.usefixtures("standard_promotion")

TINY: dict[str, Any] = {"crops": 8, "validation_crops": 2, "crop": 32, "patch": 16, "batch": 4}
TINY |= {
    "optimiser": "sgd",
    "width": 8,
    "blocks": 0,
    "kernels": 0,
    "orientations": 1,
    "scales": (1.0,),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, and three recipes, of which one network is released."""
    for seed, name in enumerate(("photos", "others", "live1", "weights")):
        (tmp_path / name).mkdir()
        Image.fromarray(make_photo(120, 128, seed)).save(tmp_path / name / "one.png")
    options = {name: TINY[name] for name in ("width", "blocks", "kernels", "orientations")}
    write_network(tmp_path / "weights", "known", "compact", **options, largest_step=2048)
    path = tmp_path / "weights" / "known.json"
    cards.write(path, recorded(cards.read(path), Protocol("live1"), {10: {"gain": 0.125}}))
    monkeypatch.setattr(cards, "WEIGHTS", tmp_path / "weights")
    recipes = {name: gpu.Recipe("large", TINY, (10,)) for name in ("known", "new")}
    blind = {name: value for name, value in TINY.items() if name != "orientations"}
    recipes["blind"] = gpu.Recipe("wild", {**blind, "validation_crops": 5}, (10,), "rgb")
    monkeypatch.setattr(gpu, "RECIPES", recipes)
    return tmp_path


def flags(folder: Path, *more: str) -> list[str]:
    pictures = {"--data": "photos", "--validation": "others", "--live1": "live1"}
    named = [word for flag, name in pictures.items() for word in (flag, str(folder / name))]
    return [*named, "--minutes", "0.01", "--output", str(folder / "out"), *more]


def test_interrupted_and_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = flags(folder)
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "fit", lambda settings: signal.SIGTERM)
        assert gpu.main(argv) == 128 + signal.SIGTERM
    assert not (folder / "out" / "table.md").exists()
    assert gpu.main(argv) == 0

    table = (folder / "out" / "table.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.endswith(table)
    assert "live1; each trained on for 0.01 minutes on " in table
    green, colour = Protocol("live1"), Protocol("live1", "rgb", chroma="none")
    for name, measured, before in (
        ("known", green, "+0.12"),
        ("new", green, ""),
        ("blind", colour, ""),
    ):
        card = cards.read(folder / "out" / "weights" / f"{name}.json")
        assert card.training["run"]["dtype"] == "bfloat16"
        assert card.training["run"]["warm_start"] == (name if before else "")
        gain = means(card, measured)[10]["gain"]
        row = f"| {name} | {measured.planes} | 10 | {before} | {gain:+.2f} | {card.steps} |\n"
        assert row in table
        assert {path.name for path in (folder / "out" / "scores" / name).iterdir()} == {
            "metrics.json",
            "metrics.csv",
        }

    # What is done is not done again, but for longer if so asked.
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "fit", None)
        assert gpu.main(argv) == 0
    with monkeypatch.context() as patch:  # even if nothing better is found
        patch.setattr(gpu, "fit", lambda settings: 0)
        assert gpu.main(flags(folder, "--minutes", "0.015", "--networks", "new")) == 0
        assert "| new | green | 10 |" in (folder / "out" / "table.md").read_text(encoding="utf-8")
        patch.setattr(gpu, "fit", None)
        assert gpu.main(flags(folder, "--minutes", "0.015", "--networks", "new")) == 0
    seen = []
    monkeypatch.setattr(gpu, "run", lambda name, given: seen.append(name))
    assert gpu.main(flags(folder, "--minutes", "0.02", "--networks", "new")) == 0
    assert seen == ["new"]


def test_what_cannot_be_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "photos" / "one.png").write_bytes(b"no picture")
    assert gpu.main(flags(folder)) == 1
    assert "reproduce.gpu: " in capsys.readouterr().err


@pytest.mark.parametrize("name", gpu.RECIPES)
def test_recipes_fit_together(name: str) -> None:
    """Each one's step is traced as it will run, in bfloat16, on what its released weights fit."""
    given = gpu.parse(["--data", "a", "--validation", "b", "--live1", "c"])
    settings = gpu.settings_of(name, given)
    settings.check()
    assert settings.run.dtype == "bfloat16"
    architecture = registry.get(settings.architecture)
    module = architecture.build(settings.options, dtype=settings.run.dtype)
    state = jax.eval_shape(lambda: step.create_state(architecture, settings))
    if cards.is_released(name):
        released = loop.warm_params(architecture, settings)
        assert jax.tree.map(np.shape, released) == jax.tree.map(np.shape, state.params)
    update = step.make_update(TASKS[architecture.kind](module, settings), settings, resident=False)
    batch, side = settings.optimisation.batch, settings.data.crop
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch))
    channels = 6 if architecture.kind == "pictures" else 3
    crops = jax.ShapeDtypeStruct((batch, side, side, channels), jnp.uint8)
    after, values = jax.eval_shape(update, state, keys, crops, jnp.float32(0.5))
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(np.shape, state)
    assert values["loss"].shape == ()
