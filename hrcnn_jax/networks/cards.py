"""Cards: what is known about a trained network; and which networks are released.

A network is one safetensors file of weights. Its card lies beside it, `NAME.json` next to
`NAME.safetensors`, or in the file's own metadata. Reading cards takes no compiler.
"""

import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.networks import legacy

Kind = Literal["planes", "chroma", "pictures"]
"""What a network restores: single planes of codes, 4:2:0 chroma beside restored luma, or pixels of
whole pictures, whatever their history."""

RESTORING: tuple[Kind, ...] = ("planes", "pictures")
"""Kinds of networks that restore files by themselves."""

WEIGHTS = Path(__file__).parents[1] / "weights"
DEFAULT = "small"
CHROMA = "chroma"
"""What restores 4:2:0 chroma beside a network whose card names no other."""
OWN = "own"
"""What is said for the network of chroma that the card of the network beside it names."""
PIXELS = "wild"
"""What restores, beside them, pictures whose damage no codes explain."""
NONE = "none"
"""What is said, and written down, where no network is to restore chroma, or pixels."""

METADATA_KEY = "card"
"""Under which a card stands in the metadata of a weights file."""


class ModelError(ValueError):
    """A network that cannot be had; the message says which there are."""


@dataclass(frozen=True)
class Card:
    """What is known about a trained network, but for its parameters.

    Attributes:
      architecture: its name, or `package.module:NAME`.
      kind: what it restores.
      options: of the architecture.
      parameters: how many trainable numbers it has.
      multiply_adds_per_pixel: that its layers take.
      qualities: that it was trained on, one, or the lowest and the highest.
      data: what it was trained on.
      steps: of training.
      validation_gain_db: mean gain in PSNR over the plain decode, on the validation pictures.
      hardware: that it was trained on.
      date: of the last validation that it was kept for, ISO 8601.
      training: the settings of the run.
      teachers: the networks whose output it was trained on, and the SHA-256 of their weights.
      curve: how the validation gain rose: `step`, `hours` and `gain`.
      scores: means by protocol and quality, as `hrcnn_jax.scores.protocol` keeps them.
      chroma: the released network that restores 4:2:0 chroma beside it, if it serves any table.
      version: of this layout.
    """

    architecture: str
    kind: Kind
    options: Mapping[str, Any]
    parameters: int
    multiply_adds_per_pixel: int
    qualities: Sequence[int]
    data: Sequence[str]
    steps: int
    validation_gain_db: float
    hardware: str
    date: str
    training: Mapping[str, Any]
    teachers: Mapping[str, str] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float]] = field(default_factory=list)
    scores: Sequence[Mapping[str, Any]] = field(default_factory=list)
    chroma: str = CHROMA
    version: int = legacy.VERSION

    def to_json(self) -> str:
        """As it is kept."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, name: str) -> "Card":
        """Inverse of `to_json`; takes the cards of earlier versions, too.

        Args:
          text: a JSON object.
          name: of the network or file, for messages.

        Raises:
          ModelError: if the text is no card.
        """
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                raise ValueError("it is no JSON object")
            values = legacy.upgraded_card(found)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{name}: its card cannot be read ({error})") from error
        known = {each.name for each in dataclasses.fields(cls)}
        needed = {
            each.name
            for each in dataclasses.fields(cls)
            if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        }
        if values.keys() - known or needed - values.keys():
            wrong = sorted((values.keys() - known) | (needed - values.keys()))
            raise ModelError(
                f"{name}: its card has unknown or missing entries: {', '.join(wrong)}; it is of "
                "another version of this package"
            )
        return cls(**values)


def names(*, kind: Kind | None = None) -> list[str]:
    """The released networks of a kind, the default one first.

    Args:
      kind: of all that restore files by themselves if not given, kind by kind.
    """
    if kind is None:
        return [name for each in RESTORING for name in names(kind=each)]
    of_kind = (path.stem for path in WEIGHTS.glob("*.json") if read(path).kind == kind)
    return sorted(of_kind, key=lambda name: (name != DEFAULT, name))


def all_names() -> list[str]:
    """The released networks of every kind, kind by kind."""
    return [name for kind in get_args(Kind) for name in names(kind=kind)]


def is_released(name: str) -> bool:
    """Whether this is the name of a released network."""
    return name in {path.stem for path in WEIGHTS.glob("*.json")}


def released(name: str) -> Card:
    """The card of a released network.

    Raises:
      ModelError: if there is none of that name.
    """
    if not is_released(name):
        raise ModelError(f"no network {name!r}: choose from {', '.join(names())}")
    return read(WEIGHTS / f"{name}.json")


def read(path: Path) -> Card:
    """A card from its own JSON file.

    Raises:
      ModelError: if that holds no card.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: is no card ({error})") from error
    return Card.from_json(text, str(path))


def write(path: Path, card: Card) -> None:
    """Writes a card as a JSON file."""
    write_text(path, card.to_json())


def of_weights(path: Path) -> Card:
    """The card that belongs to a weights file: the JSON file beside it, or the one inside.

    Raises:
      ModelError: if there is neither.
    """
    beside = path.with_suffix(".json")
    if beside.is_file():
        return read(beside)
    try:
        metadata = _metadata(path)
    except (OSError, ValueError, struct.error) as error:
        raise ModelError(f"{path}: is no safetensors file of weights ({error})") from error
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path}: has no card, neither inside nor beside it ({beside.name})")
    return Card.from_json(metadata[METADATA_KEY], str(path))


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file: a JSON object, after its length in 8 bytes."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    found: dict[str, str] = header.get("__metadata__", {})
    return found
