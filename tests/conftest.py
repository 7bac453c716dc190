"""What all tests share: a strict JAX on four simulated CPU devices, and a photograph."""

import atexit
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before JAX is imported, and for the commands and workers that tests start.
os.environ["JAX_PLATFORMS"] = "cpu"
# Tests spend their time compiling programs that they run once, many of them the same.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# One kernel a fused loop and one part a program halve that. XLA ends the process at a flag it does
# not know, so only versions that were tried get these.
if version("jaxlib").startswith("0.10.") and "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = (
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    )
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="hrcnn-jax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax
import jax.numpy as jnp
import jpeglib
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from hrcnn_jax.networks import cards, registry, zoo
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.networks.registry import ARCHITECTURES

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

Sampling = list[tuple[int, int]]


def make_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A made-up picture with a photograph's statistics: `(height, width, 3)` uint8 RGB.

    Tilted light on overlapping shapes with soft edges, textured here and smooth there. The same
    arguments give the same picture.
    """
    rng = np.random.default_rng(seed)
    size = max(height, width)
    y, x = np.mgrid[:height, :width] / size

    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    falloff = np.maximum(frequency, 1 / size) ** -1.2 * (frequency < 0.4)
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(3, height, width))) * falloff, x.shape)
    noise /= noise.std(axis=(-2, -1), keepdims=True) + 1e-9
    texture, tint, where = noise

    light = 120 + rng.uniform(-40, 40) * (x - 0.5) + rng.uniform(-40, 40) * (y - 0.5)
    picture = np.stack([light] * 3)
    for _ in range(10):
        angle = rng.uniform(0, 2 * np.pi)
        side = np.cos(angle) * (x - rng.uniform()) + np.sin(angle) * (y - rng.uniform())
        paint = rng.uniform(-55, 55) + rng.uniform(-15, 15, 3)
        picture += paint[:, None, None] * (np.clip(size * side, 0, 1) - 0.5)
    picture += 18 * texture / (1 + np.exp(-3 * where)) + 3 * tint * np.array([[[1]], [[0]], [[-1]]])
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def jpeg_bytes(picture: np.ndarray, **options: Any) -> bytes:
    """Pillow's JPEG file of an `(H, W)` or `(H, W, 3)` uint8 picture; options as `save`'s."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", **options)
    return file.getvalue()


def jpeglib_bytes(
    picture: np.ndarray, sampling: Sampling, folder: Path, *, flags: tuple[str, ...] = ()
) -> bytes:
    """A JPEG file as Pillow does not write them: any sampling, arithmetic coding.

    Args:
      picture: `(H, W, 3)` uint8 RGB.
      sampling: sampling factors `(horizontal, vertical)` of Y, Cb and Cr.
      folder: where jpeglib may write.
      flags: jpeglib's.
    """
    path = folder / "jpeglib.jpg"
    with jpeglib.version("9e"):
        file = jpeglib.from_spatial(picture)
        file.samp_factor = tuple((v, h) for h, v in sampling)
        file.write_spatial(str(path), qt=60, flags=list(flags))
    return path.read_bytes()


def architecture_of(module: nn.Module) -> Architecture:
    """The registered architecture that builds such modules; one of planes if there is none."""
    fitting = (each for each in ARCHITECTURES.values() if type(module) is each.module)
    return next(fitting, Architecture(type(module)))


@cache
def fresh_params(module: nn.Module) -> Any:
    """A network's initial parameters; compiling the random draws is what takes time."""
    return architecture_of(module).init(module, jax.random.key(0))


def random_params(module: nn.Module, *, scale: float = 0.1, seed: int = 0) -> Any:
    """Normal parameters for a network, none of them zero."""
    shapes = jax.eval_shape(lambda: architecture_of(module).init(module, jax.random.key(0)))
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(scale * random.normal(size=leaf.shape), leaf.dtype), shapes
    )


def made_card(architecture: str, options: dict[str, Any], **values: Any) -> Card:
    """A card with nothing much on it."""
    known: dict[str, Any] = {
        "architecture": architecture,
        "kind": registry.get(architecture).kind,
        "options": options,
        "parameters": 1,
        "multiply_adds_per_pixel": 1,
        "qualities": [10],
        "data": ["made up"],
        "steps": 7,
        "validation_gain_db": 0.0,
        "hardware": "a slide rule",
        "date": "2026-01-01",
        "training": {},
    }
    return Card(**(known | values))


def write_network(
    folder: Path, name: str, architecture: str, params: Any = None, **options: Any
) -> None:
    """A network as released ones lie in their folder; of fresh parameters unless given others."""
    card = made_card(architecture, options)
    if params is None:
        params = fresh_params(registry.get(architecture).build(options))
    zoo.write_weights(folder / f"{name}.safetensors", params, card)
    cards.write(folder / f"{name}.json", card)


@pytest.fixture(scope="module", autouse=True)
def no_programs_left() -> Iterator[None]:
    """Compiled programs take memory for as long as they are kept; other files use others."""
    yield
    jax.clear_caches()


@pytest.fixture
def photo() -> np.ndarray:
    """An RGB picture whose sides are no multiples of 8."""
    return make_photo(93, 122)


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """For tests that run optax: its schedules and Adam mix integer counts with floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield
