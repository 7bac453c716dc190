"""Tables beyond 8 bits, whose steps are up to 65535: `python -m benchmarks.coarse --data PICTURES`.

Files of low quality need not keep to baseline's steps of 255. What matters is that no network does
harm there, whatever it was trained on. Prints the mean gain over the plain decode in dB, and that
of the picture that comes off worst.
"""

import argparse
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from hrcnn_jax.compiler import sound
from hrcnn_jax.data.crops import cut_crops
from hrcnn_jax.data.planes import GREEN
from hrcnn_jax.data.sources import open_source
from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import LIBJPEG_STEP, LUMINANCE, quality_table
from hrcnn_jax.networks import base, zoo
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.scores import metrics

CROPS, SIDE = 40, 128


@cache
def _program(module: Any) -> Any:
    """Restores planes by a network's module."""
    return jax.jit(partial(base.restore, module), compiler_options=sound())


def ramp(first: int, last: int) -> NDArray[np.int32]:
    """Steps that change evenly from that of the mean to that of the finest detail."""
    frequency = np.add.outer(np.arange(8), np.arange(8))
    return np.rint(np.linspace(first, last, 15)).astype(np.int32)[frequency]


TABLES: dict[str, NDArray[np.int32]] = {
    **{f"quality {q}": quality_table(q, LUMINANCE, LIBJPEG_STEP) for q in (1, 2, 5, 10, 20)},
    **{f"flat {n}": np.full((8, 8), n, np.int32) for n in (255, 256, 512, 1024, 2048, 4000, 65535)},
    **{
        f"{first} to {last}": ramp(first, last)
        for first, last in ((16, 512), (16, 4000), (255, 2048), (3000, 16))
    },
}
"""Libjpeg's, not kept to baseline; as coarse everywhere; ever coarser, and the other way round."""


def gains(network: Network, pixels: NDArray[Any], table: NDArray[np.int32]) -> NDArray[np.float32]:
    """Gain in PSNR over the plain decode of each of planes `(B, H, W)` in [0, 1], in dB."""
    tables = jnp.broadcast_to(jnp.asarray(table), (len(pixels), 8, 8))
    codes = transform.encode(jnp.asarray(pixels), tables)
    restored = _program(network.module)(network.params, codes, tables)
    plain = transform.decode(codes, tables)
    after, before = (
        metrics.psnr(metrics.to_8_bits(x), jnp.asarray(pixels)) for x in (restored, plain)
    )
    return np.asarray(after - before)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coarse", description=__doc__)
    parser.add_argument("--data", required=True, help="pictures")
    parser.add_argument("--model", nargs="+", default=["fast", "small", "large"])
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args(argv)
    networks = {model: zoo.load(model) for model in given.model}
    crops = cut_crops(open_source([given.data]), CROPS, SIDE, channel=GREEN)
    pixels = crops[..., 0].astype(np.float32) / 255
    rows = []
    print(f"{'':14}" + "".join(f"{model:>18}" for model in given.model))
    for name, table in TABLES.items():
        found = {model: gains(network, pixels, table) for model, network in networks.items()}
        ends = {model: [float(each.mean()), float(each.min())] for model, each in found.items()}
        rows.append({"table": name, **ends})
        cells = (f"{x.mean():+10.3f} ({x.min():+.2f})" for x in found.values())
        print(f"{name:14}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    results.write(given.output, {"rows": rows})


if __name__ == "__main__":
    main()
