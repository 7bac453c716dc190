"""Released networks: one safetensors file of weights and one JSON card each, in ``weights/``."""

import datetime
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.flax import load_file, save

from hrcnn_jax import config as configs
from hrcnn_jax import journal, jpeg, registry
from hrcnn_jax.files import written_whole

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT = "small"
CHROMA = "chroma"
"""What restores 4:2:0 chroma beside it, and beside any other network that serves every table."""


class ModelError(ValueError):
    """A network that cannot be had; the message says which there are."""


@dataclass(frozen=True)
class Network:
    """A module, its parameters, and what is known about them.

    Attributes:
      name: as released, or the folder of the run it comes from.
      module: called as ``module.apply({"params": params}, codes, table)``.
      params: nested dict of float32 arrays.
      card: architecture, options, data, steps, hardware, date, scores, and the training's curve.
    """

    name: str
    module: nn.Module
    params: Any
    card: Mapping[str, Any]

    @property
    def table(self) -> jax.Array | None:
        """The only quantisation table ``(8, 8)`` it serves; None if it serves any."""
        quality = self.card["options"].get("quality")
        return None if quality is None else jpeg.quality_table(quality)


def names(*, chroma: bool = False) -> list[str]:
    """The released networks of planes, the default one first; or those of chroma beside them."""
    of_kind = (
        path.stem
        for path in WEIGHTS.glob("*.safetensors")
        if (_card(path.stem)["architecture"] == "chroma") == chroma
    )
    return sorted(of_kind, key=lambda name: (name != DEFAULT, name))


def _card(name: str) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    return card


def _is_released(name: str) -> bool:
    return name in names() + names(chroma=True)


def load(name: str = DEFAULT, *, dtype: str = "float32") -> Network:
    """A released network by name.

    Raises:
      ModelError: if there is none of that name.
    """
    if not _is_released(name):
        raise ModelError(f"no network {name!r}: choose from {', '.join(names())}")
    card = _card(name)
    module = registry.build(card["architecture"], card["options"], dtype=dtype)
    kept = load_file(WEIGHTS / f"{name}.safetensors")
    flat = {key: value.astype(jnp.float32) for key, value in kept.items()}
    return Network(name, module, unflatten_dict(flat, sep="/"), card)


def load_any(name_or_workdir: str, *, dtype: str = "float32") -> Network:
    """A released network by name, or the best checkpoint of a run by its folder.

    Raises:
      ModelError: if it is neither.
      CheckpointError: if the folder holds no usable checkpoint.
    """
    if _is_released(name_or_workdir):
        return load(name_or_workdir, dtype=dtype)
    if not Path(name_or_workdir).is_dir():
        raise ModelError(
            f"no network {name_or_workdir!r}: choose from {', '.join(names())}, or give the "
            "folder of a training run"
        )
    from hrcnn_jax.checkpoints import load_best

    config, params, step, score = load_best(name_or_workdir)
    module = registry.build(config.architecture, config.network_options, dtype=dtype)
    card = describe(config, params, step, score)
    return Network(Path(name_or_workdir).resolve().name, module, params, card)


def release(workdir: str | os.PathLike[str], name: str, *, folder: Path = WEIGHTS) -> Path:
    """Writes a run's best weights and their card, ``NAME.safetensors`` and ``NAME.json``.

    Weights are kept in half precision, which changes no gain by more than 0.001 dB.

    Returns:
      The path of the weights.

    Raises:
      CheckpointError: if the folder holds no usable checkpoint.
    """
    from hrcnn_jax.checkpoints import load_best

    config, params, step, score = load_best(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{name}.safetensors"
    flat = flatten_dict(params, sep="/")
    half = {key: value.astype(jnp.float16) for key, value in flat.items()}
    with written_whole(weights) as partial:
        partial.write_bytes(save(half))
    card = {**describe(config, params, step, score), "curve": journal.curve(Path(workdir))}
    write_card(weights.with_suffix(".json"), card)
    return weights


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Writes a card as JSON."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(config: configs.Config, params: Any, step: int, score: float) -> dict[str, Any]:
    """The card of a trained network, without its benchmark scores."""
    module = registry.build(config.architecture, config.network_options)
    told = configs.to_dict(config)
    for name in ("data", "validation"):  # where pictures lie is nobody's business
        told[name] = ["/".join(Path(item).parts[-2:]) for item in told[name]]
    for name in ("workdir", "warm_start"):
        told[name] = Path(told[name]).name
    return {
        "architecture": config.architecture,
        "options": config.network_options,
        "parameters": registry.count_parameters(params),
        "multiply_adds_per_pixel": registry.multiply_adds(module),
        "qualities": told["quality"],
        "data": told["data"],
        "steps": step,
        "validation_gain_db": round(score, 3),
        "hardware": hardware(),
        "date": datetime.date.today().isoformat(),
        "scores": {},
        "training": told,
    }


def hardware() -> str:
    """The machine this runs on, for cards and measurements."""
    return f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}"
