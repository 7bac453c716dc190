"""Finds what users name on the command line: an entry of ours, or one of a package of their own."""

import importlib
from collections.abc import Mapping
from typing import Any


def find(name: str, known: Mapping[str, Any], kind: str) -> Any:
    """An entry by its name, or an object by `package.module:NAME`.

    Args:
      name: a key of `known`, or where an object of one's own is.
      known: entries by name.
      kind: what they are, for messages: `loss`, `architecture`.

    Raises:
      ValueError: if there is no such entry or object.
    """
    if name in known:
        return known[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(
            f"no {kind} {name!r}: choose from {', '.join(known)}, or give package.module:NAME"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot load the {kind} {name!r}: {error}") from error
