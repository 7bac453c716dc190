"""How often an earlier compression is noticed: ``python -m benchmarks.recompression PICTURES``.

Compresses the luma of pictures by Pillow, once, and twice at two qualities, and prints how many of
the files :func:`hrcnn_jax.recompression.detect` suspects, and of how many it tells the earlier
quality to within two; then the same of :func:`hrcnn_jax.cropping.earlier_grid` and the place of the
earlier grid, of pictures cropped before they are compressed again. Give it pictures that were never
JPEG files: others are rightly suspected.
"""

import argparse
import io
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from hrcnn_jax.data.sources import DataError, open_source
from hrcnn_jax.files import reader
from hrcnn_jax.history.grid import earlier_grid
from hrcnn_jax.history.table import detect

ONCE = (10, 30, 50, 65, 75, 85, 90, 95, 98, 100)
TWICE = (
    *((50, 75), (50, 90), (60, 80), (75, 90), (75, 95), (85, 95), (30, 50), (20, 90), (90, 95)),
    *((90, 75), (75, 50), (85, 75)),
)
"""Earlier and later quality; those that rise first."""

TOLERANCE = 2


def compress(plane: NDArray[np.uint8], quality: int) -> bytes:
    """A plane ``(H, W)`` as a grayscale file."""
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "JPEG", quality=quality)
    return file.getvalue()


def decompress(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)))


def earlier_quality(file: bytes) -> int | None:
    """What is found in a file."""
    found = detect(reader.read(file).components[0])
    return None if found is None else found.quality


def grid(file: bytes) -> tuple[int, int] | None:
    """The same of an earlier grid of blocks."""
    return earlier_grid(reader.read(file).components[0])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recompression", description=__doc__)
    parser.add_argument("pictures", nargs="+", help="folders of pictures")
    parser.add_argument("--count", type=int, default=20, help="pictures to use (default: 20)")
    given = parser.parse_args()
    suspected = dict.fromkeys(ONCE, 0)
    noticed, right = dict.fromkeys(TWICE, 0), dict.fromkeys(TWICE, 0)
    grids = dict.fromkeys(ONCE, 0)
    cropped, placed = dict.fromkeys(TWICE, 0), dict.fromkeys(TWICE, 0)
    random = np.random.default_rng(0)
    try:
        source = open_source(given.pictures)
        chosen = np.linspace(0, len(source.names) - 1, given.count).round().astype(int)
        for index in tqdm(np.unique(chosen), unit="picture", disable=None):
            plane = np.asarray(Image.fromarray(source.load(int(index))).convert("L"))
            for quality in ONCE:
                once = compress(plane, quality)
                suspected[quality] += earlier_quality(once) is not None
                grids[quality] += grid(once) is not None
            for first, second in TWICE:
                before = decompress(compress(plane, first))
                down, across = (int(each) for each in np.divmod(random.integers(1, 64), 8))
                place = grid(compress(before[-down % 8 :, -across % 8 :], second))
                cropped[first, second] += place is not None
                placed[first, second] += place == (down, across)
                found = earlier_quality(compress(before, second))
                noticed[first, second] += found is not None
                right[first, second] += found is not None and abs(found - first) <= TOLERANCE
    except DataError as error:
        print(f"benchmarks.recompression: {error}", file=sys.stderr)
        return 1
    count = len(np.unique(chosen))
    print(f"compressed once, {count} pictures: suspected")
    for quality, times in suspected.items():
        print(f"  {quality:>3}        {times:3} {grids[quality]:3} of another grid")
    print("compressed twice: noticed, and with the right quality")
    for (first, second), times in noticed.items():
        print(f"  {first:>3} → {second:>3}  {times:3} {right[first, second]:3}")
    print("cropped in between: noticed, and with the right place")
    for (first, second), times in cropped.items():
        print(f"  {first:>3} → {second:>3}  {times:3} {placed[first, second]:3}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
