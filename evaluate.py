"""Measures networks against plain JPEG decoding; see ``python evaluate.py --help``.

  python evaluate.py --model small --data PICTURES --output_dir results --figures

Codes are made from each picture's plane at each quality; both the plain decode and the network's
picture are rounded to 8 bits before they are compared with the original.
"""

import argparse
import csv
import datetime
import importlib.metadata
import io
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from tqdm import tqdm

from hrcnn_jax import data, figures, jpeg, metrics, released
from hrcnn_jax.figures import Panel
from hrcnn_jax.released import Network
from hrcnn_jax.restorer import Restorer, extend

QUALITIES = (10, 30, 50)
PAPER_RANGE = 2.0  # the data range behind the paper's SSIM; the pictures' own is 1
PSNR = ("jpeg_psnr", "psnr", "gain")
SSIM = ("jpeg_ssim", "ssim", "gain_ssim")
PAPER_SSIM = ("jpeg_ssim_as_paper", "ssim_as_paper", "gain_ssim_as_paper")
SECONDS = ("jpeg_seconds", "seconds")

Scores = dict[str, float]


class EvaluationError(ValueError):
    """What was asked for cannot be measured; the message says what to change."""


class Picture(NamedTuple):
    """A plane ``(H, W)`` uint8, H and W multiples of 8, and where it is from."""

    name: str
    plane: NDArray[np.uint8]


class Result(NamedTuple):
    """The scores of one network at one quality, picture by picture."""

    model: str
    quality: int
    pictures: list[Picture]
    scores: list[Scores]

    @property
    def mean(self) -> Scores:
        """Means over the pictures; of seconds the sum."""
        return {
            name: float((np.sum if name in SECONDS else np.mean)([s[name] for s in self.scores]))
            for name in self.scores[0]
        }


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags."""
    parser = argparse.ArgumentParser(
        description="Measure networks against plain JPEG decoding: PSNR, SSIM, seconds.",
        epilog="The paper's Table II: --data LIVE1. Its Table I: --data tfds:div2k --crop 128.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=96),
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=[released.DEFAULT],
        help=f"released networks or folders of training runs (default: {released.DEFAULT})",
    )
    parser.add_argument(
        "--data", nargs="+", required=True, help="pictures: folders, or tfds:NAME[@DIR]"
    )
    parser.add_argument(
        "--quality",
        nargs="+",
        type=_quality,
        help="JPEG qualities, Annex K luminance (default: 10 30 50, or the only one a network "
        "serves)",
    )
    parser.add_argument(
        "--planes",
        choices=("green", "luma"),
        default="green",
        help="the green channel, as in the paper, or JFIF luma (default: green)",
    )
    parser.add_argument(
        "--crop",
        type=int,
        metavar="SIDE",
        help="measure random crops of SIDE pixels instead of whole pictures",
    )
    parser.add_argument("--crops", type=int, help="how many crops (default: 14040, as the paper)")
    parser.add_argument(
        "--faithful",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="project onto the pictures that have exactly these codes (default: yes)",
    )
    parser.add_argument("--output_dir", help="write metrics.json, metrics.csv and figures here")
    parser.add_argument(
        "--figures", action="store_true", help="draw pictures and, for hrcnn, its stages"
    )
    parser.add_argument(
        "--figure_pictures", type=int, default=2, help="how many pictures to draw (default: 2)"
    )
    parser.add_argument(
        "--card", action="store_true", help="write the means into the released networks' cards"
    )
    given = parser.parse_args(argv)
    if given.crop is not None and (given.crop < 8 or given.crop % 8):
        parser.error(f"--crop {given.crop}: must be a multiple of 8")
    if given.crops is not None and (given.crop is None or given.crops < 1):
        parser.error("--crops: give a positive number, and their side by --crop")
    if given.figures and given.output_dir is None:
        parser.error("--figures: say where to by --output_dir")
    given.crops = given.crops or 14_040
    return given


def _quality(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text}: a quality is an integer from 1 to 100")
    return int(text)


def load_networks(names: Sequence[str], *, card: bool) -> list[Network]:
    """The networks to measure; their names differ, and are released ones if cards are written."""
    networks = [released.load_any(name) for name in names]
    for index, network in enumerate(networks):
        if network.name in [other.name for other in networks[:index]]:
            raise EvaluationError(f"--model: two networks are called {network.name!r}")
        if card and names[index] not in released.names():
            raise EvaluationError(f"--card: {names[index]} is not a released network")
    return networks


def qualities_of(network: Network, asked: Sequence[int] | None) -> list[int]:
    """The qualities to measure a network at: what it serves of those asked for."""
    own = network.card["options"].get("quality")
    if own is None:
        return list(dict.fromkeys(asked or QUALITIES))
    others = [quality for quality in asked or [] if quality != own]
    if asked and own not in asked:
        raise EvaluationError(
            f"--quality: {network.name} serves quality {own} only: ask for it, or leave the network"
        )
    if others:
        skipped = " ".join(map(str, others))
        _note(f"{network.name} serves quality {own} only: not measured at {skipped}")
    return [own]


def load_pictures(given: argparse.Namespace) -> list[Picture]:
    """The planes to measure on: whole pictures, or random crops (always the same ones)."""
    source = data.open_source(given.data, split="validation")
    if given.crop:
        crops = data.cut_crops(source, given.crops, given.crop, planes=given.planes)
        return [Picture(f"crop {n}", crop[..., 0]) for n, crop in enumerate(crops)]
    names = ["/".join(Path(name).parts[-2:]) for name in source.names]
    return [
        Picture(name, plane_of(source.load(index), given.planes, source.names[index]))
        for index, name in enumerate(names)
    ]


def plane_of(picture: NDArray[np.uint8], planes: str, name: str) -> NDArray[np.uint8]:
    """The green or luma plane of an RGB picture, cropped to multiples of 8."""
    height, width = (side // 8 * 8 for side in picture.shape[:2])
    if not height or not width:
        raise EvaluationError(
            f"{name}: {picture.shape[1]}x{picture.shape[0]} pixels hold no 8x8 block; remove it"
        )
    (weights,) = np.asarray(data.PLANES[planes], np.float32)
    return np.round(picture[:height, :width] @ weights).astype(np.uint8)


def to_pixels(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit samples to [0, 1]."""
    return plane.astype(np.float32) / np.float32(jpeg.MAX_SAMPLE)


encode = jax.jit(jpeg.encode)
decode = jax.jit(jpeg.decode)


def make_codes(plane: NDArray[np.uint8], quality: int) -> tuple[NDArray[np.int16], NDArray[Any]]:
    """Codes ``(H/8, W/8, 8, 8)`` of a plane ``(H, W)``, and their table ``(8, 8)``."""
    table = jpeg.quality_table(quality)
    return np.asarray(encode(to_pixels(plane), table)).astype(np.int16), np.asarray(table)


@jax.jit
def compare(original: Array, plain: Array, restored: Array) -> dict[str, Array]:
    """PSNR in dB and SSIM (at most 1) of two pictures ``(H, W)``, rounded to 8 bits here."""
    scores = {}
    for prefix, picture in (("jpeg_", plain), ("", restored)):
        rounded = metrics.to_8_bits(picture)
        scores[f"{prefix}psnr"] = metrics.psnr(original, rounded)
        scores[f"{prefix}ssim"] = metrics.ssim(original, rounded)
        scores[f"{prefix}ssim_as_paper"] = metrics.ssim(original, rounded, data_range=PAPER_RANGE)
    return scores


def score(original: NDArray[Any], plain: NDArray[Any], restored: NDArray[Any]) -> Scores:
    """All scores of a restored picture; planes ``(H, W)`` in [0, 1]."""
    scores = {name: float(value) for name, value in compare(original, plain, restored).items()}
    for before, after, gain in (PSNR, SSIM, PAPER_SSIM):
        # Two perfect pictures have infinite PSNR, and their difference is no number.
        equal = scores[after] == scores[before]
        scores[gain] = 0.0 if equal else scores[after] - scores[before]
    return scores


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[NDArray[np.float32], float]:
    """A result on the host, and the seconds it took to get there."""
    began = time.perf_counter()
    result = np.asarray(function(*arguments))
    return result, time.perf_counter() - began


def evaluate(
    restorer: Restorer, quality: int, pictures: Sequence[Picture], warm: set[tuple[int, ...]]
) -> Iterator[Scores]:
    """Scores each picture at one quality.

    Args:
      restorer: the network.
      quality: of the codes.
      pictures: to make the codes from.
      warm: the shapes that this restorer has met; new ones are added. They are run once before
        they are timed, so that compiling does not count.
    """
    for picture in pictures:
        codes, table = make_codes(picture.plane, quality)
        if codes.shape not in warm:
            decode(codes, table)
            restorer.restore_codes(codes, table)
            warm.add(codes.shape)
        plain, jpeg_seconds = timed(decode, codes, table)
        restored, seconds = timed(restorer.restore_codes, codes, table)
        scores = score(to_pixels(picture.plane), plain, restored)
        yield {**scores, "jpeg_seconds": jpeg_seconds, "seconds": seconds}


def measure(
    restorers: Sequence[tuple[Restorer, list[int]]], pictures: list[Picture]
) -> list[Result]:
    """Every network at each of its qualities."""
    results = []
    total = len(pictures) * sum(len(qualities) for _, qualities in restorers)
    with tqdm(total=total, unit="picture", disable=None) as bar:
        for restorer, qualities in restorers:
            warm: set[tuple[int, ...]] = set()
            for quality in qualities:
                name = restorer.network.name
                bar.set_description(f"{name}, quality {quality}")
                result = Result(name, quality, pictures, [])
                for scores in evaluate(restorer, quality, pictures, warm):
                    result.scores.append(scores)
                    bar.update()
                results.append(result)
    return results


def describe_data(given: argparse.Namespace) -> str:
    """What was measured on, for instance ``live1 green``: a key of the cards' scores."""
    text = f"{' + '.join(folder_names(given.data))} {given.planes}"
    if given.crop:
        text += f", {given.crops} crops of {given.crop}×{given.crop}"
    return text if given.faithful else f"{text}, not projected"


def folder_names(specs: Sequence[str]) -> list[str]:
    """Folders without what leads to them."""
    return [s.partition("@")[0] if s.startswith("tfds:") else Path(s).resolve().name for s in specs]


def table_of(results: Sequence[Result]) -> str:
    """The means as aligned text; SSIM in percent."""
    groups = [
        ("PSNR (dB)", PSNR, 1, "8.2f"),
        ("SSIM (%)", SSIM, 100, "8.2f"),
        ("SSIM as in the paper (%)", PAPER_SSIM, 100, "8.2f"),
        ("time (s)", SECONDS, 1, "8.2f"),
    ]
    margin = max(len("model"), *(len(result.model) for result in results))
    heads = [f"{title:^{8 * len(names)}}" for title, names, _, _ in groups]
    columns = [
        "".join(f"{head:>8}" for head in ("JPEG", "network", "gain")[: len(names)])
        for _, names, _, _ in groups
    ]
    lines = ["  ".join([" " * (margin + 9), *heads]).rstrip()]
    lines.append("  ".join([f"{'model':<{margin}}  quality", *columns]))
    for result in results:
        mean = result.mean
        cells = [
            "".join(
                f"{mean[name] * scale:{'+z' * name.startswith('gain')}{layout}}" for name in names
            )
            for _, names, scale, layout in groups
        ]
        lines.append("  ".join([f"{result.model:<{margin}}  {result.quality:>7}", *cells]))
    return "\n".join(lines)


def hardware() -> str:
    """What the seconds were measured on."""
    return f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}"


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
        "data": folder_names(given.data),
        "planes": given.planes,
        "crop": given.crop,
        "faithful": given.faithful,
        "models": {
            network.name: {
                key: network.card.get(key) for key in ("architecture", "options", "steps")
            }
            for network in networks
        },
        "results": [
            {
                "model": result.model,
                "quality": result.quality,
                "mean": _finite(result.mean),
                "pictures": [
                    {"picture": picture.name, **_finite(scores)}
                    for picture, scores in zip(result.pictures, result.scores, strict=True)
                ],
            }
            for result in results
        ],
    }
    return json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(results: Sequence[Result]) -> str:
    """One line a picture, SSIM as fractions."""
    text = io.StringIO()
    first = ["model", "quality", "picture", "height", "width"]
    names = [*PSNR, *SSIM, *PAPER_SSIM, *SECONDS]
    writer = csv.DictWriter(text, [*first, *names], lineterminator="\n")
    writer.writeheader()
    for result in results:
        for picture, scores in zip(result.pictures, result.scores, strict=True):
            shown = (result.model, result.quality, picture.name, *picture.plane.shape)
            writer.writerow({**dict(zip(first, shown, strict=True)), **scores})
    return text.getvalue()


def write_cards(results: Sequence[Result], label: str) -> None:
    """Adds mean scores to the cards of released networks, under the data's label and quality."""
    for result in results:
        path = released.WEIGHTS / f"{result.model}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        mean = _finite(result.mean)
        kept = {name: mean[name] for name in ("jpeg_psnr", "psnr", "gain", "ssim", "gain_ssim")}
        scores = {name: v if v is None else round(v, 4) for name, v in kept.items()}
        card.setdefault("scores", {}).setdefault(label, {})[str(result.quality)] = scores
        write_whole(path, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file that is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _finite(scores: Scores) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def draw(
    restorers: Sequence[tuple[Restorer, list[int]]],
    pictures: Sequence[Picture],
    planes: str,
    folder: Path,
) -> None:
    """Writes one figure a network and picture, and one of hrcnn's stages."""
    for restorer, qualities in restorers:
        network = restorer.network
        for picture in pictures:
            name = "-".join(Path(picture.name).with_suffix("").parts).replace(" ", "-")
            figure = draw_comparison(restorer, qualities, picture, planes)
            figures.save(figure, folder / f"{network.name}-{name}.png")
        if network.card["architecture"] == "hrcnn" and pictures:
            figure = draw_stages(network, pictures[0], planes)
            figures.save(figure, folder / f"{network.name}-stages.png")


def draw_comparison(
    restorer: Restorer, qualities: Sequence[int], picture: Picture, planes: str
) -> Any:
    """Original, plain JPEG and restored picture, one row a quality (the paper's Fig. 5)."""
    original = to_pixels(picture.plane)
    rows, windows = [], []
    for quality in qualities:
        codes, table = make_codes(picture.plane, quality)
        plain, restored = np.asarray(decode(codes, table)), restorer.restore_codes(codes, table)
        scores = score(original, plain, restored)
        before = f"JPEG   {scores['jpeg_psnr']:.2f} dB   SSIM {scores['jpeg_ssim']:.1%}"
        after = f"Restored   {scores['psnr']:.2f} dB   SSIM {scores['ssim']:.1%}"
        rows.append([Panel(original, "Original"), Panel(plain, before), Panel(restored, after)])
        windows.append(figures.clearest_window(original, plain, restored, detail_size(original, 4)))
    coarsest = int(np.argmin(qualities))
    return figures.comparison(
        rows,
        windows[coarsest],
        labels=[f"Quality {quality}" for quality in qualities],
        title=f"{Path(picture.name).stem}: {planes} plane, restored by {restorer.network.name}",
    )


def draw_stages(network: Network, picture: Picture, planes: str) -> Any:
    """The features after each segment of HR-CNN (the paper's Fig. 4)."""
    quality = network.card["options"]["quality"]
    codes, table = make_codes(picture.plane, quality)
    original, plain = to_pixels(picture.plane), np.asarray(decode(codes, table))
    features = features_of(network, codes)
    captions = {
        stage: "{psnr:.2f} dB, plain JPEG {jpeg_psnr:.2f} dB".format(
            **score(original, plain, features[stage])
        )
        for stage in ("decoded", "enhanced")
    }
    window = figures.clearest_window(
        original, plain, features["enhanced"], detail_size(original, 8)
    )
    return figures.stages(
        np.asarray(jpeg.from_blocks(jnp.asarray(codes))),
        features,
        window,
        title=f"{Path(picture.name).stem} on its way through {network.name}: {planes} plane, "
        f"quality {quality}",
        captions=captions,
    )


def features_of(network: Network, codes: NDArray[np.int16]) -> dict[str, NDArray[np.float32]]:
    """What HR-CNN's segments hand on, in their order, for codes ``(hb, wb, 8, 8)``.

    Features are ``(hb, wb, 64)``, ``(8*hb, 8*wb, 64)``, and two pictures ``(8*hb, 8*wb)``.
    """
    context = network.module.context
    surrounded = jnp.asarray(extend(codes, context, 0, 0), jnp.float32)  # no seam at the borders
    plane = jpeg.from_blocks(surrounded)[None, ..., None]
    _, state = network.module.apply({"params": network.params}, plane, mutable=["intermediates"])
    features = {}
    for stage in ("extracted", "reconstructed", "decoded", "enhanced"):
        (value,) = state["intermediates"][stage]
        margin = context if stage == "extracted" else 8 * context
        inside = np.asarray(value, np.float32)[0, margin:-margin, margin:-margin]
        features[stage] = inside if inside.shape[-1] > 1 else inside[..., 0]
    return features


def detail_size(plane: NDArray[Any], share: int) -> tuple[int, int]:
    """Sides of a detail that fits into a picture ``share`` times each way."""
    height, width = plane.shape
    return max(8, height // share), max(8, width // share)


def _note(text: str) -> None:
    print(f"evaluate.py: {text}", file=sys.stderr)


def run(given: argparse.Namespace, command: Sequence[str]) -> None:
    """Measures, prints, and writes what was asked for."""
    networks = load_networks(given.model, card=given.card)
    qualities = [qualities_of(network, given.quality) for network in networks]
    pictures = load_pictures(given)
    folder = Path(given.output_dir) if given.output_dir else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    restorers = [
        (Restorer(network, faithful=given.faithful), asked)
        for network, asked in zip(networks, qualities, strict=True)
    ]
    results = measure(restorers, pictures)
    print(f"{describe_data(given)}: {len(pictures)} pictures, on {hardware()}\n")
    print(table_of(results))
    if folder:
        write_whole(folder / "metrics.json", as_json(results, networks, given, command))
        write_whole(folder / "metrics.csv", as_csv(results))
    if given.card:
        write_cards(results, describe_data(given))
    if folder and given.figures:
        draw(restorers, pictures[: given.figure_pictures], given.planes, folder)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    command = sys.argv[1:] if argv is None else argv
    given = parse(command)
    try:
        run(given, command)
    except (ValueError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
