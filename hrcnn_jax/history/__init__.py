"""What was done to a picture before: the compression that did the damage, found and proved.

>>> from hrcnn_jax import history
>>> found = history.find(file)  # what was read from a file, or an array of pixels
>>> earlier = history.recover(file, found)  # its codes, tables, and what is unsure

NumPy and SciPy alone: nothing here loads a compiler.
"""

from hrcnn_jax.history.earlier import Earlier
from hrcnn_jax.history.record import History
from hrcnn_jax.history.recovery import recover
from hrcnn_jax.history.said import Mode, Said, parse
from hrcnn_jax.history.search import can_have, find, told, visible

__all__ = [
    "Earlier",
    "History",
    "Mode",
    "Said",
    "can_have",
    "find",
    "parse",
    "recover",
    "told",
    "visible",
]
