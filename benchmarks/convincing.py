"""What believing pixels brings, by how bad they look: `python -m benchmarks.convincing --data DIR`.

Pictures go through chains of compressions and other steps. Where no earlier compression is found, a
network of pictures is asked, as `restore` asks it. For each bound on how bad a picture has to look
to be restored by it, printed are the share of pictures that do, and the gain over what is made of
them otherwise, in dB: the mean over all pictures, and the worst. `clean` is what was never
compressed: there nothing is restored, and only the share counts.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks import results
from hrcnn_jax.data.sources import open_source
from hrcnn_jax.networks import cards
from hrcnn_jax.restoration.blind import INTACT, worth_asking
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import chains, metrics
from hrcnn_jax.scores.chains import Made

BOUNDS = 30, 40, 45, 50, 55, 60, INTACT
CHAINS = (
    "20,x0.75,png",
    "30,x1.3,png",
    "50,x0.8,png",
    "60,x0.75,png",
    "40,x0.5,png",
    "75,x0.7,png",
    "20,x0.75,85",
    "40,x0.75,90",
    "60",
    "75",
    "90",
)


class Seen(NamedTuple):
    """A picture that may be restored from its pixels.

    Attributes:
      quality: that it looks like; 100 if it is not to be asked about, or looks as it should.
      gain: of its pixels restored, over what is made of it otherwise, in dB.
    """

    quality: float
    gain: float


def seen(made: Made, wild: Restorer, otherwise: Restorer, *, restored: bool) -> Seen:
    """How bad a picture looks, and what is gained if it is believed."""
    source = otherwise.damaged(made.given)
    if source.history is not None or not worth_asking(made.given):
        return Seen(100.0, 0.0)
    found = wild.damaged(made.given)
    assert found.verdict is not None
    if not found.verdict.unexplained or not restored:
        return Seen(found.verdict.quality if found.verdict.unexplained else 100.0, 0.0)
    theirs, ours = wild.picture(made.given, found), otherwise.picture(made.given, source)
    after, before = (metrics.psnr_of_samples(each, made.original) for each in (theirs, ours))
    return Seen(found.verdict.quality, after - before)


def row(all_seen: Sequence[Seen]) -> dict[str, Any]:
    """By bound: the share that looks as bad, and the gain, in the mean and at worst."""
    quality, gain = np.array(all_seen).T
    found = {}
    for bound in BOUNDS:
        gains = np.where(quality <= bound, gain, 0.0)
        found[str(bound)] = {
            "share": float((quality <= bound).mean()),
            "mean": float(gains.mean()),
            "worst": float(gains.min()),
        }
    return {"pictures": len(all_seen), "worst_looking": float(quality.min()), "bounds": found}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convincing", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="pictures")
    parser.add_argument("--every", type=int, default=10, help="of how many one goes through chains")
    parser.add_argument("--history", nargs="*", default=CHAINS, help="chains, as evaluate has them")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args(argv)
    keep_programs()
    wild, otherwise = Restorer(cards.PIXELS), Restorer(pixels=None)
    source = open_source(given.data)
    print(f"{'':16}{'pictures':>10}" + "".join(f"{bound:>21}" for bound in BOUNDS))
    rows = []
    for chain in map(chains.parse, ["clean", *given.history]):
        is_clean = not chain.steps
        places = range(0, len(source.names), 1 if is_clean else given.every)
        found = row(
            [
                seen(
                    chains.made(_off_grid(source.load(place)), chain),
                    wild,
                    otherwise,
                    restored=not is_clean,
                )
                for place in tqdm(places, desc=str(chain), disable=None)
            ]
        )
        rows.append({"chain": str(chain), **found})
        told = "".join(
            f"{100 * each['share']:7.1f}% {each['mean']:+.2f} {each['worst']:+.2f}"
            for each in found["bounds"].values()
        )
        print(f"{chain!s:16}{found['pictures']:10}{told}", flush=True)
    results.write(given.output, {"rows": rows})


def _off_grid(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of what is no clean picture but a JPEG file of high quality, the grid is cut off."""
    return np.ascontiguousarray(picture[3:, 5:])


if __name__ == "__main__":
    main()
