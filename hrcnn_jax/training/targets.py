"""What training aims at: originals, what trained networks make of the same codes, or a mix.

Nearly all of the squared error against originals is what no network can predict: noise, for the one
that learns. What a better network, the teacher, makes of the same codes has none of it, but it is
a ceiling. So runs may begin with the teacher and end with originals. Only outputs are learnt from
(Hinton, Vinyals and Dean, *Distilling the knowledge in a neural network*, 2015), so that teacher
and student need have nothing in common but what they restore.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from hrcnn_jax.networks import registry
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.tasks import TASKS, beside

Target = Callable[[Any, Array, Array], Array]
"""`target(drawn, original, done)`: of the original's shape; `done` of the run, from 0 to 1."""


def make_target(settings: Settings) -> Target:
    """What a run aims at, as a pure function.

    Of several teachers the mean is taken. Their parameters are constants of the training step:
    neither trained nor kept in checkpoints.

    Raises:
      ValueError: if a teacher does not restore what the run trains a network for.
    """
    kind = registry.get(settings.architecture).kind
    teachers = [beside("--teacher", name, kind, settings) for name in settings.optimisation.teacher]
    if not teachers:
        return lambda drawn, original, done: original
    tasks = [TASKS[each.architecture.kind](each.module, settings) for each in teachers]
    first, last = settings.optimisation.teacher_share[0], settings.optimisation.teacher_share[-1]

    def target(drawn: Any, original: Array, done: Array) -> Array:
        taught = [
            task.outcome(each.params, drawn).restored
            for task, each in zip(tasks, teachers, strict=True)
        ]
        mean = jax.lax.stop_gradient(sum(taught[1:], taught[0]) / len(taught))
        share = first + (last - first) * done
        return original + share * (mean - original)

    return target
