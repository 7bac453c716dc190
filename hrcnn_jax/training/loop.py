"""A whole training run: from pictures to checkpoints, resumed where it was left."""

import datetime
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from hrcnn_jax.data import sources
from hrcnn_jax.data.crops import cached_crops, host_batches
from hrcnn_jax.data.planes import PLANES
from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.training import losses
from hrcnn_jax.training.checkpoints import Checkpoints
from hrcnn_jax.training.clock import Clock
from hrcnn_jax.training.export import describe
from hrcnn_jax.training.run_log import RunLog
from hrcnn_jax.training.settings import UNIT, Settings
from hrcnn_jax.training.step import Parallel, TrainState, create_state, make_step
from hrcnn_jax.training.tasks import TASKS
from hrcnn_jax.training.validation import Validation

VALIDATION_SIDE = 128
DEVICE_SHARE = 0.4  # of a device's memory that crops may take
ASKED_EVERY = 10  # steps after which many processes ask each other for signals


class DivergedError(RuntimeError):
    """The loss is no longer a number."""


class Interrupt:
    """Remembers the first SIGINT or SIGTERM, so that the loop can stop between steps."""

    def __enter__(self) -> "Interrupt":
        self.signal = 0
        self._previous = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *exception: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self.__exit__()  # a second one interrupts at once


def load_crops(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Training crops and validation planes, cut once and kept in the cache.

    Returns:
      Crops `(N, S, S, C)` uint8, and planes `(M, T, T)`, colour pictures `(M, T, T, 3)` or damaged
      pictures beside intact ones `(M, T, T, 6)`, float32 in [0, 1].

    Raises:
      DataError: if pictures cannot be had or are too small.
    """
    data, seed = settings.data, settings.run.seed
    training, held_out = sources.open_training(data.pictures, data.validation)
    cache = Path(data.cache) if data.cache else Path(settings.run.workdir).parent / "crops"
    planes = PLANES[data.planes]
    damage = settings.codes.quality if planes.damaged else ()
    crops = cached_crops(
        training,
        data.crops,
        data.crop,
        cache=cache,
        channel=planes.stored,
        scales=data.scales,
        damage=damage,
        seed=seed,
        label="training crops",
    )
    validated = cached_crops(
        held_out,
        data.validation_crops,
        min(data.crop, VALIDATION_SIDE) // UNIT * UNIT,
        cache=cache,
        channel=planes.validated,
        scales=data.scales if planes.at_once else (1.0,),
        damage=damage,
        seed=seed,
        label="validation crops",
    )
    pixels = validated.astype(np.float32) / 255.0
    return crops, pixels if planes.at_once else pixels[..., 0]


def fits_on_device(crops: np.ndarray, placement: str) -> bool:
    """Whether all crops stay on the device, or are read batch by batch."""
    if placement != "auto":
        return placement == "device"
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 8 * 2**30)
    return crops.nbytes < DEVICE_SHARE * memory


def feed(
    crops: np.ndarray, settings: Settings, step: Parallel, *, first: int
) -> Iterator[jax.Array]:
    """What each step is given: always the same resident crops, or one batch after another."""
    if fits_on_device(crops, settings.data.placement):
        resident = step.place_crops(crops)
        while True:
            yield resident
    batches = host_batches(
        crops,
        settings.optimisation.batch // jax.process_count(),
        seed=settings.run.seed,
        first_step=first,
        shard=jax.process_index(),
        shards=jax.process_count(),
    )
    ahead = step.place_crops(next(batches))
    while True:
        now, ahead = ahead, step.place_crops(next(batches))
        yield now


def warm_params(architecture: Architecture, settings: Settings) -> Any:
    """The parameters to begin from, of another network, fitted to this run's table."""
    network = zoo.load(settings.run.warm_start)
    if network.architecture != architecture:
        return network.params
    return architecture.retarget(network.params, network.card.options, settings.options)


def _first_state(
    architecture: Architecture, settings: Settings, checkpoints: Checkpoints
) -> TrainState:
    """What a run goes on from; begun from other weights, if so asked, only if it is new."""
    fresh = create_state(architecture, settings)
    resumed = checkpoints.restore(fresh, settings, tell=_tell)
    if resumed is not None:
        return resumed
    if not settings.run.warm_start:
        return fresh
    return create_state(architecture, settings, warm_params(architecture, settings))


@dataclass
class Progress:
    """Tells how far a run is: a bar on a terminal, a line now and then in a file.

    Attributes:
      clock: of the run.
      batch: patches a step.
      first: the step it begins after.
      steps: of the whole run; None if nobody knows.
    """

    clock: Clock
    batch: int
    first: int
    steps: int | None

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        """Shows the bar, if there is one."""
        self._quiet = jax.process_index() != 0
        self._bar = tqdm(
            total=self.steps and self.steps * self.batch,
            initial=self.first * self.batch,
            unit="patch",
            unit_scale=True,
            disable=True if self._quiet else None,
            smoothing=0.05,
        )
        self._began, self._before = time.perf_counter(), self.clock.done(self.first)
        with self._bar:
            yield self

    def advance(self) -> None:
        """One step more."""
        self._bar.update(self.batch)

    def report(self, number: int, loss: float, patches_per_second: float) -> None:
        """The latest figures."""
        self._bar.set_postfix(loss=f"{loss:.3g}", refresh=False)
        if self._bar.disable and not self._quiet:
            done = self.clock.done(number)
            seconds = (time.perf_counter() - self._began) / max(done - self._before, 1e-9)
            left = tqdm.format_interval(seconds * (1 - done))
            rate = f"{patches_per_second:.1f} patches/s"
            of_all = f" of {self.steps}" if self.steps else ""
            print(
                f"step {number}{of_all}  loss {loss:.3g}  {rate}  {left} left",
                file=sys.stderr,
                flush=True,
            )


def fit(settings: Settings) -> int:
    """Trains from the latest checkpoint, or from the start; returns the signal that ended it.

    Raises:
      ValueError: if settings do not fit together, with pictures, networks or checkpoints.
      DivergedError: if the loss is no longer a number.
      OSError: if something cannot be written.
    """
    settings.check()
    if settings.run.minutes and jax.process_count() > 1:
        raise ValueError("--minutes is for one process, as clocks differ: give several --steps")
    architecture = registry.get(settings.architecture)
    module = architecture.build(settings.options, dtype=settings.run.dtype)
    workdir = Path(settings.run.workdir)
    with Checkpoints(workdir) as checkpoints:
        state = _first_state(architecture, settings, checkpoints)
        # Before pictures are cut, which takes long: what names other networks, or a loss.
        task, card = TASKS[architecture.kind](module, settings), describe(settings)
        losses.get(settings.optimisation.loss)
        with _one_first():
            crops, held_out = load_crops(settings)
        resident = fits_on_device(crops, settings.data.placement)
        step = make_step(task, settings, resident=resident)
        state = step.place_state(state)
        validate = Validation(task, held_out)
        first = int(state.step)
        batches = feed(crops, settings, step, first=first)
        clock = Clock(settings.run, checkpoints.seconds)
        steps = None if settings.run.minutes else settings.run.steps
        progress = Progress(clock, settings.optimisation.batch, first, steps)
        with Interrupt() as interrupt, RunLog(workdir) as log, progress.shown():
            run = _Steps(settings, state, step, batches, clock, progress)
            if run.over:
                _tell(f"{workdir}: has come to its end, after step {first}; ask for more to go on")
                if not checkpoints.has_best:
                    _validate(validate, run, card, checkpoints, log)
            while not (run.over or (ended_by := _heard(interrupt, run.number))):
                run.take()
                if run.due(settings.run.log_every):
                    log.write(run.number, clock.seconds, **run.report())
                if run.due(settings.run.eval_every):
                    run.fetch()
                    with run.paused():
                        _validate(validate, run, card, checkpoints, log)
                if run.due(settings.run.save_every):
                    run.fetch()
                    checkpoints.save(run.state, settings, seconds=clock.seconds)
            if run.over:
                return 0
            run.fetch()
            checkpoints.save(run.state, settings, seconds=clock.seconds)
        return ended_by


@contextmanager
def _one_first() -> Iterator[None]:
    """Has process 0 do what is within before others: what it keeps in files, they find there."""
    alone, first = jax.process_count() == 1, jax.process_index() == 0
    if not (alone or first):
        multihost_utils.sync_global_devices("after the first")
    yield
    if first and not alone:
        multihost_utils.sync_global_devices("after the first")


def _heard(interrupt: Interrupt, number: int) -> int:
    """The signal that ends a run before its next step; many processes have to end at the same."""
    if jax.process_count() == 1:
        return interrupt.signal
    if number % ASKED_EVERY:
        return 0
    return int(np.max(multihost_utils.process_allgather(np.int32(interrupt.signal))))


class _Steps:
    """The steps of a run, one after another, and what they measured."""

    def __init__(
        self,
        settings: Settings,
        state: TrainState,
        step: Parallel,
        batches: Iterator[jax.Array],
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._settings, self.state, self._step = settings, state, step
        self._batches, self._clock, self._progress = batches, clock, progress
        self.number = int(state.step)
        self._done = clock.done(self.number)
        self._values: dict[str, jax.Array] = {}
        self._began, self._since = time.perf_counter(), self.number

    def take(self) -> None:
        previous = self._values
        # By steps, the compiled step tells itself: nothing is sent to the device.
        done = np.float32(self._done) if self._settings.run.minutes else None
        self.state, self._values = self._step.step(self.state, next(self._batches), done)
        jax.block_until_ready(previous)  # one step ahead, no more: interrupts are quick
        self.number += 1
        self._done = self._clock.done(self.number)
        self._progress.advance()

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self._clock.seconds

    @property
    def over(self) -> bool:
        return self._done >= 1

    def due(self, every: int) -> bool:
        return self.number % every == 0 or self.over

    def fetch(self) -> dict[str, float]:
        """The last step's metrics; raises, before anything is saved, if one is no number."""
        fetched = {name: float(value) for name, value in self._values.items()}
        if not all(map(math.isfinite, fetched.values())):
            found = ", ".join(f"{name} {value:.3g}" for name, value in fetched.items())
            how = self._settings.optimisation
            raise DivergedError(
                f"step {self.number}: {found}: training has diverged. What is saved in "
                f"{self._settings.run.workdir} is from before: lower --learning-rate (now "
                f"{how.learning_rate}) or --clip (now {how.clip}) and run again"
            )
        return fetched

    def report(self) -> dict[str, float]:
        """The same, and the patches a second since the last report."""
        fetched = self.fetch()
        now = time.perf_counter()
        patches = (self.number - self._since) * self._settings.optimisation.batch
        rate = round(patches / (now - self._began), 1)
        self._began, self._since = now, self.number
        self._progress.report(self.number, fetched["loss"], rate)
        return {**fetched, "patches_per_second": rate}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done meanwhile does not count as training time."""
        before = time.perf_counter()
        yield
        self._began += time.perf_counter() - before


def _validate(
    validate: Validation, run: _Steps, card: Card, checkpoints: Checkpoints, log: RunLog
) -> None:
    scores = validate(run.state.ema)
    today = datetime.date.today().isoformat()
    fitting = replace(card, steps=run.number, validation_gain_db=scores["gain"], date=today)
    best = checkpoints.save_if_best(run.state.ema, fitting)
    log.write(run.number, run.seconds, **scores)
    gains = "  ".join(f"{k[5:]}: {v:+.3f}" for k, v in scores.items() if k.startswith("gain@"))
    if jax.process_index() == 0:
        tqdm.write(f"step {run.number}  gain in dB at quality {gains}{'  (best)' if best else ''}")


def _tell(line: str) -> None:
    if jax.process_index() == 0:
        tqdm.write(line, file=sys.stderr)
