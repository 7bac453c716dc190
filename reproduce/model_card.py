"""Writes the model card of the released networks, as the Hugging Face Hub has them.

  python -m reproduce.model_card

All that it tells about a network is in the network's own card. Metadata as described in
https://huggingface.co/docs/hub/model-cards.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.networks import cards
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.scores.protocol import COLOUR, Protocol, means
from reproduce.results import table

GREEN = Protocol("live1")
FILES = Protocol("live1", planes=COLOUR, chroma=cards.OWN)
SHOWN = (5, 10, 20, 30, 40, 50, 75, 90, 95)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.model_card",
        description="Writes the model card of the released networks.",
    )
    parser.add_argument("--output", type=Path, default=cards.WEIGHTS / "README.md", metavar="FILE")
    given = parser.parse_args()
    write_text(given.output, text())
    print(given.output)


def text() -> str:
    """The model card of what is released now."""
    names = cards.all_names()
    found = {name: cards.released(name) for name in names}
    template = Path(__file__).with_name("model_card.template.md").read_text(encoding="utf-8")
    return template.format(
        metadata=yaml(metadata(found)),
        networks="\n".join(
            _row(
                name,
                _serves(card),
                f"{card.parameters:,}",
                f"{card.multiply_adds_per_pixel:,}",
                f"{(cards.WEIGHTS / f'{name}.safetensors').stat().st_size / 1e6:.1f} MB",
            )
            for name, card in found.items()
        ),
        default=cards.DEFAULT,
        training="\n".join(_trained(name, card) for name, card in found.items()),
        green=_scores(found, GREEN),
        colour=_scores(found, FILES),
    )


def metadata(found: Mapping[str, Card]) -> dict[str, Any]:
    """What the Hub reads, in the order that it shows it."""
    return {
        "license": "apache-2.0",
        "library_name": "hrcnn-jax",
        "pipeline_tag": "image-to-image",
        "tags": ["jax", "flax", "jpeg", "image-restoration", "artifact-removal"],
        "metrics": ["psnr"],
        "model-index": [
            {"name": name, "results": results}
            for name, card in found.items()
            if (results := _results(card))
        ],
    }


def _results(card: Card) -> list[dict[str, Any]]:
    """A network's scores, one entry a protocol."""
    return [
        {
            "task": {"type": "image-to-image", "name": "JPEG artifact removal"},
            "dataset": {"type": "live1", "name": f"LIVE1, {name}"},
            "metrics": [
                {"type": "psnr", "name": f"PSNR at quality {quality}", "value": values["psnr"]}
                for quality, values in means(card, protocol).items()
                if quality in SHOWN
            ],
        }
        for name, protocol in (("green channel", GREEN), ("4:2:0 colour files", FILES))
        if means(card, protocol)
    ]


def yaml(value: Any, indent: str = "") -> str:
    """Lists and dictionaries of strings and numbers as YAML; a string as JSON, which is YAML."""
    if isinstance(value, dict):
        return "\n".join(f"{indent}{key}:{_nested(each, indent)}" for key, each in value.items())
    return "\n".join(
        f"{indent}- {yaml(each, indent + '  ').lstrip()}"
        if isinstance(each, dict)
        else f"{indent}- {json.dumps(each)}"
        for each in value
    )


def _nested(value: Any, indent: str) -> str:
    if isinstance(value, dict | list):
        return "\n" + yaml(value, indent + "  ")
    return f" {json.dumps(value)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _serves(card: Card) -> str:
    if card.kind == "chroma":
        return "4:2:0 chroma, beside a network for planes"
    if card.kind == "pictures":
        return "pixels of any history, gray and colour"
    qualities = card.qualities
    return "any table, gray and colour" if len(qualities) > 1 else f"luma of quality {qualities[0]}"


def _trained(name: str, card: Card) -> str:
    return _row(
        name,
        "–".join(map(str, card.qualities)),
        f"{card.steps:,}",
        ", ".join(card.data),
        f"{card.validation_gain_db:+.2f}",
        card.hardware,
        card.date,
    )


def _scores(found: Mapping[str, Card], protocol: Protocol) -> str:
    """A table of networks by quality, plain JPEG first; as many columns as any network has."""
    known = {name: means(card, protocol) for name, card in found.items()}
    shown = [quality for quality in SHOWN if any(quality in each for each in known.values())]
    plain = {q: each[q]["jpeg_psnr"] for each in known.values() for q in shown if q in each}
    rows = [["plain JPEG", *(f"{plain[quality]:.2f}" for quality in shown)]]
    for name, each in known.items():
        cells = [
            f"{each[q]['psnr']:.2f} ({each[q]['gain']:+.2f})" if q in each else "" for q in shown
        ]
        if any(cells):
            rows.append([name, *cells])
    return table(["quality", *map(str, shown)], rows)


if __name__ == "__main__":
    main()
