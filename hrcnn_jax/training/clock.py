"""How much of a run is done: by its steps, or by the minutes that it was given."""

import time

from hrcnn_jax.training.settings import Run


class Clock:
    """Counts what a run has spent, over interruptions, and tells how much of it is done."""

    def __init__(self, run: Run, seconds: float = 0.0) -> None:
        """Begins to count.

        Args:
          run: its length is `minutes`, if it has any, or `steps`.
          seconds: that it had taken before, when it was interrupted.
        """
        self._run = run
        self._began = time.monotonic() - seconds

    @property
    def seconds(self) -> float:
        """What the run has taken so far, all parts together."""
        return time.monotonic() - self._began

    def done(self, step: int) -> float:
        """The part of the run that is done after a number of steps, from 0 to 1."""
        run = self._run
        return min(self.seconds / (60 * run.minutes) if run.minutes else step / run.steps, 1.0)
