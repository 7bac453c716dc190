"""How something was measured: the key under which scores are kept and found again."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hrcnn_jax.networks.cards import OWN, Card

COLOUR = "rgb"
"""Whole colour pictures instead of a plane, as 4:2:0 files by Pillow; compared over R, G and B."""


@dataclass(frozen=True)
class Protocol:
    """What is measured, all but the network and the quality.

    Attributes:
      data: the pictures: names of their folders, or `tfds:NAME`.
      planes: a key of `hrcnn_jax.data.planes.MEASURED`, or `rgb` for whole colour files.
      table: the base table that qualities scale.
      chroma: for colour files, what restores their chroma: a network's name, `own` for the one that
        the card names, or `none`.
      crop: side in pixels of random crops; None for whole pictures.
      crops: how many of these.
      test_split: whether only the pictures are measured that training leaves for testing.
      past: what was done to the pictures before, as `hrcnn_jax.scores.chains.parse` takes it.
      history: what the restorer believes of that, as `Restorer` takes it.
      pixels: what restores pictures that no codes explain; None if nothing does.
      faithful: whether results are projected onto the pictures that have exactly these codes.
    """

    data: str
    planes: str = "green"
    table: str = "luminance"
    chroma: str | None = None
    crop: int | None = None
    crops: int | None = None
    test_split: bool = False
    past: str | None = None
    history: str | None = None
    pixels: str | None = None
    faithful: bool = True

    def __str__(self) -> str:
        """In words, such as `live1 luma, flat table`."""
        parts = [f"{self.data} {self.planes}"]
        if self.chroma not in (None, OWN):
            parts.append(f"chroma by {self.chroma}")
        if self.table != "luminance":
            parts.append(f"{self.table} table")
        if self.test_split:
            parts.append("test split")
        if self.crop:
            parts.append(f"{self.crops} crops of {self.crop}×{self.crop}")
        if self.past:
            parts.append(f"with a past of {self.past}, history {self.history}")
        if self.pixels:
            parts.append(f"pixels by {self.pixels}")
        if not self.faithful:
            parts.append("not projected")
        return ", ".join(parts)


def means(card: Card, protocol: Protocol) -> dict[int, dict[str, float]]:
    """A card's mean scores under a protocol, by quality; empty if there are none."""
    for entry in card.scores:
        if Protocol(**entry["protocol"]) == protocol:
            return {int(quality): dict(scores) for quality, scores in entry["means"].items()}
    return {}


def recorded(
    card: Card, protocol: Protocol, scores: Mapping[int, Mapping[str, float | None]]
) -> Card:
    """A card with mean scores by quality added under a protocol, in place of older ones."""
    known: dict[int, Mapping[str, Any]] = {**means(card, protocol), **scores}
    entry = {
        "protocol": dataclasses.asdict(protocol),
        "means": {str(quality): known[quality] for quality in sorted(known)},
    }
    others: Sequence[Mapping[str, Any]] = [
        each for each in card.scores if Protocol(**each["protocol"]) != protocol
    ]
    return dataclasses.replace(card, scores=[*others, entry])
