"""`models`: the released networks, listed."""

import argparse
import dataclasses
import json
from collections.abc import Sequence

from hrcnn_jax.networks import cards
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.scores.protocol import Protocol, means


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_argument(
        "--json", action="store_true", help="print all that is known of each, as JSON"
    )


def run(flags: argparse.Namespace) -> int:
    """Prints the released networks: a table, or their cards as JSON."""
    names = cards.all_names()
    found = {name: cards.released(name) for name in names}
    if flags.json:
        print(
            json.dumps({name: dataclasses.asdict(card) for name, card in found.items()}, indent=2)
        )
        return 0
    head = ("name", "network", "parameters", "multiply-adds/px", "quality", "trained on", "gain")
    print(_table([head, *(_row(name, card) for name, card in found.items())]))
    return 0


def _row(name: str, card: Card) -> tuple[str, ...]:
    protocol = _shown(card)
    scores = means(card, protocol) if protocol else {}
    gains = [
        f"{score['gain']:+z.2f} at {quality}"
        for quality, score in scores.items()
        if quality in (10, 30, 50)
    ]
    return (
        name,
        card.architecture,
        f"{card.parameters:,}",
        f"{card.multiply_adds_per_pixel:,}",
        "-".join(map(str, card.qualities)),
        " ".join(card.data),
        ", ".join(gains) + (f" ({protocol}, dB)" if gains else ""),
    )


def _shown(card: Card) -> Protocol | None:
    """Scores on the plane that the paper measures, if on any."""
    protocols = [Protocol(**each["protocol"]) for each in card.scores]
    return min(protocols, key=lambda each: str(each) != f"{each.data} green", default=None)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
