"""Thousands of files through one process: `python -m benchmarks.soak`.

Files of unlike sizes, kinds and qualities, a tenth of them broken, are restored by one `hrcnn-jax
restore`. It is looked at on the way: what it holds, in memory, file descriptors, threads and memory
maps, should stay as it is. In the end some results, by chance, are compared with what a fresh
process makes of their files alone.

Linux only.
"""

import argparse
import io
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks import pictures, results
from benchmarks.start import with_programs_in
from fuzz.mutations import MUTATIONS

SIDES = 1, 200
KINDS = (
    "4:2:0",
    "4:4:4",
    "4:2:2",
    "gray",
    "progressive",
    "inks",
    "4:2:0",
    "4:4:4",
    "gray",
    "broken",
)


class Held(NamedTuple):
    """What a process holds after so many files."""

    files: int
    megabytes: float
    descriptors: int
    threads: int
    maps: int


def make(folder: Path, count: int) -> None:
    """Writes files, the same ones each time; every tenth is broken, in one of many ways."""
    chance = np.random.default_rng(0)
    photo = pictures.picture(0.3)
    for number in range(count):
        height, width = chance.integers(*SIDES, 2, endpoint=True)
        top, left = chance.integers(0, 100, 2)
        image = Image.fromarray(photo[top : top + height, left : left + width])
        kind, stream = KINDS[number % len(KINDS)], io.BytesIO()
        quality = int(chance.integers(5, 96))
        options: dict[str, Any] = {"quality": quality, "progressive": kind == "progressive"}
        if ":" in kind:
            options["subsampling"] = kind
        mode = {"gray": "L", "inks": "CMYK"}.get(kind, "RGB")
        image.convert(mode).save(stream, "JPEG", **options)
        data = stream.getvalue()
        if kind == "broken":
            data = MUTATIONS[number // len(KINDS) % len(MUTATIONS)](data, random.Random(number))
        (folder / f"{number:05}.jpg").write_bytes(data)


def held(process: int, files: int) -> Held | None:
    """What the child of a supervised process holds; None if it has just ended."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        about = Path("/proc") / children[0]
        status = dict(line.split(":", 1) for line in (about / "status").read_text().splitlines())
        return Held(
            files,
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((about / "fd").iterdir())),
            int(status["Threads"]),
            len((about / "maps").read_text().splitlines()),
        )
    except (OSError, IndexError, KeyError):
        return None


def watched(command: list[str], out: Path, count: int, lines: int) -> Iterator[Held]:
    """Runs a command, and looks at it as its results come."""
    variables = with_programs_in(str(out.parent))
    said = out.with_suffix(".txt")  # a pipe that nobody reads would fill up, and hold all up
    with said.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, env=variables, stderr=stream)
    with tqdm(total=count, unit="file", disable=None) as bar:
        next_look = count // lines
        while process.poll() is None:
            # A tenth of the files is refused, and has no result.
            done = len(list(out.iterdir())) * len(KINDS) // (len(KINDS) - 1) if out.is_dir() else 0
            bar.update(done - bar.n)
            if done >= next_look:
                look = held(process.pid, done)
                if look is not None:
                    yield look
                next_look += count // lines
            time.sleep(0.2)
    *complaints, summary = said.read_text(encoding="utf-8").splitlines()
    if process.returncode != 1 or "files restored" not in summary:
        raise SystemExit(f"ended with status {process.returncode}: {summary}")
    print(summary)
    print(f"{len(complaints)} lines about broken files")


def differing(inputs: Path, out: Path, count: int) -> int:
    """How many of some results are not what a fresh process makes of their files."""
    chosen = random.Random(0).sample(sorted(out.iterdir()), count)
    different = 0
    with tempfile.TemporaryDirectory() as alone:
        for path in tqdm(chosen, desc="alone", unit="file", disable=None):
            file = inputs / f"{path.stem}.jpg"
            command = [sys.executable, "-m", "hrcnn_jax", "restore", str(file), "-o", alone]
            variables = with_programs_in(str(out.parent))
            subprocess.run(command, env=variables, check=True)
            different += (Path(alone) / path.name).read_bytes() != path.read_bytes()
    return different


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="files (default: 1000)")
    parser.add_argument("--compared", type=int, default=20, help="results (default: 20)")
    parser.add_argument("--lines", type=int, default=10, help="looks at the process (default: 10)")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    print("".join(f"{name:>13}" for name in Held._fields), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        inputs, out = Path(folder, "in"), Path(folder, "out")
        inputs.mkdir()
        make(inputs, given.count)
        command = [sys.executable, "-m", "hrcnn_jax", "restore", "-r", str(inputs), "-o", str(out)]
        looks = []
        for look in watched(command, out, given.count, given.lines):
            looks.append(look)
            print("".join(f"{number:13,.0f}" for number in look), flush=True)
        different = differing(inputs, out, given.compared)
    print(f"{different} of {given.compared} results differ from those of a fresh process")
    found = {"files": given.count, "compared": given.compared, "different": different}
    results.write(given.output, found | {"held": [look._asdict() for look in looks]})
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
