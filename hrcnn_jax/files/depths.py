"""What the samples of a finished picture are."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Depth = Literal["uint8", "uint16", "float32"]
"""What a picture's samples are: whole numbers up to the type's largest, or floats in [0, 1]."""

LARGEST: dict[str, float] = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""White, by depth: the name of the samples' type."""


def in_depth(picture: NDArray[np.float32], depth: Depth) -> NDArray[Any]:
    """A picture of floats in [0, 1] in another depth, rounded to the nearest level."""
    if depth == "float32":
        return picture
    return np.rint(picture * np.float32(LARGEST[depth])).astype(depth)


def check_depth(depth: str) -> None:
    """Raises ValueError unless there is such a depth."""
    if depth not in get_args(Depth):
        raise ValueError(f"depth must be one of {', '.join(get_args(Depth))}, got {depth!r}")
