"""Checkpoints of training runs (Orbax): the latest to resume from, the best to release."""

import os
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from hrcnn_jax.networks import registry
from hrcnn_jax.training import settings as configs
from hrcnn_jax.training.settings import Config
from hrcnn_jax.training.step import Params, TrainState


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which and what to do."""


class Checkpoints:
    """The checkpoints of one run, in ``WORKDIR/latest`` and ``WORKDIR/best``.

    The latest holds the whole training state and the configuration; the step in it is also the
    position in the data. The best holds the averaged parameters with the highest score. Writing
    happens in the background and is complete when the context closes; a checkpoint counts only
    once it is whole, so a killed run leaves the one before.
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        root = Path(workdir).absolute()
        self._latest = _manager(root / "latest", ocp.CheckpointManagerOptions(max_to_keep=2))
        self._best = _manager(
            root / "best",
            ocp.CheckpointManagerOptions(max_to_keep=1, best_fn=_score, best_mode="max"),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._latest.close()
        self._best.close()

    def save(self, state: TrainState, config: Config) -> None:
        """Saves the state to resume from; does nothing if that step is saved already."""
        self._settle()
        step = int(state.step)
        if self._latest.latest_step() == step:
            return
        self._latest.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                config=ocp.args.JsonSave(configs.to_dict(config)),
            ),
        )

    def save_if_best(self, state: TrainState, config: Config, score: float) -> bool:
        """Saves the averaged parameters if none scored higher before; returns whether it did."""
        self._settle()
        best = self._best.best_step()
        if best is not None and _score(self._best.metrics(best)) >= score:
            return False
        saved = self._best.save(
            int(state.step),
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.ema),
                config=ocp.args.JsonSave(configs.to_dict(config)),
            ),
            metrics={"score": score},
        )
        return bool(saved)

    def _settle(self) -> None:
        """Waits for writing in the background to finish.

        The score of the best may not be there before; and where many processes write, they wait
        for each other in ways that two managers at a time would confuse.
        """
        self._latest.wait_until_finished()
        self._best.wait_until_finished()

    def restore(self, fresh: TrainState, config: Config) -> TrainState | None:
        """The latest state, or None if there is none.

        Args:
          fresh: a state of the same network and optimiser, for its structure and placement.
          config: of this run; its network and optimiser must be the checkpoint's.

        Raises:
          CheckpointError: if the checkpoint is of another architecture or optimiser.
        """
        step = self._latest.latest_step()
        if step is None:
            return None
        saved = _saved_config(self._latest, step)
        for name in ("architecture", "network_options", "optimiser"):
            theirs, ours = getattr(saved, name), getattr(config, name)
            if theirs != ours:
                raise CheckpointError(
                    f"{self._latest.directory}: the checkpoint's {name.replace('_', ' ')} "
                    f"({theirs}) differs from this run's ({ours}): use the same flags, or another "
                    "--workdir"
                )
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, fresh)
        restored = self._latest.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
        )
        return restored["state"]


def load_best(workdir: str | os.PathLike[str]) -> tuple[Config, Params, int, float]:
    """The best parameters of a run: its configuration, the parameters, their step and score.

    Raises:
      CheckpointError: if the folder holds no run that has been validated.
    """
    folder = Path(workdir).absolute() / "best"
    if not folder.is_dir():
        raise CheckpointError(
            f"{workdir}: no checkpoint of a training run here (looked for {folder.name}/): give "
            "the --workdir of a run that has been validated at least once"
        )
    with _manager(folder, ocp.CheckpointManagerOptions(best_fn=_score, best_mode="max")) as best:
        step = best.best_step()
        if step is None:
            raise CheckpointError(f"{folder}: empty; train until the first validation")
        config = _saved_config(best, step)
        module = registry.build(config.architecture, config.network_options)
        target = jax.eval_shape(lambda: step.create_state(module, config).ema)
        restored = best.restore(
            step, args=ocp.args.Composite(params=ocp.args.StandardRestore(target))
        )
        return config, restored["params"], step, _score(best.metrics(step))


def _manager(folder: Path, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder, options=options)


def _saved_config(manager: ocp.CheckpointManager, step: int) -> Config:
    values = manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))
    return configs.from_dict(values["config"])


def _score(metrics: Any) -> float:
    return float(metrics["score"])
