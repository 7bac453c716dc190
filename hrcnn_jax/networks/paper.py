"""The paper's network as the rest of the package asks about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks import folding, hrcnn
from hrcnn_jax.networks.base import Architecture


@dataclass(frozen=True)
class PaperArchitecture(Architecture):
    """HR-CNN: reads raw codes of one table, and has linear parts that fold into one."""

    module: type[nn.Module] = hrcnn.HRCNN
    serves_one_quality: bool = True
    stages: tuple[str, ...] = hrcnn.STAGES

    def fold(self, module: Any, params: Any) -> tuple[Any, Any]:
        """Codes to the first ReLU in one convolution (see `hrcnn_jax.networks.folding`)."""
        return folding.fold(module, params)

    def retarget(self, params: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
        """Layer 2 rescaled from the old quality's codes to the new one's."""
        before, after = (transform.quality_table(each["quality"]) for each in (old, new))
        return hrcnn.retarget(params, before, after)
