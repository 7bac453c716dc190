"""Restores JPEG pictures straight from their quantised DCT codes, in JAX and Flax.

>>> import hrcnn_jax
>>> picture = hrcnn_jax.restore("photo.jpg")  # (H, W) or (H, W, 3) uint8

The data's way, module by module: ``codec`` (file to codes), ``model`` and ``compact`` (codes to
pixels), ``restorer`` (tiles, faithfulness, colour), with the maths of JPEG in ``jpeg`` and
``color``. Training: ``data``, ``losses``, ``training``, ``checkpoints``.
"""

from hrcnn_jax.codec import JpegError, JpegFile, read
from hrcnn_jax.released import ModelError, Network, load, names
from hrcnn_jax.restorer import Restorer, decode, restore

__all__ = [
    "JpegError",
    "JpegFile",
    "ModelError",
    "Network",
    "Restorer",
    "decode",
    "load",
    "names",
    "read",
    "restore",
]
