"""What an hour of a GPU does: trains released networks on, and measures them; see `--help`.

  python -m reproduce.gpu --data PICTURES --validation OTHERS --live1 LIVE1 --minutes 60

Each network goes on from released weights in bfloat16 for so many minutes on whatever device
JAX finds, is released to `OUT/weights`, measured, and told in `OUT/table.md` beside what it was. A
run that was interrupted goes on where it stopped; what is done is not done again.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hrcnn_jax.cli import evaluate
from hrcnn_jax.data import sources
from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.hardware import hardware
from hrcnn_jax.networks import cards
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.scores.protocol import COLOUR, Protocol, means
from hrcnn_jax.training.export import release
from hrcnn_jax.training.loop import DivergedError, fit
from hrcnn_jax.training.presets import from_preset
from hrcnn_jax.training.settings import Settings


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on a GPU.

    Attributes:
      preset: where its settings begin.
      changes: of the preset: what a GPU does better with.
      qualities: to measure it at; a network of one quality is measured at that.
      planes: to measure it on, as `evaluate` knows them.
      begins_with: the released network that it begins with while it is not released itself.
    """

    preset: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    qualities: tuple[int, ...] = (10, 30, 50)
    planes: str = "green"
    begins_with: str = ""


RECIPES = {
    **{
        f"hrcnn-q{quality}": Recipe("hrcnn-gpu", {"quality": (quality,)}, (quality,))
        for quality in (10, 30, 50)
    },
    # Ten times a CPU's batch: the GPU would idle, and averages over more patches need fewer steps.
    "large": Recipe("large", {"batch": 64, "eval_every": 1000, "save_every": 500, "warmup": 500}),
    "wild": Recipe("wild", {"batch": 64, "save_every": 500}, (10, 20, 30, 40), COLOUR, "small"),
}
"""The networks by name, in the order in which they are trained."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags."""
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.gpu",
        description="Train the released networks on, for so many minutes each, and measure them.",
    )
    parser.add_argument("--data", nargs="+", required=True, help="training pictures")
    parser.add_argument("--validation", nargs="+", required=True, help="validation pictures")
    parser.add_argument("--live1", required=True, help="the pictures to report on")
    parser.add_argument("--minutes", type=float, default=60.0, help="of each (default: 60)")
    parser.add_argument("--networks", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--output", default="runs/gpu", metavar="OUT", help="(default: runs/gpu)")
    return parser.parse_args(argv)


def settings_of(name: str, given: argparse.Namespace) -> Settings:
    """The run of a network."""
    recipe = RECIPES[name]
    output = Path(given.output)
    return from_preset(recipe.preset).changed(
        pictures=tuple(given.data),
        validation=tuple(given.validation),
        cache=str(output / "crops"),
        workdir=str(output / "runs" / name),
        minutes=given.minutes,
        dtype="bfloat16",
        **{"warm_start": name if cards.is_released(name) else recipe.begins_with, **recipe.changes},
    )


def is_done(path: Path, given: argparse.Namespace) -> bool:
    """Whether this is the card of a network that was trained for as long, and measured."""
    if not path.is_file():
        return False
    card = cards.read(path)
    return card.training["run"]["minutes"] == given.minutes and bool(
        _scores(path.stem, card, given)
    )


def run(name: str, given: argparse.Namespace) -> int:
    """Trains a network, releases and measures it; returns the signal that ended it, or 0.

    Raises:
      ValueError: if settings, pictures or checkpoints cannot be used, or it could not be measured.
      DivergedError: if the loss is no longer a number.
      OSError: if something cannot be written.
    """
    settings = settings_of(name, given)
    if ended_by := fit(settings):
        return ended_by
    output = Path(given.output)
    chroma = cards.released(name).chroma if cards.is_released(name) else cards.CHROMA
    weights = release(settings.run.workdir, name, output / "weights", chroma=chroma)
    flags = ["--model", str(weights), "--data", given.live1, "--card"]
    flags += ["--planes", RECIPES[name].planes, "--chroma", cards.NONE]
    flags += ["--quality", *map(str, RECIPES[name].qualities)]
    if evaluate.main([*flags, "--output-dir", str(output / "scores" / name)]):
        raise ValueError(f"{weights}: could not be measured")
    path = weights.with_suffix(".json")
    card = cards.read(path)  # its best may be of an earlier, shorter part of the run
    trained = {**card.training["run"], "minutes": given.minutes}
    cards.write(path, replace(card, training={**card.training, "run": trained}))
    return 0


def table(given: argparse.Namespace) -> str:
    """What the networks that are done gain in dB, beside what they did when they began."""
    lines = [
        f"PSNR gain in dB on {Path(given.live1).resolve().name}; each trained on for "
        f"{given.minutes:g} minutes on {hardware()}.",
        "",
        "| network | planes | quality | before | after | steps |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in given.networks:
        path = Path(given.output) / "weights" / f"{name}.json"
        if not is_done(path, given):
            continue
        card = cards.read(path)
        before = _scores(name, cards.released(name), given) if cards.is_released(name) else {}
        for quality, scores in _scores(name, card, given).items():
            was = f"{before[quality]['gain']:+.2f}" if quality in before else ""
            cells = (name, RECIPES[name].planes, quality, was, f"{scores['gain']:+.2f}", card.steps)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _scores(name: str, card: Card, given: argparse.Namespace) -> dict[int, dict[str, float]]:
    data, planes = sources.name_of(given.live1), RECIPES[name].planes
    return means(card, Protocol(data, planes, chroma=cards.NONE if planes == COLOUR else None))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = parse(argv)
    keep_programs()
    output = Path(given.output)
    try:
        for name in given.networks:
            if not is_done(output / "weights" / f"{name}.json", given) and (
                ended_by := run(name, given)
            ):
                return 128 + ended_by
            write_text(output / "table.md", table(given))
    except (ValueError, OSError, DivergedError) as error:
        print(f"reproduce.gpu: {error}", file=sys.stderr)
        return 1
    print(table(given), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
