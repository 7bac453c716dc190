"""How a network does on held-out pictures while it is trained."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from hrcnn_jax.scores import metrics
from hrcnn_jax.training.step import Params
from hrcnn_jax.training.tasks import Task

QUALITIES = (5, 10, 20, 30, 50, 70, 90, 95)
"""Where networks that serve many qualities are validated, as far as they are trained there."""


class Validation:
    """Mean PSNR gain over the plain decode, on held-out pictures, at a few qualities."""

    def __init__(
        self, task: Task, pixels: np.ndarray, quality: tuple[int, ...], chunk: int = 20
    ) -> None:
        """Prepares pictures.

        Args:
          task: what the network is trained to do.
          pixels: `(N, H, W)` or `(N, H, W, 3)` float32 in [0, 1], as the task takes them.
          quality: that is trained on: one, or the lowest and the highest.
          chunk: pictures that are measured at once; what is left over is left out.
        """
        self._validate = make_validate(task)
        whole = max(len(pixels) // chunk, 1) * min(chunk, len(pixels))
        self._chunks = [
            jnp.asarray(part) for part in np.split(pixels[:whole], max(whole // chunk, 1))
        ]
        low, high = quality[0], quality[-1]
        self._qualities = [q for q in QUALITIES if low <= q <= high] or [low]

    def __call__(self, params: Any) -> dict[str, float]:
        """`psnr@Q` and `gain@Q` in dB for each quality, and the mean `gain`."""
        values: dict[str, float] = {}
        for quality in self._qualities:
            scores = [self._validate(params, pixels, quality) for pixels in self._chunks]
            plain, restored = (np.concatenate(part) for part in zip(*scores, strict=True))
            values[f"psnr@{quality}"] = float(np.mean(restored))
            values[f"gain@{quality}"] = float(np.mean(restored - plain))
        gains = [value for name, value in values.items() if name.startswith("gain@")]
        return {**values, "gain": float(np.mean(gains))}


def make_validate(task: Task) -> Callable[[Params, Array, ArrayLike], tuple[Array, Array]]:
    """Compiled `validate(params, pixels, quality)`: PSNR of the plain decode and of the network.

    Pixels are `(B, H, W)` or `(B, H, W, 3)` float32 in [0, 1], as the task takes them; each
    result is `(B,)` dB, both pictures rounded to 8 bits.
    """

    @jax.jit
    def validate(params: Params, pixels: Array, quality: ArrayLike) -> tuple[Array, Array]:
        target, *pictures = task.outcome(params, task.standard(pixels, jnp.asarray(quality)))
        plain, restored = (metrics.to_8_bits(picture) for picture in pictures)
        return _psnr(plain, target), _psnr(restored, target)

    return validate


def _psnr(pictures: Array, targets: Array) -> Array:
    """Over all planes of a picture together."""
    as_one = [x.reshape(x.shape[0], -1, x.shape[-1]) for x in (pictures, targets)]
    return metrics.psnr(*as_one)
