"""How programs are compiled; and kept on disk, once for a machine, not every time a tool starts."""

import hashlib
import os
import platform
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import jax
from jax import Array

FOLDER = "hrcnn_jax"


def lean() -> dict[str, str] | None:
    """``jit``'s compiler options for programs that run on every core at once, a tile on each.

    On a CPU, XLA's back end orders operations so that some can run beside others, for which it
    keeps twice as much memory; a tile's should stay in its core's cache. LLVM's first level of
    optimisation takes two thirds of the time of its last, and what it makes of a tile's loops
    runs no slower (measured: 0.515 and 0.531 microseconds a pixel; without any, 3.3). YNNPACK's
    fusions miscompute some programs in jax 0.10.2 without a word (jax issue 39103), and gain
    nothing here.
    """
    if jax.default_backend() != "cpu":
        return None
    return {
        "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
        "xla_backend_optimization_level": "1",
        "xla_cpu_experimental_ynn_fusion_type": "",
    }


def program(function: Callable[..., Array], **options: Any) -> Callable[..., Array]:
    """``jit`` with the options of :func:`lean`, which are asked for at the first call only.

    Importing a module must not start JAX's back end: the user may yet choose one.

    Args:
      function: to be compiled; not to be called by another that is.
      options: of ``jit``.
    """

    @cache
    def compiled() -> Callable[..., Array]:
        return jax.jit(function, compiler_options=lean(), **options)

    return wraps(function)(lambda *arguments: compiled()(*arguments))


def keep_programs() -> None:
    """Has XLA's programs kept in the user's cache folder, from one start to the next.

    Where the environment names a folder (``JAX_COMPILATION_CACHE_DIR``) it is that; where none can
    be written to, nothing is kept. JAX names programs by what they compute and by its own version.
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        folder = user_cache() / FOLDER / f"xla-{machine()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or not ours
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def user_cache() -> Path:
    """Where programs keep what can be made again (XDG Base Directory Specification)."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def machine() -> str:
    """Tells machines apart that share a home folder: programs use what their processor can do."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        told = []
    abilities = [line for line in told if line.startswith(("model name", "flags", "Features"))]
    known = [platform.node(), platform.machine(), platform.processor(), *sorted(set(abilities))]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
