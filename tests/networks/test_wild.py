"""The network of pictures: what holds for any weights, and what it starts as."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import architecture_of, fresh_params, make_photo, random_params

from hrcnn_jax.jpeg import color, damage, transform
from hrcnn_jax.jpeg.tables import LUMINANCE
from hrcnn_jax.networks import base, traces
from hrcnn_jax.networks.chroma import Chroma
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.networks.hrcnn import HRCNN
from hrcnn_jax.networks.wild import Wild, _within_reason

MODULE = Wild(width=8, blocks=1, kernels=2, traits=3)
PHOTOS = jnp.asarray(np.stack([make_photo(48, 64, seed) for seed in range(2)]), jnp.float32) / 255
PIXELS = color.rgb_to_ycbcr(PHOTOS)
ROUNDING = 1e-5
"""Of float32: mirrored convolutions add and take away again what lies further off."""


@partial(jax.jit, static_argnames=("method", "inside"))
def apply(params: Any, *arguments: Any, **options: Any) -> Any:
    return MODULE.apply({"params": params}, *arguments, **options)


def test_fresh_it_changes_nothing() -> None:
    np.testing.assert_array_equal(apply(fresh_params(MODULE), PIXELS), PIXELS)


def test_what_is_found_intact_stays_as_it_is() -> None:
    """The correction is proportional to the error, which is none below zero."""
    params = random_params(MODULE)
    _, traits = apply(params, PIXELS[:, None], method="estimate")
    found = []
    for error in (-0.05, 0.0, 0.5):
        prepared = apply(params, jnp.full(2, error), traits, method="prepare")
        found.append(np.asarray(apply(params, PIXELS, prepared=prepared)))
    np.testing.assert_array_equal(found[0], PIXELS)
    np.testing.assert_array_equal(found[1], PIXELS)
    assert np.abs(found[2] - PIXELS).max() > 0.01


def test_an_estimate_that_is_far_off_finds_back() -> None:
    """There is a gradient beyond what is believed, of either sign."""
    bounded = [float(_within_reason(jnp.float32(each))) for each in (-30, -4, 0.5, 1, 30)]
    assert bounded == pytest.approx([-4.26, -4, 0.5, 1, 1.29])
    slopes = jax.vmap(jax.grad(_within_reason))(jnp.array([-30.0, 0.5, 30.0]))
    np.testing.assert_allclose(slopes, [0.01, 1, 0.01], rtol=1e-5)


def test_each_picture_is_judged_by_itself() -> None:
    """By the mean over its windows: twice the same window is as good as one."""
    params = random_params(MODULE)
    both = apply(params, PIXELS[:, None], method="estimate")
    again = apply(params, PIXELS[1:, None].repeat(3, 1), method="estimate")
    for whole, alone in zip(both, again, strict=True):
        np.testing.assert_allclose(whole[1:], alone, atol=1e-5)
    assert abs(both.error[0] - both.error[1]) > 1e-4
    assert both.traits.shape == (2, 3 + traces.COUNT)
    assert np.abs(both.traits).max() <= 1
    np.testing.assert_allclose(both.traits[:, 3:], traces.of(PIXELS[:, None]), atol=1e-5)


def test_inside_is_the_middle_of_all() -> None:
    """And depends on no more than the halo, given what was prepared."""
    params = random_params(MODULE)
    prepared = apply(params, *apply(params, PIXELS[:, None], method="estimate"), method="prepare")
    halo = 8 * MODULE.halo
    wide = jnp.pad(PIXELS, ((0, 0), (64, 64), (64, 64), (0, 0)), mode="symmetric")
    whole = np.asarray(apply(params, wide, prepared=prepared))
    inside = np.asarray(apply(params, wide, prepared=prepared, inside=True))
    middle = slice(halo, -halo)
    np.testing.assert_allclose(inside, whole[:, middle, middle], atol=ROUNDING)
    part = np.asarray(apply(params, wide[:, 48:-48], prepared=prepared, inside=True))
    np.testing.assert_allclose(part, inside[:, 48:-48], atol=ROUNDING)


def test_it_begins_as_a_network_of_planes() -> None:
    """Luma is corrected as codes of quality 50 are, where the bound of those is far away."""
    compact = Compact(width=8, blocks=1, kernels=2)
    params = random_params(compact)
    params["tail"] = jax.tree.map(lambda leaf: 0.01 * leaf, params["tail"])
    table = jnp.asarray(LUMINANCE)[None]
    codes = transform.encode(PIXELS[:1, ..., 0], table)
    plane = transform.decode(codes, table, clip=False)
    restored = base.restore(compact, params, codes, table)

    architecture = architecture_of(MODULE)
    grown = architecture.grow(params, fresh_params(MODULE))
    neutral = jnp.full_like(plane, 128 / 255)
    given = jnp.stack([plane, neutral, neutral], axis=-1)
    _, traits = apply(grown, given[:, None], method="estimate")
    error = damage.usual_error(table).reshape(1)
    prepared = apply(grown, error, traits, method="prepare")
    ours = apply(grown, given, prepared=prepared)
    correction = np.asarray(restored - plane)
    assert np.abs(correction).max() > 1e-3
    # A correction of a fifth of its bound is lessened by a hundredth of itself.
    np.testing.assert_allclose(
        ours[..., 0] - plane, correction, atol=0.02 * np.abs(correction).max()
    )
    np.testing.assert_allclose(ours[..., 1:], given[..., 1:], atol=ROUNDING)
    with pytest.raises(ValueError, match="larger ones"):
        architecture.grow(params, fresh_params(Wild(width=4, blocks=1, kernels=2, traits=3)))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Compact(width=8, blocks=3), "has 3 blocks, more than this run's"),
        (Chroma(width=8, blocks=1), "neither one of pictures nor a compact one"),
        (HRCNN(blocks=1), "neither one of pictures nor a compact one"),
    ],
    ids=["deeper", "chroma", "paper"],
)
def test_it_begins_as_no_other_network(other: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        architecture_of(MODULE).grow(fresh_params(other), fresh_params(MODULE))


def test_what_it_costs() -> None:
    """By hand: 3x3 convolutions of mirrored cells take 36 products for 16 cells of 16 pixels."""
    module = Wild(width=32, blocks=2, kernels=0, traits=3)
    convolutions = 36 / 16 / 16 * (48 * 32 + 4 * 32 * 32 + 32 * 48)
    places = [(side // 4) ** 2 for side in (248, 240, 232, 224)]  # of 256 pixels, one by one
    estimate = 8 * 8 * 6 * 48 * places[0] + 9 * 48 * 48 * sum(places[1:]) + 48 * 64 * places[3]
    found = architecture_of(module).multiply_adds(module)
    # A picture's own layers are small.
    assert 0 <= found / (convolutions + estimate / 256**2) - 1 < 0.01
    direct = architecture_of(module).direct_multiply_adds(module)
    assert abs(direct - found - convolutions * 3) <= 1


def test_the_dial_is_in_qualities() -> None:
    """Of libjpeg's tables: the mean step at quality 50 is 1."""
    qualities = jnp.asarray([5.0, 20.0, 50.0, 90.0])
    np.testing.assert_allclose(damage.quality_of(damage.of_quality(qualities)), qualities, atol=0.1)
    np.testing.assert_allclose(damage.of_quality(jnp.asarray(50.0)), 1.0, atol=1e-3)
