"""The architectures by name: the only place that knows their names."""

from typing import Any

import flax.linen as nn

from hrcnn_jax.lookup import find
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.chroma import ChromaArchitecture
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.networks.paper import PaperArchitecture
from hrcnn_jax.networks.trunk import TrunkArchitecture

ARCHITECTURES: dict[str, Architecture] = {
    "hrcnn": PaperArchitecture(),
    "compact": TrunkArchitecture(Compact),
    "chroma": ChromaArchitecture(),
}
"""What `--architecture` knows; the first is what is trained unless another is asked for."""

DEFAULT = next(iter(ARCHITECTURES))


def get(name: str) -> Architecture:
    """An architecture by name.

    Args:
      name: a key of `ARCHITECTURES`, or `package.module:NAME` of an `Architecture` or of
        a Flax module class, which is then taken for one of planes.

    Raises:
      ValueError: if there is no such architecture.
    """
    found: Any = find(name, ARCHITECTURES, "architecture")
    if isinstance(found, Architecture):
        return found
    if isinstance(found, type) and issubclass(found, nn.Module) and hasattr(found, "halo"):
        return Architecture(found)
    raise ValueError(
        f"the architecture {name!r} is neither an Architecture nor a Flax module with a halo"
    )
