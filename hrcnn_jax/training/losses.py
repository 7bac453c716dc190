"""Training losses: ``loss(restored, target)``, planes ``(B, H, W)`` in [0, 1], to ``(B,)``.

One value a picture, so that the step can weigh pictures before it averages them.
"""

import importlib
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from hrcnn_jax.scores import metrics

Loss = Callable[[Array, Array], Array]


def mse(restored: Array, target: Array) -> Array:
    """Mean squared error, the paper's loss (Eq. 9): maximises PSNR."""
    return metrics.mean_squared_error(restored, target)


def charbonnier(restored: Array, target: Array) -> Array:
    """Smooth L1, ``sqrt(d^2 + 1e-6)``: cares less about the few largest errors than MSE."""
    return jnp.mean(jnp.sqrt(jnp.square(restored - target) + 1e-6), axis=(-2, -1))


def ssim_mixed(restored: Array, target: Array) -> Array:
    """Nine parts MSE to one of ``1 - SSIM`` scaled by 0.01, about as large in practice."""
    dissimilarity = 1.0 - metrics.ssim(restored, target)
    return 0.9 * mse(restored, target) + 0.1 * 0.01 * dissimilarity


LOSSES: dict[str, Loss] = {"mse": mse, "charbonnier": charbonnier, "ssim": ssim_mixed}


def get(name: str) -> Loss:
    """Finds a loss: a key of ``LOSSES``, or ``package.module:function`` from anywhere.

    Raises:
      ValueError: if there is no such loss.
    """
    if name in LOSSES:
        return LOSSES[name]
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(
            f"no loss {name!r}: choose from {', '.join(LOSSES)}, or give package.module:function"
        )
    try:
        loss = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot load the loss {name!r}: {error}") from error
    if not callable(loss):
        raise ValueError(f"cannot load the loss {name!r}: it is not a function")
    return loss
