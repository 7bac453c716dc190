"""Peak memory and time of ``restore`` by picture size: ``python -m benchmarks.memory``.

Makes colour 4:2:0 files out of the bundled photograph, restores each in a process of its own, and
prints what the operating system says of that process (Linux and macOS).
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hrcnn_jax.files.atomic import written_whole
from hrcnn_jax.networks import zoo

ROOT = Path(__file__).parents[1]
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
MAKE = (
    "import sys, pathlib, benchmarks.pictures as p; "
    "pathlib.Path(sys.argv[1]).write_bytes(p.file(float(sys.argv[2]), quality=75))"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument(
        "megapixels", nargs="*", type=float, default=[1, 4, 16, 50, 100], metavar="MP"
    )
    parser.add_argument("--output", help="write all figures to this JSON file")
    given, flags = parser.parse_known_args()  # the rest goes to restore: --format tiff16
    rows = []
    print(" megapixels   seconds    MP/s   peak MiB")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in given.megapixels:
            file = Path(folder, f"{megapixels:g}.jpg")
            # In another process: what the parent holds is counted as its child's peak.
            command = [sys.executable, "-c", MAKE, str(file), str(megapixels)]
            subprocess.run(command, check=True, env=environment())
            seconds, peak = measure(file, folder, flags)
            rate = megapixels / seconds
            print(f"{megapixels:11g}{seconds:10.1f}{rate:8.2f}{peak / 2**20:11.0f}", flush=True)
            rows.append({"megapixels": megapixels, "seconds": seconds, "peak_bytes": peak})
    if given.output:
        found = {"hardware": zoo.hardware(), "date": datetime.date.today().isoformat()}
        with written_whole(Path(given.output)) as partial:
            text = json.dumps(found | {"rows": rows}, indent=1)
            partial.write_text(text + "\n", encoding="utf-8")


def environment() -> dict[str, str]:
    """In which a child finds this package."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def measure(file: Path, folder: str, flags: list[str]) -> tuple[float, int]:
    """Restores a file; returns seconds, start of the program included, and peak bytes."""
    command = [sys.executable, "-m", "hrcnn_jax", "restore", str(file), "-o", folder, *flags]
    start = time.monotonic()
    process = os.posix_spawn(sys.executable, command, environment())
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - start
    if status:
        raise SystemExit(f"restoring {file.name} failed with status {status}")
    return seconds, usage.ru_maxrss * MAXRSS_UNIT


if __name__ == "__main__":
    main()
