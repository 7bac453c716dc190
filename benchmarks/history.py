"""How often a history is found, and found right: `python -m benchmarks.history`.

Compresses pictures by Pillow, once and twice, on the same grid and cropped in between, and keeps
them without loss. Prints, by kind of picture, grid and qualities, how often
`hrcnn_jax.history.find` finds something, how often rightly (grid, quality to within one or that
the table is none of the known ones, chroma's sampling), what share of the earlier codes that are
not zero comes out exactly, and of those that are not marked as unsure; then false alarms, and
CPU-seconds a megapixel of looking. Pictures that are found to have been JPEG files themselves are
left out of these: they are rightly suspected.
"""

import argparse
import io
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegPresets import presets
from tqdm import tqdm

from benchmarks import results
from hrcnn_jax import history
from hrcnn_jax.data.sources import DataError, open_source
from hrcnn_jax.files import reader
from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history.record import OWN as OWN_TABLE
from hrcnn_jax.scores.chains import TOLERANCE, compressed, decompressed

Samples = NDArray[np.uint8]

ONCE = (10, 30, 50, 65, 75, 85, 90, 95)
"""Qualities of pictures that are compressed once."""

SAME = ((10, 30), (10, 75), (10, 90), (30, 75), (30, 90))
SHIFTED = ((10, 30), (10, 50), (30, 50), (30, 30))
"""Earlier and later qualities of gray pictures; those that are shifted lose four rows and columns
in between."""

COLOUR = ((20, 85), (20, 95))
"""Of colour pictures, both times with chroma at 4:2:0."""

LOSSLESS = {"gray": (10, 30), "colour": (20,)}
"""Qualities of pictures that are then kept without loss."""

SHIFT = 4

_WEB: Any = presets["web_low"]
OWN = {
    "web": np.asarray(_WEB["quantization"][0], np.int32).reshape(8, 8),
    "flat": np.full((8, 8), 28, np.int32),
}
"""Luma's tables that are none of libjpeg's or MozJPEG's: Photoshop's "save for web", low; flat."""

OWN_SECOND = (75, 90)
"""Later qualities of gray pictures that had these first."""


@dataclass
class Score:
    """What was found of one kind of history.

    Attributes:
      looked: pictures.
      found: in how many of them something was.
      right: in how many what was done to them.
      exact: shares of the earlier codes that are not zero in either that come out exactly.
      sure: the same of those that are not marked as unsure.
    """

    looked: int = 0
    found: int = 0
    right: int = 0
    exact: list[float] = field(default_factory=list)
    sure: list[float] = field(default_factory=list)


@dataclass
class Speed:
    """CPU-seconds that looking took, of so many pixels."""

    seconds: float = 0.0
    pixels: int = 0


def cases(picture: Samples) -> Iterator[tuple[str, bytes | Samples, bytes, int | None, int]]:
    """What is done to a picture: its name, what comes of it, the first file, quality, shift.

    The quality is None where the first table is none of the known ones.
    """
    kind = "gray" if picture.ndim == 2 else "colour"
    pairs = [(pair, 0) for pair in (SAME if kind == "gray" else COLOUR)]
    pairs += [(pair, SHIFT) for pair in (SHIFTED if kind == "gray" else COLOUR[-1:])]
    for (first, second), shift in pairs:
        file = compressed(picture, first)
        cropped = np.ascontiguousarray(decompressed(file)[shift:, shift:])
        grid = f"shifted ({shift}, {shift})" if shift else "same grid"
        yield f"{kind}, {grid}: {first}, {second}", compressed(cropped, second), file, first, shift
    for first in LOSSLESS[kind]:
        file = compressed(picture, first)
        yield f"{kind}, without loss: {first}", decompressed(file), file, first, 0
    for name, table in OWN.items() if kind == "gray" else ():
        file = with_table(picture, table)
        for second in OWN_SECOND:
            for shift in (0, SHIFT):
                cropped = np.ascontiguousarray(decompressed(file)[shift:, shift:])
                grid = f"shifted ({shift}, {shift})" if shift else "same grid"
                after = compressed(cropped, second)
                yield f"{kind}, {grid}: {name}, {second}", after, file, None, shift
        yield f"{kind}, without loss: {name}", decompressed(file), file, None, 0


def with_table(picture: Samples, table: NDArray[np.int32]) -> bytes:
    """A gray picture as a file with a table of its own."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", qtables=[table.ravel().tolist()])
    return file.getvalue()


def clean(picture: Samples) -> Iterator[tuple[str, bytes | Samples]]:
    """Pictures that have no history: compressed once, resized, never compressed."""
    kind = "gray" if picture.ndim == 2 else "colour"
    for quality in ONCE:
        yield f"{kind}, once: {quality}", compressed(picture, quality)
    small = [side * 3 // 4 for side in picture.shape[1::-1]]
    resized = np.asarray(
        Image.fromarray(picture).resize((small[0], small[1]), Image.Resampling.BICUBIC)
    )
    yield f"{kind}, resized, once: 85", compressed(resized, 85)
    yield f"{kind}, resized, without loss", resized
    yield f"{kind}, without loss", picture


def has_a_past(picture: Samples) -> bool:
    """Whether the picture itself was a JPEG file once, which nobody knew: it proves nothing."""
    return history.find(picture) is not None


def middle(picture: Samples, side: int | None) -> Samples:
    """The middle of a picture, up to so many rows and columns."""
    spans = []
    for length in picture.shape[:2]:
        wanted = min(length, side or length)
        start = (length - wanted) // 2
        spans.append(slice(start, start + wanted))
    return np.ascontiguousarray(picture[spans[0], spans[1]])


def chosen(length: int, count: int) -> set[int]:
    """So many of all pictures, evenly."""
    return {int(each) for each in np.linspace(0, length - 1, count).round()}


def look(given: bytes | Samples, speed: Speed) -> tuple[JpegFile | Samples, history.History | None]:
    """What is found, and how long that took."""
    source: Any = reader.read(given) if isinstance(given, bytes) else given
    start = time.process_time()
    found = history.find(source)
    speed.seconds += time.process_time() - start
    size = (source.height, source.width) if isinstance(source, JpegFile) else source.shape[:2]
    speed.pixels += int(size[0] * size[1])
    return source, found


def judge(
    score: Score,
    source: JpegFile | Samples,
    found: history.History | None,
    truth: JpegFile,
    quality: int | None,
    shift: int,
) -> None:
    """Counts what was found of a picture whose history is known."""
    score.looked += 1
    if found is None:
        return
    score.found += 1
    told = [each is not None for each in found.tables]
    factors = [part.factor for part in truth.components]
    is_known = found.encoder != OWN_TABLE
    is_near = is_known and quality is not None and abs(found.quality - quality) <= TOLERANCE
    is_right = (
        (not is_known if quality is None else is_near)
        and all(place % 8 == -shift % 8 for place in found.grid)
        and (not all(told) or list(found.factors) == factors)
    )
    score.right += is_right
    if not is_right:
        return
    earlier = history.recover(source, found)
    equal = total = sure = of_sure = 0
    for ours, unsure, theirs in zip(
        earlier.components, earlier.unsure, truth.components, strict=True
    ):
        if ours is None or unsure is None:
            continue
        down, across = (
            (size - after) // 8
            for size, after in zip(
                (8 * theirs.codes.shape[0], 8 * theirs.codes.shape[1]),
                (8 * ours.codes.shape[0], 8 * ours.codes.shape[1]),
                strict=True,
            )
        )
        codes = theirs.codes[down:, across:]
        tells = (codes != 0) | (ours.codes != 0)
        same = codes == ours.codes
        equal += int((same & tells).sum())
        total += int(tells.sum())
        sure += int((same & tells & ~unsure).sum())
        of_sure += int((tells & ~unsure).sum())
    if total and of_sure:
        score.exact.append(equal / total)
        score.sure.append(sure / of_sure)


def _command(given: argparse.Namespace) -> str:
    """How the figures come about again, with one's own folders."""
    flags = ["--data", "PICTURES", "--count", str(given.count), "--kind", *given.kind]
    flags += ["--once", str(given.once)] if given.once else []
    flags += ["--side", str(given.side)] if given.side else []
    return shlex.join(["python", "-m", "benchmarks.history", *flags])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--count", type=int, default=20, help="pictures to use (default: 20)")
    parser.add_argument(
        "--once", type=int, metavar="N", help="pictures without a history (default: as --count)"
    )
    parser.add_argument("--side", type=int, help="look at their middle only, of so many pixels")
    parser.add_argument("--output", help="also write JSON here")
    parser.add_argument("--kind", choices=("gray", "colour"), nargs="+", default=["gray", "colour"])
    given = parser.parse_args()
    scores: dict[str, Score] = {}
    alarms: dict[str, list[int]] = {}
    speed = Speed()
    try:
        source = open_source(given.data)
        used = chosen(len(source.names), given.count)
        clean_ones = chosen(len(source.names), given.once or given.count)
        for index in tqdm(sorted(used | clean_ones), unit="picture", disable=None):
            picture = middle(np.asarray(source.load(index)), given.side)
            pictures = {
                "gray": np.asarray(Image.fromarray(picture).convert("L")),
                "colour": picture,
            }
            for kind in given.kind:
                for name, after, file, quality, shift in (
                    cases(pictures[kind]) if index in used else ()
                ):
                    truth = reader.read(file)
                    judge(
                        scores.setdefault(name, Score()), *look(after, speed), truth, quality, shift
                    )
                if index not in clean_ones or has_a_past(pictures[kind]):
                    continue
                for name, after in clean(pictures[kind]):
                    _, found = look(after, speed)
                    tally = alarms.setdefault(name, [0, 0])
                    tally[0] += found is not None
                    tally[1] += 1
                    if found is not None:
                        tqdm.write(
                            f"{source.names[index]}: {name}: {found.grid}, "
                            f"{found.encoder} {found.quality}, {found.proof}"
                        )
    except DataError as error:
        print(f"benchmarks.history: {error}", file=sys.stderr)
        return 1
    print("| history | pictures | found | right | codes exact | of those not unsure |")
    print("|---|---|---|---|---|---|")
    for name, score in scores.items():
        exact, sure = (
            f"{100 * np.mean(each):.2f} %" if each else "" for each in (score.exact, score.sure)
        )
        print(f"| {name} | {score.looked} | {score.found} | {score.right} | {exact} | {sure} |")
    print("\n| no history | pictures | false alarms |\n|---|---|---|")
    for name, (times, looked) in alarms.items():
        print(f"| {name} | {looked} | {times} |")
    print(f"\nlooking: {1e6 * speed.seconds / max(1, speed.pixels):.2f} CPU-seconds a megapixel")
    written = {
        "command": _command(given),
        "side": given.side,
        "found": {
            name: {
                "looked": score.looked,
                "found": score.found,
                "right": score.right,
                "exact": float(np.mean(score.exact)) if score.exact else None,
            }
            for name, score in scores.items()
        },
        "alarms": alarms,
    }
    results.write(given.output, written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
