"""What networks are trained on, against what Pillow makes of files."""

import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import architecture_of, fresh_params, jpeg_bytes, make_photo, random_params
from jax import Array
from PIL import Image

from hrcnn_jax.jpeg import color, damage, transform
from hrcnn_jax.jpeg.tables import CHROMINANCE, LUMINANCE, ROBIDOUX
from hrcnn_jax.networks.chroma import Chroma
from hrcnn_jax.networks.wild import Wild
from hrcnn_jax.training import step, tasks
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.tasks import TASKS
from hrcnn_jax.training.validation import Validation, make_validate

MODULE = Chroma(width=8, blocks=0)
PHOTOS = np.stack([make_photo(48, 64, seed) for seed in range(2)])


def configured(**options: Any) -> Settings:
    defaults: dict[str, Any] = {"architecture": "chroma", "planes": "colour", "width": 8}
    defaults |= {"blocks": 0, "patch": 16, "crop": 32, "batch": 2, "steps": 5, "warmup": 0}
    return Settings().changed(**(defaults | options))


def test_colour_begins_as_a_colour_file() -> None:
    """Its plain picture is Pillow's of Pillow's file, but for what libjpeg rounds to 8 bits."""
    task = TASKS["chroma"](MODULE, configured())
    drawn = task.standard(jnp.asarray(PHOTOS, jnp.float32) / 255, 30)
    target, plain, restored, *_ = jax.jit(task.outcome)(fresh_params(MODULE), drawn)
    assert plain.shape == restored.shape == (2, 3, 48, 64)
    np.testing.assert_allclose(255 * np.moveaxis(target, 1, -1), PHOTOS, atol=1e-3)
    for photo, ours in zip(PHOTOS, np.moveaxis(plain, 1, -1), strict=True):
        file = jpeg_bytes(photo, quality=30, subsampling="4:2:0")
        pillows = np.asarray(Image.open(io.BytesIO(file))).astype(float)
        # A sample's rounding may become another code, and that a step's difference in a block.
        ours = np.rint(255 * np.clip(ours, 0, 1))
        assert np.abs(ours - pillows).mean() < 1.5
        errors = [np.square(picture - photo).mean() for picture in (ours, pillows)]
        assert abs(10 * np.log10(errors[0] / errors[1])) < 0.1
    # Luma is restored by a network that has been trained.
    gained, plainly = (np.square(each - target).mean() for each in (restored, plain))
    assert gained < 0.95 * plainly


def test_colour_draws_patches_and_both_tables() -> None:
    task = TASKS["chroma"](MODULE, configured(quality=(5, 95), tables="any"))
    crop = jnp.asarray(make_photo(32, 32))
    drawn = jax.jit(jax.vmap(task.draw, in_axes=(0, None)))(
        jax.random.split(jax.random.key(0), 1000), crop
    )
    assert drawn.pixels.shape == (1000, 16, 16, 3)
    assert drawn.tables.shape == (1000, 2, 8, 8)
    # Every patch is part of the crop, turned: its darkest pixel's colour is one of the crop's.
    known = {tuple(pixel) for pixel in np.asarray(crop).reshape(-1, 3)}
    for patch in np.asarray(drawn.pixels):
        pixels = np.rint(255 * patch).astype(int).reshape(-1, 3)
        assert {tuple(pixel) for pixel in pixels} <= known
    luma, chroma = np.asarray(drawn.tables, float).swapaxes(0, 1)
    # They differ unless both are odd or fine, then the same: five standard deviations.
    differ = 0.95 * 0.6
    found = (luma != chroma).any((1, 2)).mean()
    assert abs(found - differ) < 5 * np.sqrt(differ * (1 - differ) / 1000)
    # One quality for both: coarse steps go with coarse steps.
    logs = np.log(luma.mean((1, 2))), np.log(chroma.mean((1, 2)))
    assert np.corrcoef(*logs)[0, 1] > 0.9


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("loss", ["mse", "ssim"])
def test_colour_trains(loss: str) -> None:
    """Luma's network stays as it is; chroma's moves, and only by what the loss says of chroma."""
    settings = configured(loss=loss, balance=True, optimiser="adam", learning_rate=1e-2)
    task = TASKS["chroma"](MODULE, settings)
    parallel = step.make_step(task, settings)
    params = random_params(MODULE)
    before = jax.tree.map(np.asarray, params)  # the step donates its state
    state = parallel.place_state(step.create_state(architecture_of(MODULE), settings, params))
    crops = np.stack([make_photo(32, 32, seed) for seed in range(3)])
    state, values = parallel.step(state, parallel.place_crops(crops))
    assert np.isfinite(values["loss"])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, before)
    assert min(jax.tree.leaves(moved)) > 0
    plain, restored = make_validate(task)(
        state.params, task.standard(jnp.asarray(PHOTOS) / 255.0, 30)
    )
    assert plain.shape == restored.shape == (2,)
    assert (plain > 20).all()


# --- tables --------------------------------------------------------------------------------------


def of_planes(**options: Any) -> Settings:
    return Settings().changed(architecture="compact", **options)


def tables_of(settings: Settings, count: int, *, chroma: bool = False) -> np.ndarray:
    keys = jax.random.split(jax.random.key(5), count)

    def draw(key: Array) -> Array:
        return tasks.draw_table(key, jnp.array(chroma), settings.codes)

    return np.asarray(jax.jit(jax.vmap(draw))(keys))


def test_one_quality_is_one_table() -> None:
    tables = tables_of(of_planes(quality=(30,)), 50)
    np.testing.assert_array_equal(tables, np.tile(transform.quality_table(30), (50, 1, 1)))


def test_qualities_are_log_uniform() -> None:
    """As many from 5 to 9 as from 45 to 89, and both ends are reached."""
    tables = tables_of(of_planes(quality=(5, 95)), 4000)
    known = {np.asarray(transform.quality_table(q)).tobytes(): q for q in range(5, 96)}
    qualities = np.array([known[table.tobytes()] for table in tables])
    assert (qualities.min(), qualities.max()) == (5, 95)
    for low, high in ((5, 10), (10, 20), (45, 90)):
        share = np.log(high / low) / np.log(96 / 5)
        found = ((qualities >= low) & (qualities < high)).mean()
        assert abs(found - share) < 5 * np.sqrt(share / 4000)  # five standard deviations


@pytest.mark.parametrize("chroma", [False, True])
def test_tables_of_any_kind(chroma: bool) -> None:
    """Six in ten are Annex K's, 85 in 100 of them the plane's own; few are beyond baseline's, or
    finer than any quality's."""
    tables = tables_of(of_planes(quality=(5, 95), tables="any"), 3000, chroma=chroma)
    assert tables.min() >= 1
    largest = tables.max((1, 2))
    # One in twenty may be, half of which are of qualities too high for it.
    assert 0.01 < (largest > 255).mean() < 0.05
    assert 5000 < largest.max() <= 32_767
    kinds = [
        {np.asarray(transform.quality_table(q, base)).tobytes() for q in range(5, 96)}
        for base in (LUMINANCE, CHROMINANCE)
    ]
    luminance, chrominance = (
        np.mean([table.tobytes() in kind for table in tables]) for kind in kinds
    )
    own, swapped = (chrominance, luminance) if chroma else (luminance, chrominance)
    usual = 0.95 * 0.95 * 0.6  # neither coarse, nor fine, nor odd
    assert abs(own - usual * 0.85) < 0.05
    assert abs(swapped - usual * 0.15) < 0.03
    # Those of qualities above 90 have as fine ones, too: a thirtieth or so.
    means = tables.mean((1, 2))
    assert 0.03 < ((means > 1.3) & (means < 4.2)).mean() < 0.12
    assert any(len(np.unique(table)) == 1 and table[0, 0] in (2, 3, 4) for table in tables)
    assert len({table.tobytes() for table in tables}) > 500
    # Non-standard ones are near each of these now and then, but for their scale.
    others = tables[(tables.min((1, 2)) >= 8) & (largest < 255)].reshape(-1, 64)
    for base in (LUMINANCE, CHROMINANCE, ROBIDOUX, np.full((8, 8), 32)):
        spread = np.log(others / base.ravel()).std(axis=1)
        assert ((spread > 0) & (spread < 0.12)).sum() >= 3


# --- pictures ------------------------------------------------------------------------------------

WILD = Wild(width=8, blocks=0, kernels=0, traits=2)


def of_pictures(**options: Any) -> Settings:
    defaults: dict[str, Any] = {"architecture": "wild", "planes": "damaged", "width": 8}
    defaults |= {"blocks": 0, "kernels": 0, "traits": 2, "patch": 32, "crop": 48, "batch": 2}
    return Settings().changed(**(defaults | options))


def pairs(count: int) -> np.ndarray:
    """Photographs at qualities from 5 on, and one that is intact, beside the originals."""
    photos = [make_photo(48, 48, seed) for seed in range(count)]
    files = [jpeg_bytes(photo, quality=5 + 20 * i) for i, photo in enumerate(photos[1:])]
    damaged = [photos[0], *(np.asarray(Image.open(io.BytesIO(file))) for file in files)]
    return np.concatenate([damaged, photos], axis=-1)


def test_pictures_are_drawn_as_they_lie() -> None:
    """Pairs stay pairs, on the grid of their compression, however they are turned."""
    task = TASKS["pictures"](WILD, of_pictures())
    crop = jnp.asarray(pairs(2)[1])
    keys = jax.random.split(jax.random.key(0), 40)
    drawn = jax.jit(jax.vmap(task.draw, in_axes=(0, None)))(keys, crop)
    assert drawn.intact.shape == drawn.damaged.shape == (40, 32, 32, 3)
    assert 0.2 < np.mean(drawn.told) < 0.8
    # The estimate is made from all of the crop, turned alike.
    assert drawn.seen.shape == (40, 48, 48, 3)
    wholes = np.rint(255 * np.asarray(drawn.seen)).astype(int)
    assert {tuple(each.sum((0, 1)).tolist()) for each in wholes} == {
        tuple(np.asarray(crop, int)[..., :3].sum((0, 1)).tolist())
    }
    np.testing.assert_allclose(damage.quality_of(drawn.error), 5, atol=1)
    places = {
        tuple(np.asarray(crop)[y : y + 32, x : x + 32].sum((0, 1)).tolist())
        for y in (0, 8, 16)
        for x in (0, 8, 16)
    }
    for intact, damaged in zip(drawn.intact, drawn.damaged, strict=True):
        both = np.rint(255 * np.concatenate([damaged, intact], axis=-1)).astype(int)
        assert tuple(both.sum((0, 1)).tolist()) in places


def test_pictures_are_validated_from_the_worst_on() -> None:
    task = TASKS["pictures"](WILD, of_pictures())
    cases = task.cases(jnp.asarray(pairs(5), jnp.float32) / 255)
    qualities = [int(name) for name in cases]
    assert qualities == sorted(qualities)
    assert (qualities[0], qualities[-1]) == (5, 100)
    validation = Validation(task, pairs(5).astype(np.float32) / 255)
    scores = validation(fresh_params(WILD))
    assert scores["gain"] == 0
    assert scores["psnr@100"] == pytest.approx(10 * np.log10(12 * 255**2))  # intact


def test_validation_of_alike_and_of_few_pictures() -> None:
    task = TASKS["pictures"](WILD, of_pictures())
    alike = np.repeat(pairs(1)[:1], 10, axis=0)
    cases = task.cases(jnp.asarray(alike, jnp.float32) / 255)
    assert sum(len(pair.told) for pair in cases.values()) == 10
    assert list(cases)[1].endswith(" (2)")
    with pytest.raises(ValueError, match="--validation-crops must be at least 5"):
        task.cases(jnp.asarray(alike[:4], jnp.float32) / 255)


@pytest.mark.usefixtures("standard_promotion")
def test_pictures_are_blamed_for_pixels_and_for_the_estimate() -> None:
    """By hand, in NumPy: balanced mean squared error of YCbCr, and of the error's logarithm."""
    settings = of_pictures(balance=True, optimiser="adam", warmup=0)
    task = TASKS["pictures"](WILD, settings)
    params = random_params(WILD)
    damaged, intact = np.split(pairs(3).astype(np.float32) / 255, 2, axis=-1)
    true = np.asarray([0.0, 1.5, 0.5], np.float32)
    told = jnp.asarray([True, True, False])
    pair = tasks.Pair(*map(jnp.asarray, (intact, damaged, damaged, true)), told)
    outcome = jax.jit(task.outcome)(params, pair)
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5]])
    luma = intact @ matrix[0]
    np.testing.assert_allclose(outcome.target[:, 0], luma, atol=1e-5)
    np.testing.assert_allclose(outcome.plain[:, 1], damaged @ matrix[1] + 128 / 255, atol=1e-5)
    # An intact picture that is told to be so stays as it is, and counts as a table of ones does.
    np.testing.assert_array_equal(outcome.restored[0], outcome.target[0])
    np.testing.assert_allclose(outcome.steps, np.maximum(57.6 * true**2, 1), rtol=1e-6)
    estimate = WILD.apply(
        {"params": params}, color.rgb_to_ycbcr(pair.damaged)[:, None], method="estimate"
    )
    found = np.maximum(np.asarray(estimate.error), [0, -1, -1])
    expected = 1e-3 * (np.log(found + 0.1) - np.log(true + 0.1)) ** 2
    np.testing.assert_allclose(outcome.penalty, expected, rtol=1e-3)
    step_of = step.make_step(task, settings)
    state = step.create_state(architecture_of(WILD), settings, params)
    before = jax.tree.map(np.asarray, params)
    state, values = step_of.step(step_of.place_state(state), step_of.place_crops(pairs(3)))
    assert np.isfinite(values["loss"])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, before)
    assert min(jax.tree.leaves(moved)) > 0
