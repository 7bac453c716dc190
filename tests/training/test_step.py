"""The training step: its arithmetic by hand, its three parallel forms, and what it never does."""

from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import architecture_of, fresh_params, make_photo, random_params
from jax import Array
from scipy.fft import dctn

from hrcnn_jax.data.patches import Augmentation
from hrcnn_jax.data.planes import PLANES
from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.training import losses, step
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.step import TrainState
from hrcnn_jax.training.tasks import TASKS, Outcome, Task
from hrcnn_jax.training.validation import make_validate

pytestmark = pytest.mark.usefixtures("standard_promotion")

MODULE = Compact(width=8, blocks=0)
COMPACT = architecture_of(MODULE)
CROPS = np.stack([make_photo(24, 24, seed)[..., 1:2] for seed in range(6)])


def configured(**options: Any) -> Settings:
    """Big steps at once: no warm-up, no decay to speak of."""
    defaults: dict[str, Any] = {"steps": 1000, "warmup": 0, "batch": 8, "patch": 16, "crop": 24}
    defaults |= {"architecture": "compact", "width": 8, "blocks": 0, "learning_rate": 0.1}
    return Settings().changed(**(defaults | options))


def task_of(settings: Settings) -> Task:
    return TASKS["planes"](MODULE, settings)


def start(settings: Settings) -> TrainState:
    """From parameters that are not zero, so that each has a gradient."""
    return step.create_state(COMPACT, settings, random_params(MODULE))


def run(
    settings: Settings, steps: int, *, resident: bool = True, crops: np.ndarray = CROPS
) -> tuple[TrainState, list[dict[str, float]]]:
    parallel = step.make_step(task_of(settings), settings, resident=resident)
    state, seen = parallel.place_state(start(settings)), []
    for number in range(steps):
        batch = crops[(np.arange(settings.optimisation.batch) + number) % len(crops)]
        state, values = parallel.step(state, parallel.place_crops(crops if resident else batch))
        seen.append({name: float(value) for name, value in values.items()})
    return state, seen


def assert_close(first: Any, second: Any, tolerance: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance), first, second)


# --- one step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [None, 1])
def test_one_step_by_hand(together: int | None) -> None:
    """SGD with Nesterov momentum from rest moves by `rate * (1 + momentum) * gradient`."""
    settings = configured(batch=3, clip=0.0, momentum=0.9, quality=(30,), ema=0.5)
    crops = jnp.asarray(CROPS[:3, :16, :16])  # patches of the whole crop: only turned
    update = step.make_update(task_of(settings), settings, resident=False, together=together)
    keys = jax.random.split(jax.random.key(3), 3)
    state = start(settings)
    after, values = jax.jit(update)(state, keys, crops)

    # The same patches, drawn by the same keys; the rest is written out.
    augment = Augmentation(PLANES[settings.data.planes], settings.data.patch)
    planes = jnp.stack(
        [
            augment(jax.random.split(jax.random.split(key)[1])[0], crop)[0]
            for key, crop in zip(keys, crops, strict=True)
        ]
    )
    table = jnp.broadcast_to(transform.quality_table(30), (3, 8, 8))
    codes = transform.from_blocks(transform.encode(planes, table))[..., None]

    def mean_squared_error(params: Any) -> Array:
        restored = MODULE.apply({"params": params}, codes, table)[..., 0]
        return jnp.sum((restored - planes) ** 2) / planes.size

    loss, gradient = jax.jit(jax.value_and_grad(mean_squared_error))(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * 1.9 * g, state.params, gradient)
    squares = [np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient)]
    np.testing.assert_allclose(values["loss"], loss, rtol=1e-5)  # sums in another order
    np.testing.assert_allclose(values["gradient_norm"], np.sqrt(sum(squares)), rtol=1e-4)
    assert_close(after.params, expected, 1e-7)
    assert np.sqrt(sum(squares)) > 1e-4, "there is something to learn"
    # The first average forgets nine tenths, however slow its decay.
    averaged = jax.tree.map(lambda old, new: 0.1 * old + 0.9 * new, state.params, after.params)
    assert_close(after.ema, averaged, 1e-7)
    assert after.step == 1


def test_large_gradients_are_clipped() -> None:
    """The first update's length is at most `rate * (1 + momentum) * clip`."""
    lengths = []
    for clip in (1e-4, 0.0):
        settings = configured(clip=clip)
        state, seen = run(settings, 1)
        difference = jax.tree.map(jnp.subtract, state.params, random_params(MODULE))
        lengths.append(np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(difference))))
        assert seen[0]["gradient_norm"] > 1e-3, "the norm is told before it is clipped"
    assert lengths[0] < 0.19e-4 * 1.01  # float32
    assert lengths[1] > 10 * lengths[0]


def test_average_with_and_without_decay() -> None:
    state, _ = run(configured(ema=0.0), 3)
    jax.tree.map(np.testing.assert_array_equal, state.ema, state.params)
    state, _ = run(configured(ema=0.999), 3)
    difference = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.ema, state.params)
    assert max(jax.tree.leaves(difference)) > 1e-6


def test_training_lowers_the_loss() -> None:
    settings = configured(optimiser="adam", learning_rate=3e-3, quality=(10,))
    _, seen = run(settings, 60)
    first, last = (np.mean([values["loss"] for values in part]) for part in (seen[:10], seen[-10:]))
    assert last < 0.97 * first


def test_muon_moves_kernels_alike_in_all_directions(standard_promotion: None) -> None:
    """By NumPy's singular values; Newton-Schulz leaves them between about 0.7 and 1.2."""
    settings = configured(optimiser="muon", learning_rate=0.5, warmup=1, steps=10**6)
    optimiser = step.make_optimiser(settings)
    random = np.random.default_rng(0)
    gradients = {
        "conv": jnp.asarray(random.normal(size=(3, 3, 4, 6)), jnp.float32),
        "last": jnp.asarray(random.normal(size=(1, 1, 4, 1)), jnp.float32),
        "bias": jnp.asarray(random.normal(size=6), jnp.float32),
    }
    state = optimiser.init(gradients)
    for _ in range(2):  # the first of a warm-up has rate zero
        change, state = optimiser.update(gradients, state, gradients)
    scale = 0.5 * 0.2 * np.sqrt(3 * 3 * 4)
    moved = np.linalg.svd(change["conv"].reshape(36, 6), compute_uv=False) / scale
    assert moved.min() > 0.6
    assert moved.max() < 1.3
    for name in ("last", "bias"):  # by Adam with Nesterov's momentum, which at first goes by signs
        np.testing.assert_allclose(change[name], -0.5 * np.sign(gradients[name]), rtol=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "mse", "optimiser": "sgd"},
        {"loss": "charbonnier", "optimiser": "adam"},
        {"loss": "mse", "optimiser": "muon"},
        {"loss": "ssim", "optimiser": "adam", "clip": 0.0},
        {"balance": True, "quality": (5, 95), "tables": "any"},
        {"momentum": 0.0, "steps": 1},
        {"dtype": "bfloat16", "steps": 2, "warmup": 500},
    ],
    ids=str,
)
def test_options(options: dict[str, Any]) -> None:
    """Each takes a step: finite, and somewhere else."""
    settings = configured(**options)
    module = Compact(width=8, blocks=0, dtype=jnp.dtype(settings.run.dtype))
    parallel = step.make_step(TASKS["planes"](module, settings), settings)
    state = parallel.place_state(start(settings))
    for _ in range(2):  # the first of a warm-up has rate zero
        state, values = parallel.step(state, parallel.place_crops(CROPS))
    for leaf in jax.tree.leaves((values, state.params, state.ema)):
        assert np.isfinite(leaf).all()
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, random_params(MODULE))
    assert min(jax.tree.leaves(moved)) > 0


def test_any_plane_of_colour_crops() -> None:
    settings = configured(planes="any", tables="any", quality=(5, 95), patch=8)
    parallel = step.make_step(task_of(settings), settings)
    crops = np.stack([make_photo(24, 24, seed) for seed in range(3)])
    state = parallel.place_state(start(settings))
    _, values = parallel.step(state, parallel.place_crops(crops))
    assert np.isfinite(values["loss"])


def test_balance_divides_by_the_mean_step() -> None:
    plain, balanced = (run(configured(balance=b, quality=(20,)), 1)[1] for b in (False, True))
    mean = float(transform.quality_table(20).mean())
    np.testing.assert_allclose(balanced[0]["loss"], plain[0]["loss"] * 16 / mean, rtol=1e-5)


def test_decibels_are_the_gradient_of_a_logarithm() -> None:
    """Of a single patch: its error falls in proportion to itself, as PSNR counts it."""
    moved = []
    for decibels in (False, True):
        settings = configured(batch=1, quality=(20,), clip=0.0, decibels=decibels)
        began = start(settings).params
        state, (values,) = run(settings, 1)
        moved.append((values["loss"], jax.tree.map(jnp.subtract, state.params, began)))
    (error, plainly), (relative, by_logarithm) = moved
    share = 1e-3 / (error + 1e-4)
    np.testing.assert_allclose(relative, error * share, rtol=1e-5)
    assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(plainly)) > 1e-5
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a * share, b, rtol=1e-3, atol=1e-6),
        plainly,
        by_logarithm,
    )


def test_decibels_weigh_by_what_is_lacking_not_by_what_is_aimed_at() -> None:
    """A teacher's pupil is near its aim; what counts is how far both are from the original."""
    settings = configured(batch=1, quality=(20,), decibels=True)
    original, aim = jnp.zeros((1, 1, 16, 16)), jnp.full((1, 1, 16, 16), 0.09)
    restored = jnp.full((1, 1, 16, 16), 0.1)

    class Drawn(NamedTuple):
        nothing: Array

    class Given:
        def draw(self, key: Array, crop: Array) -> Drawn:
            return Drawn(jnp.zeros(()))

        def outcome(self, params: Any, drawn: Drawn) -> Outcome:
            return Outcome(original, restored, restored, jnp.ones(1), jnp.zeros(1))

    with mock.patch.object(step, "make_target", return_value=lambda *_: aim):
        update = step.make_update(Given(), settings, resident=True)  # type: ignore[arg-type]
    keys = jax.random.split(jax.random.key(0), 1)
    _, values = update(start(settings), keys, jnp.asarray(CROPS))
    assert float(values["loss"]) == pytest.approx(1e-4 * 1e-3 / (1e-2 + 1e-4), rel=1e-4)


def test_unknown_losses() -> None:
    with pytest.raises(ValueError, match="no loss 'l7': choose from mse, charbonnier, ssim"):
        losses.get("l7")
    with pytest.raises(ValueError, match="cannot load the loss 'math:nothing'"):
        losses.get("math:nothing")


def test_warm_start_needs_a_network_that_fits() -> None:
    with pytest.raises(ValueError, match="warm-start"):
        step.create_state(COMPACT, configured(width=4), fresh_params(MODULE))


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "muon"])
def test_what_is_frozen_stays_as_it_is(optimiser: str, standard_promotion: None) -> None:
    before = random_params(MODULE)
    state, _ = run(configured(frozen=("head",), optimiser=optimiser, learning_rate=1e-3), 2)
    for params in (state.params, state.ema):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, before)
        assert max(jax.tree.leaves(moved["head"])) == 0
        assert min(jax.tree.leaves(moved["tail"])) > 0


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "muon"])
def test_what_is_frozen_later_keeps_no_momentum(optimiser: str, standard_promotion: None) -> None:
    settings = configured(optimiser=optimiser, learning_rate=1e-3)
    before, _ = run(settings, 2)
    before = jax.tree.map(np.asarray, before)
    settings = settings.changed(frozen=("head",))
    parallel = step.make_step(task_of(settings), settings)
    after, _ = parallel.step(parallel.place_state(before), parallel.place_crops(CROPS))
    for old, new in ((before.params, after.params), (before.ema, after.ema)):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), new, old)
        assert max(jax.tree.leaves(moved["head"])) == 0
        assert min(jax.tree.leaves(moved["tail"])) > 0


def test_what_is_to_be_frozen_has_to_be_there() -> None:
    with pytest.raises(ValueError, match="--frozen: the network has no neck: its parts are head, "):
        start(configured(frozen=("neck",)))


def test_seed_decides_initialisation_and_draws() -> None:
    states = [step.create_state(COMPACT, configured(seed=seed)) for seed in (0, 1)]
    heads = [state.params["head"]["kernel"] for state in states]
    assert np.abs(heads[0] - heads[1]).max() > 0
    losses_of = [run(configured(seed=seed), 1)[1][0]["loss"] for seed in (0, 0, 1)]
    assert losses_of[0] == losses_of[1] != losses_of[2]


# --- its parallel forms --------------------------------------------------------------------------


def without_ties(crops: np.ndarray, quality: int) -> np.ndarray:
    """The crops of which no coefficient lies just between two codes, however they are turned.

    A last bit decides which way such a coefficient is rounded, and with it a whole code.
    """
    table = np.asarray(transform.quality_table(quality))
    down, across = crops.shape[1] // 8, crops.shape[2] // 8
    tiles = (crops - 128.0).reshape(-1, down, 8, across, 8).swapaxes(2, 3)
    coefficients = dctn(tiles, axes=(-2, -1), norm="ortho")
    distances = [
        np.abs(np.abs(turned / table) % 1 - 0.5).min((1, 2, 3, 4))
        for turned in (coefficients, coefficients.swapaxes(-2, -1))
    ]
    return crops[np.minimum(*distances) > 1e-4]


@pytest.mark.parametrize("resident", [True, False])
def test_parallel_forms_agree(resident: bool) -> None:
    """On four devices; they add gradients up in another order, float32."""
    assert len(jax.devices()) == 4
    crops = np.stack([make_photo(16, 16, seed)[..., 1:2] for seed in range(40)])
    crops = without_ties(crops, 10)[:8]
    assert len(crops) == 8
    results = {}
    for parallel in ("jit", "sharded", "pmap"):
        settings = configured(parallel=parallel, quality=(10,), balance=True)
        results[parallel] = run(settings, 3, resident=resident, crops=crops)
    state, seen = results["jit"]
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, random_params(MODULE))
    assert min(jax.tree.leaves(moved)) > 1e-5
    for other, other_seen in (results["sharded"], results["pmap"]):
        assert_close(other.params, state.params, 1e-6)
        assert_close(other.ema, state.ema, 1e-6)
        for ours, theirs in zip(seen, other_seen, strict=True):
            np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-5)
            np.testing.assert_allclose(ours["gradient_norm"], theirs["gradient_norm"], rtol=1e-4)


@pytest.mark.parametrize("parallel", ["sharded", "pmap"])
def test_batches_are_divided_among_devices(parallel: str) -> None:
    settings = configured(batch=6, parallel=parallel)
    task = task_of(settings)
    with pytest.raises(ValueError, match="--batch 6 must be a multiple of the 4 devices"):
        step.make_step(task, settings)


TRACES = []


def counted_loss(restored: Array, target: Array) -> Array:
    """Runs as Python only while the step is traced."""
    TRACES.append(restored.shape)
    return losses.mse(restored, target)


@pytest.mark.parametrize("parallel", ["jit", "sharded", "pmap"])
def test_steps_stay_on_the_device(parallel: str) -> None:
    """After the first: one trace, and nothing crosses between host and device, nor devices."""
    settings = configured(parallel=parallel, loss=f"{__name__}:counted_loss", quality=(5, 95))
    form = step.make_step(task_of(settings), settings)
    TRACES.clear()  # of the check that the loss gives one value a picture
    state, crops = form.place_state(start(settings)), form.place_crops(CROPS)
    state, _ = form.step(state, crops)
    with jax.transfer_guard("disallow"):
        for _ in range(4):
            state, values = form.step(state, crops)
    assert len(TRACES) == 1
    assert int(state.step) == 5
    assert np.isfinite(values["loss"])


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_many_processes_train_in_one_way_only(
    parallel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configured(parallel=parallel)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="many processes need --parallel sharded"):
        step.make_step(task_of(settings), settings)


COUNT = 32_769


def mistakes(restored: Array, target: Array) -> Array:
    """How wrong lengths are that jax 0.10.2 computes wrong on CPUs, one value a picture: 0.

    Published with jax issue 39103. They stand alone, as they would not if the compiler saw what
    they are made of and are for.
    """
    alone = jax.lax.optimization_barrier
    numbers = jnp.arange(COUNT, dtype=jnp.float32)
    vectors = alone(jnp.zeros((COUNT, 3)).at[:, 0].set(numbers))
    lengths = jax.vmap(lambda vector: jnp.sum((jnp.eye(3) @ vector) ** 2))(vectors)
    return jnp.max(jnp.abs(alone(lengths) - numbers**2)) + 0.0 * restored[:, 0, 0]


@pytest.mark.parametrize("parallel", ["jit", "sharded", "pmap"])
def test_steps_are_compiled_without_what_is_known_to_be_wrong(parallel: str) -> None:
    _, seen = run(configured(parallel=parallel, loss=f"{__name__}:mistakes"), 1)
    assert seen[0]["loss"] == 0.0


# --- validation ----------------------------------------------------------------------------------


def test_validation_is_the_gain_over_plain_decoding() -> None:
    from skimage.metrics import peak_signal_noise_ratio

    planes = CROPS[:3, :, :, 0].astype(np.float32) / 255
    task = task_of(configured())
    drawn = task.standard(jnp.asarray(planes), 20)
    plain, restored = make_validate(task)(fresh_params(MODULE), drawn)
    np.testing.assert_array_equal(plain, restored)  # fresh, the network is the plain decoder
    table = transform.quality_table(20)
    decoded = np.asarray(
        transform.decode(transform.encode(planes, table[None].repeat(3, 0)), table[None])
    )
    rounded = np.rint(255 * decoded).astype(np.uint8)
    expected = [
        peak_signal_noise_ratio(crop[..., 0], picture)
        for crop, picture in zip(CROPS, rounded, strict=False)
    ]
    np.testing.assert_allclose(plain, expected, rtol=1e-5)  # float32
