"""A run's log: one JSON line an entry, and the same to TensorBoard."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
from tensorboardX import SummaryWriter


class RunLog:
    """Appends to `WORKDIR/metrics.jsonl` and writes TensorBoard events to `WORKDIR/events`.

    Of many processes the first writes it, for all of them.
    """

    def __init__(self, workdir: Path) -> None:
        self._keeps = jax.process_index() == 0
        if not self._keeps:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        self._lines = (workdir / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir / "events"))

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._keeps:
            self._lines.close()
            self._board.close()

    def write(self, step: int, seconds: float, **values: float) -> None:
        """Notes values at a step, with the seconds of training so far and the time of day."""
        if not self._keeps:
            return
        about = {"step": step, "time": round(time.time(), 1), "seconds": round(seconds, 1)}
        self._lines.write(json.dumps(about | values) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def curve(workdir: Path) -> list[dict[str, float]]:
    """How a run's validation gain rose: `step`, `hours` of training and `gain` in dB.

    What a resumed run did twice is left out, and what earlier versions noted without its seconds.

    Args:
      workdir: of the run; without a log the curve is empty.
    """
    points: dict[int, dict[str, float]] = {}
    for entry in _entries(workdir / "metrics.jsonl"):
        points = {step: point for step, point in points.items() if step < entry["step"]}
        if "gain" in entry and "seconds" in entry:
            point = {"hours": round(entry["seconds"] / 3600, 3), "gain": round(entry["gain"], 4)}
            points[entry["step"]] = {"step": entry["step"], **point}
    return list(points.values())


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                with suppress(json.JSONDecodeError):  # torn, as a full disk leaves it
                    yield json.loads(line)
