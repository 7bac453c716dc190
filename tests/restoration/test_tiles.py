"""Cutting planes of codes into tiles, against NumPy's padding of pixels."""

import weakref
from collections.abc import Iterator

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


def test_sides_are_whole_squares_of_coarser_components() -> None:
    for halo in range(1, 20):
        assert tiles.side_for(halo) % 4 == 0
        assert tiles.side_for(halo) >= max(tiles.TILE, 3 * halo)


@pytest.mark.parametrize("size", [(3, 4), (1, 1), (12, 5)])
def test_the_border_continues_as_a_mirror(part: reader.Component, size: tuple[int, int]) -> None:
    down, across = size
    codes = part.codes[:down, :across]
    surrounded = tiles.window(codes, (-5, -5), (down + 12, across + 11))
    assert surrounded.dtype == np.int16
    expected = np.pad(pixels(codes, part.table), ((40, 56), (40, 48)), mode="symmetric")
    # float32 sums in another order
    np.testing.assert_allclose(pixels(surrounded, part.table), expected, atol=1e-6)


@pytest.mark.parametrize("side", [1, 5, 8, 96])
def test_strips_are_the_plane(part: reader.Component, side: int) -> None:
    table = jnp.asarray(part.table)
    shapes: set[tuple[int, ...]] = set()

    def decode_inside(tile: np.ndarray) -> jnp.ndarray:
        shapes.add(tile.shape)
        return transform.decode(jnp.asarray(tile), table)[8:-8, 8:-8]

    strips = list(tiles.strips(part.codes, decode_inside, halo=1, side=side))
    assert [strip.shape[1] for strip in strips] == [128] * len(strips)
    assert shapes == {(side + 2, side + 2, 8, 8)}, "one shape, so one compiled program"
    # float32 sums in another order
    whole = pixels(part.codes, part.table)
    np.testing.assert_allclose(np.concatenate(strips), whole, atol=1e-6)


def test_shared_strips_are_let_go_of_once_all_have_had_them() -> None:
    seen: list[weakref.ref[np.ndarray]] = []

    def strips() -> Iterator[np.ndarray]:
        for number in range(40):
            strip = np.full(3, number)
            seen.append(weakref.ref(strip))
            yield strip

    first, second = tiles.shared(strips(), 2)
    for number, strip in enumerate(first):
        if number >= 5:  # as far ahead as chroma's guide may be
            assert next(second)[0] == number - 5
        assert strip[0] == number
        assert sum(ref() is not None for ref in seen) <= 7
    assert [strip[0] for strip in second] == [35, 36, 37, 38, 39]
    assert list(first) == list(second) == []
