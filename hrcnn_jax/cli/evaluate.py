"""`evaluate`: measures networks against plain JPEG decoding; `python evaluate.py` is the same.

  hrcnn-jax evaluate --model small --data PICTURES --output-dir results --figures

Codes are made from each picture's plane at each quality; both the plain decode and the network's
picture are rounded to 8 bits before they are compared with the original.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import itertools
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hrcnn_jax.cli.common import FAILED, complain, dashed, needs, output_folder
from hrcnn_jax.data import sources
from hrcnn_jax.data.crops import cut_crops
from hrcnn_jax.data.planes import MEASURED
from hrcnn_jax.files.atomic import write_text
from hrcnn_jax.hardware import hardware
from hrcnn_jax.networks import cards, zoo
from hrcnn_jax.networks.hrcnn import STAGES
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import chains, protocol
from hrcnn_jax.scores.chains import Chain
from hrcnn_jax.scores.evaluation import (
    TABLES,
    EvaluationError,
    Picture,
    Result,
    as_csv,
    finite,
    measure,
    samples_of,
    table_of,
)
from hrcnn_jax.scores.protocol import COLOUR, Protocol

HELP = "measure networks against plain JPEG decoding"
QUALITIES = (10, 30, 50)
PAPER_CROPS = 14_040


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Flags, that fit together."""
    parser = _parser()
    given = parser.parse_args(dashed(argv))
    if told := _contradiction(given):
        parser.error(told)
    given.crops = given.crops or PAPER_CROPS
    return given


def _parser() -> argparse.ArgumentParser:
    """What may be asked for."""
    parser = argparse.ArgumentParser(
        prog="hrcnn-jax evaluate",
        description="Measure networks against plain JPEG decoding: PSNR, SSIM, seconds.",
        epilog="The paper's Table II: --model hrcnn-q10 hrcnn-q30 hrcnn-q50 --data LIVE1. Its "
        "Table I: the same networks with --data tfds:div2k --crop 128.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=96),
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=[zoo.DEFAULT],
        metavar="NAME",
        help="released networks, weights files or folders of training runs "
        f"(default: {zoo.DEFAULT})",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="PICTURES",
        help="folders of pictures, or tfds:NAME[@DIR]",
    )
    parser.add_argument(
        "--test-split",
        action="store_true",
        help="only the tenth of the pictures that train.py, given the same data, left for testing",
    )
    parser.add_argument(
        "--quality",
        nargs="+",
        type=_quality,
        metavar="Q",
        help="JPEG qualities (default: 10 30 50, or the only one a network serves)",
    )
    parser.add_argument(
        "--history",
        nargs="+",
        type=_chain,
        metavar="CHAIN",
        help="measure pictures with a past, instead of --quality, all by Pillow: compressed at "
        "quality Q1, cropped by DY rows and DX columns, and compressed at Q2 (or png: kept without "
        "loss) is Q1,Q2,DY,DX; any chain is written as its steps, 20,x0.75,85 for instance, which "
        "are 30 (JPEG), 30/444, 30/flat (a flat table), w40 (WebP), x0.75 or x0.75/lanczos "
        "(resized; box, bilinear, hamming, bicubic), +3:5 (rows and columns cut away), turn90, "
        "turn180, turn270, mirror, blur0.6, sharpen80, gray and png; clean is none. "
        "Compared with what the same chain gives without its compressions",
    )
    parser.add_argument(
        "--believe",
        default="auto",
        metavar="H",
        help="what --history is restored with: auto, off, or such as quality=20,grid=3:5 "
        "(default: auto)",
    )
    parser.add_argument(
        "--table",
        choices=tuple(TABLES),
        default="luminance",
        help="the quantisation table that qualities scale: Annex K's, all steps alike, or N. "
        "Robidoux's (MozJPEG); --planes rgb has Annex K's two (default: luminance)",
    )
    parser.add_argument(
        "--planes",
        choices=(*MEASURED, COLOUR),
        default="green",
        help="the green channel, as in the paper; JFIF luma; luma in studio range, as the "
        "literature (with --quality 10 20 30 40); JFIF chroma (with --table chrominance); or "
        "whole colour files, 4:2:0 (default: green)",
    )
    parser.add_argument(
        "--crop",
        type=int,
        metavar="SIDE",
        help="measure random crops of SIDE pixels instead of whole pictures",
    )
    parser.add_argument(
        "--crops",
        type=int,
        metavar="N",
        help=f"how many crops (default: {PAPER_CROPS}, as the paper)",
    )
    parser.add_argument(
        "--faithful",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="project results onto the pictures that have exactly the file's codes (default: yes)",
    )
    parser.add_argument(
        "--chroma",
        default=cards.OWN,
        metavar="NAME",
        help="what restores chroma for --planes rgb: a released network, the folder of a training "
        f"run, {cards.OWN}, the one that the network's card names, or {cards.NONE}, each plane by "
        f"itself (default: {cards.OWN})",
    )
    parser.add_argument(
        "--pixels",
        default=cards.NONE,
        metavar="NAME",
        help="what restores pictures of --history whose damage no codes explain, as restore has "
        f"it: a network of pictures, such as {cards.PIXELS}, or none (default: {cards.NONE})",
    )
    parser.add_argument(
        "--output-dir", metavar="FOLDER", help="write metrics.json, metrics.csv and figures here"
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="draw the first pictures before and after, and what a network's stages hand on",
    )
    parser.add_argument(
        "--figure-pictures",
        type=int,
        default=2,
        metavar="N",
        help="how many pictures to draw (default: 2)",
    )
    parser.add_argument(
        "--times",
        action="store_true",
        help="measure seconds from a file to an array, too, beside Pillow's (on an idle machine)",
    )
    parser.add_argument(
        "--card", action="store_true", help="write the means into the cards beside the weights"
    )
    return parser


def _contradiction(given: argparse.Namespace) -> str | None:
    """Which flags cannot be had, or not together; None if all can."""
    if given.crop is not None and (given.crop < 8 or given.crop % 8):
        return f"--crop {given.crop}: must be a multiple of 8"
    if given.crops is not None and (given.crop is None or given.crops < 1):
        return "--crops: give a positive number, and their side by --crop"
    if given.figures and given.output_dir is None:
        return "--figures: say where to by --output-dir"
    if given.figures and given.planes == COLOUR:
        return f"--figures: are of single planes, not of --planes {COLOUR}"
    if given.table != "luminance" and (given.figures or given.planes == COLOUR):
        return f"--table {given.table}: not for --figures, nor for --planes {COLOUR}"
    if given.history and (given.quality or given.card or given.figures or given.times):
        return "--history: not with --quality, --card, --figures or --times"
    if given.history and given.table != "luminance":
        return f"--history: compresses with Pillow's tables, not with --table {given.table}"
    if not given.history and (given.believe != "auto" or given.pixels != cards.NONE):
        return "--believe and --pixels: are for pictures with a past: give --history"
    if given.planes != COLOUR and given.chroma not in (cards.OWN, cards.NONE):
        return f"--chroma: is for --planes {COLOUR}"
    if given.figure_pictures < 0:
        return f"--figure-pictures {given.figure_pictures}: must be 0 or more"
    return None


def _quality(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text}: a quality is an integer from 1 to 100")
    return int(text)


def _chain(text: str) -> Chain:
    try:
        return chains.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def load_networks(models: Sequence[str], *, card: bool) -> list[Network]:
    """The networks to measure, under names that differ; with cards beside them, if so asked."""
    networks: list[Network] = []
    for model in models:
        network = zoo.load(model)
        if models.count(model) > 1:
            raise EvaluationError(f"--model: {model} is given twice")
        if [zoo.find(other)[0] for other in models].count(network.name) > 1:
            network = dataclasses.replace(network, name=model)
        if card and not _card_of(model).is_file():
            raise EvaluationError(
                f"--card: {model} has no card beside its weights: release it first"
            )
        networks.append(network)
    return networks


def _card_of(model: str) -> Path:
    """Where the card of a released network lies, or that of a weights file."""
    return zoo.find(model)[1].with_suffix(".json")


def qualities_of(network: Network, asked: Sequence[int] | None) -> list[int]:
    """The qualities to measure a network at: what it serves of those asked for."""
    own = network.quality
    if own is None:
        return list(dict.fromkeys(asked or QUALITIES))
    others = [quality for quality in asked or [] if quality != own]
    if asked and own not in asked:
        raise EvaluationError(
            f"--quality: {network.name} serves quality {own} only: ask for it, or leave the network"
        )
    if others:
        skipped = " ".join(map(str, others))
        complain(f"{network.name} serves quality {own} only: not measured at {skipped}")
    return [own]


def load_pictures(given: argparse.Namespace) -> list[Picture]:
    """The planes to measure on: whole pictures, or random crops (always the same ones)."""
    if given.test_split:
        source = sources.open_split(given.data, "test")
    else:
        source = sources.open_source(given.data, split="validation")
    if given.crop:
        crops = cut_crops(source, given.crops, given.crop, channel=None)
        named = ((f"crop {number}", crop) for number, crop in enumerate(crops))
        return [Picture(name, samples_of(crop, given.planes, name)) for name, crop in named]
    return [
        Picture("/".join(Path(name).parts[-2:]), samples_of(source.load(index), given.planes, name))
        for index, name in enumerate(source.names)
    ]


def protocol_of(given: argparse.Namespace) -> Protocol:
    """What is measured: the key of the cards' scores."""
    return Protocol(
        data=" + ".join(map(sources.name_of, given.data)),
        planes=given.planes,
        table=given.table,
        chroma=Path(given.chroma).name if given.planes == COLOUR else None,
        crop=given.crop,
        crops=given.crops if given.crop else None,
        test_split=given.test_split,
        past=" ".join(map(str, given.history)) if given.history else None,
        history=given.believe if given.history else None,
        pixels=Path(given.pixels).name if given.history and given.pixels != cards.NONE else None,
        faithful=given.faithful,
    )


def as_json(
    results: Sequence[Result],
    networks: Sequence[Network],
    given: argparse.Namespace,
    command: Sequence[str],
) -> str:
    """All there is to know about an evaluation. Infinite values (a perfect picture) are null."""
    described = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "evaluate.py", *command]),
        "hardware": hardware(),
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("jax", "jaxlib", "flax", "numpy")},
        },
        "protocol": dataclasses.asdict(protocol_of(given)),
        "models": {
            network.name: {
                "architecture": network.card.architecture,
                "options": dict(network.card.options),
                "steps": network.card.steps,
                "chroma": network.card.chroma,
            }
            for network in networks
        },
        "results": [
            {
                "model": result.model,
                "quality": result.quality if isinstance(result.quality, int) else None,
                "past": None if isinstance(result.quality, int) else str(result.quality),
                "mean": finite(result.mean),
                "pictures": [
                    {"picture": picture.name, **finite(scores)}
                    for picture, scores in zip(result.pictures, result.scores, strict=True)
                ],
            }
            for result in results
        ],
    }
    return json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_cards(results: Sequence[Result], measured: Protocol, paths: Mapping[str, Path]) -> None:
    """Adds mean scores to the cards of networks, under the protocol and quality.

    Args:
      results: the scores.
      measured: how they were measured.
      paths: of the cards, by the names of networks in the results.
    """
    for result in results:
        assert isinstance(result.quality, int)
        mean = finite(result.mean)
        kept = {name: mean[name] for name in ("jpeg_psnr", "psnr", "gain", "ssim", "gain_ssim")}
        scores = {name: v if v is None else round(v, 4) for name, v in kept.items()}
        path = paths[result.model]
        cards.write(path, protocol.recorded(cards.read(path), measured, {result.quality: scores}))


def figure_names(names: Sequence[str]) -> list[str]:
    """What pictures or networks are called in names of files, with suffixes only if need be."""
    whole = [Path(name).relative_to(Path(name).anchor) for name in names]
    short = [path.with_suffix("") for path in whole]
    chosen = (
        path.with_name(path.name.replace(".", "-")) if short.count(bare) > 1 else bare
        for path, bare in zip(whole, short, strict=True)
    )
    plain = ["-".join(path.parts).replace(" ", "-") for path in chosen]
    numbers = {name: itertools.count(1) for name in plain if plain.count(name) > 1}
    return [f"{name}-{next(numbers[name])}" if name in numbers else name for name in plain]


def draw(
    restorers: Sequence[tuple[Restorer, list[int]]],
    pictures: Sequence[Picture],
    planes: str,
    folder: Path,
) -> None:
    """Writes one figure a network and picture, and one of the stages of the paper's networks."""
    try:
        from hrcnn_jax.scores import figures, gallery  # an extra: matplotlib
    except ImportError as error:
        raise EvaluationError(needs("--figures", error.name, "figures")) from error
    named = figure_names([picture.name for picture in pictures])
    drawn_by = figure_names([restorer.network.name for restorer, _ in restorers])
    for (restorer, qualities), by in zip(restorers, drawn_by, strict=True):
        network = restorer.network
        for picture, name in zip(pictures, named, strict=True):
            rows = [(restorer, quality) for quality in qualities]
            figure = gallery.comparison(rows, picture, planes)
            figures.save(figure, folder / f"{by}-{name}.png")
        if network.architecture.stages == STAGES and network.quality is not None and pictures:
            figure = gallery.stages(network, pictures[0], planes)
            figures.save(figure, folder / f"{by}-stages.png")


def run(given: argparse.Namespace, command: Sequence[str]) -> None:
    """Measures, prints, and writes what was asked for."""
    networks = load_networks(given.model, card=given.card)
    asked = [given.history or qualities_of(network, given.quality) for network in networks]
    apart = given.planes != COLOUR or given.chroma == cards.NONE
    chroma: str | Network | None = None if apart else given.chroma
    if chroma not in (None, cards.OWN):
        chroma = zoo.load(given.chroma, kinds=("chroma",))
    pixels = None if given.pixels == cards.NONE else zoo.load(given.pixels, kinds=("pictures",))
    believed = given.believe if given.history else "off"
    restorers = [
        (
            Restorer(
                network, faithful=given.faithful, chroma=chroma, pixels=pixels, history=believed
            ),
            each,
        )
        for network, each in zip(networks, asked, strict=True)
    ]
    pictures = load_pictures(given)
    folder = None if given.output_dir is None else output_folder(given.output_dir)
    results = measure(restorers, pictures, TABLES[given.table], times=given.times)
    print(f"{protocol_of(given)}: {len(pictures)} pictures, on {hardware()}\n")
    print(table_of(results))
    if folder:
        described = as_json(results, networks, given, command)
        for name, text in (("metrics.json", described), ("metrics.csv", as_csv(results))):
            write_text(folder / name, text)
    if given.card:
        named = zip(networks, given.model, strict=True)
        paths = {network.name: _card_of(model) for network, model in named}
        write_cards(results, protocol_of(given), paths)
    if folder and given.figures:
        draw(restorers, pictures[: given.figure_pictures], given.planes, folder)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    command = sys.argv[1:] if argv is None else argv
    given = parse(command)
    keep_programs(all_of_jax=True)
    try:
        run(given, command)
    except (ValueError, OSError) as error:
        complain(error)
        return FAILED
    return 0
