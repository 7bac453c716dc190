"""Colour conversion against libjpeg; resampling against SciPy, scikit-image and libjpeg."""

import io
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image
from scipy import ndimage
from skimage.transform import downscale_local_mean

from hrcnn_jax.jpeg.color import (
    downsample,
    luma,
    rgb_to_ycbcr,
    upsample,
    upsample_guided,
    ycbcr_to_rgb,
)

convert_to_ycbcr = jax.jit(rgb_to_ycbcr)
convert_to_rgb = jax.jit(ycbcr_to_rgb)
enlarge = jax.jit(upsample, static_argnums=1)
shrink = jax.jit(downsample, static_argnums=1)

# libjpeg works in fixed point, so it may round the other way where ours lies near a half.
ROUNDING = 0.51 / 255

# XLA fuses a product and a sum here and not there, as a plane's size has it: one float32 ulp.
FUSING = 1.2e-7


def many_colours() -> np.ndarray:
    """Random 8-bit triples and the eight extreme ones, `(16, 16, 3)`."""
    corners = np.stack(np.meshgrid([0, 255], [0, 255], [0, 255]), -1).reshape(-1, 3)
    random = np.random.default_rng(0).integers(0, 256, (16 * 16 - 8, 3))
    return np.concatenate([corners, random]).reshape(16, 16, 3).astype(np.uint8)


def converted_by_libjpeg(colours: np.ndarray, *, stored: str, opened: str) -> np.ndarray:
    """One flat block a colour, at quality 100: only the colour conversion changes anything."""
    blocks = Image.fromarray(colours.repeat(8, 0).repeat(8, 1), stored)
    file = io.BytesIO()
    blocks.save(file, "JPEG", quality=100, subsampling="4:4:4")
    picture = Image.open(file)
    picture.draft(opened, None)
    return np.asarray(picture)[4::8, 4::8] / 255


def as_floats(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 255


def random_plane(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).random((height, width)).astype(np.float32)


def test_rgb_to_ycbcr_is_libjpegs() -> None:
    rgb = many_colours()
    expected = converted_by_libjpeg(rgb, stored="RGB", opened="YCbCr")
    ycc = convert_to_ycbcr(as_floats(rgb))
    assert ycc.dtype == jnp.float32
    assert ycc.max() > 1, "not clipped: pure red has Cr = 255.5 / 255"
    np.testing.assert_allclose(np.clip(ycc, 0, 1), expected, rtol=0, atol=ROUNDING)


def test_ycbcr_to_rgb_is_libjpegs() -> None:
    ycc = many_colours()
    expected = converted_by_libjpeg(ycc, stored="YCbCr", opened="RGB")
    rgb = convert_to_rgb(as_floats(ycc))
    assert rgb.dtype == jnp.float32
    assert rgb.min() < 0, "not clipped: some YCbCr triples are no colour"
    np.testing.assert_allclose(np.clip(rgb, 0, 1), expected, rtol=0, atol=ROUNDING)


def test_luma_is_pillows_grayscale() -> None:
    rgb = many_colours()
    expected = np.asarray(Image.fromarray(rgb).convert("L")) / 255
    np.testing.assert_allclose(jax.jit(luma)(as_floats(rgb)), expected, rtol=0, atol=ROUNDING)


def test_colours_survive_the_round_trip() -> None:
    rgb = as_floats(many_colours())
    np.testing.assert_allclose(convert_to_rgb(convert_to_ycbcr(rgb)), rgb, rtol=0, atol=1e-6)


@pytest.mark.parametrize("convert", [rgb_to_ycbcr, ycbcr_to_rgb, luma])
def test_colours_need_three_floats(convert: Callable) -> None:
    with pytest.raises(ValueError, match=r"\(3, 8\)"):
        convert(jnp.zeros((3, 8)))
    with pytest.raises(ValueError, match="uint8: divide samples by 255"):
        convert(jnp.zeros((8, 3), jnp.uint8))


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((7, 5), (1, 2)), ((7, 5), (2, 1)), ((7, 5), (2, 2)), ((7, 5), (3, 4)), ((1, 3), (4, 1))],
)
def test_upsample_is_scipys_centred_linear_zoom(
    shape: tuple[int, int], factor: tuple[int, int]
) -> None:
    plane = random_plane(*shape)
    expected = ndimage.zoom(plane, factor, order=1, mode="nearest", grid_mode=True)
    result = enlarge(plane, factor)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def test_upsample_by_two_has_libjpegs_weights() -> None:
    row = np.array([[0, 1, 0]], np.float32)
    np.testing.assert_array_equal(enlarge(row, (1, 2)), [[0, 0.25, 0.75, 0.75, 0.25, 0]])


@pytest.mark.parametrize("factor", [(2, 2), (4, 3)])
def test_upsample_looks_no_further_than_its_neighbours(factor: tuple[int, int]) -> None:
    down, across = factor
    plane = random_plane(12, 16)
    whole = np.asarray(enlarge(plane, factor))[4 * down : 8 * down, 5 * across : 10 * across]
    cut = np.asarray(enlarge(plane[3:9, 4:11], factor))[down:-down, across:-across]
    np.testing.assert_allclose(cut, whole, rtol=0, atol=FUSING)


def test_replicated_padding_changes_nothing_inside() -> None:
    plane = random_plane(6, 7)
    padded = np.asarray(enlarge(np.pad(plane, ((0, 2), (0, 1)), mode="edge"), (2, 2)))
    np.testing.assert_allclose(padded[:12, :14], enlarge(plane, (2, 2)), rtol=0, atol=FUSING)


@pytest.mark.parametrize("factor", [(2, 2), (1, 2), (4, 1)])
def test_guided_detail_is_a_ridge_regression(factor: tuple[int, int]) -> None:
    """Window by window in NumPy, on means by scikit-image and SciPy's centred linear zoom."""
    random = np.random.default_rng(0)
    chroma = random.uniform(size=(6, 7))
    guide = random.uniform(size=(6 * factor[0], 7 * factor[1]))
    coarse = downscale_local_mean(guide, factor)
    padded = [np.pad(plane, 2, mode="edge") for plane in (coarse, chroma)]
    slope = np.empty_like(chroma)
    for row, column in np.ndindex(chroma.shape):
        window = [plane[row : row + 5, column : column + 5].ravel() for plane in padded]
        covariance = np.cov(*window, bias=True)
        slope[row, column] = covariance[0, 1] / (covariance[0, 0] + 1e-3)

    def zoom(plane: np.ndarray) -> np.ndarray:
        return ndimage.zoom(plane, factor, order=1, mode="nearest", grid_mode=True)

    detail = zoom(slope) * (guide - zoom(coarse))
    planes = jnp.asarray(chroma, jnp.float32), jnp.asarray(guide, jnp.float32)
    for strength in (0.0, 0.5, 1.0):
        ours = upsample_guided(*planes, factor, strength=strength)
        np.testing.assert_allclose(ours, zoom(chroma) + strength * detail, atol=2e-5)  # float32


@pytest.mark.parametrize("factor", [(2, 2), (1, 2), (4, 1), (1, 1)])
def test_guided_planes_are_the_same_inside(factor: tuple[int, int]) -> None:
    down, across = factor
    chroma = jnp.asarray(random_plane(13, 12))
    guide = jnp.asarray(random_plane(13 * down, 12 * across))
    whole = upsample_guided(chroma, guide, factor, strength=0.7)
    inside = upsample_guided(chroma, guide, factor, strength=0.7, inside=True)
    expected = whole[3 * down : -3 * down, 3 * across : -3 * across]
    np.testing.assert_allclose(inside, expected, rtol=0, atol=2e-5)  # float32, as above


def test_guided_chroma_has_the_edges_of_luma() -> None:
    """An edge within chroma samples, which are its means: triangles blur it, luma knows it."""
    edge = np.where(np.arange(32) < 13, 0.2, 0.8).astype(np.float32)[None].repeat(32, 0)
    true = 0.7 - 0.5 * edge
    chroma = downsample(jnp.asarray(true), (2, 2))
    blurred = np.abs(upsample(chroma, (2, 2)) - true)
    guided = np.abs(upsample_guided(chroma, jnp.asarray(edge), (2, 2)) - true)
    assert blurred.max() > 0.1
    assert guided.max() < 0.1 * blurred.max()


def test_guided_planes_fit() -> None:
    with pytest.raises(ValueError, match=r"luma .* is not .* times chroma"):
        upsample_guided(jnp.zeros((4, 4)), jnp.zeros((8, 4)), (2, 2))


@pytest.mark.parametrize("factor", [(2, 1), (2, 2), (3, 4)])
def test_downsample_is_the_mean_of_each_box(factor: tuple[int, int]) -> None:
    plane = random_plane(12, 24)
    result = shrink(plane, factor)
    assert result.dtype == jnp.float32
    expected = downscale_local_mean(plane, factor)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def test_downsample_fills_the_last_boxes_by_replication() -> None:
    plane = np.array([[0, 2, 4], [2, 4, 6], [8, 10, 12]], np.float32)
    np.testing.assert_array_equal(shrink(plane, (2, 2)), [[2, 5], [9, 12]])


@pytest.mark.parametrize(("subsampling", "factor"), [("4:2:2", (1, 2)), ("4:2:0", (2, 2))])
def test_chroma_is_what_libjpeg_makes_of_it(subsampling: str, factor: tuple[int, int]) -> None:
    """Down and up again, by libjpeg at quality 100 and by us.

    What is left is quantisation by steps of 1 and libjpeg's own rounding: measured 0.39 samples
    on average and 2.1 at most. Dropping samples, not averaging them, gives 1.9 and 17; repeating
    them, not interpolating, gives 1.7 and 11.
    """
    photo = make_photo(61, 83, seed=2)
    rows, columns = np.indices((61, 83))
    photo[(rows + columns) % 6 < 3] = 255 - photo[(rows + columns) % 6 < 3]
    file = Image.open(io.BytesIO(jpeg_bytes(photo, quality=100, subsampling=subsampling)))
    file.draft("YCbCr", None)
    chroma = np.asarray(convert_to_ycbcr(as_floats(photo)))[..., 1:]
    for ours, decoded in zip(chroma.transpose(2, 0, 1), file.split()[1:], strict=True):
        result = np.asarray(enlarge(shrink(ours, factor), factor))[:61, :83]
        error = np.abs(result * 255 - np.asarray(decoded))
        assert error.mean() < 0.5
        assert error.max() < 2.5


@pytest.mark.parametrize("resample", [enlarge, shrink])
def test_planes_may_come_in_batches(resample: Callable) -> None:
    planes = random_plane(10, 7).reshape(2, 5, 7)
    singly = [resample(plane, (2, 3)) for plane in planes]
    np.testing.assert_allclose(resample(planes, (2, 3)), np.stack(singly), rtol=0, atol=FUSING)


@pytest.mark.parametrize("resample", [upsample, downsample])
@pytest.mark.parametrize("factor", [(1, 1.5), (0, 1), (2, -1)])
def test_factors_are_whole(resample: Callable, factor: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="whole factors"):
        resample(random_plane(4, 4), factor)


@pytest.mark.parametrize("resample", [upsample, downsample])
@pytest.mark.parametrize("shape", [(4,), (0, 4)])
def test_planes_have_samples(resample: Callable, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="planes of shape"):
        resample(jnp.zeros(shape), (2, 2))
