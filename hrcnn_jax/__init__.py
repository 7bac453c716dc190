"""Restores JPEG pictures straight from their quantised DCT codes, in JAX and Flax.

>>> import hrcnn_jax
>>> picture = hrcnn_jax.restore("photo.jpg")  # (H, W, 3) uint8, or (H, W) if it is gray

The data's way, room by room: `files` (file to codes, pictures to files), `networks` (codes to
pixels), `restoration` (tiles, faithfulness, planes to picture), with the maths of JPEG in
`jpeg` and what was done to a picture before in `history`. `data` and `training` make
networks, `scores` measures them, `cli` is the command line, `app` a page for people, `fleet` for
whole collections.

Names are loaded when they are first asked for: importing this package takes no compiler.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrcnn_jax.files.reader import JpegError, JpegFile, read
    from hrcnn_jax.networks.cards import Card, ModelError, names
    from hrcnn_jax.networks.zoo import Network, load
    from hrcnn_jax.restoration.pure import restore_plane
    from hrcnn_jax.restoration.restorer import Restorer, decode, restore

__version__ = "0.2.0"

__all__ = [
    "Card",
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

_ROOMS = {
    "files.reader": ("JpegError", "JpegFile", "read"),
    "networks.cards": ("Card", "ModelError", "names"),
    "networks.zoo": ("Network", "load"),
    "restoration.pure": ("restore_plane",),
    "restoration.restorer": ("Restorer", "decode", "restore"),
}
"""Where each public name is at home."""


def __getattr__(name: str) -> Any:
    """A public name, from the module that it is at home in (PEP 562)."""
    for room, known in _ROOMS.items():
        if name in known:
            value = getattr(importlib.import_module(f"{__name__}.{room}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
