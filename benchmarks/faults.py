"""Faults on purpose: `python -m benchmarks.faults`.

Disks are filled, folders closed and removed, and programs killed (SIGKILL) at random moments, the
supervised child, its parent or both; then room is made, and the same command runs once more. A row
tells how often it was tried, and how many processes crashed (a traceback counts), hung, files were
lost (an input changed, or a result that is not there in the end), partial (under a final name, and
not what an undisturbed run writes, looked for after each fault), and left over (temporary files).

Linux only. As the administrator, whom no permission stops, folders are small disks of their own
(tmpfs), which are full or read-only; otherwise files are limited in size, and folders closed. An
administrator who may not mount disks, as in many containers, cannot try these.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import load_file
from tqdm import tqdm

from benchmarks import pictures, results

PATIENCE = 300.0
"""Seconds without an end count as hanging."""

PROGRAM = [sys.executable, "-m", "hrcnn_jax"]
ROOMY = 100 << 20
"""Bytes of a disk that holds all results."""

TRAINING = ["--architecture", "compact", "--width", "8", "--blocks", "0", "--crops", "12"]
TRAINING += ["--validation-crops", "3", "--crop", "24", "--patch", "16", "--batch", "4"]
TRAINING += ["--quality", "10", "--warmup", "2", "--steps", "60"]
TRAINING += ["--log-every", "10", "--eval-every", "20", "--save-every", "4"]


@dataclass
class Tally:
    """What came of a kind of fault: a row of the table."""

    tried: int = 0
    crashed: int = 0
    hung: int = 0
    lost: int = 0
    partial: int = 0
    left: int = 0


class Running:
    """A program that is running, and what it comes to."""

    def __init__(self, command: Sequence[str], tally: Tally, *, limit: int | None = None) -> None:
        def limited() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        self._tally = tally
        self.process = subprocess.Popen(
            [*PROGRAM, *command],
            env=results.environment(JAX_PLATFORMS="cpu", PYTHONWARNINGS="ignore"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=limited,
        )

    def end(self, *, killed: bool = False) -> int:
        """Waits for it and all that it started, as these hold its standard error."""
        try:
            told = self.process.communicate(timeout=PATIENCE)[1]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            told = self.process.communicate()[1]
            self._tally.hung += 1
        code = self.process.returncode
        if "Traceback" in told or (code < 0 and not killed):
            self._tally.crashed += 1
            print(f"{code}: {told[-2000:]}", file=sys.stderr)
        return code

    def kill(self, whom: str) -> None:
        """Kills the program, its child, or both; unless it has just ended."""
        number = self.process.pid
        try:
            if whom == "both":
                os.killpg(number, signal.SIGKILL)
            elif whom == "child":
                children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
                os.kill(int(children[0]), signal.SIGKILL)
            else:
                os.kill(number, signal.SIGKILL)
        except (OSError, IndexError):
            return


@dataclass
class Batch:
    """A folder of small pictures, and what an undisturbed run makes of it."""

    root: Path
    inputs: dict[str, bytes] = field(default_factory=dict)
    reference: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def of(cls, root: Path, count: int) -> "Batch":
        """Makes the pictures, and restores them, twice: the first time compiles programs."""
        batch = cls(root)
        batch.source.mkdir(parents=True)
        photo = pictures.picture(0.06)
        for number in range(count):
            side = 100 + number
            cut = Image.fromarray(photo[:side, number : number + side + 10])
            cut.save(batch.source / f"{number:02}.jpg", quality=10 + 2 * number)
        batch.inputs = contents(batch.source)
        for name in ("first", "reference"):
            start = time.monotonic()
            if Running(batch.command(root / name), Tally()).end():
                raise SystemExit("the undisturbed run failed")
            batch.seconds = time.monotonic() - start
        batch.reference = contents(root / "reference")
        return batch

    @property
    def source(self) -> Path:
        """Where the pictures are."""
        return self.root / "in"

    def command(self, out: Path) -> list[str]:
        """Restores what is not done yet."""
        return ["restore", "-r", str(self.source), "-o", str(out), "--skip-existing"]

    def look(self, out: Path, tally: Tally) -> int:
        """Counts what is partial; returns how many results are there."""
        found = contents(out)
        tally.partial += sum(self.reference.get(name) != data for name, data in found.items())
        return len(found)

    def finish(self, out: Path, tally: Tally) -> None:
        """Runs once more, undisturbed, and counts what is lost, partial and left over."""
        age(out)
        if Running(self.command(out), tally).end():
            tally.crashed += 1
        tally.lost += len(self.reference) - self.look(out, tally)
        now = contents(self.source)
        tally.lost += sum(now.get(name) != data for name, data in self.inputs.items())
        tally.left += len(hidden(out))


def contents(folder: Path) -> dict[str, bytes]:
    """Files of a folder that have their final names."""
    if not folder.is_dir():
        return {}
    found = (each for each in folder.iterdir() if each.is_file() and each.name[0] != ".")
    return {each.name: each.read_bytes() for each in found}


def hidden(folder: Path) -> list[Path]:
    """Temporary files below a folder."""
    every = folder.rglob("*")
    return [each for each in every if each.name.endswith(".partial") or "-tmp" in each.name]


def age(folder: Path) -> None:
    """What a killed run left is cleared by one that comes some seconds later: as if it did."""
    for each in hidden(folder):
        if each.is_file():
            os.utime(each, (0, 0))


@cache
def by_disks() -> bool | None:
    """Whether folders are disks of their own; None if nothing stops this user from writing."""
    if os.geteuid():
        return False
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True)
        if ended.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return ended.returncode == 0 or None


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A folder; a small disk of its own for the administrator."""
    folder.mkdir(parents=True)
    if not by_disks():
        yield folder
        return
    mount(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def mount(folder: Path, *options: str) -> None:
    """Mounts a disk, or changes how it is mounted, as soon as nobody is writing."""
    for _ in range(2000):
        if subprocess.run(["mount", *options, folder], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.005)
    raise SystemExit(f"{folder}: cannot be mounted with {' '.join(options)}")


def close(folder: Path, closed: bool) -> None:
    """Lets nobody write into a folder, or all again."""
    if not by_disks():
        folder.chmod(0o555 if closed else 0o755)
    else:
        mount(folder, "-o", f"remount,{'ro' if closed else 'rw'}")


def wait_for_a_result(out: Path, running: Running) -> None:
    """Until the first result has its name, or the program has ended."""
    while running.process.poll() is None and not contents(out):
        time.sleep(0.005)


# --- kinds of faults -----------------------------------------------------------------------------


def full_disk(batch: Batch, tally: Tally) -> None:
    """There is room for some results only."""
    sizes = [len(each) for each in batch.reference.values()]
    with disk(batch.root / "full", sum(sizes) // 2) as out:
        limit = int(np.median(sizes))
        tally.tried += 1
        status = Running(batch.command(out), tally, limit=None if by_disks() else limit).end()
        done = batch.look(out, tally)
        if status != 1 or not 0 < done < len(batch.reference):
            raise SystemExit(f"the disk was not full: {done} results, status {status}")
        if by_disks():
            mount(out, "-o", f"remount,size={ROOMY}")
        batch.finish(out, tally)


def read_only(batch: Batch, tally: Tally) -> None:
    """Nobody may write into the target."""
    with disk(batch.root / "closed", ROOMY) as out:
        close(out, True)
        tally.tried += 1
        if Running(batch.command(out), tally).end() != 1:
            raise SystemExit("could write into a closed folder")
        close(out, False)
        batch.finish(out, tally)


def closed_midway(batch: Batch, tally: Tally) -> None:
    """From the first result on, nobody may write into the target."""
    with disk(batch.root / "closing", ROOMY) as out:
        tally.tried += 1
        running = Running(batch.command(out), tally)
        wait_for_a_result(out, running)
        close(out, True)
        running.end()
        batch.look(out, tally)
        close(out, False)
        batch.finish(out, tally)


def vanishing(batch: Batch, tally: Tally) -> None:
    """With the first result there, the target is removed."""
    out = batch.root / "vanishing"
    tally.tried += 1
    running = Running(batch.command(out), tally)
    wait_for_a_result(out, running)
    shutil.rmtree(out, ignore_errors=True)
    running.end()
    batch.look(out, tally)
    batch.finish(out, tally)


def two_at_once(batch: Batch, tally: Tally) -> None:
    """Two processes write the same results into one folder."""
    out = batch.root / "shared"
    tally.tried += 1
    for running in [Running(batch.command(out), tally) for _ in range(2)]:
        if running.end():
            tally.crashed += 1
    batch.look(out, tally)
    batch.finish(out, tally)


def kills(batch: Batch, tally: Tally, count: int) -> None:
    """A run is killed at random moments, and goes on from there each time."""
    chance, out = random.Random(0), batch.root / "killed"
    for number in tqdm(range(count), desc="kills of a batch", disable=None):
        if batch.look(out, tally) == len(batch.reference):
            shutil.rmtree(out)
        tally.tried += 1
        running = Running(batch.command(out), tally)
        time.sleep(chance.uniform(0, batch.seconds))
        running.kill(("both", "parent", "child")[number % 3])
        running.end(killed=True)
    batch.finish(out, tally)


def kills_of_training(root: Path, tally: Tally, count: int) -> None:
    """A training run is killed at random moments, and resumed; it ends in the very same weights."""
    chance, data, seconds = random.Random(0), training_pictures(root), 0.0
    for name in ("first", "reference"):
        start = time.monotonic()
        if Running(training(root / name, data), Tally()).end():
            raise SystemExit("the undisturbed run failed")
        seconds = time.monotonic() - start
    workdir = root / "killed"
    for _ in tqdm(range(count), desc="kills of training", disable=None):
        if step_of(workdir) == step_of(root / "reference"):
            shutil.rmtree(workdir)
        tally.tried += 1
        running = Running(training(workdir, data), tally)
        time.sleep(chance.uniform(0, seconds))
        running.kill("both")
        running.end(killed=True)
    finish_training(root, workdir, data, tally)


def damaged_checkpoint(root: Path, tally: Tally) -> None:
    """The newest checkpoint is cut off; training goes on from the one before."""
    data, workdir = training_pictures(root), root / "damaged"
    shutil.copytree(root / "reference", workdir)
    newest = workdir / "latest" / str(step_of(workdir))
    for each in newest.rglob("*"):
        if each.is_file():
            os.truncate(each, each.stat().st_size // 2)
    tally.tried += 1
    finish_training(root, workdir, data, tally)


def training_pictures(root: Path) -> Path:
    """A dozen small pictures."""
    folder = root / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    photo = pictures.picture(0.06)
    for number in range(12):
        cut = photo[number : number + 32, 2 * number : 2 * number + 40]
        Image.fromarray(cut).save(folder / f"{number:02}.png")
    return folder


def training(workdir: Path, data: Path) -> list[str]:
    """Trains a tiny network."""
    return ["train", *TRAINING, "--data", str(data), "--workdir", str(workdir)]


def step_of(workdir: Path) -> int:
    """The newest checkpoint's."""
    kept = workdir / "latest"
    names = [each.name for each in kept.iterdir()] if kept.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def finish_training(root: Path, workdir: Path, data: Path, tally: Tally) -> None:
    """Runs to the end, and compares with the undisturbed run."""
    age(root)
    if Running(training(workdir, data), tally).end():
        tally.crashed += 1
    weights = [load_file(each / "best.safetensors") for each in (root / "reference", workdir)]
    same = all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    tally.partial += not same
    tally.lost += step_of(workdir) != step_of(root / "reference")
    tally.left += len(hidden(root))


def kills_of_a_fleet(batch: Batch, tally: Tally, count: int) -> None:
    """A fleet is killed at random moments, and goes on from there each time."""
    chance, out = random.Random(0), batch.root / "fleet"
    start = time.monotonic()
    if Running(fleet(batch, batch.root / "fleet-reference"), Tally()).end():
        raise SystemExit("the undisturbed fleet failed")
    seconds = time.monotonic() - start
    for _ in tqdm(range(count), desc="kills of a fleet", disable=None):
        if batch.look(out, tally) == len(batch.reference):
            shutil.rmtree(out)
        tally.tried += 1
        running = Running(fleet(batch, out), tally)
        time.sleep(chance.uniform(0, seconds))
        running.kill("both")
        running.end(killed=True)
    age(out)
    if Running(fleet(batch, out), tally).end():
        tally.crashed += 1
    tally.lost += len(batch.reference) - batch.look(out, tally)
    rows = pq.read_table(out / "manifest", columns=["path"]).column("path").to_pylist()
    tally.lost += len({*batch.inputs} - {*rows})
    tally.left += len(hidden(out))


def fleet(batch: Batch, out: Path) -> list[str]:
    """Restores the same pictures as a fleet."""
    return ["fleet", str(batch.source), str(out)]


FAULTS: dict[str, Callable[[Batch, Tally], None]] = {
    "full disk": full_disk,
    "target read-only": read_only,
    "permission lost midway": closed_midway,
    "target vanishing": vanishing,
    "two processes, one folder": two_at_once,
}


def measured(root: Path, *, count: int, times: dict[str, int]) -> dict[str, Tally]:
    """Tries every fault.

    Args:
      root: a folder to do that in.
      count: pictures of a batch.
      times: how often a `batch`, `training` and a `fleet` are killed; 0 leaves these out.
    """
    rows: dict[str, Tally] = {}
    batch = Batch.of(root / "batch", count)
    for name, fault in FAULTS.items():
        if by_disks() is None and fault in (read_only, closed_midway):
            continue
        fault(batch, rows.setdefault(name, Tally()))
    if times["batch"]:
        kills(batch, rows.setdefault("kills of a batch", Tally()), times["batch"])
    if times["fleet"]:
        kills_of_a_fleet(batch, rows.setdefault("kills of a fleet", Tally()), times["fleet"])
    if times["training"]:
        tally = rows.setdefault("kills of training", Tally())
        kills_of_training(root / "training", tally, times["training"])
        tally = rows.setdefault("newest checkpoint cut off", Tally())
        damaged_checkpoint(root / "training", tally)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="pictures of a batch (default: 20)")
    for name in ("batch", "fleet", "training"):
        help_ = "how often it is killed (default: 30)"
        parser.add_argument(f"--{name}", type=int, default=30, metavar="N", help=help_)
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    times = {name: getattr(given, name) for name in ("batch", "fleet", "training")}
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), count=given.count, times=times)
    print(f"{'':28}" + "".join(f"{name:>9}" for name in asdict(Tally())))
    for name, row in rows.items():
        print(f"{name:28}" + "".join(f"{number:9}" for number in asdict(row).values()))
    results.write(given.output, {"rows": {name: asdict(row) for name, row in rows.items()}})
    return int(any(sum(asdict(row).values()) > row.tried for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
