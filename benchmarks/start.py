"""Seconds that the command line tool takes for one small picture: ``python -m benchmarks.start``.

The bundled photograph is restored by a process of its own: first with nothing compiled yet, then
with the programs that were kept on disk.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import pictures
from benchmarks.memory import environment
from hrcnn_jax.files.atomic import written_whole
from hrcnn_jax.networks import zoo


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=0.1, help="size of the picture")
    parser.add_argument("--repeats", type=int, default=5, help="starts after the first")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photo.jpg")
        file.write_bytes(pictures.file(given.megapixels, quality=10))
        first, *others = [seconds_of_start(file, folder) for _ in range(1 + given.repeats)]
    again = statistics.median(others)
    print(f"{given.megapixels:g} megapixels: first start {first:.1f} s, then {again:.1f} s")
    if given.output:
        found = {"hardware": zoo.hardware(), "date": datetime.date.today().isoformat()}
        seconds = {"megapixels": given.megapixels, "first_seconds": first, "seconds": again}
        with written_whole(Path(given.output)) as partial:
            partial.write_text(json.dumps(found | seconds, indent=1) + "\n", encoding="utf-8")


def seconds_of_start(file: Path, folder: str) -> float:
    """Of a process that restores a file, programs being kept in the folder."""
    variables = environment() | {"XDG_CACHE_HOME": folder}
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-m", "hrcnn_jax", "restore", str(file), "-o", folder]
    began = time.monotonic()
    subprocess.run(command, check=True, env=variables, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
