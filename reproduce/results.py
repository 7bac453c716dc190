"""Measures the released networks of the paper's kind and writes RESULTS.md; see `--help`.

  python -m reproduce.results --live1 LIVE1 --crops-of PICTURES

Scores are measured anew each time, by `evaluate.py`, and come out the same. Times do not: they
are kept in `reproduce/measured/times.json` until `--times` asks for new ones.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hrcnn_jax.cli import evaluate
from hrcnn_jax.data.sources import open_source
from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.networks import cards
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import figures, gallery
from hrcnn_jax.scores.evaluation import Picture, samples_of
from reproduce import paper
from reproduce.ablations import MEASURED

ROOT = Path(__file__).parent.parent
CROPS = 300
GAIN = "PSNR gain on validation crops (dB)"
PICTURES = ("parrots", "lighthouse2")  # of LIVE1, from the Kodak set: free to be shown
Scores = dict[int, dict[str, Any]]
"""Mean scores and the network's name by quality."""


def kept(name: str) -> Any:
    """What was measured before, of `measured/NAME.json`."""
    return json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags."""
    parser = argparse.ArgumentParser(
        prog="python -m reproduce.results",
        description="Measure the released hrcnn networks; write RESULTS.md and its figures.",
    )
    parser.add_argument("--live1", required=True, help="the folder of the LIVE1 pictures")
    parser.add_argument(
        "--crops-of", required=True, help="pictures to cut Table I's crops from: bsds500/val"
    )
    parser.add_argument("--times", action="store_true", help="measure times, too (keep idle)")
    parser.add_argument("--output-dir", default="results", help="evaluations go here")
    return parser.parse_args(argv)


def networks() -> list[str]:
    """The released networks of the paper's kind, by quality."""
    names = [name for name in cards.names() if name.startswith("hrcnn-q")]
    return sorted(names, key=lambda name: int(name.removeprefix("hrcnn-q")))


def measure(models: Sequence[str], folder: Path, *flags: str) -> dict[str, Any]:
    """What `evaluate.py` finds out."""
    status = evaluate.main(["--model", *models, "--output-dir", str(folder), *flags])
    if status:
        raise ValueError("evaluate.py failed, as said above")
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def means(found: Mapping[str, Any]) -> Scores:
    """Mean scores of an evaluation by quality."""
    return {
        result["quality"]: {"model": result["model"], **result["mean"]}
        for result in found["results"]
    }


def note_times(live1: dict[str, Any]) -> None:
    """Keeps the times of an evaluation of LIVE1."""
    times = {
        "hardware": live1["hardware"],
        "date": live1["date"][:10],
        "seconds": {
            quality: {key: round(scores[key], 6) for key in ("jpeg_seconds", "seconds")}
            for quality, scores in means(live1).items()
        },
    }
    write_text(MEASURED / "times.json", json.dumps(times, indent=1) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def score_rows(scores: Scores, printed: dict[int, paper.Row]) -> list[list[str]]:
    """For each quality plain JPEG and the network; the paper's figures, then ours."""
    rows = []
    for quality, mean in scores.items():
        theirs = printed[quality]
        for name, prefix, psnr, ssim in (
            ("JPEG", "jpeg_", theirs.jpeg_psnr, theirs.jpeg_ssim),
            ("HR-CNN", "", theirs.psnr, theirs.ssim),
        ):
            rows.append(
                [
                    f"Q = {quality}, {name}",
                    f"{psnr:.2f}",
                    f"{mean[f'{prefix}psnr']:.2f}",
                    f"{ssim:.2f}",
                    f"{mean[f'{prefix}ssim_as_paper']:.2%}".rstrip("%"),
                    f"{mean[f'{prefix}ssim']:.2%}".rstrip("%"),
                ]
            )
        rows.append(
            [
                "*gain*",
                f"{theirs.psnr - theirs.jpeg_psnr:+.2f}",
                f"**{mean['gain']:+.2f}**",
                f"{theirs.ssim - theirs.jpeg_ssim:+.2f}",
                f"**{100 * mean['gain_ssim_as_paper']:+.2f}**",
                f"{100 * mean['gain_ssim']:+.2f}",
            ]
        )
    return rows


SCORE_HEAD = [
    "",
    "PSNR (dB), paper",
    "ours",
    "SSIM (%), paper",
    "ours, paper's convention",
    "ours, standard",
]


def time_rows(times: dict[str, Any]) -> list[list[str]]:
    """Seconds for all of LIVE1 and their ratio, the paper's and ours."""
    rows = []
    for quality, seconds in times["seconds"].items():
        decoder, network = paper.TABLE_2_SECONDS[int(quality)]
        ours, theirs = seconds["seconds"], seconds["jpeg_seconds"]
        rows.append(
            [
                f"Q = {quality}",
                *(f"{decoder:.2f}", f"{network:.2f}", f"{network / decoder:.2f}"),
                *(f"{theirs:.2f}", f"{ours:.1f}", f"{ours / theirs:.0f}"),
            ]
        )
    return rows


TIME_HEAD = [
    "",
    "decoder, CPU (s), paper",
    "network, GPU (s), paper",
    "ratio",
    "Pillow (s), ours",
    "network (s), ours",
    "ratio",
]


def comparison_rows(scores: Scores) -> list[list[str]]:
    """Table III with ours on top."""
    mean = scores[10]
    ours = (
        "**HR-CNN, ours**",
        f"**{mean['gain']:+.2f}**",
        f"**{100 * mean['gain_ssim_as_paper']:+.2f}**",
        f"{100 * mean['gain_ssim']:+.2f}",
        f"{cards.released(mean['model']).parameters:,}",
    )
    printed = (
        (name, f"{gain:+.2f}", f"{ssim:+.2f}", "–", f"{size:,}" if size else "–")
        for name, gain, ssim, size in paper.TABLE_3
    )
    return [list(row) for row in (ours, *printed)]


COMPARISON_HEAD = ["", "PSNR gain (dB)", "SSIM gain (%)", "standard SSIM gain (%)", "parameters"]


def picture_rows(live1: Mapping[str, Any]) -> list[list[str]]:
    """The paper's Fig. 5 in figures: its two pictures, and the two that we show."""
    rows = [
        _picture_row(f"image {name}, the paper's", quality, row)
        for name, printed in paper.FIGURE_5.items()
        for quality, row in printed.items()
    ]
    for shown in PICTURES:
        for result in live1["results"]:
            (found,) = (p for p in result["pictures"] if Path(p["picture"]).stem == shown)
            ssim = (100 * found[f"{prefix}ssim_as_paper"] for prefix in ("jpeg_", ""))
            row = paper.Row(found["jpeg_psnr"], found["psnr"], *ssim)
            rows.append(_picture_row(f"{shown}, ours", result["quality"], row))
    return rows


def _picture_row(name: str, quality: int, row: paper.Row) -> list[str]:
    return [
        name,
        f"{quality}",
        *(f"{row.jpeg_psnr:.2f}", f"{row.psnr:.2f}", f"{row.psnr - row.jpeg_psnr:+.2f}"),
        *(f"{row.jpeg_ssim:.2f}", f"{row.ssim:.2f}", f"{row.ssim - row.jpeg_ssim:+.2f}"),
    ]


PICTURE_HEAD = [
    "",
    "quality",
    "PSNR (dB), JPEG",
    "HR-CNN",
    "gain",
    "SSIM (%), JPEG",
    "HR-CNN",
    "gain",
]


def ablation_rows(variants: dict[str, Any]) -> list[list[str]]:
    """One line a variant."""
    return [
        [
            name,
            f"{found['gain']:+z.2f}",
            f"{found['gain_projected']:+z.2f}",
            f"{found['parameters']:,}",
            f"{found['multiply_adds_per_pixel']:,}",
        ]
        for name, found in variants.items()
    ]


ABLATION_HEAD = ["variant", "gain (dB)", "projected", "parameters", "multiply-adds a pixel"]


def training_rows() -> list[list[str]]:
    """How each network was trained: the paper's as it tells, ours from their cards."""
    optimiser, hours, hardware = paper.TRAINING
    rows = [["HR-CNN, the paper's", optimiser, "–", hours, hardware, "–", "–"]]
    for name in networks():
        card = cards.released(name)
        how = card.training["optimisation"]
        rows.append(
            [
                f"`{name}`",
                how["optimiser"],
                f"{card.steps:,} of {how['batch']} × {card.training['data']['patch']}²",
                f"{card.curve[-1]['hours']:.1f} h",
                card.hardware,
                card.training["run"]["warm_start"] or "–",
                f"{card.validation_gain_db:+.2f}",
            ]
        )
    return rows


TRAINING_HEAD = ["", "optimiser", "steps", "time", "on", "started from", "validation gain (dB)"]


def page(crops: Mapping[str, Any], live1: Mapping[str, Any]) -> str:
    """RESULTS.md, of both evaluations."""
    scores = means(live1)
    times = kept("times")
    ablations = kept("ablations")
    template = (Path(__file__).parent / "RESULTS.template.md").read_text(encoding="utf-8")
    steps = next(iter(ablations["variants"].values()))["steps"]
    return template.format(
        hardware=live1["hardware"],
        date=datetime.date.today().isoformat(),
        crops=CROPS,
        table_1=table(SCORE_HEAD, score_rows(means(crops), paper.TABLE_1)),
        table_2=table(SCORE_HEAD, score_rows(scores, paper.TABLE_2)),
        times=table(TIME_HEAD, time_rows(times)),
        times_hardware=times["hardware"],
        times_date=times["date"],
        table_3=table(COMPARISON_HEAD, comparison_rows(scores)),
        pictures=table(PICTURE_HEAD, picture_rows(live1)),
        training=table(TRAINING_HEAD, training_rows()),
        ablations=table(ABLATION_HEAD, ablation_rows(ablations["variants"])),
        ablation_steps=steps,
        folded=9 * 64 + 4 * 17**2,
        ablation_quality=ablations["quality"],
        ablation_hardware=ablations["hardware"],
    )


def points_of(curve: Sequence[Mapping[str, float]], across: str) -> list[tuple[float, float]]:
    """A curve's gains over its steps or hours."""
    return [(point[across], point["gain"]) for point in curve]


def draw_pictures(live1: str, docs: Path) -> None:
    """The paper's Fig. 4 and Fig. 5."""
    restorers = [Restorer(name) for name in networks()]
    rows = [(restorer, restorer.network.quality or 0) for restorer in restorers]
    source = open_source([live1], split="validation")
    for index, name in enumerate(source.names):
        stem = Path(name).stem
        if stem not in PICTURES:
            continue
        picture = Picture(stem, samples_of(source.load(index), "green", name))
        figures.save(gallery.comparison(rows, picture, "green"), docs / f"{stem}.png")
        if stem == PICTURES[0]:
            stages = gallery.stages(restorers[0].network, picture, "green")
            figures.save(stages, docs / "stages.png")


def draw_curves(docs: Path) -> None:
    """The curves of training and of the ablations."""
    lines = {name: points_of(cards.released(name).curve, "hours") for name in networks()}
    lowest = min(gain for points in lines.values() for _, gain in points)
    title = "Training the paper's network"
    hours = figures.curves(lines, across="hours", up=GAIN, title=title, bottom=lowest - 0.1)
    figures.save(hours, docs / "training.png")
    variants = kept("ablations")["variants"]
    lines = {name: points_of(found["curve"], "step") for name, found in variants.items()}
    steps = figures.curves(lines, across="steps", up=GAIN, title="Ablations")
    figures.save(steps, docs / "ablations.png")


def run(given: argparse.Namespace) -> None:
    """Measures, writes, draws."""
    folder = Path(given.output_dir)
    models = networks()
    asked = ["--times"] if given.times else []
    live1 = measure(models, folder / "live1", "--data", given.live1, "--card", *asked)
    cut = ("--data", given.crops_of, "--crop", "128", "--crops", str(CROPS))
    crops = measure(models, folder / "crops", *cut)
    if given.times:
        note_times(live1)
    draw_pictures(given.live1, ROOT / "docs")
    draw_curves(ROOT / "docs")
    text = page(crops, live1)
    write_text(ROOT / "RESULTS.md", text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    try:
        run(parse(argv))
    except (ValueError, OSError) as error:
        print(f"reproduce.results: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
