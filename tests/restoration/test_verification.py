"""The second opinion, against Pillow's own encoder and against damage done on purpose."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image
from scipy.fft import dctn

import hrcnn_jax
from hrcnn_jax.files import reader
from hrcnn_jax.restoration import verification
from hrcnn_jax.restoration.assembly import Plane
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.restoration.verification import Tally


def in_strips(plane: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (plane[top : top + rows] for top in range(0, len(plane), rows))


def test_codes_are_scipys() -> None:
    random = np.random.default_rng(0)
    plane = random.uniform(0, 255, (16, 24))
    table = random.integers(1, 60, (8, 8))
    blocks = plane.reshape(2, 8, 3, 8).swapaxes(1, 2) - 128
    expected = np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / table)
    np.testing.assert_array_equal(verification.codes_of(plane, table), expected)


@pytest.mark.parametrize("rows", [8, 24, 1000])
def test_planes_are_counted_as_they_pass(rows: int) -> None:
    file = reader.read(jpeg_bytes(make_photo(93, 122)[..., 1], quality=30))
    part, tally = file.components[0], Tally()
    plane = Restorer(strength=0.0).restore_codes(part.codes, part.table)
    passed = list(verification.watched(Plane.of(part, in_strips(plane, rows)), part, tally).strips)
    np.testing.assert_array_equal(np.concatenate(passed), plane)
    assert tally == Tally(part.codes.size, part.codes.size)

    plane[8:16, :8] += np.float32(0.5)  # one block brighter: its mean changes, nothing else
    tally = Tally()
    list(verification.watched(Plane.of(part, in_strips(plane, rows)), part, tally).strips)
    assert tally.total - tally.equal == 1
    assert str(tally) == f"{100 * (1 - 1 / part.codes.size):.3f} %"


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("colour", "options"),
    [
        ("gray", {}),
        ("ycbcr", {"subsampling": "4:4:4"}),
        ("ycbcr", {"subsampling": "4:2:0"}),
        ("rgb", {"keep_rgb": True}),
        ("cmyk", {}),
    ],
)
def test_plain_pictures_give_back_nearly_all(colour: str, options: dict, depth: str) -> None:
    """Coarse steps swallow rounding, and all that this file's resampling of chroma does."""
    photo = Image.fromarray(make_photo(93, 122)).convert({"gray": "L", "cmyk": "CMYK"}.get(colour))
    data = io.BytesIO()
    photo.save(data, "JPEG", quality=30, **options)
    file = reader.read(data.getvalue())
    assert file.colour == colour
    tallies = verification.of_picture(file, hrcnn_jax.decode(file, depth=depth))
    assert len(tallies) == len(file.components)
    for part, tally in zip(file.components, tallies, strict=True):
        down, across = part.factor
        assert tally.total == (93 // (8 * down)) * (122 // (8 * across)) * 64
        assert tally.share > (0.95 if options.get("subsampling") == "4:2:0" else 0.99)


def test_more_bits_give_back_more() -> None:
    file = reader.read(jpeg_bytes(make_photo(93, 122)[..., 1], quality=90))
    deep, flat = (
        verification.of_picture(file, hrcnn_jax.decode(file, depth=depth))[0].share
        for depth in ("uint16", "uint8")
    )
    assert deep > flat


def test_pictures_larger_than_what_is_encoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file = reader.read(jpeg_bytes(make_photo(230, 40), quality=50))
    picture = hrcnn_jax.decode(file)
    whole = verification.of_picture(file, picture)
    monkeypatch.setattr(verification, "_ROWS", 96)
    assert verification.of_picture(file, picture) == whole


def test_all_is_only_said_of_all() -> None:
    assert str(Tally(1_000_000, 1_000_000)) == "100 %"
    assert str(Tally(99_999_999, 100_000_000)) == "99.999 %"
    assert str(Tally()) == "100 %"
