"""Measures pictures with a past and writes docs/history.md and its picture; see `--help`.

  python -m benchmarks.history --data PICTURES --count 24 --once 410 --kind gray \\
      --output reproduce/measured/detection.json
  python -m benchmarks.history --data PICTURES --count 8 --once 16 --kind colour \\
      --output reproduce/measured/detection-colour.json
  python -m benchmarks.history --data PICTURES --count 24 --once 48 --kind gray --side 128 \\
      --output reproduce/measured/detection-128.json      # and so for 256
  python -m reproduce.history --live1 LIVE1

Without `--live1` the page is written anew from what was measured before.
"""

import argparse
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrcnn_jax.data.sources import open_source
from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.hardware import hardware
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import chains, figures
from hrcnn_jax.scores.evaluation import compare, samples_of, to_pixels
from hrcnn_jax.scores.figures import Panel
from hrcnn_jax.scores.gallery import detail_size
from reproduce.results import MEASURED, ROOT, kept, measure, table

SHIFTED = ("10,10,4,4", "30,30,4,4", "30,10,4,4", "10,30,4,4", "10,50,4,4", "30,50,4,4")
SAME = ("10,30,0,0", "10,75,0,0", "10,90,0,0", "30,75,0,0", "30,90,0,0")
LOSSLESS = ("10,png,0,0", "30,png,0,0")
COLOUR = ("20,85,0,0", "20,95,0,0", "20,png,0,0", "20,85,4,4", "20,95,4,4")
ONCE = {"luma": ("10", "30"), "rgb": ("20",)}
"""Qualities of pictures that are compressed once, to compare with."""

PUBLISHED: dict[str, Mapping[str, float]] = {
    "DnCNN": {"10,30": 0.78, "10,50": 0.61, "30,50": 1.28, "30,30": 1.42},
    "QGAC": {"10,30": 0.75, "10,50": 0.54, "30,50": 1.20, "30,30": 1.45},
    "FBCNN": {"10,30": 0.74, "10,50": 0.51, "30,50": 1.35, "30,30": 1.66},
    "FBCNN-A": {"10,30": 1.83, "10,50": 1.83, "30,50": 2.03, "30,30": 1.96},
}
"""Gains in dB on LIVE1, shift (4, 4), as published with FBCNN (Jiang, Zhang and Timofte, 2021)."""

MODES = ("off", "auto")

SIDES = (128, 256)
"""Of the middles of pictures that histories are looked for in, too."""

SHOWN, CHAIN = "parrots", "10,90,0,0"


def measured(live1: str, models: Sequence[str], folder: Path) -> dict[str, Any]:
    """All that the page tells, but for how often histories are found."""
    found: dict[str, Any] = {"gains": {}, "once": {}}
    for planes, pasts, asked in (
        ("studio", SHIFTED, models),
        ("luma", (*SHIFTED, *SAME, *LOSSLESS), models[:1]),
        ("rgb", COLOUR, models[:1]),
    ):
        for mode in MODES:
            flags = ["--data", live1, "--planes", planes, "--history", *pasts, "--believe", mode]
            told = measure(asked, folder / f"{planes}-{mode}", *flags)
            for result in told["results"]:
                key = f"{result['model']} {planes} {mode} {result['past']}"
                names = ("jpeg_psnr", "gain", "gain_ssim", "found", "right")
                found["gains"][key] = {name: result["mean"][name] for name in names}
    for planes, qualities in ONCE.items():
        flags = ["--data", live1, "--planes", planes, "--quality", *qualities]
        for result in measure(models[:1], folder / f"{planes}-once", *flags)["results"]:
            key = f"{result['model']} {planes} {result['quality']}"
            found["once"][key] = {name: result["mean"][name] for name in ("jpeg_psnr", "gain")}
    return found | {
        "models": list(models),
        "hardware": hardware(),
        "date": datetime.date.today().isoformat(),
    }


def gain_table(found: Mapping[str, Any], planes: str, pasts: Sequence[str], *, once: bool) -> str:
    """The plain decode of each past and gains: believing the file, with history, and once."""
    model = found["models"][0]
    rows = []
    for past in pasts:
        off, auto = (found["gains"][f"{model} {planes} {mode} {past}"] for mode in MODES)
        cells = [f"{off['jpeg_psnr']:.2f}", f"{off['gain']:+.2f}", f"{auto['gain']:+.2f}"]
        if once:
            first = past.split(",")[0]
            cells.append(f"{found['once'][f'{model} {planes} {first}']['gain']:+.2f}")
        rows.append([_in_words(past), *cells, f"{auto['right']:.0%}"])
    head = ["", "plain (dB)", f"`{model}`, file believed", "history", *(["once"] if once else [])]
    return table([*head, "found right"], rows)


def _in_words(past: str) -> str:
    first, second, down, across = past.split(",")
    cropped = "" if (down, across) == ("0", "0") else f", cropped by ({down}, {across})"
    return f"{first}{cropped}, {'kept as PNG' if second == 'png' else f'then {second}'}"


def published_table(found: Mapping[str, Any]) -> str:
    """Published gains beside ours, shift (4, 4)."""
    pairs = list(PUBLISHED["FBCNN"])
    rows = [[name, *(f"{gains[pair]:+.2f}" for pair in pairs)] for name, gains in PUBLISHED.items()]
    for model in found["models"]:
        for mode, what in (("off", "file believed"), ("auto", "history")):
            ours = (found["gains"][f"{model} studio {mode} {pair},4,4"]["gain"] for pair in pairs)
            rows.append([f"`{model}`, {what}", *(f"{gain:+.2f}" for gain in ours)])
    return table(["", *(f"({pair.replace(',', ', ')})" for pair in pairs)], rows)


def detection_tables(found: Mapping[str, Any]) -> tuple[str, str]:
    """How often histories are found, and how often there was none."""
    rows = [
        [
            name,
            str(score["looked"]),
            f"{score['found'] / score['looked']:.0%}",
            f"{score['right'] / score['looked']:.0%}",
            "" if score["exact"] is None else f"{score['exact']:.2%}",
        ]
        for name, score in found["found"].items()
    ]
    alarms = [[name, str(looked), str(times)] for name, (times, looked) in found["alarms"].items()]
    times, looked = (sum(each[place] for each in found["alarms"].values()) for place in (0, 1))
    alarms.append(["all", str(looked), f"{times} ({times / looked:.2%})"])
    return (
        table(["", "pictures", "found", "found right", "codes exact"], rows),
        table(["", "pictures", "false alarms"], alarms),
    )


def by_size(detected: Mapping[str, Any]) -> tuple[str, str]:
    """How often histories are found right in middles of pictures, and the false alarms there."""
    small = {side: kept(f"detection-{side}") for side in SIDES}
    rows = []
    for name, score in detected["found"].items():
        every = [found["found"][name] for found in small.values()] + [score]
        rows.append([name, *(f"{each['right'] / each['looked']:.0%}" for each in every)])
    alarms = []
    for found in (*small.values(), detected):
        times, looked = (sum(each[place] for each in found["alarms"].values()) for place in (0, 1))
        alarms.append(f"{times} of {looked}")
    rows.append(["false alarms", *alarms])
    head = ["found right", *(f"{side}×{side}" for side in SIDES), "whole"]
    return table(head, rows), small[SIDES[0]]["command"]


def cost_table(found: Mapping[str, Any]) -> str:
    """CPU-seconds of looking and recovering beside those of restoring."""
    rows = [
        [
            row["colour"],
            row["compressed"],
            f"{row['looking']:.2f}",
            f"{row['recovering']:.2f}" if "recovering" in row else "–",
            f"{row['restoring']:.2f}",
            f"{row['looking'] / row['restoring']:.0%}",
        ]
        for row in found["rows"]
    ]
    return table(
        ["", "compressed", "looking", "recovering", "restoring", "looking / restoring"], rows
    )


def draw(live1: str, path: Path) -> None:
    """The picture that makes it plain: saved twice, restored from the file, from its history."""
    source = open_source([live1])
    index = next(place for place, name in enumerate(source.names) if SHOWN in name)
    samples = samples_of(source.load(index), "luma", SHOWN)
    chain = chains.parse(CHAIN)
    plain = chains.made(samples, chain)[1]
    original = to_pixels(samples)
    panels = []
    shown = {"Saved at 10, then at 90": to_pixels(plain)}
    for mode, what in (("off", "File believed"), ("auto", "From its history")):
        shown[what] = chains.restored(Restorer(history=mode), samples, chain).restored
    for what, picture in shown.items():
        scores = compare(original, picture, picture)
        panels.append(Panel(picture, f"{what}   {scores['psnr']:.2f} dB"))
    visible = figures.visible_gain(original, panels[0].picture, panels[2].picture)
    window = figures.richest_window(visible, detail_size(original, 4))
    figure = figures.comparison(
        [panels], window, labels=["luma"], title=f"{SHOWN}, restored by small"
    )
    figures.save(figure, path)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.history",
        description="Measure pictures with a past; write docs/history.md and its picture.",
    )
    parser.add_argument("--live1", help="the folder of the LIVE1 pictures, to measure anew")
    parser.add_argument("--model", nargs="+", default=["small", "large"], help="networks")
    parser.add_argument("--output-dir", default="results/history", help="evaluations go here")
    given = parser.parse_args(argv)
    if given.live1:
        found = measured(given.live1, given.model, Path(given.output_dir))
        write_text(MEASURED / "history.json", json.dumps(found, indent=1) + "\n")
        draw(given.live1, ROOT / "docs" / "history.png")
    found = kept("history")
    detected, colour = kept("detection"), kept("detection-colour")
    right, wrong = detection_tables(detected)
    colour_right, colour_wrong = detection_tables(colour)
    sizes, sizes_command = by_size(detected)
    looking = kept("looking")
    page = (Path(__file__).parent / "history.template.md").read_text(encoding="utf-8")
    page = page.format(
        hardware=found["hardware"],
        date=found["date"],
        published=published_table(found),
        studio=gain_table(found, "studio", SHIFTED, once=False),
        same=gain_table(found, "luma", SAME, once=True),
        shifted=gain_table(found, "luma", SHIFTED, once=False),
        lossless=gain_table(found, "luma", LOSSLESS, once=True),
        colour=gain_table(found, "rgb", COLOUR, once=True),
        right=right,
        wrong=wrong,
        colour_right=colour_right,
        colour_wrong=colour_wrong,
        colour_command=colour["command"],
        sizes=sizes,
        sizes_command=sizes_command,
        detection_command=detected["command"],
        detection_date=detected["date"],
        cost=cost_table(looking),
        cost_about=looking,
    )
    write_text(ROOT / "docs" / "history.md", page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
