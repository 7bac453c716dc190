"""Training losses: `loss(restored, target)`, planes `(B, H, W)` in [0, 1], to `(B,)`.

One value a picture, so that the step can weigh pictures before it averages them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hrcnn_jax.lookup import find
from hrcnn_jax.scores import metrics

Loss = Callable[[Array, Array], Array]


def mse(restored: Array, target: Array) -> Array:
    """Mean squared error, the paper's loss (Eq. 9): maximises PSNR."""
    return metrics.mean_squared_error(restored, target)


def charbonnier(restored: Array, target: Array) -> Array:
    """Smooth L1, `sqrt(d^2 + 1e-6)`: cares less about the few largest errors than MSE."""
    return jnp.mean(jnp.sqrt(jnp.square(restored - target) + 1e-6), axis=(-2, -1))


def ssim_mixed(restored: Array, target: Array) -> Array:
    """Nine parts MSE to one of `1 - SSIM` scaled by 0.01, about as large in practice."""
    dissimilarity = 1.0 - metrics.ssim(restored, target)
    return 0.9 * mse(restored, target) + 0.1 * 0.01 * dissimilarity


LOSSES: dict[str, Loss] = {"mse": mse, "charbonnier": charbonnier, "ssim": ssim_mixed}


def get(name: str) -> Loss:
    """Finds a loss: a key of `LOSSES`, or `package.module:function` from anywhere.

    Raises:
      ValueError: if there is no such loss, or it does not return one value a picture.
    """
    loss: Any = find(name, LOSSES, "loss")
    if not callable(loss):
        raise ValueError(f"cannot load the loss {name!r}: it is not a function")
    planes = jax.ShapeDtypeStruct((2, 64, 64), jnp.float32)
    try:
        shape = jax.eval_shape(loss, planes, planes).shape
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"the loss {name!r} does not take planes (B, H, W) and give an array: {reason}"
        ) from error
    if shape != (2,):
        raise ValueError(
            f"the loss {name!r} gives an array of shape {shape} for two planes: it has to give one "
            "value a picture, (B,); take the mean over the last two axes only"
        )
    return loss
