"""Pictures that Pillow resized after libjpeg compressed them: the way back, the past, the codes."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from conftest import jpeg_bytes
from PIL import Image, ImageFilter

from benchmarks import resized as benchmark
from hrcnn_jax import history
from hrcnn_jax.data.chains import Cut, Resize, Sharpen
from hrcnn_jax.files import reader
from hrcnn_jax.files.reader import Component, JpegFile
from hrcnn_jax.history import Earlier, History, Said, grid, resized
from hrcnn_jax.history.chain import Samples
from hrcnn_jax.history.filters import FILTERS, blurring, matrix
from hrcnn_jax.history.observed import extent
from hrcnn_jax.history.record import Resizing, Sharpening
from hrcnn_jax.history.resized import corners, geometry, lines
from hrcnn_jax.history.resized.corners import Anchor
from hrcnn_jax.history.resized.geometry import Along
from hrcnn_jax.history.resized.lines import Lines
from hrcnn_jax.scores import chains

SAMPLE = Path(reader.__file__).parents[1] / "sample" / "parrots.webp"
PHOTO = np.asarray(Image.open(SAMPLE).convert("RGB"))[150:470, 100:404]
GRAY = np.asarray(Image.fromarray(PHOTO).convert("L"))
SMALL = GRAY[:208, :272]
LARGE = np.asarray(Image.open(SAMPLE).convert("L"))

PILLOWS = {
    name: Image.Resampling[name.upper()]
    for name in ("bicubic", "lanczos", "bilinear", "hamming", "box")
}
NOISE = np.random.default_rng(0).uniform(0, 255, (101, 77)).astype(np.float32)


def by_pillow(picture: np.ndarray, size: tuple[int, int], by: str, **options: Any) -> np.ndarray:
    """Resized to a height and width, floats as floats."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize(size[::-1], PILLOWS[by], **options))


def times(picture: np.ndarray, factor: float) -> tuple[int, int]:
    height, width = picture.shape[:2]
    return round(factor * height), round(factor * width)


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("by", PILLOWS)
@pytest.mark.parametrize("count", [17, 52, 76, 101, 131, 202])
def test_filters_are_pillows(by: str, count: int) -> None:
    made = matrix(by, count, 101, 101 / count) @ NOISE
    # Pillow's samples are rounded to single precision.
    np.testing.assert_allclose(made, by_pillow(NOISE, (count, 77), by), atol=1e-4)


@pytest.mark.parametrize("by", PILLOWS)
@pytest.mark.parametrize(("start", "scale"), [(5.25, 1.7), (40.5, 0.6), (0, 2), (31, 1)])
def test_filters_within_a_picture(by: str, start: float, scale: float) -> None:
    made = matrix(by, 30, 101, scale, start) @ NOISE
    expected = by_pillow(NOISE, (30, 77), by, box=(0, start, 77, start + 30 * scale))
    np.testing.assert_allclose(made, expected, atol=1e-3)  # its box is in single precision


@pytest.mark.parametrize("count", [50, 101, 160])
def test_a_linear_filter_that_does_not_widen(count: int) -> None:
    places = (np.arange(count) + 0.5) * 101 / count - 0.5
    expected = np.interp(places, np.arange(101), NOISE[:, 0])
    np.testing.assert_allclose(
        matrix("narrow-linear", count, 101, 101 / count) @ NOISE[:, 0], expected, atol=1e-4
    )


@pytest.mark.parametrize("count", [17, 52, 76, 100])
def test_areas_are_means_over_steps(count: int) -> None:
    sums = np.concatenate([[0], np.cumsum(NOISE[:, 0], dtype=np.float64)])
    edges = np.linspace(0, 101, count + 1)
    expected = np.diff(np.interp(edges, np.arange(102), sums)) * count / 101
    made = matrix("area", count, 101, 101 / count) @ NOISE[:, 0]
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_a_wide_filter_that_does_not_widen() -> None:
    """OpenCV's of four lobes, halfway between two samples."""
    distances = np.arange(-3.5, 4)
    waves = np.sin(np.pi * distances) * np.sin(np.pi * distances / 4) / distances**2
    row = matrix("narrow-lanczos", 20, 60, 2, 0)[[10]].toarray().ravel()
    np.testing.assert_allclose(row[17:25], waves / waves.sum(), atol=1e-12)
    assert np.count_nonzero(row) == 8


@pytest.mark.parametrize(
    ("by", "scale", "start", "weights"),
    [
        # OpenCV's at a quarter and a half of a sample: Keys' cubic with a = -3/4.
        ("narrow-cubic", 0.5, 0.5, [-0.10546875, 0.87890625, 0.26171875, -0.03515625]),
        ("narrow-cubic", 2, 0, [-0.09375, 0.59375, 0.59375, -0.09375]),
        # Mitchell's and Netravali's at a half, from the formula of their paper.
        ("mitchell", 1, 0.5, [-5 / 144, 77 / 144, 77 / 144, -5 / 144]),
    ],
)
def test_cubic_filters(by: str, scale: float, start: float, weights: list[float]) -> None:
    row = matrix(by, 20, 40, scale, start)[[8]].toarray().ravel()
    np.testing.assert_allclose(row[np.flatnonzero(row)], weights, atol=1e-12)
    centre = start + 8.5 * scale
    assert abs((row * (np.arange(40) + 0.5)).sum() - centre) < 0.1


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.3])
def test_a_gaussian_blurs(radius: float) -> None:
    expected = scipy.ndimage.gaussian_filter1d(
        NOISE.astype(np.float64), radius, axis=0, mode="nearest", radius=int(np.ceil(3 * radius))
    )
    np.testing.assert_allclose(blurring(len(NOISE), radius) @ NOISE, expected, atol=1e-4)


BACK = [("bicubic", 60, 80), ("lanczos", 104, 80), ("hamming", 31, 80), ("mitchell", 127, 80)]


@pytest.mark.parametrize(("by", "count", "size"), BACK)
def test_the_way_back_is_least_squares(by: str, count: int, size: int) -> None:
    forth = matrix(by, count, size, size / count)
    observed = np.resize(NOISE, (count, 5))
    ridge = np.sqrt(geometry._RIDGE) * np.eye(size)
    dense = np.concatenate([forth.toarray(), ridge])
    given = np.concatenate([observed, np.zeros((size, 5))])
    expected = np.linalg.lstsq(dense, given, rcond=None)[0]
    back = Along(forth, 0).back(observed)
    # Of single precision, times the condition of the normal equations, about 1 / ridge.
    np.testing.assert_allclose(back, expected, atol=1e-6 / geometry._RIDGE * np.abs(back).max())


@pytest.mark.parametrize(("by", "count", "size"), BACK)
def test_what_of_each_frequency_comes_back(by: str, count: int, size: int) -> None:
    forth = matrix(by, count, size, size / count)
    square = (forth.T @ forth).toarray()
    there_and_back = np.linalg.solve(square + geometry._RIDGE * np.eye(size), square)
    inside = there_and_back[5:77, 5:77].reshape(9, 8, 9, 8)  # nine whole blocks
    waves = scipy.fft.idct(np.eye(8), norm="ortho", axis=0)
    expected = np.einsum("bibj,ik,jk->k", inside, waves, waves) / 9
    np.testing.assert_allclose(Along(forth, 3).visibility, expected, atol=1e-3)


def known(size: tuple[int, int], by: str, before: JpegFile | None = None, **values: Any) -> History:
    """What is to be found of a picture that had this size, and had been this file."""
    parts = before.components if before is not None else ()
    told: dict[str, Any] = {
        "grid": (0, 0),
        "factors": tuple(part.factor for part in parts) or ((1, 1),),
        "tables": tuple(part.table for part in parts) or (np.ones((8, 8), np.int32),),
        "encoder": "libjpeg",
        "quality": 20,
        "proof": (1.0,) * max(1, len(parts)),
        "evidence": 0.0,
        "coarseness": 9.0,
        "resizing": Resizing(size, by),
    }
    return History(**told | values)


@pytest.mark.parametrize("by", PILLOWS)
@pytest.mark.parametrize("size", [(76, 57), (131, 100)])
def test_pixels_go_pillows_way(by: str, size: tuple[int, int]) -> None:
    made = geometry.of_plane(known(NOISE.shape, by), size).forth(NOISE)
    np.testing.assert_allclose(made, by_pillow(NOISE, size, by), atol=1e-3)


@pytest.mark.parametrize("by", ["bicubic", "lanczos"])
@pytest.mark.parametrize("last", [(1, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("size", [(70, 51), (131, 101)])
def test_chroma_goes_pillows_way(by: str, last: tuple[int, int], size: tuple[int, int]) -> None:
    """Enlarged by the decoder, cropped, resized, and shrunk by the encoder."""
    cropped = 199, 148  # 202x154 less three rows and five columns, less a column
    past = known(cropped, by, grid=(13, 11), factors=((1, 1), (2, 2), (2, 2)))
    assert past.offset == (3, 5)
    there = geometry.of_component(past, size, 1, last)
    # One sample above and two to the left are cut away altogether.
    assert (there.before, there.size) == ((1, 2), (100, 75))
    enlarged = by_pillow(NOISE, (202, 154), "bilinear")[3:, 5:][:199, :148]
    expected = np.asarray(Image.fromarray(by_pillow(enlarged, size, by)).reduce(last[::-1]))
    np.testing.assert_allclose(there.forth(NOISE[1:, 2:]), expected, atol=1e-3)


def test_parts_go_the_way_of_the_whole() -> None:
    size = 72, 54
    past = known((96, 72), "bicubic", grid=(5, 3))
    plane = NOISE[:96, :72]
    whole = by_pillow(plane, size, "bicubic")
    there = geometry.of_component(past, size, 0, (1, 1))
    first, later = there.part(slice(24), slice(16)), there.part(slice(16, 48), slice(32, 54))
    # Row 16 depends on rows from 19, column 32 on those from 41; some before may be part of it.
    top, left = (
        first - (first + cut - before) % 8
        for first, cut, before in zip((19, 41), past.offset, later.before, strict=True)
    )
    assert first.before == (3, 5)
    made = first.forth(plane[: first.size[0], : first.size[1]])
    np.testing.assert_allclose(made, whole[:24, :16], atol=1e-3)
    made = later.forth(plane[top : top + later.size[0], left : left + later.size[1]])
    np.testing.assert_allclose(made, whole[16:48, 32:], atol=1e-3)


MASK = Sharpening(1.0, 0.8)


def sharpened(planes: np.ndarray) -> np.ndarray:
    """By `MASK`, `(h, w, ...)`."""
    sizes = [MASK.radius, MASK.radius, *[0] * (planes.ndim - 2)]
    blurred = scipy.ndimage.gaussian_filter(planes, sizes, mode="nearest", truncate=3.0)
    return planes + MASK.amount * (planes - blurred)


@pytest.mark.parametrize("size", [(70, 51), (131, 101)])
def test_what_was_sharpened_since(size: tuple[int, int]) -> None:
    past = known(NOISE.shape, "bicubic")
    past = replace(past, resizing=Resizing((101, 77), "bicubic", sharpened=MASK))
    expected = sharpened(by_pillow(NOISE, size, "bicubic"))
    np.testing.assert_allclose(geometry.of_plane(past, size).forth(NOISE), expected, atol=1e-3)
    # Chroma is shrunk after that.
    means = np.asarray(Image.fromarray(expected).reduce(2))
    shrunk = geometry.of_plane(past, size, (2, 2)).forth(NOISE)
    np.testing.assert_allclose(shrunk, means, atol=1e-3)
    # Of a part, as far as it goes.
    there = geometry.of_component(past, size, 0, (1, 1)).part(slice(24), slice(16))
    made = there.forth(NOISE[: there.size[0], : there.size[1]])
    np.testing.assert_allclose(made, expected[:24, :16], atol=1e-3)


def test_what_comes_back_of_what_was_sharpened() -> None:
    """Of waves along both axes, which are sharpened less than by both in turn."""
    past = known((64, 64), "bicubic")
    past = replace(past, resizing=Resizing((64, 64), "bicubic", sharpened=MASK))
    there = geometry.of_component(past, (48, 48), 0, (1, 1))
    waves = scipy.fft.idct(np.eye(8), norm="ortho", axis=0)
    for down, across in ((0, 0), (0, 3), (2, 2), (4, 3)):
        seen = []
        for top, left in np.ndindex(8, 8):
            plane = np.zeros((64, 64))
            place = slice(8 * top, 8 * top + 8), slice(8 * left, 8 * left + 8)
            plane[place] = np.outer(waves[:, down], waves[:, across])
            made = sharpened(by_pillow(plane.astype(np.float32), (48, 48), "bicubic"))
            seen.append((there.back(made)[place] * plane[place]).sum())
        assert there.visibility[down, across] == pytest.approx(np.mean(seen), abs=2e-3)


@pytest.mark.parametrize("factor", [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_samples_are_enlarged_as_pillow_does(factor: tuple[int, int]) -> None:
    expected = by_pillow(NOISE, (101 * factor[0], 77 * factor[1]), "bilinear")
    np.testing.assert_allclose(geometry.enlarged(NOISE, factor), expected, atol=1e-3)


@pytest.mark.parametrize(("factor", "by"), [(0.75, "bicubic"), (0.6, "box"), (1.3, "lanczos")])
@pytest.mark.parametrize("quality", [None, 90])
def test_lines_tell_factors(factor: float, by: str, quality: int | None) -> None:
    picture = shown(jpeg_bytes(GRAY, quality=15))[3:, 5:]
    made = by_pillow(picture, times(picture, factor), by)
    made = made if quality is None else shown(jpeg_bytes(made, quality=quality))
    axes = [Lines.of(made.astype(np.float32), axis, own=quality is not None) for axis in (0, 1)]
    true = [after / before for after, before in zip(made.shape, picture.shape, strict=True)]
    found = np.array(lines.candidates((axes[0], axes[1]), 3))
    nearest = found[np.abs(np.log(found / true)).max(1).argmin()]
    # Each side is told to a pixel and a half in three hundred.
    np.testing.assert_allclose(nearest, true, rtol=0.005)
    for axis, each, cut in zip(axes, true, (3, 5), strict=True):
        off = axis.start(each) / each - (8 - cut)
        assert abs((off + 4) % 8 - 4) < 1.5  # samples of the picture before


def axes_of(picture: np.ndarray, *, own: bool = True) -> tuple[Lines, Lines]:
    down, across = (Lines.of(picture.astype(np.float32), axis, own=own) for axis in (0, 1))
    return down, across


def test_lines_tell_factors_through_a_last_compression() -> None:
    """Above slow waves of the picture itself, which are stronger."""
    picture = shown(jpeg_bytes(LARGE, quality=30))
    made = by_pillow(picture, times(picture, 0.62), "bicubic")
    axes = axes_of(shown(jpeg_bytes(made, quality=90)))
    found = np.array(lines.candidates(axes, 3))
    assert np.abs(np.log(found / 0.62)).max(1).min() < 0.005


def test_usual_factors_need_lines_as_well() -> None:
    picture = by_pillow(shown(jpeg_bytes(GRAY, quality=20)), times(GRAY, 0.75), "bicubic")
    axes = axes_of(shown(jpeg_bytes(picture, quality=85)))
    right, wrong, too_small, the_same = (0.75, 0.75), (0.667, 0.667), (0.4, 0.4), (1.0, 1.0)
    usual = [wrong, right, too_small, the_same]
    assert lines.candidates(axes, 0, usual=usual) == [right]
    found = lines.candidates(axes, 3, usual=usual)
    assert len([pair for pair in found if abs(np.log(pair[1] / 0.75)) < 0.0015]) == 1


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [
        ({0.75: 300, 0.8: 120, 1.3: 8}, 0.75),
        ({0.75: 300, 0.755: 290, 0.8: 120}, 0.75),  # a neighbour is no rival
        ({0.75: 300, 0.8: 200, 1.3: 8}, None),
        ({0.75: 90, 0.8: 10}, None),
        ({0.75: 101}, 0.75),
        ({}, None),
    ],
)
def test_a_factor_has_to_stand_out(strengths: dict[float, float], expected: float | None) -> None:
    anchors = {
        (factor, factor): Anchor(((0, 100 / factor), (0, 100 / factor)), False, strength)
        for factor, strength in strengths.items()
    }
    best = corners._outstanding(anchors)
    assert best is (None if expected is None else anchors[expected, expected])


@pytest.mark.parametrize("by", PILLOWS)
def test_what_was_cropped_since_goes_pillows_way(by: str) -> None:
    """Rows 12 to 60 and columns 8 to 49 of a picture that was resized by 0.75."""
    past = known((64, 56), by)
    spans = (0.0, 64.0), (2 / 3, 55 + 1 / 3)
    past = replace(past, resizing=Resizing((64, 56), by, spans))
    resized_first = by_pillow(NOISE[:100, :76], (75, 57), by)
    made = geometry.of_plane(past, (48, 41)).forth(NOISE[16:80, 10:66])
    expected = resized_first[12:60, 8:49]
    inner = slice(4, -4)  # what was cut away is not known, and tells at the edges
    np.testing.assert_allclose(made[inner, inner], expected[inner, inner], atol=1e-3)


class Chain(NamedTuple):
    """A picture and its past.

    Attributes:
      before: the file that did the damage.
      cut: rows and columns cropped after that.
      size: height and width then.
      by: the filter that it was resized with.
      source: the picture that is there.
      cropped: rows and columns cropped since.
    """

    before: JpegFile
    cut: tuple[int, int]
    size: tuple[int, int]
    by: str
    source: JpegFile | Samples
    cropped: tuple[int, int]

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """Rows and columns of the file before that are shown."""
        spans = []
        for size, cut, cropped, there in zip(
            self.size, self.cut, self.cropped, extent(self.source)[0], strict=True
        ):
            start = cut + cropped * size / (there + cropped)
            spans.append((start, float(cut + size)))
        return tuple(spans)


def chain(
    picture: np.ndarray,
    quality: int,
    factor: float,
    last: int | None,
    *,
    by: str = "bicubic",
    cut: tuple[int, int] = (0, 0),
    then: tuple[int, int] = (0, 0),
    **options: Any,
) -> Chain:
    """Compressed, cropped, resized, cropped, and kept as pixels or compressed again."""
    data = jpeg_bytes(picture, quality=quality, **options)
    cropped = shown(data)[cut[0] :, cut[1] :]
    made = by_pillow(cropped, times(cropped, factor), by)[then[0] :, then[1] :]
    source = made if last is None else reader.read(jpeg_bytes(made, quality=last))
    size = cropped.shape[0], cropped.shape[1]
    return Chain(reader.read(data), cut, size, by, source, then)


CHAINS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "file": ((GRAY, 20, 0.75, 85), {}),
    "pixels": ((GRAY, 20, 0.75, None), {}),
    "cropped": ((GRAY, 20, 0.75, 85), {"cut": (3, 5)}),
    "enlarged": ((SMALL, 25, 1.3, 85), {"by": "lanczos"}),
    "colour": ((PHOTO, 20, 0.75, None), {"subsampling": "4:2:0", "cut": (3, 5)}),
    "lost chroma": ((PHOTO, 20, 0.75, 85), {"subsampling": "4:4:4"}),
}


class Found(NamedTuple):
    """A chain, and what is made of it."""

    chain: Chain
    history: History
    earlier: Earlier


@pytest.fixture(scope="module", params=list(CHAINS))
def found(request: pytest.FixtureRequest) -> Found:
    given, options = CHAINS[request.param]
    made = chain(*given, **options)
    past = history.find(made.source)
    assert past is not None
    return Found(made, past, history.recover(made.source, past))


def test_fractions_that_were_cut_off() -> None:
    """As ImageMagick 6 does where it writes PNG."""
    made = chain(GRAY, 20, 0.75, None)
    exact = by_pillow(shown(jpeg_bytes(GRAY, quality=20)).astype(np.float32), made.size, "bicubic")
    exact = by_pillow(exact, times(GRAY, 0.75), "bicubic")
    source = np.clip(np.floor(exact), 0, 255).astype(np.uint8)
    past = history.find(source)
    assert past is not None
    assert past.resizing == Resizing(made.size, "bicubic")
    assert past.proof[0] > 0.75
    earlier = history.recover(source, past)
    assert earlier.history.proof[0] > 0.75
    assert earlier.components[0] is not None
    assert share(earlier.components[0], made.before.components[0]) > 0.97


@pytest.mark.parametrize(
    ("picture", "factor", "by", "last", "cut", "then"),
    [
        (LARGE[:480, :480], 0.75, "bicubic", 85, (0, 0), (13, 21)),
        (LARGE[:480, :480], 0.7, "lanczos", None, (3, 5), (17, 10)),
        (LARGE[:480, :480], 1.3, "bilinear", 90, (0, 0), (7, 5)),
        (PHOTO, 0.75, "bicubic", None, (0, 0), (13, 21)),
    ],
    ids=["file", "pixels", "enlarged", "colour"],
)
def test_what_was_cropped_since_is_found(
    picture: np.ndarray,
    factor: float,
    by: str,
    last: int | None,
    cut: tuple[int, int],
    then: tuple[int, int],
) -> None:
    made = chain(picture, 20, factor, last, by=by, cut=cut, then=then)
    past = history.find(made.source)
    assert past is not None
    assert past.resizing is not None
    assert past.resizing.shown is not None
    assert (past.resizing.by, past.quality) == (by, 20)
    for span, place, expected in zip(past.resizing.shown, past.grid, made.spans, strict=True):
        start = (span[0] - place - expected[0] + 4) % 8 - 4  # as blocks go
        length = span[1] - span[0] - (expected[1] - expected[0])
        assert max(abs(start), abs(length)) < 0.1
    earlier = history.recover(made.source, past)
    for ours, theirs in zip(earlier.components, made.before.components, strict=True):
        assert ours is not None
        np.testing.assert_array_equal(ours.table, theirs.table)
        first = (
            int(span[0]) // mcu * (mcu // 8) for span, mcu in zip(made.spans, past.mcu, strict=True)
        )
        top, left = (place // factor for place, factor in zip(first, ours.factor, strict=True))
        inner = slice(2, -2)
        a, b = ours.codes[inner, inner], theirs.codes[top:, left:][inner, inner]
        assert a.shape == b.shape
        assert np.mean((a == b)[(a != 0) | (b != 0)]) > 0.9


@pytest.mark.parametrize(
    ("picture", "percent", "options"),
    [(LARGE[:480, :480], 80, {}), (PHOTO, 50, {"subsampling": "4:2:0"})],
    ids=["gray", "colour"],
)
def test_what_was_sharpened_since_is_found(
    picture: np.ndarray, percent: int, options: dict[str, Any]
) -> None:
    data = jpeg_bytes(picture, quality=20, **options)
    small = Image.fromarray(by_pillow(shown(data), times(picture, 0.75), "bicubic"))
    mask = ImageFilter.UnsharpMask(1.0, percent, threshold=0)
    made = reader.read(jpeg_bytes(np.asarray(small.filter(mask)), quality=88, **options))
    before = reader.read(data)
    for said in (None, Said(20, None, size=(before.height, before.width))):
        past = history.find(made) if said is None else history.told(made, said)
        assert past is not None
        assert past.resizing is not None
        assert past.resizing.sharpened is not None
        assert (past.resizing.size, past.quality) == ((before.height, before.width), 20)
        # Wider and weaker ones do about the same.
        radius, amount = past.resizing.sharpened.radius, past.resizing.sharpened.amount
        assert amount * radius**2 == pytest.approx(percent / 100, rel=0.3)
        luma = history.recover(made, past).components[0]
        assert luma is not None
        assert share(luma, before.components[0]) > 0.9


def share(ours: Component, theirs: Component) -> float:
    """Of the codes that are not zero in either those that are equal."""
    a, b = ours.codes, theirs.codes
    return float(np.mean((a == b)[(a != 0) | (b != 0)]))


def is_lost(found: Found) -> bool:
    """Whether chroma was shrunk after it had been as fine as luma."""
    parts = found.chain.before.components
    return isinstance(found.chain.source, JpegFile) and parts[-1].factor < (
        found.chain.source.components[-1].factor
    )


def test_what_is_found(found: Found) -> None:
    before, past = found.chain.before, found.history
    assert past.resizing == Resizing(found.chain.size, found.chain.by)
    assert past.offset == found.chain.cut
    assert past.encoder == "libjpeg"
    np.testing.assert_array_equal(past.tables[0], before.components[0].table)
    assert past.proof[0] > 0.75
    if is_lost(found):
        assert past.tables[1:] == (None, None)
        assert past.proof[1:] == (0, 0)
        return
    assert past.factors == tuple(part.factor for part in before.components)
    for table, part in zip(past.tables, before.components, strict=True):
        np.testing.assert_array_equal(table, part.table)
    assert min(past.proof) > 0.7


def test_codes_are_libjpegs(found: Found) -> None:
    before, earlier = found.chain.before, found.earlier
    assert (earlier.height, earlier.width) == (before.height, before.width)
    assert earlier.offset == found.chain.cut
    for ours, theirs in zip(earlier.components, before.components, strict=True):
        if theirs is not before.components[0] and is_lost(found):
            assert ours is None
            continue
        assert ours is not None
        assert (ours.factor, ours.sampling, ours.size) == (
            (theirs.factor, theirs.sampling, theirs.size)
        )
        assert ours.codes.shape == theirs.codes.shape
        assert share(ours, theirs) > 0.97


@pytest.mark.parametrize(
    ("made", "grid_said"),
    [
        (chain(PHOTO, 20, 0.75, 60, by="bilinear", subsampling="4:2:0", cut=(3, 5)), False),
        (chain(GRAY, 20, 0.75, 60, by="hamming", cut=(2, 0)), True),
        (chain(GRAY[:110, :100], 20, 0.7, None, by="bilinear", cut=(0, 7)), False),
        (chain(PHOTO[:96, :80], 20, 1.4, 75, subsampling="4:2:0"), False),
    ],
    ids=["hidden, colour", "hidden, gray", "few pixels", "a small file"],
)
def test_what_is_said_of_a_size_is_believed(made: Chain, grid_said: bool) -> None:
    """Of pictures that themselves tell too little."""
    assert history.find(made.source) is None
    where = -made.cut[0] % 8, -made.cut[1] % 8
    said = Said(20, where if grid_said else None, size=made.size)
    past = history.told(made.source, said)
    assert past.resizing == Resizing(made.size, made.by)
    assert past.offset == made.cut
    earlier = history.recover(made.source, past)
    for ours, theirs in zip(earlier.components, made.before.components, strict=True):
        assert ours is not None
        np.testing.assert_array_equal(ours.table, theirs.table)
        assert ours.codes.shape == theirs.codes.shape
        assert share(ours, theirs) > 0.75


@pytest.mark.parametrize(
    ("now", "before", "sentence"),
    [
        ((70, 90), (63, 80), r"is 90×70 pixels, said to have been 80×63; sides of at least 64 "),
        ((63, 90), (80, 80), r"said to have been 80×80; sides of at least 64 are needed, now and"),
        ((90, 320), (64, 79), r"said to have been 79×64; sides may have been up to 4 times "),
        ((64, 80), (64, 321), r"said to have been 321×64; sides may have been up to 4 times "),
        ((2049, 2048), (2049, 2048), r"what is resized may have 4,194,304 pixels, and have had 8"),
        ((2048, 2048), (4096, 2049), r"said to have been 2049×4096; what is resized may have 4,"),
    ],
)
def test_what_cannot_be_brought_back_is_refused(
    now: tuple[int, int], before: tuple[int, int], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        history.told(np.zeros(now, np.uint8), Said(20, size=before))


@pytest.mark.parametrize("by", PILLOWS)
@pytest.mark.parametrize("factor", [0.75, 1.4])
def test_the_right_filter_brings_back_most(by: str, factor: float) -> None:
    made = chain(SMALL, 20, factor, None, by=by)
    back = {
        name: resized.recover(made.source, known(made.size, name, made.before)) for name in FILTERS
    }
    proofs = {name: each.history.proof[0] for name, each in back.items()}
    assert proofs[by] == max(proofs.values())
    assert proofs[by] > 0.75
    ours = back[by].components[0]
    assert ours is not None
    assert share(ours, made.before.components[0]) > 0.97
    others = [proofs[name] for name in PILLOWS if name != by]
    assert max(others) < 0.9 * proofs[by]


def saved(picture: np.ndarray, quality: int) -> JpegFile:
    return reader.read(jpeg_bytes(picture, quality=quality))


def gradient(
    size: tuple[int, int], angle: float, first: tuple[float, ...], last: tuple[float, ...]
) -> Samples:
    """From one colour to another, in a direction."""
    down, across = np.indices(size)
    along = across * np.cos(angle) + down * np.sin(angle)
    share = (along - along.min()) / np.ptp(along)
    return np.rint(first + np.subtract(last, first) * share[..., None]).astype(np.uint8)


RESIZED = by_pillow(PHOTO, (240, 228), "bicubic")
NOTHING: dict[str, JpegFile | Samples] = {
    "only resized": RESIZED,
    "only resized, gray": by_pillow(GRAY, (240, 228), "lanczos"),
    "only resized, then compressed": saved(RESIZED, 85),
    "only enlarged": by_pillow(SMALL, (270, 354), "lanczos"),
    "compressed once": saved(PHOTO, 85),
    "compressed once, coarsely": saved(GRAY, 20),
    "hardly coarser than since": chain(SMALL, 50, 1.3, 75).source,
    "the last table is coarse": chain(SMALL, 10, 1.3, 50).source,
    "few rows": by_pillow(shown(jpeg_bytes(GRAY[:160], quality=20)), (120, 228), "bicubic"),
    "flat": np.full((160, 200), 90, np.uint8),
    "tiny": np.zeros((3, 5, 3), np.uint8),
    # A coarse table after resizing explains most of their few kinds of blocks.
    "gradient": gradient((150, 184), 2.45058, (114.2, 89.5, 100.7), (217.1, 147.8, 154.4)),
    "steep gradient": gradient((268, 237), 6.10717, (181.3, 122.7, 103.9), (28.7, 72, 216)),
    "noise": saved(np.random.default_rng(1).integers(0, 256, (200, 160, 3), np.uint8), 90),
}


@pytest.mark.parametrize("what", NOTHING)
def test_nothing_is_found(what: str) -> None:
    assert history.find(NOTHING[what]) is None


@pytest.mark.parametrize("cut", [0, 3])
def test_what_was_not_resized_is_not_told_to_be(cut: int) -> None:
    for picture in (GRAY, PHOTO):
        past = history.find(np.ascontiguousarray(shown(jpeg_bytes(picture, quality=20))[cut:]))
        assert past is not None
        assert (past.resizing, past.quality) == (None, 20)


def test_of_a_large_picture_parts_are_looked_at() -> None:
    picture = np.tile(GRAY, (3, 3))[:, 5:]
    small = by_pillow(shown(jpeg_bytes(picture, quality=20)), (768, 726), "bicubic")
    assert small.size > grid.WHOLE**2
    past = history.find(saved(small, 88))
    assert past is not None
    assert past.resizing == Resizing(picture.shape, "bicubic")
    assert (past.quality, past.grid) == (20, (0, 0))


def test_how_often_it_is_found(tmp_path: Path) -> None:
    """The benchmark counts what is right, and alarms where nothing is to be found."""
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    asked = ["20,x0.75,png", "x0.75,92", "95,x0.75,png"]
    flags = ["--data", str(tmp_path), "--every", "1", "--history", *asked]
    benchmark.main([*flags, "--output", str(tmp_path / "found.json")])
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [each["chain"] for each in rows] == asked
    assert [(each["pictures"], each["found"]) for each in rows] == [(1, 1), (1, 0), (1, 0)]
    assert [each["right"] for each in rows] == [1, None, None]


def test_what_is_right_of_what_was_cropped_since() -> None:
    """By hand: 100x80 less 4 rows, resized to 72x60, less 9 rows and 6 columns."""
    truth = chains.parse("20,+4:0,x0.75,+9:6,85").earlier
    assert truth == chains.Earlier(20, (Cut(4, 0), Resize(0.75), Cut(9, 6)))
    shown = ((0.0, 84.0), (0.0, 72.0))  # from row 4 + 12 and column 8 on, where blocks begin
    told = replace(
        history.told(GRAY, Said(21, (0, 0))), resizing=Resizing((84, 72), "bicubic", shown)
    )
    assert truth.is_told(told, (100, 80))
    assert not truth.is_told(replace(told, quality=22), (100, 80))
    assert not truth.is_told(replace(told, grid=(1, 0)), (100, 80))
    assert not truth.is_told(told, (108, 80))
    for other in (((0.4, 84.4), (0.0, 72.0)), ((0.0, 84.0), (0.0, 71.6))):
        resizing = Resizing((84, 72), "bicubic", other)
        assert not truth.is_told(replace(told, resizing=resizing), (100, 80))
    other_filter = Resizing((84, 72), "lanczos", shown)
    assert not truth.is_told(replace(told, resizing=other_filter), (100, 80))


def test_what_is_right_of_what_was_sharpened() -> None:
    truth = chains.parse("20,x0.75,sharpen80,85").earlier
    assert truth == chains.Earlier(20, (Resize(0.75), Sharpen(80)))
    plain = replace(history.told(GRAY, Said(21, (0, 0))), resizing=Resizing((80, 64), "bicubic"))
    masked = replace(plain, resizing=Resizing((80, 64), "lanczos", sharpened=MASK))
    assert truth.is_told(masked, (80, 64))  # a sharper filter is much like a stronger mask
    assert not truth.is_told(plain, (80, 64))
    unsharpened = chains.parse("20,x0.75/lanczos,85").earlier
    assert unsharpened is not None
    assert not unsharpened.is_told(masked, (80, 64))
    for nothing in ("20,sharpen80,x0.75,85", "20,sharpen80,85", "20,x0.75,sharpen80,+1:1,85"):
        assert chains.parse(nothing).earlier is None


def test_what_is_right() -> None:
    """By hand: the quality within one, the grid, the earlier size and the filter."""
    truth = chains.parse("20,+3:13,x0.75/lanczos,85").earlier
    assert truth == chains.Earlier(20, (Cut(3, 13), Resize(0.75, "lanczos")))
    told = replace(history.told(GRAY, Said(21, (5, 3))), resizing=Resizing((98, 64), "lanczos"))
    assert truth.is_told(told, (101, 77))
    assert not truth.is_told(told, (101, 78))
    assert not truth.is_told(replace(told, quality=22), (101, 77))
    assert not truth.is_told(replace(told, grid=(5, 2)), (101, 77))
    assert not truth.is_told(replace(told, resizing=None), (101, 77))
    for nothing in ("x0.75,85", "20,x0.75,x0.9,85", "20,blur0.6,85", "clean"):
        assert chains.parse(nothing).earlier is None
