"""Measures `fast`, `small` and `large` on LIVE1 and writes docs/compact.md; see `--help`.

  python -m reproduce.compact --live1 LIVE1

Scores are measured by `evaluate.py`, which keeps them in the networks' cards; what other networks
reach is as published.
"""

import argparse
import datetime
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hrcnn_jax.cli import evaluate
from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.hardware import hardware
from hrcnn_jax.networks import cards, zoo
from hrcnn_jax.scores import figures
from hrcnn_jax.scores.figures import Point
from hrcnn_jax.scores.protocol import Protocol, means
from reproduce.results import ROOT, table

Scores = Mapping[int, Mapping[str, float]]
"""Means over LIVE1 by quality, as cards hold them."""

NETWORKS = ("fast", "small", "large")
QUALITIES = (*range(5, 100, 5), 98, 100)
SHOWN = (5, 10, 30, 50, 75, 90, 95, 98, 100)
"""The qualities with a column of their own: all that planes other than green are measured at."""

LITERATURE = (10, 20, 30, 40)
FILES = (
    ("green", "luminance"),
    ("luma", "luminance"),
    ("luma", "flat"),
    ("luma", "robidoux"),
    ("cb", "chrominance"),
    ("cr", "chrominance"),
)
"""Planes and tables that must come out no worse."""


class Published(NamedTuple):
    """PSNR on LIVE1 at qualities 10, 20, 30, 40 in dB, None where not given."""

    name: str
    cost: int | None
    luma: tuple[float | None, ...] = ()
    rgb: tuple[float | None, ...] = ()


PLAIN = Published("plain JPEG", 0, (27.77, 30.07, 31.41, 32.35), (25.69, 28.06, 29.37, 30.28))

PUBLISHED = (
    Published("AR-CNN", 106_448, (28.96, None, None, None)),
    Published("DnCNN-3", 664_704, (29.19, 31.59, 32.98, 33.96)),
    Published("FBCNN", 2_700_000, (29.75, 32.13, 33.54, 34.53), (27.77, 30.11, 31.43, 32.34)),
    Published("SwinIR", None, (29.86, 32.25, 33.69, 34.67)),
    Published("JDEC", None, (), (27.95, 30.26, 31.59, 32.50)),
)
"""Other networks, from their own publications. Multiply-adds a pixel are counted from their
layers: AR-CNN 9x9x64, 7x7x64x32, 32x16, 5x5x16; DnCNN-3 twenty of 3x3, 64 wide; FBCNN's U-Net with
71.9 million parameters about 2.7 million."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags."""
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.compact",
        description="Measure the released compact networks; write docs/compact.md and its figure.",
    )
    parser.add_argument("--live1", required=True, help="the folder of the LIVE1 pictures")
    parser.add_argument(
        "--resume", action="store_true", help="keep the scores that the cards hold already"
    )
    return parser.parse_args(argv)


def find(name: str, qualities: Sequence[int], flags: Sequence[str], *, resume: bool) -> Scores:
    """What `evaluate.py` finds out about a network, or found out before."""
    command = ["--model", name, "--card", *flags, "--quality", *map(str, qualities)]
    protocol = evaluate.protocol_of(evaluate.parse(command))
    if not (resume and known(name, protocol).keys() >= {*qualities}) and evaluate.main(command):
        raise ValueError("evaluate.py failed, as said above")
    scores = known(name, protocol)
    return {quality: scores[quality] for quality in qualities}


def known(name: str, protocol: Protocol) -> Scores:
    """What a network's card holds."""
    return means(cards.released(name), protocol)


def gain_rows(files: Mapping[tuple[str, str, str], Scores]) -> list[list[str]]:
    """Gains in dB: a line a network and kind of file, the lowest at any quality last."""
    rows = []
    for (name, planes, base), scores in files.items():
        gains = {quality: mean["gain"] for quality, mean in scores.items()}
        lowest = min(gains, key=lambda quality: gains[quality])
        rows.append(
            [
                f"`{name}`: {planes}, {base}",
                *(f"{gains[quality]:+z.2f}" for quality in SHOWN),
                f"{gains[lowest]:+z.3f} at {lowest}",
            ]
        )
    return rows


def cost_of(name: str) -> int:
    """Multiply-adds a pixel of a released network."""
    return cards.released(name).multiply_adds_per_pixel


def direct_cost(name: str) -> int:
    """The same if each tap of a convolution were a product of its own."""
    network = zoo.load(name)
    return network.architecture.direct_multiply_adds(network.module)


def our_row(label: str, cost: int, scores: Scores) -> list[str]:
    """PSNR in dB of one of ours at the literature's qualities."""
    psnr = (f"**{scores[quality]['psnr']:.2f}**" for quality in LITERATURE)
    return [f"**{label}**", f"{cost:,}", *psnr]


def luma_rows(found: Mapping[str, Scores]) -> list[list[str]]:
    """PSNR in dB on luma, ours and the published."""
    ours = [our_row(f"`{name}`", cost_of(name), found[name]) for name in NETWORKS]
    return [*ours, *published_rows("luma")]


def rgb_rows(found: Mapping[str, Scores], apart: Scores) -> list[list[str]]:
    """PSNR in dB over RGB: with the chroma network, and each plane by itself (`apart`)."""
    chroma = {name: cards.released(name).chroma for name in NETWORKS}
    ours = [
        our_row(f"`{name}` with `{beside}`", cost_of(name) + cost_of(beside), found[name])
        for name, beside in chroma.items()
    ]
    # Chroma planes are a quarter of luma's size each.
    alone = our_row(f"`{cards.DEFAULT}`, plane by plane", cost_of(cards.DEFAULT) * 3 // 2, apart)
    return [*ours, alone, *published_rows("rgb")]


def published_rows(protocol: str) -> list[list[str]]:
    """What is published under one of the literature's protocols, `luma` or `rgb`."""
    rows = []
    for other in (PLAIN, *PUBLISHED):
        printed = getattr(other, protocol)
        if printed:
            cost = "–" if other.cost is None else f"{other.cost:,}"
            rows.append([other.name, cost, *("–" if v is None else f"{v:.2f}" for v in printed)])
    return rows


def trained() -> list[str]:
    """The networks that the page tells of, those of chroma last."""
    return [*NETWORKS, *cards.names(kind="chroma")]


def training_rows() -> list[list[str]]:
    """How each network was trained, from its card."""
    rows = []
    for name in trained():
        card = cards.released(name)
        options, batch = card.options, card.training["optimisation"]["batch"]
        rows.append(
            [
                f"`{name}`",
                f"{options['width']} × {options['blocks']}",
                str(options.get("kernels", 0)),
                f"{card.parameters:,}",
                f"{card.multiply_adds_per_pixel:,}",
                f"{card.steps:,} of {batch} × {card.training['data']['patch']}²",
                f"{card.curve[-1]['hours']:.1f} h",
                card.hardware,
                f"{card.validation_gain_db:+.3f}",
            ]
        )
    return rows


TRAINING_HEAD = (
    "",
    "width × blocks",
    "kernels to mix",
    "parameters",
    "multiply-adds a pixel",
    "steps",
    "time",
    "on",
    "validation gain (dB)",
)


def draw_costs(luma: Mapping[str, Scores], path: Path) -> None:
    """Gain at quality 10 over multiply-adds a pixel: ours and the published."""
    plain = PLAIN.luma[0]
    points = [
        Point(
            f"{name}, ours",
            cost_of(name),
            scores[LITERATURE[0]]["gain"],
            ours=True,
        )
        for name, scores in luma.items()
    ]
    points += [
        Point(other.name, other.cost, other.luma[0] - plain)
        for other in PUBLISHED
        if other.cost and other.luma and other.luma[0] and plain
    ]
    figure = figures.scatter(
        points,
        across="multiply-adds a pixel",
        up="PSNR gain over plain JPEG (dB)",
        title="LIVE1 luma, quality 10: what a network gains, and what it costs",
    )
    figures.save(figure, path)


def run(given: argparse.Namespace) -> None:
    """Measures, writes, draws."""

    def about(name: str, qualities: Sequence[int], *flags: str) -> Scores:
        return find(name, qualities, ["--data", given.live1, *flags], resume=given.resume)

    files = {
        (name, planes, base): about(
            name,
            QUALITIES if planes == "green" else SHOWN,
            *("--planes", planes, "--table", base),
        )
        for name, (planes, base) in itertools.product(NETWORKS, FILES)
    }
    luma = {name: about(name, LITERATURE, "--planes", "studio") for name in NETWORKS}
    papers = {"hrcnn-q10": about("hrcnn-q10", LITERATURE[:1], "--planes", "studio")}
    rgb = {name: about(name, LITERATURE, "--planes", "rgb") for name in NETWORKS}
    apart = about(cards.DEFAULT, LITERATURE, "--planes", "rgb", "--chroma", "none")
    draw_costs({**luma, **papers}, ROOT / "docs" / "cost.png")
    template = (Path(__file__).parent / "compact.template.md").read_text(encoding="utf-8")
    head = ["", "multiply-adds a pixel", *(f"Q = {quality}" for quality in LITERATURE)]
    text = template.format(
        hardware=hardware(),
        date=datetime.date.today().isoformat(),
        gains=table(["", *map(str, SHOWN), "lowest of all"], gain_rows(files)),
        luma=table(head, luma_rows(luma)),
        rgb=table(head, rgb_rows(rgb, apart)),
        training=table(TRAINING_HEAD, training_rows()),
        taps={name: direct_cost(name) for name in trained()},
    )
    write_text(ROOT / "docs" / "compact.md", text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    try:
        run(parse(argv))
    except (ValueError, OSError) as error:
        print(f"reproduce.compact: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
