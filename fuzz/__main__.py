"""Fuzzes parsers, guided by coverage: `python -m fuzz`.

Each parser runs under libFuzzer (by atheris, on Linux), from a corpus that is made anew, and from
what earlier runs found worth keeping if `--corpus` names a folder. An input that raises, crashes,
hangs or takes too much memory is kept in the folder `--found`, and the exit status is 1.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.targets import TARGETS

AT_ONCE = {"history": 500}
"""Inputs of one process: atheris 3.0 keeps all arrays that what it instruments compares."""

ROOT = Path(__file__).parents[1]
MOST_SECONDS, MOST_MEGABYTES, MOST_BYTES = 20, 3000, 20_000
"""That an input may take; and that it may have."""


def fuzz(name: str, corpus: Path, given: argparse.Namespace) -> tuple[str, bool]:
    """Fuzzes a target; returns a row of the table, and whether nothing was found."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number:02}").write_bytes(seed)
    found = Path(given.found)
    found.mkdir(parents=True, exist_ok=True)
    before = {*found.glob(f"{name}-*")}
    start, tried, rounds = time.monotonic(), 0, 0
    while True:
        left = given.seconds - int(time.monotonic() - start)
        runs = min(AT_ONCE.get(name, given.runs), given.runs - tried)
        ended = _round(name, corpus, found, seconds=left, runs=runs, seed=given.seed + rounds)
        done = _last(r"stat::number_of_executed_units:\s*(\d+)", ended.stderr)
        tried, rounds = tried + done, rounds + 1
        if ended.returncode or done < runs or tried >= given.runs:
            break
        if time.monotonic() - start >= given.seconds:
            break
    covered = _last(r"\bcov: (\d+)", ended.stderr)
    kept = sorted({*found.glob(f"{name}-*")} - before)
    row = f"{name:10}{tried:>10}{covered:>10}{time.monotonic() - start:>9.0f}{len(kept):>7}"
    if ended.returncode:
        row += f"\n{ended.stdout[-1500:]}{ended.stderr[-3000:]}" + "".join(f"\n{k}" for k in kept)
    return row, ended.returncode == 0


def _round(
    name: str, corpus: Path, found: Path, *, seconds: int, runs: int, seed: int
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzz.harness", name, str(corpus), "-print_final_stats=1"]
    command += [f"-seed={seed}", f"-max_total_time={max(seconds, 1)}", f"-runs={runs}"]
    command += [f"-timeout={MOST_SECONDS}", f"-rss_limit_mb={MOST_MEGABYTES}"]
    command += [f"-max_len={MOST_BYTES}", f"-artifact_prefix={found}/{name}-"]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)


def _last(pattern: str, text: str) -> int:
    return int(next(iter(re.findall(pattern, text)[-1:]), 0))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {' '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=600, help="a target (default: 600)")
    parser.add_argument(
        "--runs", type=int, default=10**9, help="inputs a target (default: no limit)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is random (default: 1)")
    parser.add_argument("--corpus", help="folder to go on from, and to keep what covers more")
    parser.add_argument("--found", default="fuzz/found", help="where what breaks a parser goes")
    given = parser.parse_args()
    unknown = {*given.targets} - {*TARGETS}
    if unknown:
        parser.error(f"no such targets: {' '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        corpus = Path(given.corpus or folder)
        print(f"{'parser':10}{'inputs':>10}{'coverage':>10}{'seconds':>9}{'found':>7}", flush=True)
        well = True
        names = given.targets or list(TARGETS)
        for row, is_well in pool.map(lambda name: fuzz(name, corpus / name, given), names):
            print(row, flush=True)
            well &= is_well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
