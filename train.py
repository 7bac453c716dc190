"""Trains a restoration network; see ``python train.py --help``.

  python train.py --preset hrcnn --data PICTURES --workdir runs/q10

Run it again with the same flags and it goes on from its latest checkpoint.
"""

import argparse
import dataclasses
import inspect
import math
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from hrcnn_jax.data import sources
from hrcnn_jax.data.crops import cached_crops, host_batches
from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.networks.hrcnn import retarget
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.training import tasks
from hrcnn_jax.training.checkpoints import Checkpoints
from hrcnn_jax.training.run_log import Journal
from hrcnn_jax.training.settings import PRESETS, Config, from_preset
from hrcnn_jax.training.step import Parallel, TrainState, create_state, make_step, make_validate
from hrcnn_jax.training.tasks import Task

VALIDATION_QUALITIES = (5, 10, 20, 30, 50, 70, 90, 95)
UNIT = 16  # sides of validation pictures are multiples of this: whole MCUs of 4:2:0
DEVICE_SHARE = 0.4  # of a device's memory that crops may take


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


def parse(argv: list[str] | None = None) -> tuple[Config, argparse.Namespace]:
    """Flags to a configuration: one flag a field, grouped as the configuration groups them."""
    parser = argparse.ArgumentParser(
        description="Train a network that restores JPEG pictures from their codes.",
        epilog=_describe_presets(),
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=30, width=96
        ),
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default=None, help="where to start")
    hosts = parser.add_argument_group("many hosts")
    hosts.add_argument(
        "--distributed",
        action="store_true",
        default=False,
        help="join the other processes (jax.distributed); found by itself on SLURM and TPU pods",
    )
    hosts.add_argument("--coordinator", default=None, help="HOST:PORT of process 0")
    hosts.add_argument("--processes", type=int, default=None, help="how many there are")
    hosts.add_argument("--process", type=int, default=None, help="which one this is, from 0")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for item in dataclasses.fields(Config):
        name = item.metadata["group"]
        group = groups.setdefault(name, parser.add_argument_group(name))
        _add_flag(group, item)
    given = vars(parser.parse_args(argv))
    fields = {item.name for item in dataclasses.fields(Config)}
    values = {name: value for name, value in given.items() if name in fields}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return from_preset(given["preset"], **values), argparse.Namespace(**given)


def _describe_presets() -> str:
    """What ``--help`` ends with: the presets' docstrings."""
    width = max(map(len, PRESETS)) + 2
    lines = ["presets (flags given beside one win):"]
    for name, preset in PRESETS.items():
        first, *rest = (inspect.getdoc(preset) or "").replace("``", "").splitlines()
        lines += [f"  {name:<{width}}{first}", *(" " * (width + 2) + line for line in rest if line)]
    return "\n".join(lines)


def _add_flag(group: argparse._ArgumentGroup, item: Any) -> None:
    default = item.default if item.default is not dataclasses.MISSING else item.default_factory()
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    text = item.metadata["help"] + (f" (default: {shown})" if shown != "" else "")
    kinds: dict[str, Any] = {"help": text.replace("%", "%%")}
    if isinstance(default, bool):
        kinds["action"] = argparse.BooleanOptionalAction
    elif isinstance(default, tuple):
        kinds |= {"nargs": "+", "type": type(default[0]) if default else str}
        kinds["metavar"] = item.name.upper()
    else:
        kinds["type"] = type(default)
        choices = item.metadata.get("choices")
        kinds |= {"choices": choices} if choices else {"metavar": item.name.upper()}
    group.add_argument(f"--{item.name}", **kinds)


def load_crops(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Training crops and validation planes, cut once and kept below the run's folder."""
    training_pictures, validation_pictures = sources.open_training(
        config.data, config.validation, seed=config.seed
    )
    cache = Path(config.workdir) / "crops"
    crops = cached_crops(
        training_pictures,
        config.crops,
        config.crop,
        cache=cache,
        planes=config.planes,
        scales=config.scales,
        seed=config.seed,
        label="training crops",
    )
    held_out = cached_crops(
        validation_pictures,
        config.validation_crops,
        min(config.crop, 128) // UNIT * UNIT,
        cache=cache,
        scales=config.scales if config.planes == "colour" else (1.0,),
        planes=config.planes if config.planes in ("luma", "colour") else "green",
        seed=config.seed,
        label="validation crops",
    )
    held_out = held_out if config.planes == "colour" else held_out[..., 0]
    return crops, held_out.astype(np.float32) / 255.0


def fits_on_device(crops: np.ndarray, config: Config) -> bool:
    """Whether all crops stay on the device, or are read batch by batch."""
    if config.placement != "auto":
        return config.placement == "device"
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 8 * 2**30)
    return crops.nbytes < DEVICE_SHARE * memory


def feed(crops: np.ndarray, config: Config, step: Parallel, *, first: int) -> Iterator[jax.Array]:
    """What each step is given: always the same resident crops, or one batch after another."""
    if fits_on_device(crops, config):
        resident = step.place_crops(crops)
        while True:
            yield resident
    batches = host_batches(
        crops,
        config.batch // jax.process_count(),
        seed=config.seed,
        first_step=first,
        shard=jax.process_index(),
        shards=jax.process_count(),
    )
    ahead = step.place_crops(next(batches))
    while True:
        now, ahead = ahead, step.place_crops(next(batches))
        yield now


class Validation:
    """Mean PSNR gain over the plain decode, on held-out pictures, at a few qualities."""

    def __init__(self, task: Task, pixels: np.ndarray, config: Config, chunk: int = 20) -> None:
        self._validate = make_validate(task)
        whole = max(len(pixels) // chunk, 1) * min(chunk, len(pixels))
        self._chunks = [
            jnp.asarray(part) for part in np.split(pixels[:whole], max(whole // chunk, 1))
        ]
        low, high = config.quality[0], config.quality[-1]
        inside = [q for q in VALIDATION_QUALITIES if low <= q <= high]
        self._qualities = inside or [low]

    def __call__(self, params: Any) -> dict[str, float]:
        """``psnr@Q`` and ``gain@Q`` in dB for each quality, and the mean ``gain``."""
        values: dict[str, float] = {}
        for quality in self._qualities:
            scores = [self._validate(params, pixels, quality) for pixels in self._chunks]
            plain, restored = (np.concatenate(part) for part in zip(*scores, strict=True))
            values[f"psnr@{quality}"] = float(np.mean(restored))
            values[f"gain@{quality}"] = float(np.mean(restored - plain))
        gains = [value for name, value in values.items() if name.startswith("gain@")]
        return {**values, "gain": float(np.mean(gains))}


def warm_params(config: Config) -> Any:
    """The parameters to begin from, fitted to this run's table; None for fresh ones."""
    if not config.warm_start:
        return None
    network = zoo.load_any(config.warm_start)
    if network.table is None or config.architecture != network.card["architecture"]:
        return network.params
    return retarget(network.params, network.table, transform.quality_table(config.quality[0]))


def fit(config: Config) -> int:
    """Trains from the latest checkpoint, or from the start; returns the signal that ended it."""
    config.check()
    module = registry.build(config.architecture, config.network_options, dtype=config.dtype)
    workdir = Path(config.workdir)
    with Checkpoints(workdir) as checkpoints:
        state = create_state(module, config, warm_params(config))
        state = checkpoints.restore(state, config) or state
        crops, held_out = load_crops(config)
        task = tasks.of(module, config)
        step = make_step(task, config, resident=fits_on_device(crops, config))
        state = step.place_state(state)
        validate = Validation(task, held_out, config)
        first = int(state.step)
        batches = feed(crops, config, step, first=first)
        with (
            Interrupt() as interrupt,
            Journal(workdir) as journal,
            _progress_bar(config, first) as bar,
        ):
            values: dict[str, jax.Array] = {}
            number, began, since = first, time.perf_counter(), first
            while number < config.steps and not interrupt.signal:
                previous = values
                state, values = step.step(state, next(batches))
                jax.block_until_ready(previous)  # one step ahead, no more: interrupts are quick
                number += 1
                bar.update(config.batch)
                log, evaluate, save = (
                    number % every == 0 or number == config.steps
                    for every in (config.log_every, config.eval_every, config.save_every)
                )
                if log or evaluate or save:
                    fetched = _fetch(values, number, config)
                if log:
                    now = time.perf_counter()
                    rate = (number - since) * config.batch / (now - began)
                    began, since = now, number
                    journal.write(number, **fetched, patches_per_second=round(rate, 1))
                    bar.set_postfix(loss=f"{fetched['loss']:.3g}", refresh=False)
                if evaluate:
                    _validate_and_note(validate, state, config, checkpoints, journal, number)
                    began, since = time.perf_counter(), number
                if save:
                    checkpoints.save(state, config)
            if interrupt.signal:
                _fetch(values, number, config)
                checkpoints.save(state, config)
        return interrupt.signal if number < config.steps else 0


def _progress_bar(config: Config, first: int) -> Any:
    return tqdm(
        total=config.steps * config.batch,
        initial=first * config.batch,
        unit="patch",
        unit_scale=True,
        desc=Path(config.workdir).name,
        disable=None if jax.process_index() == 0 else True,
        smoothing=0.05,
    )


def _fetch(values: dict[str, jax.Array], number: int, config: Config) -> dict[str, float]:
    """A step's metrics; raises DivergedError, before anything is saved, if one is no number."""
    fetched = {name: float(value) for name, value in values.items()}
    if not all(map(math.isfinite, fetched.values())):
        found = ", ".join(f"{name} {value:.3g}" for name, value in fetched.items())
        raise DivergedError(
            f"step {number}: {found}: training has diverged. What is saved in {config.workdir} is "
            f"from before: lower --learning_rate (now {config.learning_rate}) or --clip (now "
            f"{config.clip}) and run again"
        )
    return fetched


def _validate_and_note(
    validate: Validation,
    state: TrainState,
    config: Config,
    checkpoints: Checkpoints,
    journal: Journal,
    number: int,
) -> None:
    scores = validate(state.ema)
    best = checkpoints.save_if_best(state, config, scores["gain"])
    journal.write(number, **scores)
    gains = "  ".join(f"{k[5:]}: {v:+.3f}" for k, v in scores.items() if k.startswith("gain@"))
    tqdm.write(f"step {number}  gain in dB at quality {gains}{'  (best)' if best else ''}")


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    config, given = parse(argv)
    keep_programs()
    try:
        if given.distributed or given.coordinator:
            jax.distributed.initialize(given.coordinator, given.processes, given.process)
        ended_by = fit(config)
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except (ValueError, DivergedError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    if ended_by:
        print(f"train.py: interrupted; run again to go on from {config.workdir}", file=sys.stderr)
        return 128 + ended_by
    return 0


if __name__ == "__main__":
    sys.exit(main())
