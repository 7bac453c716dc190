"""The JPEG transform against SciPy's DCT, Pillow's tables and decoder, and libjpeg's own codes."""

import io
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import jpeglib
import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image
from scipy.fft import dctn, idctn

from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import CHROMINANCE, LIBJPEG_STEP, LUMINANCE

GRAY = make_photo(64, 88)[..., 1]
PLANE = GRAY.astype(np.float32) / 255
TABLE = np.asarray(transform.quality_table(30))


def random_blocks(*shape: int, spread: float = 100.0, seed: int = 0) -> np.ndarray:
    return (spread * np.random.default_rng(seed).normal(size=(*shape, 8, 8))).astype(np.float32)


def test_blocks_are_tiles_of_the_plane() -> None:
    plane = jnp.arange(2 * 16 * 24).reshape(2, 16, 24)
    blocks = transform.to_blocks(plane)
    assert blocks.shape == (2, 2, 3, 8, 8)
    np.testing.assert_array_equal(blocks[1, 0, 2], plane[1, :8, 16:])
    np.testing.assert_array_equal(transform.from_blocks(blocks), plane)


@pytest.mark.parametrize(("height", "width"), [(15, 16), (16, 20), (7, 7)])
def test_planes_that_do_not_split(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{height}x{width} .* multiples of 8"):
        transform.to_blocks(jnp.zeros((3, height, width)))


def test_blocks_that_are_not_8x8() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 4\)"):
        transform.from_blocks(jnp.zeros((2, 3, 8, 4)))


def test_dct_is_scipys() -> None:
    """To float32: 16 products of values up to some 400, each rounded to 2^-24 of its size."""
    blocks = random_blocks(3, 5)
    expected = dctn(blocks.astype(float), axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(transform.dct(blocks), expected, atol=16 * 400 * 2**-24)
    expected = idctn(blocks.astype(float), axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(transform.idct(blocks), expected, atol=16 * 400 * 2**-24)


def test_first_index_is_the_vertical_frequency() -> None:
    stripes = np.tile(transform.DCT_BASIS[3][:, None], (1, 8))  # horizontal stripes: rows differ
    coefficients = np.asarray(transform.dct(stripes))
    assert np.unravel_index(np.abs(coefficients).argmax(), (8, 8)) == (3, 0)


@pytest.mark.parametrize("transform", [transform.dct, transform.idct])
def test_accelerators_are_asked_for_full_precision(
    transform: Callable[[jax.Array], jax.Array],
) -> None:
    """By default they may round products to 11 bits, and codes would come out wrong."""
    program = jax.make_jaxpr(transform)(jnp.zeros((8, 8)))
    products = [e for e in program.eqns if e.primitive.name == "dot_general"]
    assert products
    for product in products:
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


def test_quality_tables_are_pillows() -> None:
    """All hundred qualities, both tables, to the integer."""
    ours = {
        0: np.asarray(transform.quality_table(jnp.arange(1, 101))),
        1: np.asarray(transform.quality_table(jnp.arange(1, 101), CHROMINANCE)),
    }
    assert ours[0].shape == (100, 8, 8)
    assert ours[0].dtype == np.int32
    for quality in range(1, 101):
        file = jpeg_bytes(np.zeros((8, 8, 3), np.uint8), quality=quality)
        with Image.open(io.BytesIO(file)) as picture:
            for slot, table in picture.quantization.items():
                np.testing.assert_array_equal(ours[slot][quality - 1].ravel(), table)


def test_tables_beyond_baseline_are_pillows() -> None:
    """libjpeg clips them, too, further up."""
    base = 500 * LUMINANCE
    file = jpeg_bytes(GRAY, qtables=[[int(step) for step in base.ravel()]])
    ours = np.asarray(transform.quality_table(50, base, LIBJPEG_STEP))
    with Image.open(io.BytesIO(file)) as picture:
        np.testing.assert_array_equal(ours.ravel(), picture.quantization[0])
    assert ours.min() < ours.max() == LIBJPEG_STEP
    by_hand = [(int(step) * (5000 // 7) + 50) // 100 for step in LUMINANCE.ravel()]
    coarse = transform.quality_table(7, LUMINANCE, LIBJPEG_STEP)
    np.testing.assert_array_equal(np.asarray(coarse).ravel(), by_hand)


def test_quality_is_clipped_as_libjpeg_does() -> None:
    for outside, end in ((-3, 1), (0, 1), (101, 100)):
        np.testing.assert_array_equal(
            transform.quality_table(outside), transform.quality_table(end)
        )


def libjpegs_codes(gray: np.ndarray, quality: int, folder: Path) -> np.ndarray:
    path = folder / "gray.jpg"
    path.write_bytes(jpeg_bytes(gray, quality=quality))
    with jpeglib.version("9e"):
        reference = jpeglib.read_dct(str(path))
        reference.load()
    return reference.Y


# Measured over 90,112 codes: 1 at quality 10, 0.09 %, 0.25 %, 1.7 % and 6.2 % at the others.
@pytest.mark.parametrize(
    ("quality", "share"), [(10, 0.0005), (50, 0.002), (75, 0.005), (95, 0.025), (100, 0.08)]
)
def test_codes_are_libjpegs(quality: int, share: float, tmp_path: Path) -> None:
    """But for coefficients near a half: libjpeg's DCT is in fixed point.

    It is off by up to 0.18 (measured); where that tips a code over, ours must be the nearer one.
    """
    gray = make_photo(128, 176)[..., 1]
    table = np.asarray(transform.quality_table(quality))
    codes = np.asarray(transform.encode(gray.astype(np.float32) / 255, table))
    error = np.abs(codes - libjpegs_codes(gray, quality, tmp_path))
    assert error.max() <= 1
    assert (error > 0).mean() <= share

    tiles = (gray.astype(float) - 128).reshape(16, 8, 22, 8).swapaxes(1, 2)
    from_middle = np.abs(dctn(tiles, axes=(2, 3), norm="ortho") / table - codes)
    assert from_middle.max() < 0.5001
    assert ((0.5 - from_middle) * table)[error > 0].max(initial=0) < 0.2


@pytest.mark.parametrize("quality", [10, 50, 90, 100])
def test_decoding_is_pillows(quality: int, tmp_path: Path) -> None:
    """To a rounding to 8 bits; libjpeg's inverse DCT is in fixed point, which tips a few over."""
    codes = libjpegs_codes(GRAY, quality, tmp_path)
    with Image.open(tmp_path / "gray.jpg") as picture:
        expected = np.asarray(picture).astype(float)
    ours = 255 * np.asarray(transform.decode(codes, transform.quality_table(quality)))
    assert ours.shape == PLANE.shape
    assert np.abs(ours - expected).max() < 0.6
    assert (np.rint(ours) != expected).mean() < 0.03


def test_decoding_clips() -> None:
    """A block of 255s beside black rings beyond both ends."""
    plane = np.zeros((8, 8), np.float32)
    plane[:, 4:] = 1
    table = transform.quality_table(5)
    codes = transform.encode(plane, table)
    coefficients = transform.dequantise(codes, transform.per_block(table))
    unclipped = np.asarray(transform.coefficients_to_pixels(coefficients))
    assert unclipped.min() < 0 < 1 < unclipped.max()
    np.testing.assert_array_equal(transform.decode(codes, table), np.clip(unclipped, 0, 1))


def test_quantise_rounds_and_dequantise_scales() -> None:
    coefficients = jnp.array([[7.4, -7.6], [24.0, -0.4]])
    table = jnp.array([[5, 5], [10, 1]])
    codes = transform.quantise(coefficients, table)
    np.testing.assert_array_equal(codes, [[1, -2], [2, 0]])
    np.testing.assert_array_equal(transform.dequantise(codes, table), [[5, -10], [20, 0]])


def test_gradient_through_quantisation() -> None:
    blocks = jnp.asarray(random_blocks())

    def codes(values: jax.Array, straight_through: bool) -> jax.Array:
        return transform.quantise(values, TABLE, straight_through=straight_through)

    flat = jax.grad(lambda values: codes(values, False).sum())(blocks)
    np.testing.assert_array_equal(flat, np.zeros((8, 8)))
    through = jax.grad(lambda values: codes(values, True).sum())(blocks)
    np.testing.assert_allclose(through, 1 / TABLE, rtol=1e-6)
    # The same codes, but for the rounding of (codes - scaled) + scaled.
    np.testing.assert_allclose(codes(blocks, True), codes(blocks, False), atol=1e-5)


def test_each_plane_may_have_its_own_table() -> None:
    planes = jnp.stack([jnp.asarray(PLANE), jnp.asarray(PLANE[::-1])])
    tables = jnp.stack([transform.quality_table(10), transform.quality_table(80)])
    codes = transform.encode(planes, tables)
    restored = transform.decode(codes, tables)
    for index in range(2):
        alone = transform.encode(planes[index], tables[index])
        np.testing.assert_array_equal(codes[index], alone)
        # Batched and single products may add in another order: some float32 ulps.
        np.testing.assert_allclose(
            restored[index], transform.decode(alone, tables[index]), atol=1e-6
        )


def test_transformations() -> None:
    """The same under jit and vmap; a gradient that is finite and not zero."""

    def loss(plane: jax.Array, table: jax.Array) -> jax.Array:
        codes = transform.quantise(
            transform.pixels_to_coefficients(plane),
            transform.per_block(table),
            straight_through=True,
        )
        restored = transform.project(transform.decode(codes, table) ** 2, codes, table)
        return jnp.mean(jnp.square(restored - plane))

    planes = jnp.stack([jnp.asarray(PLANE), jnp.asarray(PLANE[::-1])])
    tables = transform.quality_table(jnp.array([10, 80]))
    plain = [loss(plane, table) for plane, table in zip(planes, tables, strict=True)]
    lifted = jax.jit(jax.vmap(loss))(planes, tables)
    np.testing.assert_allclose(lifted, plain, rtol=1e-4)  # sums in another order
    gradient = jax.grad(loss)(planes[0], tables[0])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


PROJECTED: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "noise": lambda truth, random: truth + random.normal(0, 0.2, truth.shape),
    "black": lambda truth, random: np.zeros_like(truth),
    "inverted": lambda truth, random: 1 - truth,
    "far away": lambda truth, random: truth + random.normal(0, 30, truth.shape),
    "blurred": lambda truth, random: (truth + np.roll(truth, 1, 0) + np.roll(truth, 1, 1)) / 3,
}


@pytest.mark.parametrize("kind", PROJECTED)
@pytest.mark.parametrize("quality", [5, 50, 95, 100])
def test_projection(kind: str, quality: int) -> None:
    """Whatever comes in: the codes' own picture comes out, nearer the truth, once and for all."""
    table = transform.quality_table(quality)
    codes = transform.encode(PLANE, table)
    guess = PROJECTED[kind](PLANE, np.random.default_rng(1)).astype(np.float32)
    restored = transform.project(guess, codes, table)
    np.testing.assert_array_equal(transform.encode(restored, table), codes)
    assert np.linalg.norm(restored - PLANE) < np.linalg.norm(guess - PLANE)
    # A second time moves nothing but the last bits: an ulp of a sample of 255.
    np.testing.assert_allclose(transform.project(restored, codes, table), restored, atol=3e-7)


def test_projection_leaves_what_is_faithful_alone() -> None:
    codes = transform.encode(PLANE, TABLE)
    plain = transform.decode(codes, TABLE, clip=False)
    np.testing.assert_allclose(transform.project(plain, codes, TABLE), plain, atol=3e-7)


def test_projection_is_the_nearest() -> None:
    """No faithful picture is nearer: walking on towards the guess leaves the codes' cell."""
    codes = transform.encode(PLANE, TABLE)
    guess = np.clip(PLANE + np.random.default_rng(2).normal(0, 0.2, PLANE.shape), 0, 1)
    guess = guess.astype(np.float32)
    restored = np.asarray(transform.project(guess, codes, TABLE, margin=0.0))
    steps = np.asarray(transform.per_block(TABLE))
    low, high = (np.asarray(codes) + side for side in (-0.5, 0.5))
    tiles = (255 * guess - 128).reshape(8, 8, 11, 8).swapaxes(1, 2)
    nearest = np.clip(
        dctn(tiles.astype(float), axes=(2, 3), norm="ortho"), low * steps, high * steps
    )
    expected = idctn(nearest, axes=(2, 3), norm="ortho").swapaxes(1, 2).reshape(64, 88)
    np.testing.assert_allclose(restored, (expected + 128) / 255, atol=1e-6)  # float32


def test_tables_of_a_batch_in_projection() -> None:
    planes = jnp.stack([jnp.asarray(PLANE)] * 2)
    tables = transform.quality_table(jnp.array([5, 90]))
    codes = transform.encode(planes, tables)
    restored = transform.project(jnp.zeros_like(planes), codes, tables)
    np.testing.assert_array_equal(transform.encode(restored, tables), codes)


def test_a_larger_margin_stays_further_inside() -> None:
    codes = transform.encode(PLANE, TABLE)
    restored = transform.project(jnp.zeros(PLANE.shape), codes, TABLE, margin=0.25)
    distance = np.abs(np.asarray(transform.pixels_to_coefficients(restored)) / TABLE - codes)
    assert 0.2499 < distance.max() < 0.2501
