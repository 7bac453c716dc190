"""What is told of files that Pillow and jpeglib wrote to order."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sampling, jpeg_bytes, jpeglib_bytes, make_photo
from PIL import Image

from hrcnn_jax import history
from hrcnn_jax.files import reader
from hrcnn_jax.history import inspection
from hrcnn_jax.history.record import History, Resizing, Sharpening
from hrcnn_jax.jpeg.tables import CHROMINANCE, LUMINANCE, quality_table

PHOTO = make_photo(61, 83)
SAMPLE = Path(reader.__file__).parents[1] / "sample" / "parrots.webp"
PARROTS = np.asarray(Image.open(SAMPLE).convert("RGB"))


def facts_of(data: bytes) -> dict[str, Any]:
    file = reader.read(data)
    return inspection.inspect(file, history.find(file))


def inspected(**options: Any) -> dict[str, Any]:
    return facts_of(jpeg_bytes(PHOTO, **options))


@pytest.mark.parametrize("quality", [1, 10, 37, 75, 92, 100])
def test_quality_is_libjpegs(quality: int) -> None:
    facts = inspected(quality=quality)
    assert (facts["quality"], facts["quality_is_exact"]) == (quality, True)


@pytest.mark.parametrize("quality", [1, 5, 10, 23])
def test_steps_beyond_255_are_libjpegs_too(quality: int) -> None:
    """As cjpeg writes them, unless it is told to keep to what is baseline."""
    file = reader.read(jpeg_bytes(PHOTO, quality=50))
    percent = 5000 // quality
    tables = [np.clip((part.table * percent + 50) // 100, 1, 32767) for part in file.components[:2]]
    assert max(each.max() for each in tables) > 255
    facts = inspected(qtables=[table.ravel().tolist() for table in tables])
    assert (facts["quality"], facts["quality_is_exact"]) == (quality, True)


def test_nearest_quality() -> None:
    file = reader.read(jpeg_bytes(PHOTO, quality=60))
    tables = [part.table.copy() for part in file.components[:2]]
    tables[0][7, 7] += 1
    facts = inspected(qtables=[table.ravel().tolist() for table in tables])
    assert (facts["quality"], facts["quality_is_exact"]) == (60, False)
    assert np.array_equal(facts["components"][0]["table"], tables[0])


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        ([(2, 2), (1, 1), (1, 1)], "4:2:0"),
        ([(2, 1), (1, 1), (1, 1)], "4:2:2"),
        ([(1, 2), (1, 1), (1, 1)], "4:4:0"),
        ([(4, 1), (1, 1), (1, 1)], "4:1:1"),
        ([(4, 2), (1, 1), (1, 1)], "4:1:0"),
        ([(1, 1), (1, 1), (1, 1)], "4:4:4"),
        ([(1, 1), (2, 2), (2, 2)], "1×1, 2×2, 2×2"),
        ([(2, 2), (2, 1), (1, 1)], "2×2, 2×1, 1×1"),
    ],
)
def test_sampling(sampling: Sampling, name: str, tmp_path: Path) -> None:
    file = reader.read(jpeglib_bytes(PHOTO, sampling, tmp_path))
    assert inspection.sampling(file) == name


def test_coding(tmp_path: Path) -> None:
    assert inspected()["coding"] == "sequential, Huffman"
    assert inspected(progressive=True)["coding"] == "progressive, Huffman"
    data = jpeglib_bytes(PHOTO, [(1, 1)] * 3, tmp_path, flags=("+ARITH_CODE",))
    assert inspection.coding(reader.read(data)) == "sequential, arithmetic"
    assert inspected(restart_marker_blocks=3)["restart_interval"] == 3


def test_facts_are_json_and_text() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    facts = inspected(exif=tags, dpi=(300, 300), comment=b"caf\xc3\xa9", xmp=b"<x/>")
    assert json.loads(json.dumps(facts)) == facts | {
        "metadata": facts["metadata"] | {"resolution": [300, 300]}
    }
    assert (facts["width"], facts["height"], facts["colour"]) == (83, 61, "ycbcr")
    assert facts["metadata"]["orientation"] == 6
    text = inspection.text(facts)
    for part in ("83×61 pixels", "4:2:0", "75 of libjpeg, exactly", "300×300 per inch", "café"):
        assert part in text
    assert "table of component 1\n" in text
    assert "table of components 2, 3\n" in text
    line = inspection.summary(facts)
    assert line == "<bytes>: 83×61, ycbcr, 4:2:0, sequential, Huffman, quality 75"


def test_gray() -> None:
    facts = facts_of(jpeg_bytes(PHOTO[..., 0], quality=40))
    assert (facts["colour"], facts["sampling"], facts["quality"]) == ("gray", "none", 40)
    assert facts["quality_is_exact"]
    assert "quality 40" in inspection.summary(facts)


def test_luma_decides_how_damaged_a_picture_is() -> None:
    """However fine the tables of chroma are, which outnumber it."""
    both = (quality_table(20, LUMINANCE), quality_table(95, CHROMINANCE))
    facts = inspected(qtables=[table.ravel().tolist() for table in both])
    assert facts["quality"] > 50
    assert inspection.quality_of_damage(facts) == 20


def test_an_earlier_compression_is_told() -> None:
    before = np.asarray(Image.open(io.BytesIO(jpeg_bytes(PARROTS, quality=20))))
    facts = facts_of(jpeg_bytes(before, quality=90))
    assert json.loads(json.dumps(facts["history"])) == facts["history"]
    told = {key: facts["history"][key] for key in ("encoder", "quality", "grid", "sampling")}
    assert told == {"encoder": "libjpeg", "quality": 20, "grid": [0, 0], "sampling": "4:2:0"}
    assert "compressed before at quality 20 (" in inspection.summary(facts)
    assert "blocks begin 0 down, 0 across" in inspection.text(facts)


@pytest.mark.parametrize("grid", [(0, 0), (5, 3)])
def test_a_resizing_is_told(grid: tuple[int, int]) -> None:
    past = History(
        grid=grid,
        factors=((1, 1),),
        tables=(np.full((8, 8), 40),),
        encoder="libjpeg",
        quality=20,
        proof=(0.8765,),
        evidence=900.0,
        coarseness=8.0,
        telling=5000,
        resizing=Resizing((600, 800), "lanczos"),
    )
    before = inspection.history(past)
    assert json.loads(json.dumps(before)) == before
    assert (before["resized_from"], before["resized_by"]) == ([600, 800], "lanczos")
    since = "" if grid == (0, 0) else ", then cropped"
    told = f"compressed before at quality 20{since}, then resized from 800×600 ("
    assert inspection.told(before).startswith(told)
    facts = inspection.inspect(reader.read(jpeg_bytes(PHOTO)), past)
    assert told in inspection.summary(facts)
    assert told in inspection.text(facts)
    turned = inspection.history(replace(past, encoder="libjpeg-turned"))
    told = "compressed before at quality 20, then turned, then resized from 800×600 ("
    assert inspection.told(turned).startswith(told)
    row = inspection.row(before)
    assert row["history_resized_from"] == [600, 800]
    assert row["history_resized_by"] == "lanczos"
    sharpened = Resizing((600, 800), "lanczos", sharpened=Sharpening(1.0, 0.8))
    before = inspection.history(replace(past, resizing=sharpened))
    assert inspection.row(before)["history_sharpened"] == [1.0, 0.8]
    told = f"compressed before at quality 20{since}, then resized from 800×600, then sharpened ("
    assert inspection.told(before).startswith(told)
    cropped = Resizing((600, 800), "lanczos", ((0.25, 599.5), (0.75, 800.0)))
    before = inspection.history(replace(past, resizing=cropped))
    assert inspection.row(before)["history_resized_spans"] == [[0.25, 599.5], [0.75, 800.0]]
    told = "compressed before at quality 20, then resized and cropped to what was 800×600 ("
    assert inspection.told(before).startswith(told)
    before = inspection.history(replace(past, resizing=None))
    assert (before["resized_from"], before["resized_by"]) == (None, None)
    assert "resized" not in inspection.told(before)


def test_no_history_is_told() -> None:
    facts = inspected()
    assert facts["history"] is None
    assert "before" not in inspection.summary(facts)
    assert "no earlier compression that can be proved" in inspection.text(facts)


def test_no_compiler_is_loaded() -> None:
    program = "import sys, hrcnn_jax.history.inspection; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
