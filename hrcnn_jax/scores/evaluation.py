"""Measures networks against plain JPEG decoding, picture by picture, and draws what it finds.

Codes are made from a plane at a quality, or a colour file from a picture; the plain decode and the
network's picture are both rounded to 8 bits before they are compared with the original. Times are
from a JPEG file's bytes to an array: Pillow's decoder, and reading the codes plus the network.
``evaluate.py`` is the command.
"""

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from hrcnn_jax.data.planes import MEASURED
from hrcnn_jax.files import reader
from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import CHROMINANCE, LUMINANCE, MAX_SAMPLE
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.restoration.tiles import window
from hrcnn_jax.scores import figures, metrics
from hrcnn_jax.scores.figures import Panel

TABLES: dict[str, NDArray[np.int32]] = {
    "luminance": LUMINANCE,
    "chrominance": CHROMINANCE,
    "flat": np.full((8, 8), 16, np.int32),
    "robidoux": np.array(
        [
            [16, 16, 16, 18, 25, 37, 56, 85],
            [16, 17, 20, 27, 34, 40, 53, 75],
            [16, 20, 24, 31, 43, 62, 91, 135],
            [18, 27, 31, 40, 53, 74, 106, 156],
            [25, 34, 43, 53, 69, 94, 131, 189],
            [37, 40, 62, 74, 94, 124, 169, 238],
            [56, 53, 91, 106, 131, 169, 226, 311],
            [85, 75, 135, 156, 189, 238, 311, 418],
        ],
        np.int32,
    ),
}
"""Base tables that qualities scale: Annex K's two, and two of MozJPEG's: number 1, flat, and
number 3, by N. Robidoux, its default and ImageMagick's choice for it."""

COLOUR = "rgb"
"""Whole colour pictures instead of a plane, as 4:2:0 files by Pillow; compared over R, G and B."""

PAPER_RANGE = 2.0  # the data range behind the paper's SSIM; the pictures' own is 1
PSNR = ("jpeg_psnr", "psnr", "gain")
SSIM = ("jpeg_ssim", "ssim", "gain_ssim")
PAPER_SSIM = ("jpeg_ssim_as_paper", "ssim_as_paper", "gain_ssim_as_paper")
SECONDS = ("jpeg_seconds", "seconds")
Scores = dict[str, float]


class EvaluationError(ValueError):
    """What was asked for cannot be measured; the message says what to change."""


class Picture(NamedTuple):
    """Samples uint8, and where they are from.

    A plane ``(H, W)``, H and W multiples of 8, or an RGB picture ``(H, W, 3)`` of any size.
    """

    name: str
    samples: NDArray[np.uint8]


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


def samples_of(picture: NDArray[np.uint8], planes: str, name: str) -> NDArray[np.uint8]:
    """A plane of ``MEASURED`` of an RGB picture, cropped to multiples of 8, or ``COLOUR``: all."""
    if planes == COLOUR:
        return picture
    height, width = (side // 8 * 8 for side in picture.shape[:2])
    if not height or not width:
        raise EvaluationError(
            f"{name}: {picture.shape[1]}x{picture.shape[0]} pixels hold no 8x8 block; remove it"
        )
    channel = MEASURED[planes]
    plane = picture[:height, :width] @ np.asarray(channel.weights, np.float32)
    return np.round(plane + np.float32(channel.offset)).astype(np.uint8)


def to_pixels(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit samples to [0, 1]."""
    return plane.astype(np.float32) / np.float32(MAX_SAMPLE)


encode = jax.jit(transform.encode)
decode = jax.jit(transform.decode)


def make_codes(
    plane: NDArray[np.uint8], quality: int, base: NDArray[np.int32] = LUMINANCE
) -> tuple[NDArray[np.int16], NDArray[Any]]:
    """Codes ``(H/8, W/8, 8, 8)`` of a plane ``(H, W)``, and their table ``(8, 8)``."""
    table = transform.quality_table(quality, base)
    return np.asarray(encode(to_pixels(plane), table)).astype(np.int16), np.asarray(table)


@jax.jit
def compare(original: Array, plain: Array, restored: Array) -> dict[str, Array]:
    """PSNR in dB and SSIM (at most 1) of two pictures, rounded to 8 bits here.

    Pictures are ``(H, W)`` or ``(H, W, 3)``: then PSNR is of all samples, SSIM the planes' mean.
    """

    def as_planes(picture: Array) -> Array:
        return jnp.moveaxis(picture.reshape(*original.shape[:2], -1), -1, 0)

    true = as_planes(original)
    scores = {}
    for prefix, picture in (("jpeg_", plain), ("", restored)):
        rounded = as_planes(metrics.to_8_bits(picture))
        error = jnp.mean(metrics.mean_squared_error(true, rounded))
        scores[f"{prefix}psnr"] = -10.0 * jnp.log10(error)
        for name, data_range in (("ssim", 1.0), ("ssim_as_paper", PAPER_RANGE)):
            found = metrics.ssim(true, rounded, data_range=data_range)
            scores[f"{prefix}{name}"] = jnp.mean(found)
    return scores


def score(original: NDArray[Any], plain: NDArray[Any], restored: NDArray[Any]) -> Scores:
    """All scores of a restored picture; each ``(H, W)`` or ``(H, W, 3)`` in [0, 1]."""
    scores = {name: float(value) for name, value in compare(original, plain, restored).items()}
    for before, after, gain in (PSNR, SSIM, PAPER_SSIM):
        # Two perfect pictures have infinite PSNR, and their difference is no number.
        equal = scores[after] == scores[before]
        scores[gain] = 0.0 if equal else scores[after] - scores[before]
    return scores


def as_file(samples: NDArray[np.uint8], **options: Any) -> bytes:
    """A plane ``(H, W)`` as a grayscale, RGB ``(H, W, 3)`` as a colour JPEG file, by Pillow."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "JPEG", **options)
    return file.getvalue()


def decode_by_pillow(file: bytes) -> NDArray[np.uint8]:
    """The usual decoder, to compare times with."""
    return np.asarray(Image.open(io.BytesIO(file)))


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """A result on the host, and the seconds it took to get there."""
    began = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - began


class Attempt(NamedTuple):
    """What a network made of a picture; pixels in [0, 1], and seconds from file to array."""

    plain: NDArray[np.float32]
    restored: NDArray[np.float32]
    jpeg_seconds: float
    seconds: float


def attempt_plane(
    restorer: Restorer, plane: NDArray[np.uint8], quality: int, base: NDArray[np.int32]
) -> Attempt:
    """Restores a plane ``(H, W)`` from exact codes; libjpeg's, of a file, are for the times."""
    codes, table = make_codes(plane, quality, base)
    file = as_file(plane, qtables=[table.ravel().tolist()])
    _, jpeg_seconds = timed(decode_by_pillow, file)
    _, reading = timed(reader.read, file)
    restored, restoring = timed(restorer.restore_codes, codes, table)
    return Attempt(np.asarray(decode(codes, table)), restored, jpeg_seconds, reading + restoring)


def attempt_colour(restorer: Restorer, picture: NDArray[np.uint8], quality: int) -> Attempt:
    """Restores an RGB picture ``(H, W, 3)`` from a JPEG file with Annex K's tables."""
    file = as_file(picture, quality=quality, subsampling="4:2:0")
    plain, jpeg_seconds = timed(decode_by_pillow, file)
    restored, seconds = timed(restorer.restore, file)
    return Attempt(to_pixels(plain), to_pixels(restored), jpeg_seconds, seconds)


def evaluate(
    restorer: Restorer,
    quality: int,
    pictures: Sequence[Picture],
    warm: set[tuple[int, ...]],
    base: NDArray[np.int32] = LUMINANCE,
) -> Iterator[Scores]:
    """Scores each picture at one quality.

    Args:
      restorer: the network.
      quality: of the codes.
      pictures: to make the codes from.
      warm: the shapes that this restorer has met; new ones are added. They are run once before
        they are timed, so that compiling does not count.
      base: the table that the quality scales; of planes only.
    """

    def attempt(samples: NDArray[np.uint8]) -> Attempt:
        if samples.ndim == 2:
            return attempt_plane(restorer, samples, quality, base)
        return attempt_colour(restorer, samples, quality)

    for picture in pictures:
        samples = picture.samples
        if samples.shape not in warm:
            attempt(samples)
            warm.add(samples.shape)
        made = attempt(samples)
        scores = score(to_pixels(samples), made.plain, made.restored)
        yield {**scores, "jpeg_seconds": made.jpeg_seconds, "seconds": made.seconds}


def measure(
    restorers: Sequence[tuple[Restorer, list[int]]],
    pictures: list[Picture],
    base: NDArray[np.int32] = LUMINANCE,
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
                for scores in evaluate(restorer, quality, pictures, warm, base):
                    result.scores.append(scores)
                    bar.update()
                results.append(result)
    return results


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


def as_csv(results: Sequence[Result]) -> str:
    """One line a picture, SSIM as fractions."""
    text = io.StringIO()
    first = ["model", "quality", "picture", "height", "width"]
    names = [*PSNR, *SSIM, *PAPER_SSIM, *SECONDS]
    writer = csv.DictWriter(text, [*first, *names], lineterminator="\n")
    writer.writeheader()
    for result in results:
        for picture, scores in zip(result.pictures, result.scores, strict=True):
            shown = (result.model, result.quality, picture.name, *picture.samples.shape[:2])
            writer.writerow({**dict(zip(first, shown, strict=True)), **scores})
    return text.getvalue()


def finite(scores: Scores) -> dict[str, float | None]:
    """Scores as JSON can hold them: infinite ones, of perfect pictures, are None."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def draw_comparison(rows: Sequence[tuple[Restorer, int]], picture: Picture, planes: str) -> Any:
    """Original, plain JPEG and restored picture (the paper's Fig. 5).

    Args:
      rows: for each row of the figure a network and a quality it serves.
      picture: to make the codes from.
      planes: what plane of a colour picture it is, for the title.
    """
    original = to_pixels(picture.samples)
    panels, gain = [], np.zeros_like(original, float)
    for restorer, quality in rows:
        codes, table = make_codes(picture.samples, quality)
        plain, restored = np.asarray(decode(codes, table)), restorer.restore_codes(codes, table)
        scores = score(original, plain, restored)
        before = f"JPEG   {scores['jpeg_psnr']:.2f} dB   SSIM {scores['jpeg_ssim']:.1%}"
        after = f"Restored   {scores['psnr']:.2f} dB   SSIM {scores['ssim']:.1%}"
        panels.append([Panel(original, "Original"), Panel(plain, before), Panel(restored, after)])
        gain += figures.visible_gain(original, plain, restored)
    names = list(dict.fromkeys(restorer.network.name for restorer, _ in rows))
    return figures.comparison(
        panels,
        figures.richest_window(gain, detail_size(original, 4)),
        labels=[f"Quality {quality}" for _, quality in rows],
        title=f"{Path(picture.name).stem}: {planes} plane, restored by {', '.join(names)}",
    )


def draw_stages(network: Network, picture: Picture, planes: str) -> Any:
    """The features after each segment of HR-CNN (the paper's Fig. 4)."""
    quality = network.card["options"]["quality"]
    codes, table = make_codes(picture.samples, quality)
    original, plain = to_pixels(picture.samples), np.asarray(decode(codes, table))
    features = features_of(network, codes)
    captions = {
        stage: "{psnr:.2f} dB, plain JPEG {jpeg_psnr:.2f} dB".format(
            **score(original, plain, features[stage])
        )
        for stage in ("decoded", "enhanced")
    }
    plane = np.asarray(transform.from_blocks(jnp.asarray(codes)))
    return figures.stages(
        plane,
        features,
        figures.richest_window(plane != 0, detail_size(original, 8)),
        title=f"{Path(picture.name).stem} on its way through {network.name}: {planes} plane, "
        f"quality {quality}",
        captions=captions,
    )


def features_of(network: Network, codes: NDArray[np.int16]) -> dict[str, NDArray[np.float32]]:
    """What HR-CNN's segments hand on, in their order, for codes ``(hb, wb, 8, 8)``.

    Features are ``(hb, wb, 64)``, ``(8*hb, 8*wb, 64)``, and two pictures ``(8*hb, 8*wb)``.
    """
    halo = network.module.halo
    size = codes.shape[0] + 2 * halo, codes.shape[1] + 2 * halo
    surrounded = jnp.asarray(window(codes, (-halo, -halo), size), jnp.float32)
    plane = transform.from_blocks(surrounded)[None, ..., None]
    _, state = network.module.apply({"params": network.params}, plane, mutable=["intermediates"])
    features = {}
    for stage in ("extracted", "reconstructed", "decoded", "enhanced"):
        (value,) = state["intermediates"][stage]
        margin = halo if stage == "extracted" else 8 * halo
        inside = np.asarray(value, np.float32)[0, margin:-margin, margin:-margin]
        features[stage] = inside if inside.shape[-1] > 1 else inside[..., 0]
    return features


def detail_size(plane: NDArray[Any], share: int) -> tuple[int, int]:
    """Sides of a detail that fits into a picture ``share`` times each way."""
    height, width = plane.shape
    return max(8, height // share), max(8, width // share)
