"""What is asked for of a picture: the parameters of a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hrcnn_jax import history
from hrcnn_jax.files import writer
from hrcnn_jax.files.writer import FORMATS

_HISTORY = "^(auto|off|(.*,)?quality=0*([1-9][0-9]?|100)(,.*)?)$"
_LONGEST = 60
"""Characters: no history has more, and of what is longer no more is told."""


class WishError(ValueError):
    """A parameter that makes no sense; the message says why."""


@dataclass(frozen=True)
class Wish:
    """How a picture is to be restored and written.

    Attributes:
      model: the network's name.
      strength: from 0, the plain decode, to 1.
      history: whether an earlier compression is looked for, or which there was, as
        `hrcnn_jax.history.parse` takes it.
      format: a key of `hrcnn_jax.files.writer.FORMATS`.
      quality: of JPEG and WebP, 1-100.
      salvage: whether a damaged file is read as far as it goes.
    """

    model: str
    strength: float = 1.0
    history: str = "auto"
    format: str = "png"
    quality: int = writer.QUALITY
    salvage: bool = False


@dataclass(frozen=True)
class Parameter:
    """A parameter of a request.

    Attributes:
      about: what it means, in a phrase.
      schema: its type, range and default, as JSON Schema has them.
    """

    about: str
    schema: Mapping[str, Any] = field(default_factory=dict)


def parameters(models: Sequence[str]) -> dict[str, Parameter]:
    """Those that make a wish, by name.

    Args:
      models: networks that may be asked for, the default one first.
    """
    default = Wish(models[0])
    return {
        "model": Parameter(
            "which network", {"type": "string", "enum": list(models), "default": default.model}
        ),
        "strength": Parameter(
            "from 0, the plain decode, to 1",
            {"type": "number", "minimum": 0, "maximum": 1, "default": default.strength},
        ),
        "history": Parameter(
            "auto: restore from an earlier compression's codes, if one did the damage and can be "
            "proved; off: believe the file's own; or what it was, such as quality=20, "
            "quality=20,grid=3:5 or quality=20,size=1024x768",
            {"type": "string", "pattern": _HISTORY, "default": default.history},
        ),
        "format": Parameter(
            "of the result; 16: bits a sample, 32f: floats",
            {"type": "string", "enum": list(FORMATS), "default": default.format},
        ),
        "quality": Parameter(
            "of jpeg and webp",
            {"type": "integer", "minimum": 1, "maximum": 100, "default": default.quality},
        ),
        "salvage": Parameter(
            "true: take a damaged file, too, as far as it goes",
            {"type": "boolean", "default": default.salvage},
        ),
    }


def wish(given: Mapping[str, str], models: Sequence[str]) -> Wish:
    """A request's parameters as a wish; names that mean nothing here are left alone.

    Raises:
      WishError: if a value is none of those that there are.
    """
    values: dict[str, Any] = {"model": models[0]}
    for name, parameter in parameters(models).items():
        if name in given:
            values[name] = _value(name, given[name], parameter.schema)
    return Wish(**values)


def _value(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    if "pattern" in schema:
        try:
            history.parse(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")  # is none
        except ValueError as error:
            raise WishError(str(error)) from error
        return text
    if "enum" in schema:
        if text not in schema["enum"]:
            raise WishError(f"{name} must be one of {', '.join(schema['enum'])}, got {text[:40]!r}")
        return text
    if schema["type"] == "boolean":
        if text not in ("true", "false"):
            raise WishError(f"{name} must be true or false, got {text[:40]!r}")
        return text == "true"
    lowest, highest = schema["minimum"], schema["maximum"]
    try:
        number = (int if schema["type"] == "integer" else float)(text)
        if lowest <= number <= highest:
            return number
    except ValueError:
        pass
    raise WishError(f"{name} must be from {lowest} to {highest}, got {text[:40]!r}")
