"""Where the time of a network goes: ``python -m benchmarks.profile``.

Runs it under JAX's own profiler and adds up what XLA's CPU back end says of its operations.
"""

import argparse
import collections
import gzip
import json
import re
import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hrcnn_jax.networks import folding, registry, zoo
from hrcnn_jax.restoration import compilation
from hrcnn_jax.restoration.tiles import TILE

REPEATS = 3
OPERATIONS = re.compile(r".*(fusion|dot|convolution|stack|copy|concatenate|broadcast)[._\d]*$")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--network", default=zoo.DEFAULT)
    parser.add_argument("--blocks", type=int, default=TILE, help="side of the tile, in blocks")
    given = parser.parse_args()
    network = zoo.load(given.network)
    apply = jax.jit(
        partial(registry.restore, *folding.fold(network.module, network.params)),
        compiler_options=compilation.lean(),
    )
    random = np.random.default_rng(0)
    shape = (1, given.blocks, given.blocks, 8, 8)
    codes = jnp.asarray(random.integers(-2, 3, shape), jnp.float32)
    table = jnp.full((1, 8, 8), 40)
    jax.block_until_ready(apply(codes, table))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            for _ in range(REPEATS):
                jax.block_until_ready(apply(codes, table))
        (path,) = Path(folder).rglob("perfetto_trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    spent: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and OPERATIONS.match(event["name"]):
            spent[re.sub(r"[.\d]+$", "", event["name"])] += event["dur"]
    total = sum(spent.values())
    print(f"{'':36}{'ms':>8}{'share':>8}")
    for name, microseconds in spent.most_common(12):
        print(f"{name:<36}{microseconds / REPEATS / 1000:8.1f}{microseconds / total:8.0%}")


if __name__ == "__main__":
    main()
