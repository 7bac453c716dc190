"""Restoring from the compression that did the damage: as if there had been no other."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image

from hrcnn_jax.cli.main import main
from hrcnn_jax.files import reader
from hrcnn_jax.restoration.earlier import compressed_before
from hrcnn_jax.restoration.restorer import Restorer

PHOTO = make_photo(160, 208)[..., 1]


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def restorers() -> dict[str, Restorer]:
    return {mode: Restorer("small", chroma=None, history=mode) for mode in ("off", "auto")}  # type: ignore[arg-type]


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 5)])
def test_as_if_compressed_once(top: int, left: int, restorers: dict[str, Restorer]) -> None:
    """Compressed at 15, cropped, kept at 92: what matters is the first."""
    once = jpeg_bytes(PHOTO, quality=15)
    twice = jpeg_bytes(decoded(once)[top:, left:], quality=92)
    original = PHOTO[top:, left:].astype(float)
    best = restorers["off"].restore(once)[top:, left:]
    found, believed = (restorers[mode].restore(twice) for mode in ("auto", "off"))
    assert found.shape == original.shape
    errors = [np.square(each - original).mean() for each in (best, found, believed, decoded(twice))]
    # Nearly all that restoring the first file gains; believing the last table gains little.
    assert errors[3] - errors[1] > 0.9 * (errors[3] - errors[0])
    assert errors[3] - errors[2] < 0.5 * (errors[3] - errors[0])


@pytest.mark.parametrize("options", [{"quality": 20}, {"quality": 75}], ids=str)
def test_compressed_once_is_left_alone(
    options: dict[str, Any], restorers: dict[str, Restorer]
) -> None:
    data = jpeg_bytes(PHOTO, **options)
    assert compressed_before(reader.read(data)) is None
    found, believed = (restorers[mode].restore(data) for mode in ("auto", "off"))
    np.testing.assert_array_equal(found, believed)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once = jpeg_bytes(PHOTO, quality=15)
    path = tmp_path / "twice.jpg"
    path.write_bytes(jpeg_bytes(decoded(once)[3:, 5:], quality=92))
    flags = ["restore", str(path), "-o", str(tmp_path), "--history", "auto", "--verify"]
    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{path}: compressed before at quality 15, then cropped (" in lines[0]
    assert f"{path}: of the earlier compression, codes that come back: Y 100 %" in lines[1]
    with Image.open(tmp_path / "twice.png") as picture:
        assert picture.size == (208 - 5, 160 - 3)
    assert main(["inspect", str(path), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["history"]["quality"] == 15


def test_no_such_history() -> None:
    with pytest.raises(ValueError, match="history must be one of off, auto, got 'always'"):
        Restorer("small", history="always")  # type: ignore[arg-type]
