"""Networks and jpeg-quantsmooth in turn: `python -m benchmarks.turns fast --jpegqs jpegqs`.

CPU-seconds from a file to a picture, warm. A machine that others use is faster in one minute than
in the next, for all alike: what is measured in turn can be compared where runs apart cannot.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks import pictures
from benchmarks.speed import JPEGQS, QUALITY, cpu_seconds, jpegqs
from hrcnn_jax.history import Mode
from hrcnn_jax.networks import cards
from hrcnn_jax.restoration.restorer import Restorer

MODES: tuple[Mode, ...] = ("auto", "off")


def peers_cpu_seconds(program: str, file: bytes) -> float:
    """CPU-seconds that jpeg-quantsmooth takes once."""
    return jpegqs(program, file, 1)["cpu_seconds"]


def in_turn(contenders: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each measures of itself, all of them once before any is asked again."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, measure in contenders.items():
            found[name].append(measure())
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    parser.add_argument("networks", nargs="*", default=[cards.DEFAULT])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--jpegqs", metavar="PATH", required=True, help="the peer's program")
    given = parser.parse_args(argv)
    restorers = {
        f"{name}, history {mode}": Restorer(name, history=mode)
        for name in given.networks
        for mode in MODES
    }
    print(f"{'':30}{'median':>9}{'least':>8}{'times the peer':>16}")
    for colour in ("gray", "4:2:0"):
        file = pictures.file(given.megapixels, quality=QUALITY, gray=colour == "gray")
        contenders: dict[str, Callable[[], float]] = {
            JPEGQS: partial(peers_cpu_seconds, given.jpegqs, file)
        }
        for name, restorer in restorers.items():
            restorer.restore(file)  # compiles
            contenders[name] = partial(cpu_seconds, restorer.restore, file)
        found = in_turn(contenders, given.repeats)
        peer = found[JPEGQS]
        for name, seconds in found.items():
            median, least = statistics.median(seconds), min(seconds)
            times = f"{median / statistics.median(peer):.2f}, {least / min(peer):.2f}"
            print(f"{f'{name}, {colour}':30}{median:9.2f}{least:8.2f}{times:>16}", flush=True)


if __name__ == "__main__":
    main()
