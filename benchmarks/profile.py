"""Where the time of a network goes: `python -m benchmarks.profile`.

Runs a tile under JAX's own profiler and adds up what XLA's CPU back end says of its operations.
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

from benchmarks.speed import tile_of_noise
from hrcnn_jax.compiler import lean
from hrcnn_jax.networks import cards, zoo
from hrcnn_jax.restoration import pure

REPEATS = 3
_KINDS = "fusion|dot|dot_general|convolution|stack|copy|concatenate|broadcast"
OPERATIONS = re.compile(rf".*({_KINDS})[._\d]*$")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--network", default=cards.DEFAULT)
    given = parser.parse_args()
    network = zoo.load(given.network)
    module, params = network.architecture.fold(network.module, network.params)
    tile = partial(pure.restore_tile, module, faithful=not network.architecture.is_faithful)
    apply = jax.jit(tile, compiler_options=lean())
    codes, table = tile_of_noise(module)
    prepared = pure.prepare(module, params, table)
    jax.block_until_ready(apply(prepared, codes, table))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            for _ in range(REPEATS):
                jax.block_until_ready(apply(prepared, codes, table))
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
