"""Plain decoding against Pillow, file by file: sizes, resampling, colours, depths, tiles."""

import io
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Sampling, jpeg_bytes, jpeglib_bytes, make_photo
from PIL import Image
from scipy import ndimage

import hrcnn_jax
from hrcnn_jax.files import reader
from hrcnn_jax.jpeg import color
from hrcnn_jax.restoration import assembly
from hrcnn_jax.restoration.assembly import Plane, assemble

# A picture a channel: as much chroma as luma.
PHOTO = np.dstack([make_photo(61, 83, seed)[..., 1] for seed in range(3)])

INTERPOLATED: dict[str, Sampling] = {
    "4:4:0": [(1, 2), (1, 1), (1, 1)],
    "luma subsampled": [(1, 1), (2, 2), (2, 2)],
    "each its own way": [(1, 1), (2, 1), (1, 2)],
    "all factors equal": [(2, 1), (2, 1), (2, 1)],
}
"""What libjpeg resamples as we do: ratios of 1 and 2."""

REPEATED: dict[str, Sampling] = {
    "4:1:1": [(4, 1), (1, 1), (1, 1)],
    "4:1:0": [(4, 2), (1, 1), (1, 1)],
    "a third": [(1, 3), (1, 1), (1, 1)],
    "luma quartered": [(1, 1), (4, 1), (4, 1)],
}
"""Where libjpeg repeats samples and we interpolate."""


def pillows(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def inks(*, adobe: bool, transform: int) -> bytes:
    """A CMYK file; transform 2 has Adobe's marker say that it is YCCK."""
    file = io.BytesIO()
    Image.fromarray(np.dstack([PHOTO, PHOTO[::-1, :, 0]]), "CMYK").save(file, "JPEG", quality=60)
    data = file.getvalue()
    marker = data.index(b"Adobe")
    if not adobe:
        return data[: marker - 4] + data[marker + 12 :]
    return data[: marker + 11] + bytes([transform]) + data[marker + 12 :]


def planes_of(file: reader.JpegFile, strips: list[Iterator[np.ndarray]]) -> list[Plane]:
    return [Plane.of(part, each) for part, each in zip(file.components, strips, strict=True)]


def check(data: bytes, *, mean: float, most: int) -> None:
    expected, ours = pillows(data).astype(int), hrcnn_jax.decode(data)
    assert ours.shape == expected.shape
    assert ours.dtype == np.uint8
    error = np.abs(ours - expected)
    assert error.mean() <= mean
    assert error.max() <= most


@pytest.mark.parametrize("sampling", INTERPOLATED)
def test_any_sampling_is_pillows(sampling: str, tmp_path: Path) -> None:
    """libjpeg rounds samples to 8 bits before and after resampling: measured 0.50, at most 3."""
    check(jpeglib_bytes(PHOTO, INTERPOLATED[sampling], tmp_path), mean=0.6, most=3)


@pytest.mark.parametrize("sampling", REPEATED)
def test_interpolation_where_libjpeg_repeats(sampling: str, tmp_path: Path) -> None:
    """Pillow's samples, one of each that it repeats, interpolated by SciPy."""
    data = jpeglib_bytes(PHOTO, REPEATED[sampling], tmp_path)
    stored = Image.open(io.BytesIO(data))
    stored.draft("YCbCr", None)
    planes = []
    for part, plane in zip(reader.read(data).components, stored.split(), strict=True):
        down, across = part.factor
        samples = np.asarray(plane)[::down, ::across].astype(float)
        assert samples.shape == part.size
        zoomed = ndimage.zoom(samples, part.factor, order=1, mode="nearest", grid_mode=True)
        planes.append(zoomed[:61, :83])
    y, cb, cr = planes
    rgb = np.stack(  # T.871 clause 7
        [
            y + 1.402 * (cr - 128),
            y - 0.114 * 1.772 / 0.587 * (cb - 128) - 0.299 * 1.402 / 0.587 * (cr - 128),
            y + 1.772 * (cb - 128),
        ],
        -1,
    )
    # Pillow's samples are rounded: half a level of luma, and 1.772 times as much of blue.
    assert np.abs(hrcnn_jax.decode(data) - np.clip(rgb, 0, 255)).max() <= 2.5


@pytest.mark.parametrize(
    ("adobe", "transform"), [(True, 0), (False, 0), (True, 2)], ids=["Adobe", "bare", "YCCK"]
)
def test_inks_are_pillows(adobe: bool, transform: int) -> None:
    """Inverted in every case, as Pillow has it; only YCCK goes through a conversion."""
    check(inks(adobe=adobe, transform=transform), mean=0.3 if transform else 0.05, most=2)


def test_rgb_in_jpeg_is_pillows() -> None:
    check(jpeg_bytes(PHOTO, keep_rgb=True, quality=60), mean=0.05, most=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (7, 9), (17, 33), (61, 11)])
def test_odd_sizes_are_pillows(size: tuple[int, int]) -> None:
    check(jpeg_bytes(PHOTO[: size[0], : size[1]], subsampling="4:4:4"), mean=1.0, most=2)


@pytest.mark.parametrize("size", [(2, 5), (61, 6), (15, 17)])
def test_odd_sizes_subsampled_are_pillows(size: tuple[int, int]) -> None:
    """Three columns of chroma at least: libjpeg repeats fewer."""
    check(jpeg_bytes(PHOTO[: size[0], : size[1]]), mean=0.7, most=3)


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"optimize": True, "quality": 95},
        {"qtables": [list(range(1, 65)), list(range(250, 314))]},
        {"quality": 1},
    ],
    ids=["progressive", "restart markers", "optimised", "16-bit tables", "quality 1"],
)
def test_coding_and_tables_are_pillows(options: dict) -> None:
    check(jpeg_bytes(PHOTO, **options), mean=0.6, most=3)


def test_trailing_bytes_change_nothing() -> None:
    data = jpeg_bytes(PHOTO)
    np.testing.assert_array_equal(hrcnn_jax.decode(data + b"more\xff\xd8"), hrcnn_jax.decode(data))


def test_samples_out_of_range_are_clipped_before_colour() -> None:
    """Saturated edges at a low quality: luma overshoots, and libjpeg clips it first."""
    checks = np.indices((64, 64)).sum(0) % 16 < 5
    picture = np.where(checks[..., None], [255, 0, 0], [255, 255, 255]).astype(np.uint8)
    check(jpeg_bytes(picture, quality=10, subsampling="4:4:4"), mean=1.0, most=2)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_depths_agree(subsampling: str) -> None:
    file = reader.read(jpeg_bytes(PHOTO, subsampling=subsampling))
    eight, sixteen, floats = (
        hrcnn_jax.decode(file, depth=depth) for depth in ("uint8", "uint16", "float32")
    )
    assert [each.dtype for each in (eight, sixteen, floats)] == ["uint8", "uint16", "float32"]
    assert floats.min() >= 0
    assert floats.max() <= 1
    half = 0.5 + 1e-2  # a level of 65,535 holds 256 floats near 1: room for their rounding
    assert np.abs(floats * 65535.0 - sixteen).max() <= half
    assert np.abs(floats * 255.0 - eight).max() <= half
    with pytest.raises(ValueError, match="uint8, uint16, float32, got 'uint32'"):
        hrcnn_jax.decode(file, depth="uint32")


@pytest.mark.parametrize("sampling", ["4:1:0", "each its own way"])
def test_tiles_of_the_picture_leave_no_seam(
    sampling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = make_photo(230, 310)
    file = reader.read(jpeglib_bytes(picture, (INTERPOLATED | REPEATED)[sampling], tmp_path))
    whole = hrcnn_jax.decode(file, depth="float32")
    monkeypatch.setattr(assembly, "TILE", 96)
    tiled = hrcnn_jax.decode(file, depth="float32")
    # XLA fuses a product and a sum here and not there, as the shape has it: a few float32 ulps.
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-6)


def test_strips_may_come_in_any_heights() -> None:
    file = reader.read(jpeg_bytes(PHOTO, subsampling="4:2:0"))
    random = np.random.default_rng(0)
    planes = [
        random.random((8 * part.codes.shape[0], 8 * part.codes.shape[1]), np.float32)
        for part in file.components
    ]
    whole = assemble(file, planes_of(file, [iter([plane]) for plane in planes]))
    in_rows = assemble(file, planes_of(file, [iter(plane[:, None]) for plane in planes]))
    np.testing.assert_array_equal(in_rows, whole)


def test_chroma_follows_luma_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tiles as in one piece, where luma's detail goes through `upsample_guided`."""
    file = reader.read(jpeg_bytes(make_photo(208, 320), subsampling="4:2:0"))
    random = np.random.default_rng(0)
    planes = [random.random(part.size, np.float32) for part in file.components]
    luma, *chroma = map(jnp.asarray, planes)
    full = [color.upsample_guided(plane, luma, (2, 2), strength=0.5) for plane in chroma]
    expected = np.clip(color.ycbcr_to_rgb(jnp.stack([luma, *full], axis=-1)), 0, 1)
    monkeypatch.setattr(assembly, "TILE", 96)
    strips = planes_of(file, [iter([plane]) for plane in planes])
    tiled = assemble(file, strips, "float32", guidance=0.5)
    # Beyond the picture tiles repeat luma, the expected its means: a few pixels there differ.
    inside = slice(8, -8), slice(8, -8)
    # float32: as above, and window means of squares lose some more
    np.testing.assert_allclose(tiled[inside], expected[inside], rtol=0, atol=2e-5)
