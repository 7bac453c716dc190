"""A network's tile as an ONNX program, for browsers, phones and other languages.

One tile of fixed size: codes and table go in, pixels come out. All that lies in between is there,
what the table conditions and the projection onto the codes included. Whoever calls it cuts planes
into tiles, with `halo` blocks around each and mirror images beyond the borders, as `tiles.py` does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax2onnx
import numpy as np
import onnx
import onnxruntime
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax.compiler import lean
from hrcnn_jax.jpeg.tables import BLOCK, quality_table
from hrcnn_jax.networks.cards import ModelError
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration import tiles
from hrcnn_jax.restoration.pure import prepare, restore_tile

OPSET = 18
"""Of ONNX's operators: of 2022, so that older runtimes know them."""

TOLERANCE = 1e-4
"""By how much pixels in [0, 1] may differ from JAX's: float32 sums in another order differ by less
than a hundredth of it, and half a level of 8 bits is twenty times as much."""

Arguments = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Codes and table."""


def export(network: Network, *, side: int | None = None) -> onnx.ModelProto:
    """A network as ONNX: from `codes` `(n, n, 8, 8)` and a `table` `(8, 8)` to `pixels`.

    Here `n` is `side + 2*halo`. Codes and table are int32, pixels `(8*side, 8*side)` float32 near
    [0, 1], neither clipped nor rounded. The program's metadata tell the network's name and card,
    `side` and `halo`.

    Args:
      network: for planes. (What jax2onnx 0.17 makes of those for chroma, no runtime takes.)
      side: of a tile in blocks, without its halo; the side that `Restorer` uses if not given.

    Raises:
      ModelError: if the network is not for planes.
    """
    function, params, halo = tile_of(network)
    side = tiles.side_for(halo) if side is None else side
    model = jax2onnx.to_onnx(
        partial(function, params),
        [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in example(network, side)],
        model_name=network.name,
        opset=OPSET,
        input_names=["codes", "table"],
        output_names=["pixels"],
    )
    about = {"network": network.name, "side": str(side), "halo": str(halo)}
    onnx.helper.set_model_props(model, about | {"card": network.card.to_json()})
    onnx.checker.check_model(model)
    return model


def difference(model: onnx.ModelProto, network: Network) -> float:
    """The largest difference of a tile's pixels by ONNX Runtime from those by JAX."""
    known = {each.key: each.value for each in model.metadata_props}
    arguments = example(network, int(known["side"]))
    function, params, _ = tile_of(network)
    expected = np.asarray(jax.jit(function, compiler_options=lean())(params, *arguments))
    return float(np.abs(run(session(model), arguments) - expected).max())


def session(model: onnx.ModelProto, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """What runs a model on this machine's CPU; 0 threads are as many as there are cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, arguments: Arguments) -> NDArray[np.float32]:
    """A tile's pixels."""
    codes, table = arguments
    (pixels,) = session.run(None, {"codes": codes, "table": table})
    return np.asarray(pixels)


def tile_of(network: Network) -> tuple[Callable[..., Array], Any, int]:
    """A function from parameters, a tile's codes and its table to pixels; parameters; the halo.

    Raises:
      ModelError: if the network is not for planes.
    """
    if network.architecture.kind != "planes":
        raise ModelError(
            f"network {network.name!r} is for {network.architecture.kind}: only those for planes "
            "go to ONNX"
        )
    module, params = network.architecture.fold(network.module, network.params)

    projected = not network.architecture.is_faithful

    def restore(params: Any, codes: Array, table: Array) -> Array:
        return restore_tile(
            module, prepare(module, params, table), codes, table, faithful=projected
        )

    return restore, params, module.halo


def example(network: Network, side: int) -> Arguments:
    """A tile and a table: codes that fall off with frequency, as those of pictures do."""
    blocks = side + 2 * tile_of(network)[2]
    falloff = 8 / (1 + np.add.outer(np.arange(BLOCK), np.arange(BLOCK))) ** 2
    codes = np.random.default_rng(0).laplace(scale=falloff, size=(blocks, blocks, BLOCK, BLOCK))
    table = quality_table(20) if network.table is None else network.table
    return np.rint(codes).astype(np.int32), np.asarray(table, np.int32)
