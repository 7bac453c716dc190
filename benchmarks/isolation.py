"""What it costs that a crash takes one picture along: `python -m benchmarks.isolation`.

Files are read by threads of one process, and by worker processes that hand their codes over; and a
picture is restored by the command as it is, supervised by a parent that only waits, and without.
The parent outlives crashes of whatever crashes; workers only those of the reader.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from benchmarks import pictures, results
from benchmarks.start import with_programs_in
from hrcnn_jax.files import reader

UNSUPERVISED = "import sys; from hrcnn_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"


def cpu_seconds() -> float:
    """Of this process, and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def reading(pool: Executor, path: Path, count: int) -> tuple[float, float]:
    """Seconds and CPU-seconds a file; those that start workers are left out."""
    list(pool.map(reader.read, [path] * 8))
    start, before = time.monotonic(), cpu_seconds()
    for file in pool.map(reader.read, [path] * count):
        del file
    seconds = time.monotonic() - start
    pool.shutdown()  # the CPU-seconds of workers are told when they have ended
    return seconds / count, (cpu_seconds() - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=1, help="of a file (default: 1)")
    parser.add_argument("--count", type=int, default=100, help="files that are read (default: 100)")
    parser.add_argument("--repeats", type=int, default=5, help="starts (default: 5)")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    found: dict[str, object] = {"megapixels": given.megapixels}
    print(f"{'':32}{'seconds':>9}{'CPU-s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")
        path.write_bytes(pictures.file(given.megapixels, quality=75))
        spawning = multiprocessing.get_context("spawn")
        for name, pool in (
            ("a file read by threads", ThreadPoolExecutor(cores)),
            ("by worker processes", ProcessPoolExecutor(cores, mp_context=spawning)),
        ):
            seconds, cpu = reading(pool, path, given.count)
            found[name] = {"seconds": seconds, "cpu_seconds": cpu}
            print(f"{name:32}{seconds:9.4f}{cpu:9.4f}")
        path.write_bytes(pictures.file(0.01, quality=75))
        arguments = ["restore", str(path), "-o", folder]
        for name, program in (
            ("a small picture, supervised", ["-m", "hrcnn_jax"]),
            ("unsupervised", ["-c", UNSUPERVISED]),
        ):
            command = [sys.executable, *program, *arguments]
            runs = [
                results.run(command, with_programs_in(folder)) for _ in range(1 + given.repeats)
            ][1:]
            seconds = statistics.median(each.seconds for each in runs)
            cpu = statistics.median(each.cpu_seconds for each in runs)
            found[name] = {"seconds": seconds, "cpu_seconds": cpu}
            print(f"{name:32}{seconds:9.2f}{cpu:9.2f}")
    results.write(given.output, found)


if __name__ == "__main__":
    main()
