"""Peak memory and time of `restore` by picture size: `python -m benchmarks.memory`.

Makes colour 4:2:0 files out of the bundled photograph, compressed once, and twice, at a worse
quality before, whose codes have to be recovered. Restores each in a process of its own, and prints
what the operating system says of that process (Linux and macOS).
"""

import argparse
import json
import shlex
import sys
import tempfile
from itertools import product
from pathlib import Path

from benchmarks import results

MAKE = (
    "import sys, json, pathlib, benchmarks.pictures as p; "
    "pathlib.Path(sys.argv[1]).write_bytes(p.file(float(sys.argv[2]), **json.loads(sys.argv[3])))"
)

COMPRESSED = {"once": {"quality": 75}, "twice": {"before": 20, "quality": 90}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument(
        "megapixels", nargs="*", type=float, default=[1, 4, 16, 50, 100], metavar="MP"
    )
    parser.add_argument("--output", help="write all figures to this JSON file")
    parser.add_argument("--flags", default="", help="of restore, such as '--format tiff16'")
    given = parser.parse_args()
    flags = shlex.split(given.flags)
    rows = []
    print(" megapixels  compressed   seconds   CPU-s    MP/s   peak MiB")
    with tempfile.TemporaryDirectory() as folder:
        nothing = results.run([sys.executable, "-c", "import jax; jax.numpy.zeros(1)"])
        print(f"{'Python, JAX':>23}{nothing.seconds:10.1f}{nothing.cpu_seconds:8.1f}{'':8}", end="")
        print(f"{nothing.peak_bytes / 2**20:11.0f}")
        for megapixels, times in product(given.megapixels, COMPRESSED):
            file = Path(folder, f"{megapixels:g}.jpg")
            # In another process: what the parent holds is counted as its child's peak.
            what = json.dumps(COMPRESSED[times])
            results.run([sys.executable, "-c", MAKE, str(file), str(megapixels), what])
            command = [sys.executable, "-m", "hrcnn_jax", "restore", str(file), "-o", folder]
            used = results.run([*command, *flags])
            shown = f"{megapixels:11g}{times:>12}{used.seconds:10.1f}{used.cpu_seconds:8.1f}"
            print(f"{shown}{megapixels / used.seconds:8.2f}{used.peak_bytes / 2**20:11.0f}")
            rows.append({"megapixels": megapixels, "compressed": times} | used._asdict())
    results.write(given.output, {"nothing": nothing._asdict(), "rows": rows})


if __name__ == "__main__":
    main()
