"""Trained networks: released ones by name, others by their weights file or their run's folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike
from numpy.typing import NDArray
from safetensors.flax import save
from safetensors.numpy import load_file

from hrcnn_jax.files.atomic import written_whole
from hrcnn_jax.hardware import multiplies_bfloat16
from hrcnn_jax.networks import cards, legacy, registry
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.cards import DEFAULT, Card, Kind, ModelError

BEST = "best.safetensors"
"""In the folder of a training run, its weights that scored highest."""


@dataclass(frozen=True)
class Network:
    """A trained network.

    Attributes:
      name: as released, or that of its file or its run's folder.
      architecture: what it is.
      module: called as its architecture says.
      params: nested dict of float32 arrays.
      card: what is known about it.
    """

    name: str
    architecture: Architecture
    module: Any
    params: Any
    card: Card

    @property
    def quality(self) -> int | None:
        """The only quality it serves; None if it serves any table."""
        return self.architecture.quality(self.card.options)

    @property
    def table(self) -> NDArray[np.int32] | None:
        """The only quantisation table `(8, 8)` it serves; None if it serves any."""
        return self.architecture.table(self.card.options)


def load(
    model: str | os.PathLike[str] = DEFAULT,
    *,
    dtype: str | None = None,
    kinds: Sequence[Kind] = cards.RESTORING,
) -> Network:
    """Loads a network.

    Args:
      model: a released network's name, a weights file (`.safetensors`), or the folder of a
        training run, whose best weights are taken.
      dtype: what is multiplied, `float32` or `bfloat16`. By default it is bfloat16 where this CPU
        has instructions for it and the network's sums are float32 anyway, unless JAX is asked for
        more (`JAX_DEFAULT_MATMUL_PRECISION=float32`); else it is float32.
      kinds: that are wanted, to be offered where there is no such network; any is loaded.

    Raises:
      ModelError: if there is no such network, or its file cannot be used.
    """
    name, path = find(os.fspath(model), kinds=kinds)
    card = cards.of_weights(path)
    try:
        architecture = registry.of_card(card.architecture)
        if dtype is None:
            dtype = "bfloat16" if architecture.sums_in_float32 and _may_round() else "float32"
        module = architecture.build(card.options, dtype=dtype)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error
    return Network(name, architecture, module, read_params(path), card)


def _may_round() -> bool:
    """Whether products of bfloat16 are faster here, and JAX is not asked for more precision."""
    asked = jax.config.values["jax_default_matmul_precision"]
    return multiplies_bfloat16() and asked in (None, "default", "fastest", "bfloat16")


def find(model: str, *, kinds: Sequence[Kind] = cards.RESTORING) -> tuple[str, Path]:
    """The name and the weights file of what `load` takes; kinds as there.

    Raises:
      ModelError: if there is no such file.
    """
    if cards.is_released(model):
        return model, cards.WEIGHTS / f"{model}.safetensors"
    path = Path(model)
    if path.is_dir():
        if (path / BEST).is_file():
            return path.resolve().name, path / BEST
        if (path / "best").is_dir():
            raise ModelError(
                f"{model}: this run was saved by version 0.1; convert its best weights by "
                f"hrcnn-jax release {model} NAME -o FOLDER"
            )
        raise ModelError(
            f"{model}: this folder holds no weights ({BEST}); give the workdir of a training run "
            "that has been validated at least once"
        )
    if path.is_file():
        return path.stem, path
    known = ", ".join(name for kind in kinds for name in cards.names(kind=kind))
    raise ModelError(
        f"no network {model!r}: choose from {known}, or give a weights file or "
        "the folder of a training run"
    )


def read_params(path: Path) -> Any:
    """The parameters in a weights file, float32, under today's names.

    Raises:
      ModelError: if it cannot be read.
    """
    try:
        kept = load_file(path)
    except Exception as error:  # safetensors raises its own kind, a bare Exception
        raise ModelError(f"{path}: is no safetensors file of weights ({error})") from error
    ours = ":" not in cards.of_weights(path).architecture  # others never had older names
    # Converted by NumPy: JAX would compile a program for each shape.
    flat = {
        legacy.parameter_name(key) if ours else key: v.astype(np.float32) for key, v in kept.items()
    }
    return jax.device_put(unflatten_dict(flat, sep="/"))


def write_weights(path: Path, params: Any, card: Card, *, dtype: DTypeLike = jnp.float32) -> None:
    """Writes parameters and their card as one file, which is there whole or not at all."""
    flat = flatten_dict(params, sep="/")
    kept = {key: jnp.asarray(value).astype(dtype) for key, value in flat.items()}
    with written_whole(path) as partial:
        partial.write_bytes(save(kept, {cards.METADATA_KEY: card.to_json()}))
