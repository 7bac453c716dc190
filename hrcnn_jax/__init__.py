"""Restores JPEG pictures straight from their quantised DCT codes, in JAX and Flax.

>>> import hrcnn_jax
>>> picture = hrcnn_jax.restore("photo.jpg")  # (H, W, 3) uint8, or (H, W) if it is gray

The data's way, module by module: ``codec`` (file to codes), ``tiles``, ``model`` and ``compact``
(codes to pixels), ``restorer`` (faithfulness), ``assembly`` (planes to picture), ``output``
(picture to file), with the maths of JPEG in ``jpeg`` and ``color``. Training: ``data``,
``losses``, ``training``, ``checkpoints``.
"""

from hrcnn_jax.codec import JpegError, JpegFile, read
from hrcnn_jax.released import ModelError, Network, load, names
from hrcnn_jax.restorer import Restorer, decode, restore, restore_plane

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
    "restore_plane",
]
