"""Pictures with a past: what is done to them, and the command that measures them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image

from hrcnn_jax import history
from hrcnn_jax.cli import evaluate
from hrcnn_jax.data.chains import Cut, Mirror, Resize, Turn
from hrcnn_jax.files import reader
from hrcnn_jax.files.pictures import Picture
from hrcnn_jax.scores import chains

PHOTO = make_photo(160, 208)
SAMPLE = Path(reader.__file__).parents[1] / "sample" / "parrots.webp"


def test_what_is_done() -> None:
    given, plain, original = chains.made(PHOTO[..., 1], chains.parse("30,75,4,2"))
    np.testing.assert_array_equal(original, PHOTO[4:, 2:, 1])
    once = chains.decompressed(jpeg_bytes(PHOTO[..., 1], quality=30))
    twice = jpeg_bytes(once[4:, 2:], quality=75)
    assert isinstance(given, reader.JpegFile)
    np.testing.assert_array_equal(given.components[0].codes, reader.read(twice).components[0].codes)
    np.testing.assert_array_equal(plain, chains.decompressed(twice))
    given, plain, _ = chains.made(PHOTO, chains.parse("30,png,0,0"))
    assert isinstance(given, Picture)
    np.testing.assert_array_equal(given.samples, plain)


@pytest.mark.parametrize("text", ["", "30,10,4,4,", "0,10,4,4", "30,101,4,4", "a,b,c,d"])
def test_no_past(text: str) -> None:
    with pytest.raises(ValueError, match="is no step of a chain"):
        chains.parse(text)


@pytest.mark.parametrize(
    ("text", "earlier"),
    [
        ("30,10,4,2", (30, (Cut(4, 2),))),
        ("30,png,4,2", (30, (Cut(4, 2),))),
        ("30,+4:2,10", (30, (Cut(4, 2),))),
        ("10,30,+1:2,+2:0,90", (30, (Cut(1, 2), Cut(2, 0)))),
        ("30", None),
        ("20,png,85", (20, ())),
        ("20,x0.75,85", (20, (Resize(0.75),))),
        ("20,+3:0,x0.75,+1:2,+4:5,png", (20, (Cut(3, 0), Resize(0.75), Cut(1, 2), Cut(4, 5)))),
        ("20,turn90,mirror,85", (20, (Turn(90), Mirror()))),
        ("20,x0.75,x0.9,85", None),
        ("clean", None),
        ("40,blur0.5", None),
    ],
)
def test_what_can_be_had_back(text: str, earlier: object) -> None:
    chain = chains.parse(text)
    assert str(chain) == text
    assert chain.earlier == earlier


@pytest.mark.parametrize(
    "text",
    ["20,turn90,90", "20,+3:5,turn270,+1:2,png", "20,mirror,85", "20,turn180,+6:0,turn90,90",
     "20,+0:3,turn90,x0.75,85", "20,x0.75,turn270,png", "20,+2:0,x0.75,+9:6,mirror,85"],
)  # fmt: skip
def test_what_is_found_is_right_however_it_was_turned(text: str) -> None:
    """The search, which knows nothing of chains, finds what they say; it is not right of others."""
    photo = np.asarray(Image.open(SAMPLE).convert("L"))[150:455, 100:420]
    chain = chains.parse(text)
    given, _, _ = chains.made(photo, chain)
    source = history.visible(given)
    assert source is not None
    found = history.find(source)
    assert found is not None
    assert chain.earlier is not None
    size = photo.shape[0], photo.shape[1]
    assert chain.earlier.is_told(found, size)
    for axis in (0, 1):
        grid = [(place + (axis == index)) % 8 for index, place in enumerate(found.grid)]
        assert not chain.earlier.is_told(replace(found, grid=(grid[0], grid[1])), size)
    turned = "libjpeg" if found.encoder == "libjpeg-turned" else "libjpeg-turned"
    assert not chain.earlier.is_told(replace(found, encoder=turned), size)


def test_a_resized_past() -> None:
    given, plain, original = chains.made(PHOTO, chains.parse("20,x0.5,85"))
    small = (104, 80)
    np.testing.assert_array_equal(original, Image.fromarray(PHOTO).resize(small, Image.BICUBIC))
    once = Image.fromarray(chains.decompressed(chains.compressed(PHOTO, 20)))
    twice = chains.compressed(np.asarray(once.resize(small, Image.BICUBIC)), 85)
    np.testing.assert_array_equal(plain, chains.decompressed(twice))
    assert isinstance(given, reader.JpegFile)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second compression that hides the first: believing the file gains next to nothing."""
    (tmp_path / "in").mkdir()
    Image.fromarray(PHOTO).save(tmp_path / "in" / "a.png")
    gains = {}
    for mode in ("auto", "off"):
        out = tmp_path / mode
        flags = ["--data", str(tmp_path / "in"), "--planes", "luma", "--believe", mode]
        flags += ["--history", "15,92,0,0", "15,png,3,5", "--output-dir", str(out)]
        assert evaluate.main(flags) == 0
        found = json.loads((out / "metrics.json").read_text())
        assert found["protocol"]["past"] == "15,92,0,0 15,png,3,5"
        gains[mode] = [each["mean"]["gain"] for each in found["results"]]
        told = [each["mean"]["right"] for each in found["results"]]
        assert told == ([1.0, 1.0] if mode == "auto" else [0.0, 0.0])
    assert min(gains["auto"]) > 0.5
    assert max(gains["off"]) < 0.2
    assert "15,png,3,5" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        evaluate.main(["--data", str(tmp_path / "in"), "--history", "15,92,0,0", "--card"])
