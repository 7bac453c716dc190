"""``models`` and ``release``: the released networks, listed and made."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from hrcnn_jax.networks import zoo


def add(commands: Any) -> None:
    """Adds the subcommands and their flags."""
    models = commands.add_parser("models", help="list the released networks")
    models.add_argument("--json", action="store_true", help="as JSON")
    models.set_defaults(run=run_models)

    release = commands.add_parser("release", help="write a training run's best weights and card")
    release.add_argument("workdir", help="folder of the run")
    release.add_argument("name", help="name of the network")
    release.set_defaults(run=run_release)


def run_models(flags: argparse.Namespace) -> int:
    """Prints the released networks: a table, or their cards as JSON."""
    names = [*zoo.names(), *zoo.names(chroma=True)]
    cards = {name: dict(zoo.load(name).card) for name in names}
    if flags.json:
        print(json.dumps(cards, indent=2))
        return 0
    head = ("name", "network", "parameters", "multiply-adds/px", "quality", "trained on", "gain")
    print(_table([head, *(_model_row(name, card) for name, card in cards.items())]))
    return 0


def run_release(flags: argparse.Namespace) -> int:
    """Writes weights and card into the package."""
    print(zoo.release(flags.workdir, flags.name))
    return 0


def _model_row(name: str, card: dict[str, Any]) -> tuple[str, ...]:
    # On the plane that the paper measures, if on any.
    label = min(card["scores"], key=lambda label: not label.endswith(" green"), default="")
    gains = [
        f"{score['gain']:+z.2f} at {quality}"
        for quality, score in card["scores"].get(label, {}).items()
        if quality in ("10", "30", "50")
    ]
    return (
        name,
        card["architecture"],
        f"{card['parameters']:,}",
        f"{card['multiply_adds_per_pixel']:,}",
        "-".join(map(str, card["qualities"])),
        " ".join(card["data"]),
        ", ".join(gains) + (f" ({label}, dB)" if gains else ""),
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
