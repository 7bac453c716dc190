"""The architectures by name: the only place that knows their names."""

import os
import sys
from typing import Any

import flax.linen as nn

from hrcnn_jax.lookup import find
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.chroma import ChromaArchitecture
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.networks.paper import PaperArchitecture
from hrcnn_jax.networks.trunk import TrunkArchitecture
from hrcnn_jax.networks.wild import WildArchitecture

ARCHITECTURES: dict[str, Architecture] = {
    "hrcnn": PaperArchitecture(),
    "compact": TrunkArchitecture(Compact),
    "chroma": ChromaArchitecture(),
    "wild": WildArchitecture(),
}
"""What `--architecture` knows; the first is what is trained unless another is asked for."""

DEFAULT = next(iter(ARCHITECTURES))

TRUSTED = "HRCNN_JAX_TRUST"
"""The environment variable with modules, commas between them, that cards may have imported."""


def of_card(name: str) -> Architecture:
    """An architecture that a card names: no card of a stranger's has any code imported.

    That of another package has been imported already, or is one that the user trusts.

    Args:
      name: as for `get`.

    Raises:
      ValueError: if there is no such architecture, or it is none of these.
    """
    module = name.partition(":")[0]
    trusted = os.environ.get(TRUSTED, "").split(",")
    if ":" not in name or module in sys.modules or module in trusted:
        return get(name)
    raise ValueError(
        f"its card asks for code of another package, {name}: if you trust that, import {module} "
        f"before, or set {TRUSTED}={module}"
    )


def get(name: str) -> Architecture:
    """An architecture by name, which is imported if it is of another package.

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
