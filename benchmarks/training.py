"""Patches a second of the training step: `python -m benchmarks.training`.

The step is the one that `train.py` runs for a preset, on crops of noise that lie on the device.
Its multiply-adds are counted as three times those of the network: there, and back to inputs and
weights; those of networks beside it, a teacher or one that restores luma, are left out. The
yardstick is that of `benchmarks.speed`.
"""

import argparse
import itertools
from typing import Any

import jax
import numpy as np

from benchmarks import results
from benchmarks.speed import cost_of, first_and_median, shares, yardstick
from hrcnn_jax.data.crops import shape_of
from hrcnn_jax.data.planes import PLANES
from hrcnn_jax.networks import registry
from hrcnn_jax.training.presets import from_preset
from hrcnn_jax.training.step import create_state, make_step
from hrcnn_jax.training.tasks import TASKS

CROPS = 64
PASSES = 3


def measure(preset: str, repeats: int, limit: float, **options: Any) -> dict[str, Any]:
    """Figures of one preset's step, with some of its settings changed."""
    settings = from_preset(preset).changed(pictures=("noise",), **options)
    data, batch = settings.data, settings.optimisation.batch
    architecture = registry.get(settings.architecture)
    module = architecture.build(settings.options, dtype=settings.run.dtype)
    parallel = make_step(TASKS[architecture.kind](module, settings), settings)
    state = create_state(architecture, settings)
    cost = cost_of(architecture, module)
    planes = PLANES[data.planes]
    damage = settings.codes.quality if planes.damaged else ()
    shape = shape_of(CROPS, data.crop, planes.stored, damage)
    noise = np.random.default_rng(0).integers(0, 256, shape)
    crops = parallel.place_crops(noise.astype(np.uint8))
    holder = [parallel.place_state(state)]

    def step() -> jax.Array:
        holder[0], values = parallel.step(holder[0], crops)
        return values["loss"]

    first, seconds = first_and_median(step, repeats=repeats)
    pixels = batch * data.patch**2
    found = {"preset": preset, "dtype": settings.run.dtype, "batch": batch, "patch": data.patch}
    found |= {"first_seconds": first, "patches_per_second": batch / seconds}
    return found | shares(cost, seconds / (PASSES * pixels), limit)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument(
        "--presets", nargs="+", default=["fast", "small", "large", "chroma", "wild", "hrcnn"]
    )
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    limit = yardstick("float32", given.repeats)
    rows = []
    print(f"{'':22}{'patches':>16}{'patches/s':>12}{'share':>8}{'computed':>10}")
    for preset, dtype in itertools.product(given.presets, given.dtypes):
        row = measure(preset, given.repeats, limit, dtype=dtype)
        rows.append(row)
        patches = f"{row['batch']} of {row['patch']}²"
        print(
            f"{preset:12}{dtype:10}{patches:>16}{row['patches_per_second']:12.1f}"
            f"{row['share']:8.0%}{row['computed_share']:10.0%}",
            flush=True,
        )
    results.write(given.output, {"yardstick": limit, "rows": rows})


if __name__ == "__main__":
    main()
