"""The machine that something was trained or measured on."""

import os
import platform

import jax


def hardware() -> str:
    """Device, cores and processor of this machine, for cards and measurements."""
    return f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}"
