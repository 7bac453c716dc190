"""Trains variants of the paper's network on one small budget; see `--help`.

  python -m reproduce.ablations --data PICTURES --validation OTHERS

Every variant sees the same patches in the same order. What is measured goes to
`reproduce/measured/ablations.json`; `reproduce.results` draws and prints it. A run that was
interrupted goes on where it stopped.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrcnn_jax.data.crops import cut_crops
from hrcnn_jax.data.planes import GREEN
from hrcnn_jax.data.sources import open_source
from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.hardware import hardware
from hrcnn_jax.networks import zoo
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import evaluation
from hrcnn_jax.training import run_log
from hrcnn_jax.training.loop import DivergedError, fit
from hrcnn_jax.training.presets import from_preset
from hrcnn_jax.training.settings import Settings

MEASURED = Path(__file__).parent / "measured"

BASE: dict[str, Any] = {"crops": 2000, "validation_crops": 40, "patch": 48, "ema": 0.98}
BASE |= {"teacher": ()}
"""What the base changes of the preset: a short run needs fewer crops, smaller patches to get
somewhere, and a younger average; and it learns from originals, as the paper does."""

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "no hidden ReLU": {"hidden_relu": False},
    "plain start": {"decoder_init": False},
    "Adam": {"optimiser": "adam"},
    "SGD": {"optimiser": "sgd", "learning_rate": 0.02},
    "3 blocks": {"blocks": 3},
    "2 blocks": {"blocks": 2},
    "1 block": {"blocks": 1},
    "no block": {"blocks": 0},
}
"""What differs from the base: hidden ReLUs, started as the plain decoder, Muon, four blocks."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags."""
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.ablations",
        description="Train variants of HR-CNN on the same small budget, and measure them.",
    )
    parser.add_argument("--data", nargs="+", required=True, help="training pictures")
    parser.add_argument("--validation", nargs="+", required=True, help="pictures to measure on")
    parser.add_argument("--workdir", default="runs/ablations", help="the runs go here")
    parser.add_argument("--steps", type=int, default=200, help="of each run (default: 200)")
    parser.add_argument("--quality", type=int, default=10, help="of the codes (default: 10)")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME"
    )
    return parser.parse_args(argv)


def settings_of(name: str, given: argparse.Namespace) -> Settings:
    """The run of a variant."""
    values = {
        "pictures": tuple(given.data),
        "validation": tuple(given.validation),
        "workdir": str(Path(given.workdir) / name.replace(" ", "-")),
        "quality": (given.quality,),
        "steps": given.steps,
        "eval_every": max(given.steps // 8, 1),
        "save_every": max(given.steps // 3, 1),
    }
    return from_preset("hrcnn").changed(**{**values, **BASE, **VARIANTS[name]})


def measure(settings: Settings) -> dict[str, Any]:
    """Gains of a trained variant on whole validation crops, projected onto the codes or not."""
    network = zoo.load(settings.run.workdir)
    data = settings.data
    source = open_source(data.validation, split="validation")
    crops = cut_crops(source, data.validation_crops, 128, channel=GREEN)
    pictures = [evaluation.Picture(str(n), crop[..., 0]) for n, crop in enumerate(crops)]
    found: dict[str, Any] = {}
    for key, faithful in (("gain", False), ("gain_projected", True)):
        restorer = Restorer(network, faithful=faithful)
        (result,) = evaluation.measure([(restorer, list(settings.codes.quality))], pictures)
        found[key] = round(float(np.mean([scores["gain"] for scores in result.scores])), 4)
    card = network.card
    described = {
        "parameters": card.parameters,
        "multiply_adds_per_pixel": card.multiply_adds_per_pixel,
    }
    curve = run_log.curve(Path(settings.run.workdir))
    return {**found, **described, "steps": curve[-1]["step"], "curve": curve}


def known_of(path: Path, quality: int) -> dict[str, Any]:
    """What was measured of other variants, at the same quality.

    Raises:
      ValueError: if it was at another.
    """
    if not path.exists():
        return {"quality": quality, "variants": {}}
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if known["quality"] != quality:
        raise ValueError(
            f"{path}: is of quality {known['quality']}, not {quality}: remove it to begin anew"
        )
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = parse(argv)
    path = MEASURED / "ablations.json"
    try:
        known_of(path, given.quality)
        for name in given.variants:
            settings = settings_of(name, given)
            if ended_by := fit(settings):
                return 128 + ended_by
            known = known_of(path, given.quality) | {"hardware": hardware()}
            known["variants"][name] = measure(settings)
            write_text(path, json.dumps(known, indent=1) + "\n")
    except (ValueError, OSError, DivergedError) as error:
        print(f"reproduce.ablations: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
