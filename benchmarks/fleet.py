"""How a fleet grows with its workers, and what is lost by kills: `python -m benchmarks.fleet`.

Pictures of a quarter of a megapixel are restored by one worker and by two. The rate is that from
the first file to the last, without the start.

With `--batches N` two workers are given so many batches of files that nothing is done with, which
tells what a batch costs the driver.

With `--kills N` the same files are restored by runs that are killed N times at random moments:
every other time one worker, else the whole run, which is then begun again. In the end every picture
is opened: lost are those that are not there or in no row, repeated those that got their name more
than once, as the kernel tells it, and partial those that cannot be decoded.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import ray
from PIL import Image
from watchdog.events import FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from benchmarks import pictures, results
from benchmarks.start import with_programs_in
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.fleet import job, manifest
from hrcnn_jax.fleet.stores import open_store
from hrcnn_jax.fleet.treatments import Treated
from hrcnn_jax.fleet.worker import Orders

MEGAPIXELS = 0.25
WARM = 4
"""Files that are restored beforehand, so that programs are on disk."""


class Run:
    """A run of the command over a folder of files."""

    def __init__(self, folder: Path, workers: int, target: Path, source: str = "in") -> None:
        """Begins it, with programs kept in the folder."""
        arguments = [str(folder / source), str(target), "--workers", str(workers)]
        arguments += ["--history", "off"]  # what looking for one takes, benchmarks.history tells
        self.process = psutil.Popen(
            [sys.executable, "-m", "hrcnn_jax", "fleet", *arguments],
            env=with_programs_in(str(folder)),
            stderr=subprocess.DEVNULL,
        )
        self.target = target

    def pictures(self) -> int:
        """How many there are by now."""
        return sum(1 for _ in self.target.glob("*.png"))

    def workers(self) -> list[psutil.Process]:
        """Its processes that restore."""
        found = []
        for each in self.process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "".join(each.cmdline()[:1]).startswith("ray::MapWorker"):
                    found.append(each)
        return found

    def finish(self) -> None:
        """Waits for its end."""
        if self.process.wait():
            raise SystemExit(f"the run ended with status {self.process.returncode}")


class Renamed(FileSystemEventHandler):
    """Counts how often each picture got its name."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def on_moved(self, event: FileSystemEvent) -> None:
        """A file was renamed."""
        if isinstance(event, FileMovedEvent) and str(event.dest_path).endswith(".png"):
            self.times[str(event.dest_path)] += 1


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """That processes which still live have taken."""
    total = 0.0
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:2])
    return total


def throughput(folder: Path, workers: int) -> dict[str, float]:
    """Restores all files; files a second, and the workers' processor seconds a file."""
    run = Run(folder, workers, folder / f"by-{workers}")
    seen = (0, 0.0, 0.0)  # pictures; seconds; processor seconds of workers
    first = None
    while run.process.poll() is None:
        time.sleep(0.2)
        now = run.pictures(), time.monotonic(), cpu_seconds(run.workers())
        if now[0] > seen[0]:
            seen = now
            first = first or now
    run.finish()
    assert first is not None
    files, seconds, work = (b - a for a, b in zip(first, seen, strict=True))
    return {"files_per_second": files / seconds, "cpu_seconds_per_file": work / files}


class Nothing:
    """A treatment that does nothing."""

    suffix = None

    def prepare(self) -> None:
        """Nothing is needed."""

    def compute(self, file: Stored) -> Treated:
        """Has nothing to tell, and makes no picture."""
        return Treated({}, None)

    def encode(self, computed: Treated) -> Treated:
        """Nothing is left to do."""
        return computed


def cost_of_a_batch(folder: Path, batches: int) -> float:
    """Seconds of the driver's processor for a batch, rows joined to the manifest."""
    (folder / "little").mkdir()
    file = pictures.file(0.001, quality=50, gray=True)
    for number in range(batches * job.BATCH):
        (folder / "little" / f"{number}.jpg").write_bytes(file)
    source, target = open_store(str(folder / "little")), open_store(str(folder / "nothing"))
    tasks = job.find(source, target, None)
    orders = Orders(manifest.begin_run(target, {}), 10_000, False)
    job.start(address=None, workers=2)
    start, done = time.process_time(), 0
    for _ in job.run(source, target, tasks, Nothing(), orders, workers=2):
        done += 1
    seconds = time.process_time() - start
    ray.shutdown()
    return seconds / done


def kills(folder: Path, count: int, files: int, seed: int) -> dict[str, Any]:
    """Kills workers and runs at random moments; what was lost, repeated or partial in the end."""
    chance = random.Random(seed)
    target = folder / "killed"
    target.mkdir()
    renamed, observer = Renamed(), Observer()
    observer.schedule(renamed, str(target), recursive=True)
    observer.start()
    moments = sorted(chance.randrange(files) for _ in range(count))
    run = Run(folder, 2, target)
    for number, moment in enumerate(moments):
        while run.pictures() < moment or not run.workers():
            if run.process.poll() is not None:
                raise SystemExit("the run ended before it could be killed")
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 1))
        if number % 2 == 0:
            with contextlib.suppress(IndexError, psutil.NoSuchProcess):
                chance.choice(run.workers()).kill()
        else:
            left = run.workers()
            run.process.kill()
            psutil.wait_procs([run.process, *left])
            run = Run(folder, 2, target)
    run.finish()
    observer.stop()
    observer.join()
    rows = Counter(row["path"] for row in manifest.read(str(target)).to_pylist())
    expected = {f"{number:04}" for number in range(files)}
    there = {path.stem for path in target.glob("*.png")}
    return {
        "kills": count,
        "files": files,
        "lost": len(expected - there) + len(expected - {name[:-4] for name in rows}),
        "repeated": sum(times - 1 for times in renamed.times.values()),
        "partial": sum(not is_whole(path) for path in target.glob("*.png"))
        + len(list(target.rglob("*.partial"))),
    }


def is_whole(path: Path) -> bool:
    """Whether a picture can be decoded to its end."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError):
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--count", type=int, default=128, help="files (default: 128)")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--batches", type=int, default=0, metavar="N")
    parser.add_argument("--kills", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    rates, batch = {}, None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, count in (("in", given.count), ("warm", WARM)):
            (folder / source).mkdir()
            for number in range(count):
                file = pictures.file(MEGAPIXELS, quality=10 + number % 80)
                (folder / source / f"{number:04}.jpg").write_bytes(file)
        Run(folder, 1, folder / "warmed", source="warm").finish()
        for workers in given.workers:
            rates[workers] = rate = throughput(folder, workers)
            print(
                f"{workers} worker{'s' if workers > 1 else ''}: "
                f"{rate['files_per_second']:.2f} files/s of {MEGAPIXELS:g} MP, "
                f"{rate['cpu_seconds_per_file']:.2f} CPU-s each",
                flush=True,
            )
        if given.batches:
            batch = cost_of_a_batch(folder, given.batches)
            print(f"driver: {1000 * batch:.1f} CPU-ms a batch of {job.BATCH}", flush=True)
        fate = kills(folder, given.kills, given.count, given.seed) if given.kills else None
    if fate:
        print("{kills} kills over {files} files: ".format(**fate), end="")
        print("lost {lost}, repeated {repeated}, partial {partial}".format(**fate))
    found = {"megapixels": MEGAPIXELS, "workers": rates, "batch_seconds": batch, "kills": fate}
    results.write(given.output, found)


if __name__ == "__main__":
    main()
