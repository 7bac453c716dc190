"""What XLA's compiler is told: `jit`'s options for what runs on a CPU.

jax 0.10.2, the newest for Python 3.11, gets some programs wrong on CPUs without a word, where
YNNPACK computes several operations as one (jax issue 39103; crashes: 39257, 40412). So whatever
restores, trains or measures is compiled with `sound` at least. Elsewhere nothing is asked for.
"""

import jax

from hrcnn_jax.hardware import multiplies_bfloat16

Options = dict[str, str]
"""Of XLA, as `jit` takes them."""


def sound() -> Options | None:
    """Options for any program: YNNPACK's fusions switched off.

    But for those of single products, where the processor multiplies bfloat16: nothing else in XLA
    makes use of that, and they were never found wrong.
    """
    if jax.default_backend() != "cpu":
        return None
    products = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT" if multiplies_bfloat16() else ""
    return {"xla_cpu_experimental_ynn_fusion_type": products}


def lean() -> Options | None:
    """Options for programs that run on every core at once, a tile on each.

    On a CPU, XLA's back end orders operations so that some can run beside others, for which it
    keeps twice as much memory; a tile's should stay in its core's cache. LLVM's first level of
    optimisation takes two thirds of the time of its last, and what it makes of a tile's loops
    runs no slower (measured: 0.515 and 0.531 microseconds a pixel; without any, 3.3).
    """
    options = sound()
    if options is None:
        return None
    return options | {
        "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
        "xla_backend_optimization_level": "1",
    }


def hasty() -> Options | None:
    """Options for programs that run once for a table, not for every tile.

    Without LLVM's optimisations they take ten milliseconds instead of two, and a third of the time
    to compile (0.25 and 0.7 CPU-seconds).
    """
    options = lean()
    return None if options is None else options | {"xla_backend_optimization_level": "0"}
