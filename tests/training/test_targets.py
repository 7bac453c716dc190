"""What training aims at: originals, teachers, mixes of them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import architecture_of, make_photo, random_params, write_network

from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks.chroma import Chroma
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.training import step
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.targets import make_target
from hrcnn_jax.training.tasks import TASKS, Drawn

pytestmark = pytest.mark.usefixtures("standard_promotion")

MODULE = Compact(width=8, blocks=0)
PHOTOS = np.stack([make_photo(16, 16, seed) for seed in range(3)])
DRAWN = Drawn(
    jnp.asarray(PHOTOS[..., 1], jnp.float32) / 255,
    jnp.broadcast_to(transform.quality_table(10), (3, 8, 8)),
)


@pytest.fixture
def teachers(tmp_path: Path) -> list[str]:
    """Two networks that are sure to disagree."""
    for seed in (1, 2):
        params = random_params(MODULE, scale=0.5, seed=seed)
        write_network(tmp_path, f"teacher{seed}", "compact", params, width=8, blocks=0)
    return [str(tmp_path / f"teacher{seed}.safetensors") for seed in (1, 2)]


def configured(**options: Any) -> Settings:
    defaults: dict[str, Any] = {"architecture": "compact", "width": 8, "blocks": 0, "steps": 1000}
    return Settings().changed(**(defaults | {"patch": 16, "crop": 16, "batch": 3} | options))


def restored_by(seed: int) -> np.ndarray:
    codes = transform.from_blocks(transform.encode(*DRAWN))[..., None]
    params = random_params(MODULE, scale=0.5, seed=seed)
    planes = MODULE.apply({"params": params}, codes, DRAWN.tables)
    return np.asarray(planes)[..., 0]


def test_without_a_teacher_originals() -> None:
    original = jnp.ones((3, 16, 16))
    assert make_target(configured())(DRAWN, original, jnp.float32(0.5)) is original


@pytest.mark.parametrize(
    ("shares", "done", "share"),
    [((1.0,), 0.5, 1.0), ((1.0, 0.0), 0.0, 1.0), ((0.75, 0.25), 0.4, 0.55), ((1.0, 0.0), 1.0, 0.0)],
)
def test_mix_of_the_mean_of_teachers_and_originals(
    shares: tuple[float, ...], done: float, share: float, teachers: list[str]
) -> None:
    target = make_target(configured(teacher=tuple(teachers), teacher_share=shares))
    found = target(DRAWN, DRAWN.pixels, jnp.float32(done))
    mean = (restored_by(1) + restored_by(2)) / 2
    expected = share * mean + (1 - share) * np.asarray(DRAWN.pixels)
    assert np.abs(mean - np.asarray(DRAWN.pixels)).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32


def test_the_loss_of_a_step_by_hand(teachers: list[str]) -> None:
    """After 400 steps of 1000 the share has come from 0.75 to 0.55."""
    options: dict[str, Any] = {"teacher": (teachers[0],), "teacher_share": (0.75, 0.25)}
    settings = configured(**options)
    task = TASKS["planes"](MODULE, settings)
    params = random_params(MODULE)
    state = step.create_state(architecture_of(MODULE), settings, params).replace(
        step=jnp.int32(400)
    )
    keys, crops = jax.random.split(jax.random.key(3), 3), jnp.asarray(PHOTOS[..., 1:2])
    update = jax.jit(step.make_update(task, settings, resident=False))
    _, values = update(state, keys, crops)

    drawn = [
        task.draw(jax.random.split(key)[1], crop) for key, crop in zip(keys, crops, strict=True)
    ]
    pixels, tables = (jnp.stack(part) for part in zip(*drawn, strict=True))
    codes = transform.from_blocks(transform.encode(pixels, tables))[..., None]
    ours, theirs = (
        np.asarray(MODULE.apply({"params": each}, codes, tables))[..., 0]
        for each in (params, random_params(MODULE, scale=0.5, seed=1))
    )
    target = 0.55 * theirs + 0.45 * np.asarray(pixels)
    np.testing.assert_allclose(values["loss"], np.mean((ours - target) ** 2), rtol=1e-5)


def test_a_teacher_of_chroma(tmp_path: Path) -> None:
    """It is compared as RGB, as its student is."""
    module = Chroma(width=8, blocks=0)
    write_network(tmp_path, "teacher", "chroma", random_params(module), width=8, blocks=0)
    teacher = str(tmp_path / "teacher.safetensors")
    settings = Settings().changed(
        architecture="chroma", planes="colour", width=8, blocks=0, teacher=(teacher,)
    )
    task = TASKS["chroma"](module, settings)
    drawn = task.standard(jnp.asarray(PHOTOS, jnp.float32) / 255, 20)
    original, plain, restored, *_ = jax.jit(task.outcome)(random_params(module), drawn)
    found = jax.jit(make_target(settings))(drawn, original, jnp.float32(0))
    np.testing.assert_allclose(found, restored, atol=1e-6)
    assert np.abs(restored - plain).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": ("nobody",)}, "no network 'nobody'"),
        ({"teacher": ("chroma",)}, "--teacher chroma is a network of chroma: give one of planes"),
        (
            {"teacher": ("hrcnn-q10",), "quality": (20,)},
            "hrcnn-q10 serves the luminance table of quality 10 alone: train with --quality 10",
        ),
        ({"teacher": ("hrcnn-q10",), "quality": (10,), "tables": "any"}, "--tables luminance"),
    ],
    ids=str,
)
def test_teachers_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_target(configured(**options))


def test_luma_that_does_not_fit() -> None:
    """What restores luma beside a network of chroma has to know luma's tables."""
    settings = Settings().changed(architecture="chroma", planes="colour", quality=(5, 95))
    module = Chroma(width=8, blocks=0)
    for name, message in (
        ("wild", "--luma wild is a network of pictures: give one of planes"),
        ("hrcnn-q10", "--luma hrcnn-q10 serves the luminance table of quality 10 alone"),
    ):
        with pytest.raises(ValueError, match=message):
            TASKS["chroma"](module, settings.changed(luma=name))
    one = settings.changed(luma="hrcnn-q10", quality=(10,), tables="luminance", patch=32)
    task = TASKS["chroma"](module, one)
    pixels = np.zeros((64, 64, 3), np.uint8)
    standard = task.cases(pixels[None] / np.float32(255))["10"]
    drawn = task.draw(jax.random.key(0), pixels)
    np.testing.assert_array_equal(drawn.tables, standard.tables[0], "Annex K's two")
