"""The chroma network: what holds for any weights, and what it starts as."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import fresh_params, make_photo, random_params
from scipy.fft import dctn

from hrcnn_jax.jpeg import color, transform
from hrcnn_jax.jpeg.tables import CHROMINANCE
from hrcnn_jax.networks.chroma import Chroma

MODULE = Chroma(width=8, blocks=1)
QUICK = Chroma(width=8, blocks=1, pointwise=True)
ROUNDING = 1e-5
"""Of float32: mirrored convolutions add and take away again what lies further off."""
TABLES = {
    "quality 10": (transform.quality_table(10), transform.quality_table(10, CHROMINANCE)),
    "quality 90": (transform.quality_table(90), transform.quality_table(90, CHROMINANCE)),
    "all ones": (jnp.full((8, 8), 1), jnp.full((8, 8), 1)),
    "16 bits": (jnp.full((8, 8), 400), jnp.full((8, 8), 300)),
    "mixed": tuple(
        jnp.asarray(np.random.default_rng(seed).integers(1, 256, (8, 8)), jnp.int32)
        for seed in (0, 1)
    ),
}
Inputs = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def inputs_of(pictures: np.ndarray, luma_table: Any, *chroma_tables: Any) -> Inputs:
    """What a 4:2:0 file of pictures `(B, H, W, 3)` uint8 holds, and their own luma as guide."""
    return _inputs_of(jnp.asarray(pictures), jnp.asarray(luma_table), jnp.stack(chroma_tables))


@jax.jit
def _inputs_of(pictures: jax.Array, luma_table: jax.Array, tables: jax.Array) -> Inputs:
    ycc = color.rgb_to_ycbcr(pictures.astype(jnp.float32) / 255)
    count = len(pictures)
    tables = jnp.broadcast_to(tables, (count, 2, 8, 8))
    samples = color.downsample(jnp.moveaxis(ycc[..., 1:], -1, 1), (2, 2))
    codes = transform.from_blocks(transform.encode(samples, tables))
    return (
        jnp.moveaxis(codes, 1, -1),
        tables,
        ycc[..., 0],
        jnp.broadcast_to(luma_table, (count, 8, 8)),
    )


def restore(params: Any, inputs: Inputs, module: Chroma = MODULE) -> np.ndarray:
    return np.asarray(_apply(module, params, inputs))


@partial(jax.jit, static_argnums=0, static_argnames="inside")
def _apply(module: Chroma, params: Any, inputs: Inputs, *, inside: bool = False) -> jax.Array:
    return module.apply({"params": params}, *inputs, inside=inside)


def codes_of(pixels: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Codes `(2, H/16, W/16, 8, 8)` of one picture's chroma, box means and DCT in float64."""
    height, width = (side // 2 for side in pixels.shape[:2])
    boxes = pixels.astype(np.float64).reshape(height, 2, width, 2, 2).mean((1, 3))
    samples = np.moveaxis(boxes, -1, 0) * 255 - 128
    blocks = samples.reshape(2, height // 8, 8, width // 8, 8).swapaxes(2, 3)
    return np.rint(dctn(blocks, axes=(-2, -1), norm="ortho") / tables[:, None, None])


# A picture a channel: as much chroma as luma.
PHOTOS = np.stack(
    [np.dstack([make_photo(48, 64, 3 * i + j)[..., 1] for j in range(3)]) for i in range(2)]
)


@pytest.mark.parametrize("name", TABLES)
def test_fresh_it_enlarges_what_was_decoded(name: str) -> None:
    """By luma's guidance, and moved so that the means of boxes are the samples decoded."""
    luma_table, chroma_table = TABLES[name]
    inputs = inputs_of(PHOTOS, luma_table, chroma_table, chroma_table)
    codes, tables, luma, _ = inputs
    restored = restore(fresh_params(MODULE), inputs)
    blocks = transform.to_blocks(jnp.moveaxis(codes, -1, 1))
    decoded = transform.decode(blocks, tables, clip=False)
    enlarged = np.stack(
        [color.upsample_guided(decoded[:, plane], luma, (2, 2)) for plane in (0, 1)], axis=-1
    )
    # Within a box, what is added is the same everywhere.
    added = (restored - enlarged).reshape(2, 24, 2, 32, 2, 2)
    tolerance = 1e-5 * max(1, np.abs(enlarged).max())  # 16-bit steps make large samples
    assert np.abs(added - added.mean((2, 4), keepdims=True)).max() < tolerance
    assert np.abs(added).max() > 1e-4


@pytest.mark.parametrize("module", [MODULE, QUICK], ids=str)
@pytest.mark.parametrize("scale", [0.1, 10.0, 1000.0])
@pytest.mark.parametrize("name", TABLES)
def test_faithful_whatever_the_weights(name: str, scale: float, module: Chroma) -> None:
    random = np.random.default_rng(1)
    pictures = [*PHOTOS, random.integers(0, 256, PHOTOS[0].shape), 255 - PHOTOS[0]]
    luma_table, chroma_table = TABLES[name]
    other = jnp.clip(chroma_table + 1, 1, 60_000)
    inputs = inputs_of(np.stack(pictures), luma_table, chroma_table, other)
    restored = restore(random_params(module, scale=scale), inputs, module)
    assert np.isfinite(restored).all()
    assert np.abs(restored - restore(fresh_params(module), inputs, module)).max() > 1e-3
    codes = np.moveaxis(np.asarray(inputs[0]), -1, 1)
    for pixels, tables, expected in zip(restored, inputs[1], codes, strict=True):
        found = codes_of(pixels, np.asarray(tables)).swapaxes(-3, -2).reshape(expected.shape)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", [1, 2])
def test_mirroring(axis: int) -> None:
    """A picture's mirror image has the mirror image of its chroma."""
    tables = TABLES["quality 10"]
    params = random_params(MODULE)
    restored, mirrored = (
        restore(params, inputs_of(p, tables[0], tables[1], tables[1]))
        for p in (PHOTOS, np.flip(PHOTOS, axis))
    )
    np.testing.assert_allclose(np.flip(mirrored, axis), restored, atol=1e-5)


def test_pictures_read_transposed_as_well() -> None:
    """A picture on its side has the same chroma on its side, which one reading is not enough for;
    parameters are those of one reading."""
    tables = TABLES["mixed"]
    aside = [np.asarray(each).T for each in tables]
    once, both = (Chroma(width=8, blocks=1, kernels=2, orientations=n) for n in (1, 2))
    params = random_params(once)
    inputs = inputs_of(PHOTOS, tables[0], tables[1], tables[1])
    turned = inputs_of(PHOTOS.swapaxes(1, 2), aside[0], aside[1], aside[1])
    for module, alike in ((once, False), (both, True)):
        upright = restore(params, inputs, module)
        assert (
            np.allclose(upright, restore(params, turned, module).swapaxes(1, 2), atol=1e-5) == alike
        )
    assert np.abs(upright - restore(params, inputs, once)).max() > 1e-3


MODULES = [Chroma(width=8, blocks=blocks) for blocks in (0, 1, 2)] + [
    Chroma(width=8, blocks=blocks, pointwise=True) for blocks in (1, 2)
]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_context(module: Chroma) -> None:
    """A change reaches as far as the property says and no further."""
    params = random_params(module)
    tables = TABLES["quality 10"]
    photo = make_photo(144, 16)[None]
    codes, steps, luma, told = inputs_of(photo, tables[0], tables[1], tables[1])
    before = restore(params, (codes, steps, luma, told), module)
    after = restore(
        params, (codes.at[0, :8].add(9.0), steps, luma.at[0, :16].add(0.5), told), module
    )
    # Random parameters make values of some tens: so much larger is what is rounded.
    rounding = ROUNDING * np.abs(after).max()
    changed = np.abs(after - before).max((0, 2, 3)).reshape(9, 16).max(1) > rounding
    assert changed[module.halo]
    assert not changed[module.halo + 1 :].any()


@pytest.mark.parametrize("module", MODULES, ids=str)
@pytest.mark.parametrize("orientations", [1, 2])
def test_the_inside_is_the_middle_of_the_whole(module: Chroma, orientations: int) -> None:
    module = module.clone(orientations=orientations)
    params = random_params(module)
    tables = TABLES["quality 10"]
    inputs = inputs_of(make_photo(144, 160)[None], tables[0], tables[1], tables[1])
    whole = restore(params, inputs, module)
    inside = np.asarray(_apply(module, params, inputs, inside=True))
    margin = 16 * module.halo
    expected = whole[:, margin:-margin, margin:-margin]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(inside, expected, atol=ROUNDING)


def test_bfloat16_is_near() -> None:
    tables = TABLES["quality 10"]
    inputs = inputs_of(PHOTOS, tables[0], tables[1], tables[1])
    params = random_params(MODULE)
    half = restore(params, inputs, Chroma(width=8, blocks=1, dtype=jnp.bfloat16))
    full = restore(params, inputs)
    assert half.dtype == np.float32
    assert np.abs(half - full).max() < 0.02 * np.abs(full).max()


def test_shapes_that_do_not_fit() -> None:
    tables = TABLES["quality 10"]
    codes, steps, luma, told = inputs_of(PHOTOS, tables[0], tables[1], tables[1])
    with pytest.raises(ValueError, match=r"not those of a 4:2:0 picture of whole MCUs, 16x16"):
        restore(fresh_params(MODULE), (codes, steps, luma[:, :-8], told))
