"""Traces of an earlier compression, on files that Pillow compressed once or twice."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes
from PIL import Image

from hrcnn_jax.files import reader
from hrcnn_jax.history import table
from hrcnn_jax.history.table import detect
from hrcnn_jax.jpeg import transform

SAMPLE = Path(reader.__file__).parents[1] / "sample" / "parrots.webp"
PHOTO = np.asarray(Image.open(SAMPLE).convert("RGB"))


def compressed(*qualities: int, gray: bool = False) -> reader.Component:
    """The luma of a file that was saved at each of the qualities in turn."""
    picture = PHOTO[..., 1] if gray else PHOTO
    for quality in qualities:
        data = jpeg_bytes(picture, quality=quality)
        picture = np.asarray(Image.open(io.BytesIO(data)))
    return reader.read(data).components[0]


@pytest.mark.parametrize("quality", [10, 50, 85, 100])
def test_once_is_not_suspected(quality: int) -> None:
    assert detect(compressed(quality)) is None


@pytest.mark.parametrize(("first", "second"), [(50, 80), (30, 60)])
@pytest.mark.parametrize("gray", [False, True])
def test_an_earlier_coarser_table_is_found(first: int, second: int, gray: bool) -> None:
    earlier = detect(compressed(first, second, gray=gray))
    assert earlier is not None
    assert abs(earlier.quality - first) <= 2
    table = np.asarray(transform.quality_table(first))
    right = [step == table[place] for place, step in earlier.steps.items()]
    assert np.mean(right) >= 0.8  # where codes are few, a step may be taken for another


def test_the_same_table_twice_leaves_no_comb() -> None:
    assert detect(compressed(75, 75)) is None


def test_combs_by_hand() -> None:
    """Steps of 3 over 1: every third code; of 3 over 2: all three share two thirds."""
    np.testing.assert_allclose(table.comb(6, 1, 3)[[2, 5]], 3 * 0.73, atol=0.1)
    assert table.comb(6, 1, 3)[[0, 3]].max() < 0.6
    np.testing.assert_allclose(table.comb(6, 2, 3)[:3], [0.75, 0.75, 1.45], atol=0.1)
    for step, earlier in ((1, 7), (4, 5), (10, 3)):
        period = np.lcm(step, earlier) // step
        mean = table.comb(4 * period, step, earlier).mean()
        assert mean == pytest.approx(1, abs=0.08)  # the floor adds what was not there


def test_a_smooth_histogram_fits_a_smooth_curve() -> None:
    codes = np.arange(1, 41)
    counts = np.random.default_rng(0).poisson(5000 * np.exp(-((codes / 6) ** 0.8))).astype(float)
    counts = counts[counts > 0]
    smooth, toothed = table.deviances(
        counts, np.stack([np.ones(len(counts)), table.comb(len(counts), 2, 5)])
    )
    assert smooth < 2 * len(counts)
    assert toothed > 10 * smooth


def test_small_and_flat_pictures_tell_nothing() -> None:
    assert detect(reader.read(jpeg_bytes(PHOTO[:8, :8])).components[0]) is None
    flat = np.full((64, 64), 90, np.uint8)
    assert detect(reader.read(jpeg_bytes(flat)).components[0]) is None
