"""What was done to a picture before: the compression that did the damage, found and proved.

>>> from hrcnn_jax import history
>>> found = history.find(file)  # a JpegFile; history.find_in_pixels(array) of a lossless picture
>>> earlier = history.recover(file, found)  # its codes, tables, and what is unsure

NumPy alone: nothing here loads a compiler.
"""

from hrcnn_jax.history.search import Earlier, History, find, find_in_pixels, recover

__all__ = ["Earlier", "History", "find", "find_in_pixels", "recover"]
