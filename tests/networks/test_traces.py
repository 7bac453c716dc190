"""Traces of what was done to a picture: found where they were left, by Pillow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_photo

from hrcnn_jax.data import chains
from hrcnn_jax.jpeg import color
from hrcnn_jax.networks import traces
from hrcnn_jax.networks.traces import LAGS, Traces

PHOTOS = [make_photo(400, 400, seed) for seed in range(3)]


def measured_of(chain: str, picture: np.ndarray) -> Traces:
    """Of the corner of a picture that went through a chain."""
    pixels = chains.played(chains.parse(chain), picture)[0][:128, :128] / np.float32(255)
    return traces.measured(color.rgb_to_ycbcr(jnp.asarray(pixels))[None, None])


def measured(chain: str) -> Traces:
    """The means over some photographs."""
    found = [measured_of(chain, photo) for photo in PHOTOS]
    return jax.tree.map(lambda *leaves: np.mean(np.concatenate(leaves), axis=0), *found)


def test_lines_of_the_own_grid_lie_at_its_edges() -> None:
    found = measured("20")
    for axis in (found.down, found.across):
        assert np.argmax(axis[:4]) == 0
        assert axis[4] > measured("clean").down[4] + 0.5  # and they stand out


@pytest.mark.parametrize(("cut", "down", "across"), [("+4:0", 3, 0), ("+2:4", 2, 3)])
def test_after_a_cut_they_lie_elsewhere(cut: str, down: int, across: int) -> None:
    """An edge before pixel 4 is in the middle of a block; before 6 two pixels off it."""
    found = measured(f"20,{cut},png")
    assert np.argmax(found.down[:4]) == down
    assert np.argmax(found.across[:4]) == across


@pytest.mark.parametrize("factor", [0.75, 1.25])
def test_after_resizing_they_lie_at_other_distances(factor: float) -> None:
    """Of those between one block and one and a half, lines are most alike a block further on."""
    found = measured(f"20,x{factor},90").lags
    period = round(8 * factor)
    near = range(period - 1, period + 4)
    most = max(near, key=lambda lag: found[LAGS.index(lag)])
    assert most == period
    assert found[LAGS.index(period)] > measured("20,90").lags[LAGS.index(period)] + 0.2


def test_filters_change_textures() -> None:
    """Fine ones, beside those of twice the size."""
    names = ("blur0.8", "clean", "sharpen80")
    blurred, plain, sharpened = (measured(name).textures[0] for name in names)
    assert blurred < plain - 0.1
    assert plain < sharpened


def test_chroma_of_half_the_size_is_smooth() -> None:
    """Of grains of colour: 4:2:0 averages them, and enlarges the means."""
    grains = np.random.default_rng(0).integers(90, 160, (128, 128, 3), np.uint8)
    full, halved = (measured_of(chain, grains).textures[0] for chain in ("95/444", "95"))
    for plane in (4, 7):
        assert halved[plane] < full[plane] - 0.5


def test_what_is_flat() -> None:
    steps = np.repeat(np.arange(4), 16) / np.float32(255)  # of one level, at 3 of 63 places
    luma = np.broadcast_to(steps, (64, 64))
    windows = np.stack([luma, np.full((64, 64), 0.5), np.full((64, 64), 0.5)], -1)
    found = traces.measured(jnp.asarray(windows, jnp.float32)[None, None]).flat[0]
    np.testing.assert_allclose(found, [60 / 63, 1.0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8, 3), (2, 3, 128, 128, 3), (1, 1, 40, 96, 3)])
def test_they_are_bounded_whatever_there_is(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).random(shape)
    for windows in (np.zeros(shape), np.full(shape, 0.5), noise, 100 * noise):
        found = traces.of(jnp.asarray(windows, jnp.float32))
        assert found.shape == (shape[0], traces.COUNT)
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 1


def test_windows_count_alike() -> None:
    windows = jnp.asarray(np.random.default_rng(0).random((1, 2, 64, 64, 3)), jnp.float32)
    np.testing.assert_allclose(traces.of(windows), traces.of(windows[:, ::-1]), atol=1e-5)
