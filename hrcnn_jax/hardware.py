"""The machine that something runs on, was trained or was measured on."""

import os
import platform
from functools import cache
from pathlib import Path

import jax


def hardware() -> str:
    """Device, cores and processor of this machine, for cards and measurements."""
    return f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}"


_PROCESSORS = Path("/proc/cpuinfo")  # of Linux: elsewhere nobody is asked


@cache
def multiplies_bfloat16() -> bool:
    """Whether JAX's device is an x86 CPU with instructions for products of bfloat16."""
    if jax.default_backend() != "cpu" or not _PROCESSORS.is_file():
        return False
    lines = _PROCESSORS.read_text(errors="replace").splitlines()
    return any(line.startswith("flags") and "avx512_bf16" in line.split() for line in lines)
