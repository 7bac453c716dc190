"""What looking for a history costs beside restoring: `python -m benchmarks.looking`.

Of one photograph, repeated, gray and 4:2:0, compressed once, or before at a worse quality: the
CPU-seconds of looking for an earlier compression, of recovering its codes where there was one, and
of restoring by the default network, all in this process, warm.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import pictures, results
from hrcnn_jax import history
from hrcnn_jax.files import reader
from hrcnn_jax.restoration.restorer import Restorer

COMPRESSED: dict[str, dict[str, int]] = {
    "once": {"quality": 75},
    "once, coarsely": {"quality": 10},
    "twice": {"before": 20, "quality": 90},
}


def cpu_seconds(work: Callable[[], Any], repeats: int) -> float:
    """The median of all threads' time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.looking", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12, metavar="MP")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    restorer = Restorer(history="off")
    rows = []
    print(f"{'':8}{'compressed':16}{'looking':>10}{'recovering':>12}{'restoring':>12}   CPU-s")
    for colour in ("gray", "4:2:0"):
        for times, qualities in COMPRESSED.items():
            data = pictures.file(given.megapixels, gray=colour == "gray", **qualities)
            file = reader.read(data)
            found = history.find(file)
            row: dict[str, Any] = {"colour": colour, "compressed": times}
            row["looking"] = cpu_seconds(lambda: history.find(file), given.repeats)  # noqa: B023
            if found is not None:
                row["recovering"] = cpu_seconds(
                    lambda: history.recover(file, found),  # noqa: B023
                    given.repeats,
                )
            restorer.restore(file)
            row["restoring"] = cpu_seconds(lambda: restorer.restore(file), given.repeats)  # noqa: B023
            again = f"{row['recovering']:12.2f}" if "recovering" in row else f"{'–':>12}"
            print(f"{colour:8}{times:16}{row['looking']:10.2f}{again}{row['restoring']:12.2f}")
            rows.append(row)
    results.write(given.output, {"megapixels": given.megapixels, "rows": rows})


if __name__ == "__main__":
    main()
