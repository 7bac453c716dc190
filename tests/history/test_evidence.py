"""Grids, steps and resampling: against SciPy, libjpeg's filters and values worked out by hand."""

import numpy as np
import pytest
from conftest import make_photo
from scipy.fft import dctn
from scipy.stats import vonmises

from hrcnn_jax.history import chain, grid, resampling, steps, table
from hrcnn_jax.jpeg.tables import quality_table

PHOTO = make_photo(70, 90)[..., 1]


def test_coefficients_are_counted_by_size() -> None:
    """Against SciPy's DCT of the blocks of one grid."""
    blocks = PHOTO[2:66, 5:85].astype(np.float64).reshape(8, 8, 10, 8).swapaxes(1, 2) - 128
    sizes = np.rint(np.abs(dctn(blocks, axes=(2, 3), norm="ortho"))).astype(int)
    counted = grid.histograms([PHOTO])
    assert counted.shape == (64, 16, table.LARGEST)
    for v, u in ((1, 1), (0, 3), (2, 1)):
        expected = np.bincount(sizes[:, :, v, u].ravel(), minlength=table.LARGEST)
        # A coefficient beside a half may be rounded either way; means are often at one.
        assert np.abs(counted[8 * 2 + 5, 4 * v + u] - expected).sum() <= 2
    alone = grid.of_place([PHOTO], (2, 5)).reshape(8, 8, -1)[:4, :4].reshape(16, -1)
    assert np.abs(alone - counted[21]).sum() <= 8  # so here, for all 16 frequencies


def test_phases_at_multiples() -> None:
    """Coefficients at multiples of 12: by that step most, more than by 6 or 24, not by 7."""
    histogram = np.zeros((1, table.LARGEST), np.float32)
    for multiple, count in ((1, 400), (2, 200), (3, 100), (4, 50)):
        for off, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            histogram[0, 12 * multiple + off] = count * share
    evidence = table.by_phase(histogram)[0]
    assert table.STEPS[evidence.argmax()] == 12
    assert evidence[6 - 1] > 0
    assert evidence[7 - 1] < 0.05 * evidence[12 - 1]


@pytest.mark.parametrize("mean", [0.1, 0.4, 0.7, 0.95])
def test_gathering_is_von_mises(mean: float) -> None:
    """The likelihood at SciPy's best concentration, less that of an even distribution."""
    candidates = np.geomspace(0.05, 60, 4000)
    logs = candidates * mean + vonmises.logpdf(0, candidates) - candidates + np.log(2 * np.pi)
    # The concentration is approximate, which near the best changes little.
    assert table._gathering(np.array([mean]))[0] == pytest.approx(logs.max(), rel=0.02, abs=1e-3)


def test_codes_that_a_step_can_reach() -> None:
    """Step 3 over 2: multiples 3, 6, 9, 12 are codes 2 (or 1), 3, 4 or 5, 6; all are in reach.

    Step 10 over 2: only multiples of 5 are.
    """
    histogram = np.zeros((1, 60), np.int64)
    histogram[0, [5, 10, 15]] = 300, 150, 80
    evidence = table.by_reach(histogram, np.array([2]))[0]
    assert table.STEPS[evidence.argmax()] == 10
    assert evidence[10 - 1] > 300
    assert evidence[7 - 1] < 0
    assert not evidence[: 2 - 1].any()


@pytest.mark.parametrize(("earlier", "last"), [(23, 5), (40, 17), (31, 12)])
def test_codes_that_a_step_gathered(earlier: int, last: int) -> None:
    """Coefficients of a Laplace distribution, quantised by one step and then by another."""
    coefficients = np.random.default_rng(0).laplace(0, 60, 20_000)
    decoded = earlier * np.rint(coefficients / earlier)
    decoded += np.random.default_rng(1).normal(0, 0.3, decoded.shape)  # samples were rounded
    sizes = np.abs(np.rint(decoded / last)).astype(int)
    counts = np.bincount(sizes, minlength=table.LARGEST)[None]
    evidence = steps.by_codes(counts, np.array([last]))[0]
    assert table.STEPS[evidence.argmax()] == earlier
    assert evidence[earlier - 1] > 1000
    assert not evidence[:last].any()


def test_a_table_of_ones_own() -> None:
    """Frequencies tell of their steps, but for some of which too little is left."""
    own = np.rint(np.add.outer(np.arange(8), np.arange(8)) * 5.0 + 12).astype(np.int32)
    evidence = np.zeros((64, len(table.STEPS)))
    told = np.arange(40)
    evidence[told, own.ravel()[told] - 1] = 300.0
    found = steps.from_evidence(evidence)
    assert found is not None
    np.testing.assert_array_equal(found.ravel()[told], own.ravel()[told])
    assert np.abs(found / own - 1).max() < 0.3, "the rest, a surface through these"
    assert steps.from_evidence(np.where(np.arange(64)[:, None] < 5, evidence, 0.0)) is None


def test_steps_that_are_those_of_no_table() -> None:
    """As of pictures whose grid is another: fine and coarse in turn, on no smooth surface."""
    evidence = np.zeros((64, len(table.STEPS)))
    evidence[np.arange(64), np.where(np.arange(64) % 2, 4, 240) - 1] = 25.0
    assert steps.from_evidence(evidence) is None


def test_known_tables() -> None:
    evidence = np.zeros((16, len(table.STEPS)))
    known = table.corner(quality_table(37))
    evidence[np.arange(16), known - 1] = 10.0
    last, used = np.ones((8, 8), np.int32), np.ones(16)
    strength, best = table.best_known(evidence, 1, last=last, used=used, coarser=1.0)[0]
    assert (strength, best.encoder, best.quality) == (160.0, "libjpeg", 37)
    assert not table.best_known(evidence, 1, last=100 * last, used=used, coarser=3.0)
    assert table.coarseness(quality_table(25), quality_table(50), used) == pytest.approx(2.0)


@pytest.mark.parametrize("offset", [(0, 0), (3, 10), (6, 1)])
@pytest.mark.parametrize("earlier", [(2, 2), (1, 2), (2, 1), (1, 1)])
def test_enlarged_chroma_comes_back(earlier: tuple[int, int], offset: tuple[int, int]) -> None:
    """From what libjpeg enlarged, a part cut away, to within its rounding to whole levels."""
    small = PHOTO[:56, :64]
    full = chain.enlarge(small, earlier)[offset[0] :, offset[1] :].astype(np.float32)
    ours = resampling.restored(full, earlier, (1, 1), offset, small.shape)
    inner = (slice(10, -10), slice(12, -12))
    assert np.abs(ours - small)[inner].max() < 2.0
    assert np.abs(ours - small)[inner].std() < 0.5


def test_chroma_comes_back_that_was_shrunk_again() -> None:
    small = PHOTO[:56, :64]
    full = chain.enlarge(small, (2, 2))[4:, 2:]
    again = chain.shrink(full, (2, 2), (7, 8)).astype(np.float32)[:54, :63]
    ours = resampling.restored(again, (2, 2), (2, 2), (4, 2), small.shape)
    # Each way the finest detail was halved, and with it rounding counts double.
    assert np.abs(ours - small)[10:-10, 10:-10].std() < 1.5


def test_parts_of_a_large_picture() -> None:
    assert grid.parts((700, 700)) == [(slice(0, 700), slice(0, 700))]
    parts = grid.parts((2000, 3001), (16, 16))
    assert len(parts) == 5
    for rows, columns in parts:
        assert rows.start % 16 == columns.start % 16 == 0
        assert rows.stop - rows.start == columns.stop - columns.start == 320
    for rows, columns in grid.parts((100, 90_000), (16, 16)):
        assert (rows.start, rows.stop) == (0, 100)
        assert columns.stop <= 90_000
