"""Seconds that the command line tool takes for one small picture: `python -m benchmarks.start`.

The bundled photograph is restored by a process of its own: first with nothing compiled yet, then
with the programs that were kept on disk.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import pictures, results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=0.1, help="size of the picture")
    parser.add_argument("--repeats", type=int, default=5, help="starts after the first")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photo.jpg")
        file.write_bytes(pictures.file(given.megapixels, quality=10))
        command = [sys.executable, "-m", "hrcnn_jax", "restore", str(file), "-o", folder]
        first, *others = [
            results.run(command, with_programs_in(folder)) for _ in range(1 + given.repeats)
        ]
    again, cpu_again = (
        statistics.median(getattr(each, name) for each in others)
        for name in ("seconds", "cpu_seconds")
    )
    print(
        f"{given.megapixels:g} megapixels: first start {first.seconds:.1f} s "
        f"({first.cpu_seconds:.1f} CPU-s), then {again:.1f} s ({cpu_again:.1f} CPU-s)"
    )
    found = {"megapixels": given.megapixels, "first_seconds": first.seconds, "seconds": again}
    found |= {"first_cpu_seconds": first.cpu_seconds, "cpu_seconds": cpu_again}
    results.write(given.output, found)


def with_programs_in(folder: str) -> dict[str, str]:
    """The environment of a command that keeps its programs in a folder."""
    variables = results.environment(XDG_CACHE_HOME=folder)
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    return variables


if __name__ == "__main__":
    main()
