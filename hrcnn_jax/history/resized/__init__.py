"""Pictures that were resized after the compression that did the damage: found, proved, recovered.

`lines` shows where edges of blocks lie, `corners` which factors they speak for, `suspicion` which
size and table; `search` proves it; `recovery` has the codes, `geometry` the way forth and back, by
the `filters` that tools resize with. `view` is what is looked at.
"""

from hrcnn_jax.history.resized.recovery import recover
from hrcnn_jax.history.resized.search import find, told

__all__ = ["find", "recover", "told"]
