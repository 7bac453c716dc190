"""Writes docs/performance.md and its picture from what the benchmarks measured.

The page has the commands that measure; the last of them is python -m reproduce.performance
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.networks import cards
from hrcnn_jax.scores import figures
from hrcnn_jax.scores.figures import Point
from hrcnn_jax.scores.protocol import Protocol, means
from reproduce.results import ROOT, kept, table

DNCNN_GAIN = 1.42
"""Of DnCNN-3 on LIVE1, luma, quality 10, as published; the speed of its layers is measured."""

ALONE_HEAD = ["", "at once", "MP/s", "share, tap by tap", "computed", "first call (s)"]
TRAINING_HEAD = ["preset", "dtype", "patches a step", "patches/s", "share, tap by tap", "computed"]
FOLDER_HEAD = ["", "seconds", "CPU-s", "peak memory (MiB)"]
MEMORY_HEAD = ["megapixels", "compressed", "seconds", "CPU-s", "MP/s", "peak memory (MiB)"]
HELD_HEAD = ["pictures", "memory maps", "peak memory (MiB)"]
FILE_HEAD = [
    "",
    "MP",
    "",
    "MP/s",
    "CPU-s",
    "share, tap by tap",
    "times Pillow's decode",
    "times jpeg-quantsmooth's CPU-s",
    "first call (s)",
]


def alone_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Networks on tiles of codes."""
    return [
        [
            f"`{row['network']}`" if row["network"] in cards.names() else row["network"],
            str(row["threads"]),
            f"{row['megapixels_per_second']:.2f}",
            f"{row['share']:.0%}",
            f"{row['computed_share']:.0%}",
            f"{row['first_seconds']:.1f}" if "first_seconds" in row else "–",
        ]
        for row in found["alone"]
    ]


def file_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """From a file's bytes to an array; what was not measured is a dash."""
    columns = {
        "megapixels": "g",
        "colour": "",
        "megapixels_per_second": ".2f",
        "cpu_seconds": ".1f",
        "share": ".0%",
        "times_pillow": ".0f",
        "times_jpegqs": ".1f",
        "first_seconds": ".1f",
    }
    return [
        [
            f"`{row['network']}`" if row["network"] in cards.names() else row["network"],
            *(format(row[name], kind) if name in row else "–" for name, kind in columns.items()),
        ]
        for row in found["files"]
    ]


def training_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The steps of `train.py`."""
    return [
        [
            f"`{row['preset']}`",
            row["dtype"],
            f"{row['batch']} of {row['patch']}²",
            f"{row['patches_per_second']:.1f}",
            f"{row['share']:.0%}",
            f"{row['computed_share']:.0%}",
        ]
        for row in found["rows"]
    ]


def folder_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """A folder of unlike sizes, by one command."""
    return [
        [
            name,
            f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}",
            f"{row['peak_bytes'] / 2**20:,.0f}",
        ]
        for name, row in found["rows"].items()
    ]


def memory_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The command line tool by size of picture."""
    return [
        [
            f"{row['megapixels']:g}",
            row["compressed"],
            f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}",
            f"{row['megapixels'] / row['seconds']:.2f}",
            f"{row['peak_bytes'] / 2**20:,.0f}",
        ]
        for row in found["rows"]
    ]


def held_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """One process that restores pictures of many sizes."""
    return [
        [f"{row['pictures']:,}", f"{row['maps']:,}", f"{row['peak_mib']:,.0f}"]
        for row in found["held"]
    ]


def draw_speeds(found: Mapping[str, Any], path: Path) -> None:
    """Gain at quality 10 over megapixels a second, as fast as a network was alone."""
    points = []
    fastest: dict[str, Mapping[str, Any]] = {}
    for row in sorted(found["alone"], key=lambda row: row["megapixels_per_second"]):
        fastest[row["network"]] = row
    for row in fastest.values():
        if row["network"].startswith("DnCNN-3"):
            points.append(Point("DnCNN-3", row["megapixels_per_second"], DNCNN_GAIN))
        if row["network"] not in cards.names():
            continue
        scores = means(cards.released(row["network"]), Protocol("live1", "studio"))
        if 10 in scores:
            name, gain = f"{row['network']}, ours", scores[10]["gain"]
            points.append(Point(name, row["megapixels_per_second"], gain, ours=True))
    figure = figures.scatter(
        points,
        across="megapixels a second",
        up="PSNR gain over plain JPEG (dB)",
        title="LIVE1 luma, quality 10: what a network gains, and how fast",
    )
    figures.save(figure, path)


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(prog="python -m reproduce.performance", description=__doc__).parse_args(
        argv
    )
    speed, training, start, folder, memory = map(
        kept, ("speed", "training", "start", "folder", "memory")
    )
    template = Path(__file__).parent / "performance.template.md"
    rates = (f"{rate / 1e9:.0f} in {name}" for name, rate in speed["yardstick"].items())
    text = template.read_text(encoding="utf-8").format(
        hardware=speed["hardware"],
        date=speed["date"],
        jax=speed["jax"],
        yardstick=", ".join(rates),
        alone=table(ALONE_HEAD, alone_rows(speed)),
        files=table(FILE_HEAD, file_rows(speed)),
        training=table(TRAINING_HEAD, training_rows(training)),
        training_date=training["date"],
        start=start,
        folder=table(FOLDER_HEAD, folder_rows(folder)),
        folder_about=folder,
        memory=table(MEMORY_HEAD, memory_rows(memory)),
        memory_date=memory["date"],
        held=table(HELD_HEAD, held_rows(folder)),
    )
    draw_speeds(speed, ROOT / "docs" / "speed.png")
    write_text(ROOT / "docs" / "performance.md", text)


if __name__ == "__main__":
    main()
