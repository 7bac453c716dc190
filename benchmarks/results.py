"""What benchmarks share: where they ran, how a process is measured, and figures to a file."""

import datetime
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hrcnn_jax.files.atomic import write_text

ROOT = Path(__file__).parents[1]

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Usage(NamedTuple):
    """What a process took, as the operating system says (Linux and macOS).

    Attributes:
      seconds: from its start to its end.
      cpu_seconds: of all its threads.
      peak_bytes: of memory.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def environment(**variables: str) -> dict[str, str]:
    """In which a child finds this package."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | variables


def run(command: Sequence[str], variables: dict[str, str] | None = None) -> Usage:
    """Runs a program to its end; SystemExit if it fails."""
    start = time.monotonic()
    process = os.posix_spawnp(command[0], list(command), variables or environment())
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Usage(seconds, cpu_seconds, usage.ru_maxrss * _MAXRSS_UNIT)


def write(path: str | None, found: dict[str, Any]) -> None:
    """Writes figures to a JSON file, if one is asked for."""
    if path is None:
        return
    from hrcnn_jax.hardware import hardware  # JAX: not where a benchmark only starts others

    about = {"hardware": hardware(), "date": datetime.date.today().isoformat()}
    write_text(Path(path), json.dumps(about | found, indent=1) + "\n")
