"""What a training run leaves behind: cards, and released weights."""

import datetime
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from hrcnn_jax.data import sources
from hrcnn_jax.hardware import hardware
from hrcnn_jax.networks import cards, cost, registry, zoo
from hrcnn_jax.networks.cards import Card, ModelError
from hrcnn_jax.scores.account import hash_of
from hrcnn_jax.training import checkpoints, run_log
from hrcnn_jax.training.settings import Settings


def describe(settings: Settings, *, step: int = 0, gain: float = 0.0) -> Card:
    """The card of a network that is trained here and now, without scores.

    Args:
      settings: of the run.
      step: that its parameters are from.
      gain: its mean validation gain in dB.
    """
    architecture = registry.get(settings.architecture)
    module = architecture.build(settings.options)
    params = jax.eval_shape(lambda: architecture.init(module, jax.random.key(0)))
    training = settings.to_dict()
    data, codes, how, run = (
        training[section] for section in ("data", "codes", "optimisation", "run")
    )
    for name in ("pictures", "validation"):  # where pictures lie is nobody's business
        data[name] = [sources.name_of(item, 2) for item in data[name]]
    data["cache"] = ""
    for section, name in ((run, "workdir"), (run, "warm_start"), (codes, "luma")):
        section[name] = Path(section[name]).name
    names = [Path(name).name for name in how["teacher"]]
    hashes = map(hash_of, how["teacher"])
    how["teacher"] = [  # apart, where several have the same name
        name if names.index(name) == place else f"{name} ({place + 1})"
        for place, name in enumerate(names)
    ]
    teachers = dict(zip(how["teacher"], hashes, strict=True))
    return Card(
        architecture=settings.architecture,
        kind=architecture.kind,
        options=settings.options,
        parameters=cost.count_parameters(params),
        multiply_adds_per_pixel=architecture.multiply_adds(module),
        qualities=list(settings.codes.quality),
        data=data["pictures"],
        steps=step,
        validation_gain_db=gain,
        hardware=hardware(),
        date=datetime.date.today().isoformat(),
        training=training,
        teachers=teachers,
    )


def release(
    model: str | os.PathLike[str], name: str, folder: Path, *, chroma: str = cards.CHROMA
) -> Path:
    """Writes a network's weights and their card, `NAME.safetensors` and `NAME.json`.

    Weights are kept in half precision, which changes no gain by more than 0.001 dB.

    Args:
      model: what `hrcnn_jax.networks.zoo.load` takes, best the folder of a training run; or
        that of one of version 0.1.
      name: of the network.
      folder: where to; made unless it is there.
      chroma: the released network that restores 4:2:0 chroma beside it.

    Returns:
      The path of the weights.

    Raises:
      ModelError: if there is no such network, or none of chroma of that name.
      CheckpointError: if the folder is that of a run that was never validated.
      OSError: if the files cannot be written.
    """
    known = cards.names(kind="chroma")
    if chroma not in {*known, cards.CHROMA}:
        raise ModelError(f"no network of chroma {chroma!r}: choose from {', '.join(known)}")
    params, card = _best_of(Path(model))
    card = replace(
        card,
        validation_gain_db=round(card.validation_gain_db, 3),
        curve=run_log.curve(Path(model)) or card.curve,
        chroma=chroma,
    )
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{name}.safetensors"
    zoo.write_weights(weights, params, card, dtype=jnp.float16)
    cards.write(weights.with_suffix(".json"), card)
    return weights


def _best_of(model: Path) -> tuple[Any, Card]:
    if model.is_dir() and not (model / zoo.BEST).is_file():
        settings, params, step, gain = checkpoints.load_version_1(model)
        # Neither was noted then.
        card = replace(describe(settings, step=step, gain=gain), hardware="not noted", date="")
        return params, card
    network = zoo.load(model)
    cost = network.architecture.multiply_adds(network.module)  # which may have become less
    return network.params, replace(network.card, multiply_adds_per_pixel=cost)
