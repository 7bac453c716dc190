"""Histories of pictures that Pillow compressed, cropped and compressed again."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes
from PIL import Image
from PIL.JpegPresets import presets

from hrcnn_jax import history
from hrcnn_jax.files import reader
from hrcnn_jax.files.reader import Component, JpegFile
from hrcnn_jax.history import recovery, search, table
from hrcnn_jax.history.record import History

SAMPLE = Path(reader.__file__).parents[1] / "sample" / "parrots.webp"
PHOTO = np.asarray(Image.open(SAMPLE).convert("RGB"))
GRAY = PHOTO[..., 1]


def saved(picture: np.ndarray, quality: int, **options: int) -> JpegFile:
    return reader.read(jpeg_bytes(picture, quality=quality, **options))


def shown(picture: np.ndarray, quality: int, **options: int) -> np.ndarray:
    data = jpeg_bytes(picture, quality=quality, **options)
    return np.asarray(Image.open(io.BytesIO(data)))


def share(ours: Component | None, theirs: Component, inside: int = 0) -> float:
    """Of the codes that are not zero in either those that are equal, border blocks left out."""
    assert ours is not None
    inner = (slice(inside, -inside or None),) * 2
    a, b = ours.codes[inner], theirs.codes[inner]
    return float(np.mean((a == b)[(a != 0) | (b != 0)]))


@pytest.mark.parametrize("quality", [75, 90])
def test_a_file_without_its_last_scans_was_not_compressed_before(quality: int) -> None:
    """What they would tell are the codes' last bits: without, all are even."""
    whole = jpeg_bytes(PHOTO, quality=quality, progressive=True)
    for share_of in (0.4, 0.6, 0.8):
        cut = reader.read(whole[: int(share_of * len(whole))], salvage=True)
        assert cut.damage is not None
        assert history.find(cut) is None


@pytest.mark.parametrize("second", [90, None])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned(quarters: int, second: int | None) -> None:
    """Turned to its side, the earlier table is, too; signs apart the codes are libjpeg's."""
    picture = GRAY[:240, :320]
    before = saved(picture, 20).components[0]
    turned = np.rot90(shown(picture, 20), quarters)
    source = np.ascontiguousarray(turned) if second is None else saved(turned, second)
    found = history.find(source)
    assert found is not None
    assert (found.quality, found.grid) == (20, (0, 0))
    assert (found.encoder == "libjpeg-turned") == (quarters % 2 == 1)
    expected = np.rot90(np.abs(before.codes), quarters)
    if quarters % 2:
        np.testing.assert_array_equal(found.tables[0], before.table.T)
        expected = expected.swapaxes(2, 3)
    recovered = history.recover(source, found).components[0]
    assert recovered is not None
    codes = np.abs(recovered.codes)
    assert np.mean((codes == expected)[(codes != 0) | (expected != 0)]) > 0.98


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 85, 95])
@pytest.mark.parametrize("picture", [GRAY, PHOTO], ids=["gray", "colour"])
def test_once_has_no_history(picture: np.ndarray, quality: int) -> None:
    assert history.find(saved(picture, quality)) is None


@pytest.mark.parametrize(
    ("side", "quality"), [(8, 75), (8, 90), (10, 80), (12, 85), (13, 90), (20, 75)]
)
@pytest.mark.parametrize("levels", [2, 6], ids=["code", "mosaic"])
def test_drawings_have_no_history(levels: int, side: int, quality: int) -> None:
    """Their few kinds of blocks, or means, are what some coarse table makes, too."""
    cells = np.random.default_rng(0).integers(0, levels, (25, 25)) * (255 // (levels - 1))
    cells = np.pad(cells, 4, constant_values=255)
    picture = np.kron(cells, np.ones((side, side))).astype(np.uint8)
    assert history.find(saved(picture, quality)) is None


@pytest.mark.parametrize("quality", [80, 90])
def test_drawings_in_colour_have_no_history(quality: int) -> None:
    cells = np.random.default_rng(0).integers(0, 4, (40, 40, 3)) * 85
    picture = np.kron(cells, np.ones((8, 8, 1))).astype(np.uint8)
    for subsampling in (0, 2):
        assert history.find(saved(picture, quality, subsampling=subsampling)) is None


def test_a_picture_never_compressed_has_none() -> None:
    assert history.find(PHOTO) is None
    assert history.find(GRAY) is None


@pytest.mark.parametrize(("first", "second"), [(10, 30), (10, 90), (30, 75), (50, 75)])
def test_same_grid(first: int, second: int) -> None:
    before = saved(GRAY, first)
    file = saved(shown(GRAY, first), second)
    found = history.find(file)
    assert found is not None
    assert (found.grid, found.encoder) == ((0, 0), "libjpeg")
    np.testing.assert_array_equal(found.tables[0], before.components[0].table)
    earlier = history.recover(file, found)
    # A code goes wrong where samples were clipped, or rounding moved a coefficient across a half.
    assert share(earlier.components[0], before.components[0]) > 0.99
    assert earlier.history.proof[0] > 0.97


@pytest.mark.parametrize(("first", "second"), [(10, 30), (30, 50)])
@pytest.mark.parametrize("cut", [(4, 4), (0, 3)])
def test_shifted_grid(first: int, second: int, cut: tuple[int, int]) -> None:
    before = saved(GRAY, first)
    file = saved(np.ascontiguousarray(shown(GRAY, first)[cut[0] :, cut[1] :]), second)
    found = history.find(file)
    assert found is not None
    assert found.grid == (-cut[0] % 8, -cut[1] % 8)
    assert found.offset == cut
    np.testing.assert_array_equal(found.tables[0], before.components[0].table)
    earlier = history.recover(file, found)
    assert (earlier.height, earlier.width) == (before.height, before.width)
    # The second table is half to two thirds as coarse: some codes are beyond telling.
    assert share(earlier.components[0], before.components[0], inside=1) > 0.85
    unsure = earlier.unsure[0]
    assert unsure is not None
    if cut[0]:
        assert unsure[0].all()  # the crop cut these blocks
    wrong = earlier.components[0].codes != before.components[0].codes  # type: ignore[union-attr]
    assert unsure[wrong].mean() > 2 * unsure.mean()


@pytest.mark.parametrize("quality", [10, 30])
def test_kept_without_loss(quality: int) -> None:
    before, picture = saved(GRAY, quality), shown(GRAY, quality)
    found = history.find(picture)
    assert found is not None
    np.testing.assert_array_equal(found.tables[0], before.components[0].table)
    assert share(history.recover(picture, found).components[0], before.components[0]) > 0.999


# Photoshop's "save for web", low; of MPEG's intra matrix, as FFmpeg's MJPEG has it; flat.
WEB = np.asarray(presets["web_low"]["quantization"], np.int32).reshape(2, 8, 8)
VIDEO = np.array(
    [
        [16, 16, 19, 22, 26, 27, 29, 34],
        [16, 16, 22, 24, 27, 29, 34, 37],
        [19, 22, 26, 27, 29, 34, 34, 38],
        [22, 22, 26, 27, 29, 34, 37, 40],
        [22, 26, 27, 29, 32, 35, 40, 48],
        [26, 27, 29, 32, 35, 40, 48, 58],
        [26, 27, 29, 34, 38, 46, 56, 69],
        [27, 29, 35, 38, 46, 56, 69, 83],
    ]
)
FLAT = np.full((8, 8), 28)


@pytest.mark.parametrize("table", [WEB[0], VIDEO, FLAT], ids=["web", "video", "flat"])
@pytest.mark.parametrize(("cut", "second"), [(0, 90), (3, 90), (0, None)])
def test_a_table_of_its_own(table: np.ndarray, cut: int, second: int | None) -> None:
    coded = jpeg_bytes(GRAY, qtables=[table.ravel().tolist()])
    before = reader.read(coded).components[0]
    picture = np.ascontiguousarray(np.asarray(Image.open(io.BytesIO(coded)))[cut:, cut:])
    source = picture if second is None else saved(picture, second)
    found = history.find(source)
    assert found is not None
    assert (found.encoder, found.grid) == ("own", (-cut % 8, -cut % 8))
    # Steps that nearly all codes are zero of cannot be told; low ones have to be.
    assert found.tables[0] is not None
    off = np.abs(found.tables[0] / table - 1)[:3, :3]
    assert np.median(off) == 0
    assert off.max() < 0.1
    ours = history.recover(source, found).components[0]
    assert ours is not None
    inner = (slice(1, -1),) * 2
    a, b = ours.codes[inner] * ours.table, before.codes[inner] * before.table
    told = (a != 0) | (b != 0)
    # In levels of coefficients: what is recovered is nearer than a step of the last table.
    assert np.abs(a - b)[told].mean() < 2


def test_chroma_of_a_table_of_its_own() -> None:
    coded = jpeg_bytes(PHOTO, qtables=WEB.reshape(2, 64).tolist(), subsampling=2)
    before = reader.read(coded)
    found = history.find(np.asarray(Image.open(io.BytesIO(coded))))
    assert found is not None
    assert found.factors == ((1, 1), (2, 2), (2, 2))
    assert found.tables[1] is not None
    np.testing.assert_array_equal(found.tables[1][:2, :2], before.components[1].table[:2, :2])


@pytest.mark.parametrize("cut", [(0, 0), (3, 10)])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("second", [None, 95])
def test_colour(cut: tuple[int, int], subsampling: int, second: int | None) -> None:
    before = saved(PHOTO, 20, subsampling=subsampling)
    picture = shown(PHOTO, 20, subsampling=subsampling)
    picture = np.ascontiguousarray(picture[cut[0] :, cut[1] :])
    source = picture
    if second is None:
        found = history.find(picture)
    else:
        source = saved(picture, second, subsampling=subsampling)  # type: ignore[assignment]
        found = history.find(source)  # type: ignore[arg-type]
    assert found is not None
    assert found.quality == 20
    assert found.factors == tuple(part.factor for part in before.components)
    assert found.offset == (cut[0] % found.mcu[0], cut[1] % found.mcu[1])
    earlier = history.recover(source, found)
    for ours, theirs in zip(earlier.components, before.components, strict=True):
        top, left = cut[0] // found.mcu[0], cut[1] // found.mcu[1]
        assert (top, left) == (0, 0) or found.mcu == (8, 8)
        first = Component(
            theirs.codes[top:, left:], theirs.table, theirs.sampling, theirs.factor, theirs.size
        )
        assert share(ours, first, inside=2) > 0.98


@pytest.mark.parametrize("cut", [0, 3])
@pytest.mark.parametrize("second", [None, 90])
def test_bands_are_recovered_as_the_whole_is(
    monkeypatch: pytest.MonkeyPatch, cut: int, second: int | None
) -> None:
    before = saved(PHOTO, 20, subsampling=2)
    picture = np.ascontiguousarray(shown(PHOTO, 20, subsampling=2)[cut:, cut:])
    source = picture if second is None else saved(picture, second, subsampling=2)
    found = history.find(source)
    assert found is not None
    whole = history.recover(source, found)
    monkeypatch.setattr(recovery, "_AREA", PHOTO.shape[1])
    monkeypatch.setattr(recovery, "_LEAST", 48)
    parts = history.recover(source, found)
    assert (parts.height, parts.width, parts.offset) == (whole.height, whole.width, whole.offset)
    for a, b, theirs in zip(parts.components, whole.components, before.components, strict=True):
        assert a is not None
        assert b is not None
        assert (a.size, a.sampling) == (b.size, b.sampling)
        # Each band stops by itself once enough has come back.
        assert share(a, theirs, inside=2) > share(b, theirs, inside=2) - 0.001
    assert parts.history.proof == pytest.approx(whole.history.proof, abs=0.01)


def test_half_of_the_true_steps_is_not_told() -> None:
    """Though they bring back all that the true ones do, and more by chance."""
    part = np.ascontiguousarray(PHOTO[:256, :256])
    found = history.find(saved(shown(part, 25, subsampling=2), 85, subsampling=2))
    assert found is not None
    assert (found.encoder, found.quality) == ("libjpeg", 25)
    for table_of, part_of in zip(found.tables, saved(part, 25).components, strict=True):
        np.testing.assert_array_equal(table_of, part_of.table)


def test_chromas_quality_is_not_its_neighbours() -> None:
    part = np.ascontiguousarray(PHOTO[:256, :256])
    found = history.find(np.ascontiguousarray(shown(part, 75, subsampling=2)[3:, 3:]))
    assert found is not None
    np.testing.assert_array_equal(found.tables[1], saved(part, 75).components[1].table)


@pytest.mark.parametrize(("first", "second"), [(20, 90), (60, 93)])
def test_chroma_that_was_shrunk_since_has_no_history(first: int, second: int) -> None:
    file = saved(shown(PHOTO, first, subsampling=0), second, subsampling=2)
    found = history.find(file)
    assert found is not None
    assert found.tables[1:] == (None, None)
    earlier = history.recover(file, found)
    assert earlier.components[1:] == (None, None)
    before = saved(PHOTO, first, subsampling=0)
    assert share(earlier.components[0], before.components[0]) > 0.95


@pytest.mark.parametrize("shape", [(8, 8), (64, 40), (64, 64), (480, 640), (480, 640, 3)])
@pytest.mark.parametrize("level", [0, 90])
def test_small_and_flat_pictures_tell_nothing(shape: tuple[int, ...], level: int) -> None:
    flat = np.full(shape, level, np.uint8)
    assert history.find(saved(flat, 75)) is None
    assert history.find(flat) is None


def test_other_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        history.find(np.zeros((64, 64), np.float32))  # type: ignore[arg-type]


def test_a_large_picture_is_looked_at_in_parts() -> None:
    large = np.tile(GRAY, (3, 3))[:1000, :1200]
    found = history.find(saved(shown(large, 10)[4:, 4:].copy(), 30))
    assert found is not None
    assert (found.grid, found.quality) == ((4, 4), 10)


@pytest.mark.parametrize(
    ("share", "telling", "is_enough"), [(0.8, 341, False), (0.99, 341, True), (0.8, 5000, True)]
)
def test_of_few_codes_more_has_to_come_back(share: float, telling: int, is_enough: bool) -> None:
    """As it did of a screenshot's middle, 128x128, that had been compressed once."""
    known = table.known()[-14]
    suspected = History(
        grid=(0, 0),
        factors=((1, 1),),
        tables=(known.steps,),
        encoder=known.encoder,
        quality=known.quality,
        proof=(share,),
        evidence=225.0,
        coarseness=2.3,
        telling=telling,
    )
    assert (search._margin(suspected, is_file=True) > 0) == is_enough
