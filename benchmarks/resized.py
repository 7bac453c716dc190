"""How often resized pictures' histories are found: `python -m benchmarks.resized --data DIR`.

Pictures in colour go through chains. Where one of them compresses, resizes, crops or sharpens
perhaps, and perhaps compresses once more, counted is how often the first compression is found, and
how often it is right: the earlier size to the pixel (what is shown of it to a quarter, where it was
cropped since), where blocks began, the filter (or that it was sharpened), and the quality within
one. In all other chains there is nothing to find, and whatever is found is an alarm. CPU-seconds
are the mean and the longest of looking alone.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks import results
from hrcnn_jax.data.sources import open_source
from hrcnn_jax.history import resized, visible
from hrcnn_jax.scores import chains
from hrcnn_jax.scores.chains import Chain

CHAINS = (
    "20,x0.75,85",
    "20,x0.75,png",
    "40,x0.75,85",
    "20,+3:5,x0.75,85",
    "20,x0.75,+13:21,85",
    "30,x0.7,+40:30,png",
    "30,x0.8,90",
    "30,x0.7/lanczos,90",
    "40,x0.9,85",
    "30,x1.3/lanczos,85",
    "60,x1.5/bilinear,png",
    "20,x0.6,png",
    "30,x0.62,90",
    "20,x0.75,sharpen80,85",
    "20,x0.75,sharpen80,png",
    "30,x0.7/lanczos,sharpen40,88",
    "clean",
    "85",
    "x0.75,92",
    "x0.75,sharpen80,92",
    "x1.5/lanczos,85",
    "w75",
)

FINE = 90
"""Qualities from which on there is no damage worth finding."""

SIDE = 1000
"""Rows and columns of larger pictures that are used."""


def row(pictures: Sequence[NDArray[np.uint8]], chain: Chain) -> dict[str, Any]:
    """What becomes of pictures `(H, W, 3)` that go through a chain."""
    truth = chain.earlier
    if truth is not None and (truth.resized is None or truth.quality >= FINE):
        truth = None
    found = right = 0
    seconds = []
    for picture in pictures:
        source = visible(chains.made(picture, chain).given)
        assert source is not None
        started = time.process_time()
        told = resized.find(source)
        seconds.append(time.process_time() - started)
        found += told is not None
        if told is not None and truth is not None:
            right += truth.is_told(told, (picture.shape[0], picture.shape[1]))
    return {
        "chain": str(chain),
        "pictures": len(pictures),
        "found": found,
        "right": None if truth is None else right,
        "seconds": float(np.mean(seconds)),
        "longest": max(seconds),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resized", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="pictures")
    parser.add_argument("--every", type=int, default=10, help="of how many one is taken")
    parser.add_argument("--history", nargs="*", default=CHAINS, help="chains, as evaluate has them")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args(argv)
    source = open_source(given.data)
    places = range(0, len(source.names), given.every)
    pictures = [np.ascontiguousarray(source.load(place)[:SIDE, :SIDE]) for place in places]
    rows = []
    for text in tqdm(given.history, disable=None):
        each = row(pictures, chains.parse(text))
        rows.append(each)
        right = "" if each["right"] is None else f"{each['right']} right"
        tqdm.write(
            f"{text:24}{each['pictures']:5} pictures {each['found']:5} found {right:>10}"
            f"{each['seconds']:8.2f} CPU-s, {each['longest']:.1f} at most"
        )
    results.write(given.output, {"rows": rows})


if __name__ == "__main__":
    main()
