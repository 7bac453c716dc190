"""A run's log: one JSON line an entry, and the same to TensorBoard."""

import json
import time
from pathlib import Path

import jax
from tensorboardX import SummaryWriter


class Journal:
    """Appends to ``WORKDIR/metrics.jsonl`` and writes TensorBoard events to ``WORKDIR/events``.

    Of many processes the first keeps the journal, for all of them.
    """

    def __init__(self, workdir: Path) -> None:
        self._keeps = jax.process_index() == 0
        if not self._keeps:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        self._lines = (workdir / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir / "events"))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._keeps:
            self._lines.close()
            self._board.close()

    def write(self, step: int, **values: float) -> None:
        """Notes values at a step, with the time of day in seconds."""
        if not self._keeps:
            return
        self._lines.write(
            json.dumps({"step": step, "time": round(time.time(), 1), **values}) + "\n"
        )
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
