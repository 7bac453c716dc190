"""Beginning a larger network from a smaller one's weights: wider, deeper, with more kernels."""

from collections.abc import Collection
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Path = tuple[str, ...]

_KERNEL = 4
"""Axes of a convolution's kernel: taps down and across, inputs, outputs."""


def grow(params: Any, fresh: Any) -> Any:
    """Parameters of a larger network that computes exactly what a smaller one does.

    New channels begin at random, but nothing of the old network reads them; new residual blocks add
    nothing yet. Both learn from the first step on, as what they would pass on is not zero.

    Args:
      params: the smaller network's parameters, a nested dict of float32 arrays.
      fresh: the larger one's fresh ones.

    Raises:
      ValueError: if the one does not fit into the other.
    """
    old, new = flatten_dict(params), flatten_dict(fresh)
    fits = old.keys() <= new.keys() and all(
        leaf.ndim == new[path].ndim and all(np.less_equal(leaf.shape, new[path].shape))
        for path, leaf in old.items()
    )
    if not fits:
        raise ValueError(
            "--warm-start: its network has layers that this run's has not, or larger ones"
        )
    grown = {
        path: _embed(path, np.asarray(old[path]), np.array(leaf))
        if path in old
        else _silent(path, np.array(leaf), new)
        for path, leaf in new.items()
    }
    return unflatten_dict(grown)


def _embed(path: Path, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Writes a leaf into the corner of a larger one, and a kernel's fewer taps into its middle."""
    if _layer(path) == "film":  # scales and shifts, side by side: each grows on its own
        halves = zip(np.split(old, 2, axis=-1), np.split(new, 2, axis=-1), strict=True)
        return np.concatenate(
            [_embed((*path[:-2], "half", path[-1]), *half) for half in halves], -1
        )
    starts = [0] * old.ndim
    if old.ndim > 1:
        inputs, outputs = old.shape[-2:]
        new[..., inputs:, :outputs] = 0
        if old.ndim == _KERNEL and old.shape[:2] != new.shape[:2]:
            new[..., :inputs, :outputs] = 0
            starts[:2] = ((new.shape[axis] - old.shape[axis]) // 2 for axis in (0, 1))
    places = zip(starts, old.shape, strict=True)
    new[tuple(slice(start, start + count) for start, count in places)] = old
    return new


def _silent(path: Path, new: np.ndarray, leaves: Collection[Path]) -> np.ndarray:
    """A layer of a new residual block, the last of which is to add nothing."""
    last = "conv3" if (*path[:-2], "conv3", "kernel") in leaves else "conv2"
    return np.zeros_like(new) if _layer(path) == last else new


def _layer(path: Path) -> str:
    """What a parameter is of; nothing, if it is the network's own."""
    return path[-2] if len(path) > 1 else ""
