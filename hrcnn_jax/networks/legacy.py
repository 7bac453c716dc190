"""What earlier versions wrote, as it is called today: the only place that knows old names.

Version 1 (0.1.0) kept flat settings, scores under a label in words, and other names of parameters.
"""

import re
from collections.abc import Mapping
from typing import Any

VERSION = 2
"""Of cards and of saved settings."""

_PARAMETERS = {"mixture": "kernel_weights", "changes": "deltas", "table": "film"}
"""Names of parameters that have changed, a part of their path each."""

_SECTIONS = {
    "data": "validation planes crops validation_crops crop patch scales placement",
    "codes": "quality tables luma",
    "optimisation": "batch loss balance optimiser learning_rate momentum warmup clip ema",
    "run": "workdir steps seed log_every eval_every save_every parallel warm_start dtype",
}
"""The section that each flat setting has gone to; the others are options of the network."""

_OPTIONS = ("blocks", "hidden_relu", "decoder_init", "width", "kernels", "orientations")

_LABEL = re.compile(
    r"(?P<data>.+?) (?P<planes>green|luma|studio|cb|cr|rgb)"
    r"(?:, chroma by (?P<chroma>[^,]+))?"
    r"(?:, (?P<table>\w+) table)?"
    r"(?P<test_split>, test split)?"
    r"(?:, (?P<crops>\d+) crops of (?P<crop>\d+)×\d+)?"
    r"(?P<projected>, not projected)?"
)


def parameter_name(path: str) -> str:
    """A parameter's path, `part/part/part`, as it is called today."""
    return "/".join(_PARAMETERS.get(part, part) for part in path.split("/"))


def upgraded_card(values: Mapping[str, Any]) -> dict[str, Any]:
    """A card of any version as one of today's.

    Raises:
      KeyError: if it lacks what every card has.
      ValueError: if it is of a later version, or its scores cannot be understood.
    """
    version = values.get("version", 1)
    if version == VERSION:
        return dict(values)
    if version != 1:
        raise ValueError(f"version {version} is later than this package's {VERSION}")
    training = upgraded_settings(values["training"], values["options"])
    scores = [
        {"protocol": _protocol(label), "means": means}
        for label, means in values.get("scores", {}).items()
    ]
    kind = "chroma" if training["data"]["planes"] == "colour" else "planes"
    return {**values, "version": VERSION, "kind": kind, "training": training, "scores": scores}


def upgraded_settings(
    values: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Settings of a run of any version as today's.

    Args:
      values: as saved.
      options: the network's, where they are known; version 1 saved those of every architecture.

    Raises:
      ValueError: if they are of a later version.
    """
    version = values.get("version", 1)
    if version == VERSION:
        return dict(values)
    if version != 1:
        raise ValueError(f"version {version} is later than this package's {VERSION}")
    known = options if options is not None else {name: values[name] for name in _OPTIONS}
    sections = {
        section: {name: values[name] for name in names.split() if name in values}
        for section, names in _SECTIONS.items()
    }
    sections["data"]["pictures"] = values["data"]
    network = {name: value for name, value in known.items() if name != "quality"}
    architecture = values["architecture"]
    return {"version": VERSION, "architecture": architecture, "network": network, **sections}


def _protocol(label: str) -> dict[str, Any]:
    """What was measured, from words such as `live1 luma, flat table`."""
    match = _LABEL.fullmatch(label)
    if match is None:
        raise ValueError(f"scores under {label!r}")
    found = match.groupdict()
    return {
        "data": found["data"],
        "planes": found["planes"],
        "table": found["table"] or "luminance",
        "chroma": (found["chroma"] or "chroma") if found["planes"] == "rgb" else None,
        "crop": int(found["crop"]) if found["crop"] else None,
        "crops": int(found["crops"]) if found["crops"] else None,
        "test_split": found["test_split"] is not None,
        "faithful": found["projected"] is None,
    }
