"""Checkpoints of training runs: the latest to resume from (Orbax), the best to restore with."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.experimental import multihost_utils

from hrcnn_jax.networks import cards, legacy, zoo
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.step import TrainState

FIXED = (
    ("architecture",),
    ("network",),
    ("data", "planes"),
    ("codes", "quality"),
    ("codes", "tables"),
    ("codes", "luma"),
    ("optimisation", "optimiser"),
    ("optimisation", "loss"),
    ("optimisation", "balance"),
    ("optimisation", "decibels"),
    ("optimisation", "teacher"),
)
"""What must not change in a run that is resumed, as it would be another one. Rates, pictures and
lengths may."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which and what to do."""


class Checkpoints:
    """The checkpoints of one run.

    `WORKDIR/latest` holds the whole training state, the settings, and the seconds it took; the step
    in it is also the position in the data. Writing happens in the background and is complete when
    the context closes; a checkpoint counts only once it is whole, so a killed run leaves the one
    before.
    `WORKDIR/best.safetensors` holds the averaged parameters with the highest score, and their
    card: it can be restored with as it is.

    Attributes:
      seconds: that what was restored had taken to train; 0 as long as nothing was.
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        root = Path(workdir).absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=2)
        self._latest = ocp.CheckpointManager(root / "latest", options=options)
        self._best = root / zoo.BEST
        known = cards.of_weights(self._best) if self._best.is_file() else None
        self._score = None if known is None else known.validation_gain_db
        self.seconds = 0.0

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._latest.close()

    @property
    def has_best(self) -> bool:
        """Whether this run has been validated, and its best parameters are kept."""
        return self._score is not None

    def save(self, state: TrainState, settings: Settings, *, seconds: float = 0.0) -> None:
        """Saves the state to resume from; does nothing if that step is saved already.

        Args:
          state: after some step.
          settings: of the run.
          seconds: that it took.
        """
        self._latest.wait_until_finished()
        step = int(state.step)
        if self._latest.latest_step() == step:
            return
        saved = self._latest.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                config=ocp.args.JsonSave({**settings.to_dict(), "seconds": seconds}),
            ),
        )
        if not saved:
            raise CheckpointError(
                f"{self._latest.directory}: holds a later step than {step}, which cannot be saved; "
                "use another --workdir"
            )

    def save_if_best(self, params: Any, card: Card) -> bool:
        """Saves parameters if none scored higher before; returns whether it did.

        Args:
          params: the averaged parameters.
          card: theirs; `validation_gain_db` is the score.
        """
        if self._score is not None and self._score >= card.validation_gain_db:
            return False
        self._score = card.validation_gain_db
        on_host = jax.tree.map(np.asarray, params)
        if jax.process_index() == 0:  # of many, the first writes for all
            self._best.parent.mkdir(parents=True, exist_ok=True)
            zoo.write_weights(self._best, on_host, card)
        return True

    def restore(
        self, fresh: TrainState, settings: Settings, *, tell: Callable[[str], None] = print
    ) -> TrainState | None:
        """The latest state that can be read, or None if there is none.

        Damaged ones that are later are moved to `WORKDIR/damaged`: steps are saved in their order.

        Args:
          fresh: a state of the same network and optimiser, for its structure and placement.
          settings: of this run; what is `FIXED` must be the checkpoint's.
          tell: is given a line for each checkpoint that is damaged and passed over.

        Raises:
          CheckpointError: if the checkpoint is of another run, or all are damaged.
        """
        folder = self._latest.directory
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, fresh)
        problem = ""
        for step in sorted(self._latest.all_steps(), reverse=True):
            if problem:
                tell(f"{problem}; going on from step {step}, the one before")
            try:
                saved = self._latest.restore(
                    step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
                )["config"]
            except Exception as error:  # of many kinds: Orbax, TensorStore, JSON, the file system
                problem = _damaged(folder / str(step), error)
                continue
            seconds = saved.pop("seconds", 0.0)
            theirs = self._settings_of(saved, settings, folder / str(step))
            try:
                restored = self._latest.restore(
                    step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
                )["state"]
            except Exception as error:
                problem = _damaged(folder / str(step), error)
                continue
            self.seconds = seconds
            if _held_out(theirs) != _held_out(settings):  # scores on them do not compare
                self._disregard_best("was validated on other pictures", tell)
            self._put_aside(after=step)
            return restored
        if problem:
            raise CheckpointError(
                f"{problem}, and no other is whole: remove {folder} to begin anew"
            )
        self._disregard_best("is of a run that this one takes the place of", tell)
        return None

    def _disregard_best(self, why: str, tell: Callable[[str], None]) -> None:
        """Moves the best so far aside: another start would take its score for this run's."""
        if self._score is None:
            return
        self._score = None
        aside = self._best.with_stem(f"{self._best.stem}.before")
        tell(f"{self._best}: {why}; kept as {aside.name}")
        if jax.process_index() == 0:
            self._best.replace(aside)

    def _put_aside(self, *, after: int) -> None:
        """Moves checkpoints later than a step out of the way."""
        later = [step for step in self._latest.all_steps() if step > after]
        if not later:
            return
        if jax.process_index() == 0:
            aside = self._latest.directory.parent / "damaged"
            aside.mkdir(exist_ok=True)
            for step in later:
                target = aside / f"{step}"
                shutil.rmtree(target, ignore_errors=True)  # of the same step, damaged before
                shutil.move(self._latest.directory / str(step), target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints are put aside")
        self._latest.reload()

    def _settings_of(self, saved: Any, settings: Settings, where: Path) -> Settings:
        """A checkpoint's settings, which have to be of the same run."""
        if saved.get("version", 1) < legacy.VERSION:
            raise CheckpointError(
                f"{where}: was saved by version 0.1 and cannot be resumed; begin a new run from "
                "its best weights: hrcnn-jax release WORKDIR NAME -o FOLDER, then "
                "--warm-start FOLDER/NAME.safetensors and another --workdir"
            )
        theirs, ours = Settings.from_dict(saved, where), settings
        different = []
        for path in FIXED:
            old, new = (_value(each, path) for each in (theirs, ours))
            if old != new:
                name = path[-1].replace("_", "-")
                different.append(f"{name} ({old} there, {new} here)")
        if different:
            raise CheckpointError(
                f"{where}: is of a run with another {', '.join(different)}: use the same flags, or "
                "another --workdir"
            )
        return theirs


def _held_out(settings: Settings) -> Any:
    """All that the pictures which a run is validated on depend on."""
    data = settings.data
    pictures = [
        each if each.startswith("tfds:") else os.path.realpath(each)  # however it is written
        for each in data.validation or data.pictures
    ]
    return pictures, data.validation_crops, data.crop, data.scales, settings.run.seed


def _value(settings: Settings, path: tuple[str, ...]) -> Any:
    if path == ("network",):
        return {name: value for name, value in settings.options.items() if name != "quality"}
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value


def _damaged(path: Path, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"{path}: this checkpoint is damaged ({type(error).__name__}: {reason[:120]})"


def load_version_1(workdir: str | os.PathLike[str]) -> tuple[Settings, Any, int, float]:
    """The best of a run of version 0.1: settings, parameters, step, and gain in dB.

    Raises:
      CheckpointError: if the folder holds no such run.
    """
    folder = Path(workdir).absolute() / "best"
    if not folder.is_dir():
        raise CheckpointError(
            f"{workdir}: no weights of a training run here (looked for {zoo.BEST} and best/): give "
            "the workdir of a run that has been validated at least once"
        )
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics["score"], best_mode="max", read_only=True
    )
    with ocp.CheckpointManager(folder, options=options) as manager:
        step = manager.best_step()
        if step is None:
            raise CheckpointError(f"{folder}: empty; train until the first validation")
        found = manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(), config=ocp.args.JsonRestore()
            ),
        )
        score = float(manager.metrics(step)["score"])
    flat = flatten_dict(found["params"], sep="/")
    params = unflatten_dict({legacy.parameter_name(k): v for k, v in flat.items()}, sep="/")
    return Settings.from_dict(found["config"], folder), params, step, score
