"""Cutting planes of codes into tiles, against NumPy's padding of pixels."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo

from hrcnn_jax.files import reader
from hrcnn_jax.jpeg import transform
from hrcnn_jax.restoration import tiles


@pytest.fixture(scope="module")
def part() -> reader.Component:
    return reader.read(jpeg_bytes(make_photo(93, 122)[..., 1], quality=10)).components[0]


def pixels(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    return np.asarray(transform.decode(jnp.asarray(codes), jnp.asarray(table)))


@pytest.mark.parametrize("size", [(3, 4), (1, 1), (12, 5)])
def test_the_border_continues_as_a_mirror(part: reader.Component, size: tuple[int, int]) -> None:
    down, across = size
    codes = part.codes[:down, :across]
    surrounded = tiles.window(codes, (-5, -5), (down + 12, across + 11))
    assert surrounded.dtype == np.int16
    expected = np.pad(pixels(codes, part.table), ((40, 56), (40, 48)), mode="symmetric")
    # float32 sums in another order
    np.testing.assert_allclose(pixels(surrounded, part.table), expected, atol=1e-6)


@pytest.mark.parametrize("largest", [8, 16, 96])
def test_strips_are_the_plane(part: reader.Component, largest: int) -> None:
    table = jnp.asarray(part.table)
    corners: list[tuple[int, ...]] = []

    def decode_inside(tile: np.ndarray) -> jnp.ndarray:
        corners.append(tile.shape)
        return transform.decode(jnp.asarray(tile), table)[8:-8, 8:-8]

    strips = list(tiles.strips(part.codes, decode_inside, halo=1, largest=largest))
    assert [strip.shape[1] for strip in strips] == [128] * len(strips)
    assert len(set(corners)) == 1, "one shape, so one compiled program"
    np.testing.assert_array_equal(np.concatenate(strips), pixels(part.codes, part.table))


@pytest.mark.parametrize("blocks", [1, 8, 9, 95, 96, 97, 200, 1000])
@pytest.mark.parametrize(("largest", "step"), [(72, 8), (48, 4)])
def test_tiles_cover_with_little_waste(blocks: int, largest: int, step: int) -> None:
    side = tiles.tile_side(blocks, largest, step)
    count = -(-blocks // side)
    assert side <= largest
    assert side % step == 0
    assert count * side - blocks < count * step
