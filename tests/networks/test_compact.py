"""The compact network: what holds for any weights, and what it starts as."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import fresh_params, make_photo, random_params
from scipy.fft import dctn
from skimage.metrics import peak_signal_noise_ratio

from hrcnn_jax.jpeg import damage, transform
from hrcnn_jax.jpeg.tables import CHROMINANCE, LUMINANCE
from hrcnn_jax.networks import mirrored, trunk, zoo
from hrcnn_jax.networks.compact import Compact

KEY = jax.random.key(0)
PLANE = make_photo(24, 32)[..., 1].astype(np.float32) / 255

TABLES = {
    "quality 5": transform.quality_table(5),
    "quality 10": transform.quality_table(10),
    "quality 95": transform.quality_table(95),
    "chrominance": transform.quality_table(40, CHROMINANCE),
    "all ones": jnp.full((8, 8), 1),
    "all 255": jnp.full((8, 8), 255),
    "16 bits": jnp.full((8, 8), 3000),
    "mixed": jnp.asarray(np.random.default_rng(0).integers(1, 256, (8, 8)), jnp.int32),
}


def restore(module: Compact, params: Any, codes: jax.Array, tables: jax.Array) -> np.ndarray:
    """Blocks of codes `(B, hb, wb, 8, 8)` to planes `(B, H, W)`."""
    return np.asarray(_restore(module, params, codes, tables))


@partial(jax.jit, static_argnums=0)
def _restore(module: Compact, params: Any, codes: jax.Array, tables: jax.Array) -> jax.Array:
    plane = transform.from_blocks(codes)[..., None]
    return module.apply({"params": params}, plane, tables)[..., 0]


OPTIONS = [
    {"width": 8, "blocks": 1},
    {"width": 8, "blocks": 0},
    {"width": 12, "blocks": 2},
    {"width": 8, "blocks": 1, "kernels": 2, "orientations": 2},
    {"width": 8, "blocks": 1, "kernels": 2, "pointwise": True},
    {"width": 8, "blocks": 1, "dtype": jnp.bfloat16},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options: dict[str, Any]) -> None:
    """Fresh, the plain decode; with large random weights, another picture of the same codes."""
    module = Compact(**options)
    tables = jnp.stack(list(TABLES.values()))
    planes = jnp.broadcast_to(PLANE, (len(tables), *PLANE.shape))
    codes = transform.encode(planes, tables)
    params = fresh_params(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}

    plain = transform.decode(codes, tables, clip=False)
    # float32: two more products of 8 by 8, of values up to some 30,000 for 16-bit steps.
    np.testing.assert_allclose(restore(module, params, codes, tables), plain, atol=1e-6, rtol=1e-6)

    restored = restore(module, random_params(module, scale=1.0), codes, tables)
    assert np.isfinite(restored).all()
    is_coarse = np.asarray(tables).max((1, 2)) > 1
    assert ((np.abs(restored - plain).max((1, 2)) > 1e-3) == is_coarse).all()
    np.testing.assert_array_equal(transform.encode(restored, tables), codes)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1000.0])
def test_faithful_whatever_the_weights(scale: float) -> None:
    """Pictures far from a photograph's too: every code of every table comes out again."""
    random = np.random.default_rng(1)
    pictures = [PLANE, 1 - PLANE, np.zeros_like(PLANE), np.ones_like(PLANE)]
    pictures += [random.uniform(size=PLANE.shape), random.integers(0, 2, PLANE.shape)]
    tables = jnp.repeat(jnp.stack(list(TABLES.values())), len(pictures), axis=0)
    planes = jnp.asarray(np.tile(np.stack(pictures), (len(TABLES), 1, 1)), jnp.float32)
    codes = transform.encode(planes, tables)
    module = Compact(width=8, blocks=1)
    for seed in range(2):
        restored = restore(module, random_params(module, scale=scale, seed=seed), codes, tables)
        np.testing.assert_array_equal(transform.encode(restored, tables), codes)


@pytest.mark.parametrize("largest", [255, 2048])
def test_steps_beyond_those_trained_on_are_corrected_no_further(largest: int) -> None:
    """Half of the largest step that the network saw is the most that a coefficient moves."""
    module = Compact(width=8, blocks=1, largest_step=largest)
    tables = jnp.stack([TABLES["16 bits"], jnp.full((8, 8), largest)])
    codes = transform.encode(jnp.asarray(np.stack([PLANE, PLANE])), tables)
    plain = transform.decode(codes, tables, clip=False)
    change = restore(module, random_params(module, scale=10.0), codes, tables) - np.asarray(plain)
    blocks = 255 * change.reshape(2, 3, 8, 4, 8).swapaxes(2, 3)
    moved = np.abs(dctn(blocks.astype(np.float64), axes=(-2, -1), norm="ortho")).max((1, 2, 3, 4))
    np.testing.assert_allclose(moved, largest / 2, rtol=0.01)


def test_the_released_network_in_bfloat16() -> None:
    """Corrections are rounded, which are small, and pictures are not."""
    codes = transform.encode(jnp.asarray(PLANE[None]), TABLES["quality 10"][None])
    full, half = (
        restore(network.module, network.params, codes, TABLES["quality 10"][None])
        for network in (zoo.load("small", dtype=dtype) for dtype in ("float32", "bfloat16"))
    )
    plain = transform.decode(codes, TABLES["quality 10"][None], clip=False)
    error, correction = (np.sqrt(np.mean(np.square(x - full))) for x in (half, plain))
    assert 0 < error < 0.1 * correction
    assert 255 * np.abs(half - full).max() < 1
    gains = [peak_signal_noise_ratio(PLANE, each[0], data_range=1) for each in (full, half)]
    assert abs(gains[0] - gains[1]) < 0.005


def test_pictures_read_transposed_as_well() -> None:
    """A picture on its side is restored to the same picture on its side, which one reading is not
    enough for; parameters are those of one reading."""
    table = TABLES["mixed"][None]
    codes = transform.encode(jnp.asarray(PLANE[None]), table)
    turned = codes.swapaxes(1, 2).swapaxes(3, 4)
    once, both = (Compact(width=8, blocks=1, kernels=2, orientations=n) for n in (1, 2))
    params = random_params(once, scale=1.0)
    for module, alike in ((once, False), (both, True)):
        upright = restore(module, params, codes, table)
        aside = restore(module, params, turned, table.swapaxes(1, 2)).swapaxes(1, 2)
        assert np.allclose(upright, aside, atol=1e-5) == alike
    restored = restore(both, params, codes, table)
    assert np.abs(restored - restore(once, params, codes, table)).max() > 1e-3


def test_it_is_told_the_table() -> None:
    """What a residual block adds is scaled and shifted by the table, through its own weights."""
    module = Compact(width=8, blocks=1)
    conditioned = random_params(module)
    unconditioned = {**conditioned, "residual1": {**conditioned["residual1"]}}
    unconditioned["residual1"]["film"] = jax.tree.map(
        jnp.zeros_like, conditioned["residual1"]["film"]
    )

    @jax.jit
    def added(params: Any, steps: int) -> Any:
        """By the residual block, to one and the same cells."""
        table = jnp.full((1, 8, 8), steps)
        layers = module.apply({"params": params}, table, method="prepare")
        plane = jnp.asarray(PLANE)[None, :16]
        features = mirrored.apply(layers.head, mirrored.to_groups(mirrored.to_cells(plane)))
        detail = mirrored.apply(layers.residuals[0][0], features, slope=0.0)
        return mirrored.apply(layers.residuals[0][1], detail, slope=trunk.SLOPE)

    np.testing.assert_array_equal(added(unconditioned, 8), added(unconditioned, 32))
    assert np.abs(added(conditioned, 8) - added(conditioned, 32)).max() > 0.05


def test_residual_blocks_begin_by_adding_nothing() -> None:
    """So that training has no noise to silence; their first convolutions are ready to learn."""
    module = Compact(width=8, blocks=2, kernels=2)
    table = jnp.full((1, 8, 8), 16)
    layers = module.apply({"params": fresh_params(module)}, table, method="prepare")
    for first, second in layers.residuals:
        assert np.std(first.factors) > 0.01
        assert not np.any(second.factors)
        assert not np.any(second.bias)


def test_each_picture_has_its_own_table() -> None:
    tables = jnp.stack([TABLES["quality 10"], TABLES["quality 95"]])
    codes = transform.encode(jnp.stack([jnp.asarray(PLANE)] * 2), tables)
    module = Compact(width=8, blocks=1)
    params = random_params(module, scale=0.3)
    together = restore(module, params, codes, tables)
    for index in range(2):
        part = slice(index, index + 1)
        alone = restore(module, params, codes[part], tables[part])
        np.testing.assert_allclose(together[part], alone, atol=1e-5)  # sums in another order


@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_codes_give_the_mirrored_picture(axis: int) -> None:
    table = TABLES["mixed"]
    module = Compact(width=8, blocks=1)
    params = random_params(module, scale=0.3)
    plane = jnp.asarray(PLANE)
    codes = jnp.stack(
        [transform.encode(plane, table), transform.encode(jnp.flip(plane, axis), table)]
    )
    restored, mirrored = restore(module, params, codes, jnp.stack([table] * 2))
    assert np.abs(restored - PLANE).max() > 0.01
    # Sums in another order; codes on the edge of rounding would show as far more.
    np.testing.assert_allclose(np.flip(mirrored, axis), restored, atol=1e-4)


def test_description_of_tables() -> None:
    """Zero at a step of 16, 0.3 an octave."""
    table = jnp.full((1, 8, 8), 16).at[0, 1, 2].set(64)
    expected = np.zeros((1, 64))
    expected[0, 10] = 0.6
    np.testing.assert_allclose(trunk.describe_table(table), expected, atol=1e-6)  # float32 log


def test_bound() -> None:
    """Within half a step always; for small corrections the identity; a step of 1 is left alone."""
    steps = jnp.array([2.0, 10.0, 255.0, 10.0, 10.0, 1.0])
    correction = jnp.array([1e6, -1e6, 200.0, 0.01, 0.0, 0.3])
    bounded = np.asarray(trunk.bound(correction, steps))
    assert (np.abs(bounded) < np.asarray(steps) / 2).all()
    np.testing.assert_allclose(bounded[3:5], correction[3:5], rtol=1e-5)  # tanh's cubic term
    np.testing.assert_array_equal(np.sign(bounded[:5]), np.sign(correction[:5]))
    assert bounded[5] == 0


def test_usual_error() -> None:
    """1 for Annex K's luminance table at quality 50, the root of how much coarser others are."""
    table = jnp.asarray(LUMINANCE)
    tables = jnp.stack([table, 4 * table, jnp.ones_like(table)])
    errors = damage.usual_error(tables)
    assert errors.shape == (3, 1, 1)
    np.testing.assert_allclose(errors.ravel(), [1, 2, 57.6**-0.5], rtol=1e-3)  # the mean is 57.625
