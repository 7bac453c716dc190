"""Megapixels a second beside the machine's own limits: `python -m benchmarks.speed`.

Everything is measured in one run, warm, medians of repeats. The yardstick is the rate of a large
matrix product in float32: what convolutions could reach at best. A network's share of it is its
multiply-adds a second by the yardstick's: those that it would have if every convolution were
computed tap by tap, which is how networks are compared, and those that are computed.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import pictures, results
from hrcnn_jax.compiler import lean
from hrcnn_jax.files import reader
from hrcnn_jax.networks import cards, zoo
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.restoration import pure, tiles
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores.chains import decompressed
from hrcnn_jax.threads import THREADS

QUALITY = 10
"""Of the files: one that every network serves."""

JPEGQS = "jpeg-quantsmooth"
"""A peer that smoothes within quantisation steps, written in C: a process from file to file."""

SIDE = 2048
"""Of the yardstick's matrices."""

ENOUGH = 60.0
"""Seconds after which nothing is repeated."""


@dataclass(frozen=True)
class Cost:
    """Multiply-adds a pixel: tap by tap, and computed."""

    direct: float
    computed: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.direct + other.direct, self.computed + other.computed)


def cost_of(architecture: Architecture, module: Any) -> Cost:
    """Of a network as it is trained, unfolded."""
    return Cost(architecture.direct_multiply_adds(module), architecture.multiply_adds(module))


@dataclass(frozen=True)
class Alone:
    """A network as it is measured alone."""

    label: str
    module: nn.Module
    params: Any
    cost: Cost
    projected: bool


def versions_of(name: str) -> list[Alone]:
    """A network as `restore` runs it, then in the other dtype; the paper's to the letter, too."""
    network = zoo.load(name)
    whole = cost_of(network.architecture, network.module)
    other = "float32" if network.module.dtype == jnp.bfloat16 else "bfloat16"
    modules = {
        name: network.module,
        f"{name} in {other}": network.module.clone(dtype=jnp.dtype(other)),
    }
    if "hidden_relu" in network.architecture.options:
        modules[f"{name} without hidden ReLUs"] = network.module.clone(hidden_relu=False)
    versions = []
    for label, module in modules.items():
        folded, params = network.architecture.fold(module, network.params)
        computed = network.architecture.multiply_adds(folded)
        cost = Cost(whole.direct, computed)
        projected = not network.architecture.is_faithful
        versions.append(Alone(label, folded, params, cost, projected))
    return versions


DNCNN_COST = 9 * 64 * (1 + 18 * 64 + 1)


def median_seconds(function: Callable[..., Any], *arguments: Any, repeats: int) -> float:
    """Of a call that waits for its result; fewer repeats where they take minutes."""
    taken: list[float] = []
    while len(taken) < repeats and sum(taken) < ENOUGH:
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def cpu_seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """CPU-seconds that a call takes, on all threads."""
    began = time.process_time()
    function(*arguments)
    return time.process_time() - began


def first_and_median(
    function: Callable[..., Any], *arguments: Any, repeats: int
) -> tuple[float, float]:
    """Seconds of the first call, which compiles, and of those after it."""
    first = median_seconds(function, *arguments, repeats=1)
    return first, median_seconds(function, *arguments, repeats=repeats)


def yardstick(dtype: str, repeats: int) -> float:
    """Multiply-adds a second of a large matrix product that is summed in float32."""
    matrix = jax.random.normal(jax.random.key(0), (SIDE, SIDE), jnp.dtype(dtype))
    product = jax.jit(partial(jnp.matmul, preferred_element_type=jnp.float32))
    return SIDE**3 / first_and_median(product, matrix, matrix, repeats=repeats)[1]


def tile_of_noise(module: Any) -> tuple[jax.Array, jax.Array]:
    """Codes and table of a tile as large as `restore` cuts them for a network."""
    side = tiles.side_for(module.halo) + 2 * module.halo
    codes = np.random.default_rng(0).integers(-2, 3, (side, side, 8, 8))
    return jnp.asarray(codes, jnp.int16), jnp.full((8, 8), 40)


def network_alone(given: Alone, threads: int, repeats: int) -> tuple[float, float]:
    """Seconds a pixel on tiles as `restore` cuts them, halos not counted, and of the first call.

    Args:
      given: the network.
      threads: tiles at once; `restore` has one on each of `threads.THREADS`.
      repeats: measurements.
    """
    tile = partial(pure.restore_tile, given.module, faithful=given.projected)
    compiled = jax.jit(tile, compiler_options=lean())
    inside = tiles.side_for(given.module.halo)
    codes, table = tile_of_noise(given.module)
    apply = partial(compiled, pure.prepare(given.module, given.params, table))
    first = median_seconds(apply, codes, table, repeats=1)
    with ThreadPoolExecutor(threads) as pool:

        def all_at_once() -> list[jax.Array]:
            return list(pool.map(lambda _: jax.block_until_ready(apply(codes, table)), calls))

        calls = range(threads if threads == 1 else 2 * threads)
        seconds = median_seconds(all_at_once, repeats=repeats)
    return seconds / (64 * inside**2 * len(calls)), first


def network_on_file(files: Restorer, file: bytes, repeats: int) -> dict[str, float]:
    """Seconds from a file's bytes to the finished array, and those of its parts."""
    restore = partial(files.restore, max_pixels=sys.maxsize)
    first, seconds = first_and_median(restore, file, repeats=repeats)
    read = partial(reader.read, max_pixels=sys.maxsize)
    reading = median_seconds(read, file, repeats=repeats)
    spent = cpu_seconds(restore, file)
    found = {"seconds": seconds, "cpu_seconds": spent, "first_seconds": first}
    return found | {"reading_seconds": reading}


def dncnn(repeats: int) -> float:
    """Seconds a pixel of DnCNN-3's layers: twenty 3x3 convolutions, 64 wide, at full resolution."""
    shapes = [(3, 3, 1, 64), *18 * [(3, 3, 64, 64)], (3, 3, 64, 1)]
    kernels = [0.05 * jnp.ones(shape) for shape in shapes]

    @jax.jit
    def apply(features: jax.Array) -> jax.Array:
        for index, kernel in enumerate(kernels):
            features = jax.lax.conv_general_dilated(
                features, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            features = jax.nn.relu(features) if index < len(kernels) - 1 else features
        return features

    plane = jnp.ones((1, 256, 256, 1))
    return first_and_median(apply, plane, repeats=repeats)[1] / plane.size


def jpegqs(program: str, file: bytes, repeats: int) -> dict[str, float]:
    """Seconds of jpeg-quantsmooth, a process from file to file, with its own settings."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.jpg")
        source.write_bytes(file)
        command = [program, "--info", "0", str(source), f"{folder}/out.jpg"]
        used = [results.run(command) for _ in range(repeats)]
    return {
        name: statistics.median(getattr(each, name) for each in used)
        for name in ("seconds", "cpu_seconds")
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    repeats = given.repeats
    found: dict[str, Any] = {
        "jax": jax.__version__,
        "yardstick": {dtype: yardstick(dtype, repeats) for dtype in given.yardsticks},
        "alone": [],
        "files": [],
    }
    limit = found["yardstick"][given.yardsticks[0]]
    files = {
        (size, colour): pictures.file(size, quality=QUALITY, gray=colour == "gray")
        for size in given.megapixels
        for colour in ("gray", "4:2:0")
    }
    pillow = {
        key: median_seconds(decompressed, file, repeats=repeats) for key, file in files.items()
    }
    peers: dict[tuple[float, str], dict[str, float]] = {}
    if given.jpegqs is not None:
        peers = {key: jpegqs(given.jpegqs, file, repeats) for key, file in files.items()}
    for (size, colour), used in peers.items():
        row: dict[str, Any] = {"network": JPEGQS, "megapixels": size, "colour": colour, **used}
        row["megapixels_per_second"] = size / used["seconds"]
        row["times_pillow"] = used["seconds"] / pillow[size, colour]
        found["files"].append(row)
        _say(f"{JPEGQS}, file of {size:g} MP, {colour}", row)
    for name in given.networks:
        versions = versions_of(name)
        for version, threads in itertools.product(versions, given.threads):
            seconds, first = network_alone(version, threads, repeats)
            row = {"network": version.label, "threads": threads}
            row |= {"megapixels_per_second": 1e-6 / seconds, "first_seconds": first}
            row |= shares(version.cost, seconds, limit)
            found["alone"].append(row)
            _say(f"{version.label} alone, {threads} at once", row)
            if version.label == name:
                expected = seconds  # of a pixel of a file
        whole_files, cost = Restorer(name), versions[0].cost
        for (size, colour), file in files.items():
            if size * 1e6 * expected > given.limit:
                continue
            row = {"network": name, "megapixels": size, "colour": colour}
            row |= network_on_file(whole_files, file, repeats)
            whole = cost if colour == "gray" else colour_cost(whole_files, cost)
            row["megapixels_per_second"] = size / row["seconds"]
            row |= shares(whole, row["seconds"] / (size * 1e6), limit)
            row["times_pillow"] = row["seconds"] / pillow[size, colour]
            if peers:
                row["times_jpegqs"] = row["cpu_seconds"] / peers[size, colour]["cpu_seconds"]
            found["files"].append(row)
            _say(f"{name}, file of {size:g} MP, {colour}", row)
    seconds = dncnn(repeats)
    row = {"network": "DnCNN-3's layers", "threads": 1}
    row["megapixels_per_second"] = 1e-6 / seconds
    row |= shares(Cost(DNCNN_COST, DNCNN_COST), seconds, limit)
    found["alone"].append(row)
    _say(f"{row['network']} alone", row)
    return found


def shares(cost: Cost, seconds: float, limit: float) -> dict[str, float]:
    """Of the yardstick, by seconds a pixel."""
    return {
        "share": cost.direct / seconds / limit,
        "computed_share": cost.computed / seconds / limit,
    }


def colour_cost(files: Restorer, cost: Cost) -> Cost:
    """Of a pixel of a 4:2:0 file: luma's, and chroma's if a network restores it."""
    chroma = zoo.load(files.network.card.chroma)
    of_chroma = cost_of(chroma.architecture, chroma.module)
    return cost if files.network.table is not None else cost + of_chroma


def _say(what: str, row: dict[str, Any]) -> None:
    columns = {
        "megapixels_per_second": "9.2f",
        "share": "8.0%",
        "computed_share": "10.0%",
        "cpu_seconds": "9.2f",
        "times_pillow": "12.1f",
        "times_jpegqs": "12.1f",
    }
    shown = (
        format(row[name], kind) if name in row else " " * int(kind.partition(".")[0])
        for name, kind in columns.items()
    )
    print(f"{what:<58}{''.join(shown)}".rstrip(), flush=True)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=cards.names(kind="planes"))
    parser.add_argument("--megapixels", nargs="+", type=float, default=[0.1, 1, 12])
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, THREADS}))
    parser.add_argument("--yardsticks", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--limit", type=float, default=20, help="leave out pictures that take more seconds"
    )
    parser.add_argument(
        "--jpegqs", metavar="PATH", help="the program of jpeg-quantsmooth, measured in the same run"
    )
    parser.add_argument("--output", help="write all figures to this JSON file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    given = parse(argv)
    heads = f"{'MP/s':>9}{'share':>8}{'computed':>10}{'CPU-s':>9}{'× Pillow':>12}{'× jpegqs':>12}"
    print(f"{'':58}{heads}")
    found = measure(given)
    for dtype, rate in found["yardstick"].items():
        print(f"matrix product, {dtype}: {rate / 1e9:.1f} billion multiply-adds a second")
    results.write(given.output, found)


if __name__ == "__main__":
    main()
