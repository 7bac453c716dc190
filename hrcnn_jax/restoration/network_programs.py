"""The compiled programs of a network, and what it makes of the tables that pictures have."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax.compiler import hasty
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.networks.chroma import MCU
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration import pure, tiles
from hrcnn_jax.restoration.programs import Program

_KNOWN_TABLES = 8
"""Tables of which we keep what networks make of them: a folder's files mostly share some."""


class NetworkPrograms:
    """A network's programs: what its tables make of it, and then tile by tile.

    One program restores tiles in full, and another, if it is asked for, at any strength.
    """

    def __init__(
        self,
        network: Network,
        restore_tile: Callable[..., Array],
        tile: Callable[[int], tuple[jax.ShapeDtypeStruct, ...]],
        faithful: bool,
    ) -> None:
        """Of a network, what restores its tiles, and of what kind these are, given their side."""
        self.network = network
        module, self._params = network.architecture.fold(network.module, network.params)
        self.halo: int = module.halo
        self.side = tiles.side_for(self.halo)
        self._prepare = Program(partial(pure.prepare, module), hasty)
        self._tile = Program(partial(restore_tile, module, faithful=faithful))
        self._blank = tile(self.side + 2 * self.halo)
        self._begun = False
        self._known: OrderedDict[bytes, tuple[Any, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, *tables: NDArray, strength: float) -> None:
        """Has all that comes before the first tile done on a thread of its own; once."""
        if self._begun:
            return
        self._begun = True

        def find() -> None:
            with suppress(Exception):  # which whoever needs it is told of
                prepared, steps, mix = self._given(tables, strength)
                self._tile.compiled(prepared, *self._blank, *steps, strength=mix)

        threading.Thread(target=find).start()

    def of(self, *tables: NDArray, strength: float) -> Callable[..., Array]:
        """What restores a tile of planes with these tables, given all that comes before them."""
        prepared, steps, mix = self._given(tables, strength)
        return lambda *tile: self._tile(prepared, *tile, *steps, strength=mix)

    def _given(
        self, tables: tuple[NDArray, ...], strength: float
    ) -> tuple[Any, tuple[NDArray[np.int32], ...], np.float32 | None]:
        """What all tiles of some tables are restored with: the network's part, steps, strength.

        Of the last few tables the network's part is kept.
        """
        steps = tuple(np.asarray(table, np.int32) for table in tables)
        key = b"".join(each.tobytes() for each in steps)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._prepare(self._params, *steps)
            self._known.move_to_end(key)
            prepared = self._known[key]
            while len(self._known) > _KNOWN_TABLES:
                self._known.popitem(last=False)
        return prepared, steps, None if strength == 1.0 else np.float32(strength)


def of_planes(network: Network, *, faithful: bool) -> NetworkPrograms:
    """The programs of a network of planes, given whether its results are to be projected."""
    return NetworkPrograms(network, pure.restore_tile, _luma_tile, faithful)


def of_chroma(network: Network, *, faithful: bool) -> NetworkPrograms:
    """The programs of a network of chroma, given whether mixes are to be faithful."""
    return NetworkPrograms(network, pure.restore_chroma_tile, _chroma_tile, faithful)


def _luma_tile(side: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    """What `restore_tile` is given of a tile of side by side blocks."""
    return (jax.ShapeDtypeStruct((side, side, BLOCK, BLOCK), np.int16),)


def _chroma_tile(side: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    """What `restore_chroma_tile` is given of a tile of side by side blocks."""
    codes = jax.ShapeDtypeStruct((2, side, side, BLOCK, BLOCK), np.int16)
    return codes, jax.ShapeDtypeStruct((MCU * side, MCU * side), np.float32)
