"""How a network does on held-out pictures while it is trained."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hrcnn_jax import compiler
from hrcnn_jax.scores import metrics
from hrcnn_jax.training.step import Params
from hrcnn_jax.training.tasks import Task

LEAST_ERROR = 1 / 12 / 255**2
"""Mean squared error of rounding to 8 bits: what is less is none, so that gains stay finite."""


class Validation:
    """Mean PSNR gain over what the network is given, on held-out pictures, in a few cases."""

    def __init__(self, task: Task, pixels: np.ndarray, chunk: int = 20) -> None:
        """Prepares pictures.

        Args:
          task: what the network is trained to do.
          pixels: `(N, H, W)` or `(N, H, W, C)` float32 in [0, 1], as the task takes them.
          chunk: pictures that are measured at once; what is left over is left out.
        """
        self._validate = make_validate(task)
        self._cases = {
            name: _split(drawn, chunk) for name, drawn in task.cases(jnp.asarray(pixels)).items()
        }

    def __call__(self, params: Any) -> dict[str, float]:
        """`psnr@CASE` and `gain@CASE` in dB for each case, and the mean `gain`."""
        values: dict[str, float] = {}
        for name, chunks in self._cases.items():
            scores = [self._validate(params, drawn) for drawn in chunks]
            plain, restored = (np.concatenate(part) for part in zip(*scores, strict=True))
            values[f"psnr@{name}"] = float(np.mean(restored))
            values[f"gain@{name}"] = float(np.mean(restored - plain))
        gains = [value for name, value in values.items() if name.startswith("gain@")]
        return {**values, "gain": float(np.mean(gains))}


def make_validate(task: Task) -> Callable[[Params, Any], tuple[Array, Array]]:
    """Compiled `validate(params, drawn)`: PSNR of what the network is given, and of its result.

    What is drawn is an example of the task's, of B pictures; each result is `(B,)` dB, both
    pictures rounded to 8 bits.
    """

    @partial(jax.jit, compiler_options=compiler.sound())
    def validate(params: Params, drawn: Any) -> tuple[Array, Array]:
        outcome = task.outcome(params, drawn)
        plain, restored = map(metrics.to_8_bits, (outcome.plain, outcome.restored))
        return _psnr(plain, outcome.target), _psnr(restored, outcome.target)

    return validate


def _psnr(pictures: Array, targets: Array) -> Array:
    """Over all planes of a picture together."""
    as_one = [x.reshape(x.shape[0], -1, x.shape[-1]) for x in (pictures, targets)]
    return jnp.minimum(metrics.psnr(*as_one), -10 * np.log10(LEAST_ERROR))


def _split(drawn: Any, chunk: int) -> list[Any]:
    """Examples in whole chunks; in one if there are fewer."""
    count = len(jax.tree.leaves(drawn)[0])
    chunk = min(chunk, count)
    return [
        jax.tree.map(lambda leaf: leaf[start : start + chunk], drawn)  # noqa: B023
        for start in range(0, count - chunk + 1, chunk)
    ]
