"""The training step as pure functions, and its three parallel forms.

A step draws patches from uint8 crops, makes their JPEG codes, restores them and updates the
parameters, all in one compiled program: nothing crosses between host and device but the metrics
that the caller fetches. What a step draws depends on the seed and the step number alone, so a run
that is resumed sees exactly what it would have seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from optax.contrib import MuonDimensionNumbers

from hrcnn_jax import compiler
from hrcnn_jax.networks import registry
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.training import losses
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.targets import make_target
from hrcnn_jax.training.tasks import Task

Params = Any
Metrics = dict[str, Array]
Update = Callable[..., tuple["TrainState", Metrics]]

AXIS = "batch"
BALANCE_SCALE = 16.0
"""Balanced losses are multiplied by this, a middling quantisation step, to keep their size."""
DECIBEL_SCALE = 1e-3
"""Losses for decibels are multiplied by this, a usual mean squared error, likewise."""
DECIBEL_FLOOR = 1e-4
"""Mean squared error, 40 dB, that is added: or what is all but right would outweigh the rest."""


@flax.struct.dataclass
class TrainState:
    """Everything a step changes. `ema` are averaged parameters, the ones to validate and keep."""

    step: Array
    params: Params
    opt_state: Any
    ema: Params


def make_optimiser(settings: Settings, done: Array | float = 0.0) -> optax.GradientTransformation:
    """Clipping, then SGD with momentum, Adam or Muon, at the rate of this part of the run.

    The rate rises linearly, for so many steps or half of the run, and falls as a cosine to zero.

    Args:
      settings: of the run.
      done: how much of the run is done, from 0 to 1.
    """
    how = settings.optimisation

    def schedule(step: ArrayLike) -> Array:
        warm = jnp.asarray(step, jnp.float32) / how.warmup if how.warmup else 1.0
        risen = jnp.minimum(1.0, jnp.maximum(warm, 2.0 * done))
        return how.learning_rate * risen * 0.5 * (1.0 + jnp.cos(jnp.pi * done))

    if how.optimiser == "sgd":
        rule = optax.sgd(schedule, momentum=how.momentum, nesterov=True)
    elif how.optimiser == "adam":
        rule = optax.adam(schedule)
    else:
        rule = optax.contrib.muon(
            schedule, consistent_rms=0.2, muon_weight_dimension_numbers=_as_matrices
        )
    limit = optax.clip_by_global_norm(how.clip) if how.clip else optax.identity()
    return optax.chain(limit, rule)


def _as_matrices(params: Params) -> Any:
    """How Muon sees each kernel: inputs (and taps) by outputs; None, so Adam, for the rest."""

    def matrix_of(leaf: Array) -> MuonDimensionNumbers | None:
        if leaf.ndim < 2 or leaf.shape[-1] == 1:
            return None
        # The first axis of five counts kernels, each a matrix of its own.
        return MuonDimensionNumbers(tuple(range(leaf.ndim == 5, leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree.map(matrix_of, params)


def create_state(
    architecture: Architecture, settings: Settings, params: Params | None = None
) -> TrainState:
    """The state before the first step, from `params` or from fresh parameters.

    Parameters of a smaller network are grown into those of this one.

    Raises:
      ValueError: if `params` do not fit into the network's, or what is to be frozen is no part of
        it.
    """
    module = architecture.build(settings.options, dtype=settings.run.dtype)
    fresh = architecture.init(module, jax.random.key(settings.run.seed))
    unknown = {*settings.optimisation.frozen} - fresh.keys()
    if unknown:
        raise ValueError(
            f"--frozen: the network has no {', '.join(sorted(unknown))}: its parts are "
            f"{', '.join(fresh)}"
        )
    if params is None:
        params = fresh
    else:
        params = jax.tree.map(jnp.asarray, architecture.grow(params, fresh))
    opt_state = make_optimiser(settings).init(params)
    # A copy: the step donates the state, and may not donate one buffer twice.
    ema = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, ema)


def make_update(
    task: Task,
    settings: Settings,
    *,
    resident: bool,
    axis: str | None = None,
    together: int | None = None,
) -> Update:
    """One training step on some of a batch: `update(state, keys, crops, done)`.

    How much of the run is done, from 0 to 1, sets the learning rate and the share of a teacher. If
    it is not given, the step tells, and how many steps the run has.

    Args:
      task: what the network is trained to do.
      settings: of the run.
      resident: `crops` are all there are, each key draws its own; otherwise one crop a key.
      axis: the mapped axis to average over, under pmap.
      together: examples whose gradients are computed at once, a divisor of the batch, which is
        divided among as many devices; all of them if not given.
    """
    loss_function = losses.get(settings.optimisation.loss)
    aim, frozen = make_target(settings), settings.optimisation.frozen

    def example(key: Array, crop_or_crops: Array) -> Any:
        index_key, draw_key = jax.random.split(key)
        if resident:
            crop = crop_or_crops[jax.random.randint(index_key, (), 0, crop_or_crops.shape[0])]
        else:
            crop = crop_or_crops
        return task.draw(draw_key, crop)

    def loss_of(params: Params, drawn: Any, done: Array) -> Array:
        still = jax.lax.stop_gradient({name: params[name] for name in frozen})
        outcome = task.outcome(params | still, drawn)
        aimed_at = aim(drawn, outcome.target, done)
        per_patch = _per_patch(loss_function, outcome.restored, aimed_at)
        if settings.optimisation.balance:
            per_patch *= BALANCE_SCALE / outcome.steps
        if settings.optimisation.decibels:
            restored = jax.lax.stop_gradient(outcome.restored)
            error = _per_patch(losses.mse, restored, outcome.target)  # whatever it is to learn
            per_patch *= DECIBEL_SCALE / (error + DECIBEL_FLOOR)
        return jnp.mean(per_patch + outcome.penalty)

    def gradient_of(params: Params, drawn: Any, done: Array) -> tuple[Array, Params]:
        """The loss and its gradient, means over the batch."""
        batch = len(jax.tree.leaves(drawn)[0])
        if together is None or together == batch:
            return jax.value_and_grad(loss_of)(params, drawn, done)
        count = batch // together

        def in_turn(leaf: Array) -> Array:  # the first of every device's share, then the second
            return jnp.moveaxis(leaf.reshape(together, count, *leaf.shape[1:]), 1, 0)

        def add(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(
                jnp.add, total, jax.value_and_grad(loss_of)(params, part, done)
            ), None

        nothing = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
        total, _ = jax.lax.scan(add, nothing, jax.tree.map(in_turn, drawn))
        return jax.tree.map(lambda leaf: leaf / count, total)

    def update(
        state: TrainState, keys: Array, crops: Array, done: Array | None = None
    ) -> tuple[TrainState, Metrics]:
        if done is None:
            done = state.step.astype(jnp.float32) / settings.run.steps
        drawn = jax.vmap(example, in_axes=(0, None if resident else 0))(keys, crops)
        loss, gradient = gradient_of(state.params, drawn, done)
        if axis is not None:
            loss, gradient = jax.lax.pmean((loss, gradient), axis)
        optimiser = make_optimiser(settings, done)
        change, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        # Nor does momentum from before they were frozen move them.
        change |= {name: optax.tree.zeros_like(change[name]) for name in frozen}
        params = optax.apply_updates(state.params, change)
        ema = _average(state.ema, params, state.step, settings.optimisation.ema)
        ema |= {name: state.ema[name] for name in frozen}
        values = {
            "loss": loss,
            "gradient_norm": optax.tree.norm(gradient),
            "parameter_norm": optax.tree.norm(params),
        }
        return TrainState(state.step + 1, params, opt_state, ema), values

    return update


def _per_patch(loss: losses.Loss, restored: Array, target: Array) -> Array:
    """A loss of planes `(B, ..., H, W)`, its mean over those of each patch: `(B,)`."""
    planes = loss(*(x.reshape(-1, *x.shape[-2:]) for x in (restored, target)))
    return jnp.mean(planes.reshape(len(target), -1), axis=1)


def _average(ema: Params, params: Params, step: Array, decay: float) -> Params:
    # Young averages forget faster, or they would remember the initial parameters for too long.
    count = step.astype(jnp.float32)
    keep = jnp.minimum(decay, (1.0 + count) / (10.0 + count))
    return jax.tree.map(lambda old, new: keep * old + (1.0 - keep) * new, ema, params)


@dataclass(frozen=True)
class Parallel:
    """One way of running a step on the devices at hand.

    Attributes:
      step: `step(state, crops, done=None) -> (state, metrics)`, compiled; donates the state.
        `done` is as `make_update` has it.
      place_state: puts a state where the step wants it.
      place_crops: puts crops there: all of them if resident, else the next batch.
    """

    step: Update
    place_state: Callable[[TrainState], TrainState]
    place_crops: Callable[[np.ndarray], Array]


def make_step(task: Task, settings: Settings, *, resident: bool = True) -> Parallel:
    """The training step in the form that `settings.run.parallel` names; all three agree.

    Args:
      task: what the network is trained to do.
      settings: of the run; `batch` patches a step over all devices.
      resident: crops stay on the devices and the step draws from them; otherwise every call is
        given its own `settings.optimisation.batch` crops.

    Raises:
      ValueError: if the batch cannot be divided among the devices, or there are several processes
        and `settings.run.parallel` is for one.
    """
    devices = jax.devices()
    if settings.run.parallel != "sharded" and jax.process_count() > 1:
        raise ValueError("many processes need --parallel sharded")
    if settings.run.parallel != "jit" and settings.optimisation.batch % len(devices):
        batch = settings.optimisation.batch
        raise ValueError(f"--batch {batch} must be a multiple of the {len(devices)} devices in use")
    root = jax.random.key(settings.run.seed + 1)

    def keys_of(step: Array) -> Array:
        return jax.random.split(jax.random.fold_in(root, step), settings.optimisation.batch)

    if settings.run.parallel == "pmap":
        return _pmap_step(task, settings, resident, devices, keys_of)

    used = len(devices) if settings.run.parallel == "sharded" else 1
    together = used if _one_by_one(settings) else None
    update = make_update(task, settings, resident=resident, together=together)
    mesh = jax.make_mesh(
        (used,),
        (AXIS,),
        axis_types=(AxisType.Auto,),
        devices=devices[:used],
    )
    everywhere = NamedSharding(mesh, PartitionSpec())
    divided = NamedSharding(mesh, PartitionSpec(AXIS))

    @partial(jax.jit, donate_argnums=0, out_shardings=everywhere, compiler_options=compiler.sound())
    def step(
        state: TrainState, crops: Array, done: Array | None = None
    ) -> tuple[TrainState, Metrics]:
        keys = jax.lax.with_sharding_constraint(keys_of(state.step), divided)
        return update(state, keys, crops, done)

    place_crops = _replicate(everywhere) if resident else _divide(divided)
    return Parallel(step, partial(_placed, everywhere), place_crops)


def _one_by_one(settings: Settings) -> bool:
    """Whether each device takes the examples of its share one after another."""
    is_cpu = jax.default_backend() == "cpu"
    return is_cpu and registry.get(settings.architecture).trains_singly


def _pmap_step(
    task: Task,
    settings: Settings,
    resident: bool,
    devices: list[jax.Device],
    keys_of: Callable[[Array], Array],
) -> Parallel:
    together = 1 if _one_by_one(settings) else None
    update = make_update(task, settings, resident=resident, axis=AXIS, together=together)
    share = settings.optimisation.batch // len(devices)

    def one_device(
        rank: Array, state: TrainState, crops: Array, done: Array | None
    ) -> tuple[TrainState, Metrics]:
        keys = jax.lax.dynamic_slice_in_dim(keys_of(state.step), rank * share, share)
        return update(state, keys, crops, done)

    mapped = jax.pmap(
        one_device,
        axis_name=AXIS,
        in_axes=(0, None, None if resident else 0, None),
        out_axes=None,
        devices=devices,
    )
    # pmap is told nothing of the compiler; what it makes is compiled with what is around it.
    compiled = jax.jit(mapped, donate_argnums=1, compiler_options=compiler.sound())
    mesh = Mesh(np.array(devices), (AXIS,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    divided = NamedSharding(mesh, PartitionSpec(AXIS))
    ranks = jax.device_put(jnp.arange(len(devices)), divided)

    def place_batch(crops: np.ndarray) -> Array:
        return _divide(divided)(crops.reshape(-1, share, *crops.shape[1:]))

    place_crops = _replicate(everywhere) if resident else place_batch

    def step(
        state: TrainState, crops: Array, done: Array | None = None
    ) -> tuple[TrainState, Metrics]:
        return compiled(ranks, state, crops, done)

    return Parallel(step, partial(_placed, everywhere), place_crops)


def _placed(sharding: NamedSharding, state: TrainState) -> TrainState:
    """A state by way of the host: what lies on one device cannot go to those of other processes."""
    placed: TrainState = jax.device_put(jax.device_get(state), sharding)
    return placed


def _replicate(sharding: NamedSharding) -> Callable[[np.ndarray], Array]:
    # Not `device_put`, by which processes send one another all of it to see that it is the same.
    def place(crops: np.ndarray) -> Array:
        return jax.make_array_from_callback(crops.shape, sharding, lambda part: crops[part])

    return place


def _divide(sharding: NamedSharding) -> Callable[[np.ndarray], Array]:
    return lambda crops: jax.make_array_from_process_local_data(sharding, crops)
