"""Measures networks against plain JPEG decoding, picture by picture.

Codes are made from a plane at a quality, or a colour file from a picture; the plain decode and the
network's picture are both rounded to 8 bits before they are compared with the original. Times, if
they are asked for, are from a JPEG file's bytes to an array: Pillow's decoder, and reading the
codes plus the network.
"""

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from hrcnn_jax.compiler import sound
from hrcnn_jax.data.chains import EmptyError
from hrcnn_jax.data.planes import MEASURED
from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import CHROMINANCE, LUMINANCE, MAX_SAMPLE, ROBIDOUX, quality_table
from hrcnn_jax.restoration.programs import Program
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import chains, metrics
from hrcnn_jax.scores.chains import Chain
from hrcnn_jax.scores.protocol import COLOUR

TABLES: dict[str, NDArray[np.int32]] = {
    "luminance": LUMINANCE,
    "chrominance": CHROMINANCE,
    "flat": np.full((8, 8), 16, np.int32),
    "robidoux": ROBIDOUX,
}
"""Base tables that qualities scale: Annex K's two, and two of MozJPEG's: number 1, flat, and
number 3, by N. Robidoux, its default and ImageMagick's choice for it."""

ROUNDED = 10 * math.log10(12 * MAX_SAMPLE**2)
"""PSNR in dB of a picture that is perfect but for rounding to 8 bits."""

PAPER_RANGE = 2.0  # the data range behind the paper's SSIM; the pictures' own is 1
PSNR = ("jpeg_psnr", "psnr", "gain")
SSIM = ("jpeg_ssim", "ssim", "gain_ssim")
PAPER_SSIM = ("jpeg_ssim_as_paper", "ssim_as_paper", "gain_ssim_as_paper")
SECONDS = ("jpeg_seconds", "seconds")
HISTORY = ("found", "right")
Scores = dict[str, float]


class EvaluationError(ValueError):
    """What was asked for cannot be measured; the message says what to change."""


class SmallError(ValueError):
    """A picture is too small to be compared with another."""


class Picture(NamedTuple):
    """Samples uint8, and where they are from.

    A plane `(H, W)`, H and W multiples of 8, or an RGB picture `(H, W, 3)` of any size.
    """

    name: str
    samples: NDArray[np.uint8]


class Result(NamedTuple):
    """The scores of one network at one quality, or of one past, picture by picture."""

    model: str
    quality: int | Chain
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
    """A plane of `MEASURED` of an RGB picture, cropped to multiples of 8, or `COLOUR`: all."""
    if planes == COLOUR:
        return picture
    height, width = (side // 8 * 8 for side in picture.shape[:2])
    if not height or not width:
        raise EvaluationError(
            f"{name}: {picture.shape[1]}x{picture.shape[0]} pixels hold no 8x8 block; remove it"
        )
    return MEASURED[planes].of(picture[:height, :width])


def to_pixels(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit samples to [0, 1]."""
    return plane.astype(np.float32) / np.float32(MAX_SAMPLE)


def make_codes(
    plane: NDArray[np.uint8], quality: int, base: NDArray[np.int32] = LUMINANCE
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Codes `(H/8, W/8, 8, 8)` of a plane `(H, W)`, and their table `(8, 8)`."""
    table = quality_table(quality, base)
    padded = _padded(to_pixels(plane))
    codes = np.asarray(_encode(padded, table)).astype(np.int16)
    return codes[: plane.shape[0] // 8, : plane.shape[1] // 8], table


def decode_plainly(codes: NDArray[np.int16], table: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels `(8*hb, 8*wb)` float32 in [0, 1] of codes `(hb, wb, 8, 8)`."""
    pixels = np.asarray(_decode(_padded(codes, UNIT // 8), table))
    return pixels[: 8 * codes.shape[0], : 8 * codes.shape[1]]


UNIT = 256
"""Pictures are padded to multiples of this before they are coded and compared, so that pictures of
many sizes share a few compiled programs."""

_encode = Program(transform.encode, sound)
_decode = Program(transform.decode, sound)


def _padded(values: NDArray[Any], unit: int = UNIT) -> NDArray[Any]:
    """Arrays `(H, W, ...)`, zeros below and to the right, up to multiples of a unit."""
    margins = [(0, -side % unit) for side in values.shape[:2]]
    return np.pad(values, [*margins, *[(0, 0)] * (values.ndim - 2)])


@partial(Program, options=sound)
def _compare(size: Array, original: Array, plain: Array, restored: Array) -> dict[str, Array]:
    """Scores of padded planes `(H, W, C)`; `size` is that of what counts, down and across."""

    def inside(shape: tuple[int, ...], margin: int) -> Array:
        down, across = (
            jnp.arange(length) < size[axis] - margin for axis, length in enumerate(shape)
        )
        return down[:, None] & across[None, :]

    def mean(values: Array, margin: int = 0) -> Array:
        counted = inside(values.shape[-2:], margin)
        count = len(values) * jnp.sum(counted, dtype=jnp.float32)
        return jnp.sum(jnp.where(counted, values, 0.0)) / count

    true = jnp.moveaxis(original, -1, 0)
    scores = {}
    for prefix, picture in (("jpeg_", plain), ("", restored)):
        rounded = metrics.to_8_bits(jnp.moveaxis(picture, -1, 0))
        scores[f"{prefix}psnr"] = -10.0 * jnp.log10(mean(jnp.square(true - rounded)))
        for name, data_range in (("ssim", 1.0), ("ssim_as_paper", PAPER_RANGE)):
            found = metrics.ssim_map(true, rounded, data_range=data_range)
            scores[f"{prefix}{name}"] = mean(found, metrics.SSIM_WINDOW - 1)
    return scores


def compare(
    original: NDArray[Any], plain: NDArray[Any], restored: NDArray[Any]
) -> dict[str, float]:
    """PSNR in dB and SSIM (at most 1) of two pictures, rounded to 8 bits here.

    Pictures are `(H, W)` or `(H, W, 3)`: then PSNR is of all samples, SSIM the planes' mean.

    Raises:
      SmallError: if a side is shorter than SSIM's window.
    """
    height, width = original.shape[:2]
    if min(height, width) < metrics.SSIM_WINDOW:
        raise SmallError(f"SSIM needs sides of at least 7 pixels, got {width}×{height}")
    size = np.array([height, width], np.int32)
    planes = (_padded(each.reshape(height, width, -1)) for each in (original, plain, restored))
    return {name: float(value) for name, value in _compare(size, *planes).items()}


def score(original: NDArray[Any], plain: NDArray[Any], restored: NDArray[Any]) -> Scores:
    """All scores of a restored picture; each `(H, W)` or `(H, W, 3)` in [0, 1]."""
    scores = compare(original, plain, restored)
    for before, after, gain in (PSNR, SSIM, PAPER_SSIM):
        # Two perfect pictures have infinite PSNR, and their difference is no number.
        equal = scores[after] == scores[before]
        scores[gain] = 0.0 if equal else scores[after] - scores[before]
    return scores


def as_file(samples: NDArray[np.uint8], **options: Any) -> bytes:
    """A plane `(H, W)` as a grayscale, RGB `(H, W, 3)` as a colour JPEG file, by Pillow."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "JPEG", **options)
    return file.getvalue()


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """A result on the host, and the seconds it took to get there."""
    began = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - began


class Attempt(NamedTuple):
    """What a network made of a picture: pixels in [0, 1], plainly decoded and restored."""

    plain: NDArray[np.float32]
    restored: NDArray[np.float32]


def attempt_plane(
    restorer: Restorer, plane: NDArray[np.uint8], quality: int, base: NDArray[np.int32]
) -> Attempt:
    """Restores a plane `(H, W)` from exact codes."""
    codes, table = make_codes(plane, quality, base)
    return Attempt(decode_plainly(codes, table), restorer.restore_codes(codes, table))


def attempt_colour(restorer: Restorer, picture: NDArray[np.uint8], quality: int) -> Attempt:
    """Restores an RGB picture `(H, W, 3)` from a JPEG file with Annex K's tables."""
    file = as_file(picture, quality=quality, subsampling="4:2:0")
    return Attempt(to_pixels(chains.decompressed(file)), to_pixels(restorer.restore(file)))


def seconds_of(
    restorer: Restorer, samples: NDArray[np.uint8], quality: int, base: NDArray[np.int32]
) -> dict[str, float]:
    """Seconds from a JPEG file to an array, by Pillow and by the network; compiling left out."""
    if samples.ndim == 2:
        table = quality_table(quality, base)
        file = as_file(samples, qtables=[table.ravel().tolist()])
    else:
        file = as_file(samples, quality=quality, subsampling="4:2:0")
    restorer.restore(file)
    _, plain = timed(chains.decompressed, file)
    _, restored = timed(restorer.restore, file)
    return dict(zip(SECONDS, (plain, restored), strict=True))


def evaluate(
    restorer: Restorer,
    quality: int | Chain,
    pictures: Sequence[Picture],
    base: NDArray[np.int32] = LUMINANCE,
    *,
    times: bool = False,
) -> Iterator[Scores]:
    """Scores each picture at one quality.

    Args:
      restorer: the network.
      quality: of the codes; or what is done to pictures, and `base` does not count.
      pictures: to make the codes from.
      base: the table that the quality scales; of planes only.
      times: measure seconds, too; of no past.

    Raises:
      EvaluationError: if a picture is too small; the message names it.
    """
    for name, samples in pictures:
        try:
            scores = _score_of(restorer, quality, samples, base)
        except (SmallError, EmptyError) as error:
            raise EvaluationError(f"{name}: {error}; leave it out") from error
        if times and isinstance(quality, int):
            scores |= seconds_of(restorer, samples, quality, base)
        yield scores


def _score_of(
    restorer: Restorer, quality: int | Chain, samples: NDArray[np.uint8], base: NDArray[np.int32]
) -> Scores:
    if isinstance(quality, Chain):
        return _score_of_chain(restorer, samples, quality)
    if samples.ndim == 2:
        made = attempt_plane(restorer, samples, quality, base)
    else:
        made = attempt_colour(restorer, samples, quality)
    return score(to_pixels(samples), made.plain, made.restored)


def _score_of_chain(restorer: Restorer, samples: NDArray[np.uint8], chain: Chain) -> Scores:
    made = chains.restored(restorer, samples, chain)
    scores = score(to_pixels(made.original), to_pixels(made.plain), made.restored)
    # A chain may leave a picture as it was: then what is restored has nothing to lose but this.
    scores |= {name: min(scores[name], ROUNDED) for name in PSNR[:2]}
    scores |= {"gain": scores["psnr"] - scores["jpeg_psnr"]}
    return scores | {"found": float(made.found), "right": float(made.right)}


def measure(
    restorers: Sequence[tuple[Restorer, Sequence[int | Chain]]],
    pictures: list[Picture],
    base: NDArray[np.int32] = LUMINANCE,
    *,
    times: bool = False,
) -> list[Result]:
    """Every network at each of its qualities, or with each past; arguments as for `evaluate`."""
    results = []
    total = len(pictures) * sum(len(qualities) for _, qualities in restorers)
    with tqdm(total=total, unit="picture", disable=None) as bar:
        for restorer, qualities in restorers:
            for quality in qualities:
                name = restorer.network.name
                bar.set_description(f"{name}, {quality}")
                result = Result(name, quality, pictures, [])
                for scores in evaluate(restorer, quality, pictures, base, times=times):
                    result.scores.append(scores)
                    bar.update()
                results.append(result)
    return results


def table_of(results: Sequence[Result]) -> str:
    """The means as aligned text; SSIM in percent."""
    groups: list[tuple[str, tuple[str, ...], int, str]] = [
        ("PSNR (dB)", PSNR, 1, "8.2f"),
        ("SSIM (%)", SSIM, 100, "8.2f"),
        ("SSIM as in the paper (%)", PAPER_SSIM, 100, "8.2f"),
    ]
    if SECONDS[0] in results[0].mean:
        groups.append(("time (s)", SECONDS, 1, "8.2f"))
    if HISTORY[0] in results[0].mean:
        groups.append(("history (%)", HISTORY, 100, "8.1f"))
    margin = max(len("model"), *(len(result.model) for result in results))
    heads = [f"{title:^{8 * len(names)}}" for title, names, _, _ in groups]
    columns = ["".join(f"{head:>8}" for head in _heads(names)) for _, names, _, _ in groups]
    width = max(len("quality"), *(len(str(result.quality)) for result in results))
    lines = ["  ".join([" " * (margin + width + 2), *heads]).rstrip()]
    lines.append("  ".join([f"{'model':<{margin}}  {'quality':>{width}}", *columns]))
    for result in results:
        mean = result.mean
        cells = [
            "".join(
                f"{mean[name] * scale:{'+z' * name.startswith('gain')}{layout}}" for name in names
            )
            for _, names, scale, layout in groups
        ]
        lines.append("  ".join([f"{result.model:<{margin}}  {result.quality!s:>{width}}", *cells]))
    return "\n".join(lines)


def _heads(names: Sequence[str]) -> Sequence[str]:
    return names if names == HISTORY else ("JPEG", "network", "gain")[: len(names)]


def as_csv(results: Sequence[Result]) -> str:
    """One line a picture, SSIM as fractions."""
    text = io.StringIO()
    first = ["model", "quality", "picture", "height", "width"]
    names = list(results[0].scores[0])
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
