"""Planes, blocks and their DCT in NumPy: what a history is looked for with, without a compiler.

Samples are floats from 0 to 255. Source: ITU-T T.81 (JPEG), clauses A.3.1-A.3.4.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.jpeg.tables import BLOCK, DCT_BASIS, LEVEL_SHIFT

Floats = NDArray[np.float32]

BASIS: Floats = DCT_BASIS.astype(np.float32)
"""The DCT of eight samples, `(8, 8)` float32, `[frequency, sample]`."""


def to_blocks(plane: NDArray[Any]) -> NDArray[Any]:
    """Splits a plane `(8*hb, 8*wb)` into blocks `(hb, wb, 8, 8)`."""
    height, width = plane.shape
    return plane.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).swapaxes(1, 2)


def from_blocks(blocks: NDArray[Any]) -> NDArray[Any]:
    """Joins blocks `(hb, wb, 8, 8)` into a plane `(8*hb, 8*wb)`."""
    down, across = blocks.shape[:2]
    return blocks.swapaxes(1, 2).reshape(down * BLOCK, across * BLOCK)


def dct(blocks: Floats) -> Floats:
    """Coefficients `(..., 8, 8)` of blocks of samples, the level shift taken off."""
    return BASIS @ (blocks - np.float32(LEVEL_SHIFT)) @ BASIS.T


def idct(coefficients: Floats) -> Floats:
    """Inverse of `dct`; samples may leave 0-255."""
    samples = BASIS.T @ coefficients @ BASIS
    return np.asarray(samples + np.float32(LEVEL_SHIFT), np.float32)


def decoded(codes: NDArray[np.int16], table: NDArray[np.int32]) -> Floats:
    """Samples `(8*hb, 8*wb)` of codes `(hb, wb, 8, 8)`, neither clipped nor rounded."""
    coefficients: Floats = codes.astype(np.float32) * table.astype(np.float32)
    return from_blocks(idct(coefficients))


def kinds(codes: NDArray[np.int16]) -> NDArray[np.intp]:
    """Of codes `(N, 8, 8)`, which are the first of their kind: blocks alike but for mean and signs.

    Of drawings, whose few kinds of blocks are everywhere, some coarse table explains all: what is
    alike tells once.
    """
    patterns = np.abs(codes.reshape(len(codes), -1)[:, 1:])
    as_bytes = patterns.view(np.dtype((np.void, patterns.itemsize * patterns.shape[1])))
    return np.sort(np.unique(as_bytes, return_index=True)[1])
