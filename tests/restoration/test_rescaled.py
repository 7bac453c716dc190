"""Restoring pictures that were resized after the compression that did the damage."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import jpeg_bytes
from PIL import Image, ImageDraw
from skimage.metrics import peak_signal_noise_ratio

from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.depths import in_depth
from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import History
from hrcnn_jax.history.record import Resizing
from hrcnn_jax.restoration import mixture
from hrcnn_jax.restoration.earlier import Damaged
from hrcnn_jax.restoration.rescaled import Rescaled
from hrcnn_jax.restoration.restorer import Restorer

SAMPLE = Path(reader.__file__).parents[1] / "sample" / "parrots.webp"
PHOTO = np.asarray(Image.open(SAMPLE).convert("RGB"))[150:470, 100:404]
GRAY = np.asarray(Image.fromarray(PHOTO).convert("L"))
MILD = (50 + 0.6 * PHOTO).astype(np.uint8)
"""Without colours that decoders clip."""

SIZE = 240, 228
"""Three quarters of theirs."""


def resized(picture: np.ndarray, size: tuple[int, int] = SIZE, by: str = "BICUBIC") -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize(size[::-1], Image.Resampling[by]))


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def made(picture: np.ndarray) -> np.ndarray:
    """Compressed at 20 and resized."""
    return resized(shown(jpeg_bytes(picture, quality=20)))


def rescaled(planes: int, factor: tuple[int, int], **rest: np.ndarray) -> Rescaled:
    """Of 101x77 pixels that were resized to 70x90."""
    past = History(
        grid=(0, 0),
        factors=((1, 1),) * planes,
        tables=(None,) * planes,
        encoder="libjpeg",
        quality=20,
        proof=(1.0,) * planes,
        evidence=0.0,
        coarseness=9.0,
        resizing=Resizing((101, 77), "lanczos"),
    )
    size = (70, 90)
    coarse = -(-size[0] // factor[0]), -(-size[1] // factor[1])
    none = [np.zeros(each, np.float32) for each in (size, coarse, coarse)]
    given = [rest.get(name, each) for name, each in zip(("y", "cb", "cr"), none, strict=True)]
    factors = ((1, 1), factor, factor)
    return Rescaled(past, size, tuple(given[:planes]), factors[:planes])


def by_pillow(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 3:
        return np.stack([by_pillow(each) for each in np.moveaxis(picture, -1, 0)], -1)
    return resized(picture, (70, 90), "LANCZOS")


RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.uniform(0.2, 0.8, (101, 77, 3)).astype(np.float32)
LEVELS = RANDOM.uniform(-20, 20, (70, 90)).astype(np.float32)


@pytest.mark.parametrize("picture", [PIXELS, PIXELS[..., 0]], ids=["colour", "gray"])
def test_it_is_resized_as_pillow_does(picture: np.ndarray) -> None:
    expected = np.clip(by_pillow(picture), 0, 1)
    how = rescaled(1 if picture.ndim == 2 else 3, (2, 2))
    np.testing.assert_allclose(how.finished(picture), expected, atol=1e-5)
    for depth, white in (("uint8", 255), ("uint16", 65535)):
        samples = in_depth(how.finished(picture), depth)  # type: ignore[arg-type]
        assert samples.dtype == depth
        # Half a level of rounding, and what single precision is off in levels.
        assert np.abs(samples - white * expected.astype(float)).max() < 0.5 + 1e-5 * white


def test_what_codes_do_not_explain_is_added() -> None:
    """Of chroma enlarged as Pillow does, and to RGB as T.871 says."""
    chroma = LEVELS[:35, :45]
    enlarged = resized(chroma, (70, 90), "BILINEAR")
    how = rescaled(3, (2, 2), y=LEVELS, cb=chroma)
    added = np.stack([LEVELS, LEVELS - 0.344136 * enlarged, LEVELS + 1.772 * enlarged], -1)
    expected = np.clip(by_pillow(PIXELS) + added / 255, 0, 1)
    np.testing.assert_allclose(how.finished(PIXELS), expected, atol=1e-5)
    how = rescaled(3, (1, 2), cr=LEVELS[:, :45])
    enlarged = resized(LEVELS[:, :45], (70, 90), "BILINEAR")
    added = np.stack([1.402 * enlarged, -0.714136 * enlarged, 0 * enlarged], -1)
    expected = np.clip(by_pillow(PIXELS) + added / 255, 0, 1)
    np.testing.assert_allclose(how.finished(PIXELS), expected, atol=1e-5)


def test_chroma_of_which_nothing_is_told_is_the_given_one() -> None:
    chroma = LEVELS[:35, :45]
    how = rescaled(3, (2, 2), cb=chroma, cr=chroma)
    enlarged = resized(chroma, (70, 90), "BILINEAR")
    luma = by_pillow(PIXELS[..., 0])
    added = np.stack([1.402 * enlarged, -1.058272 * enlarged, 1.772 * enlarged], -1)
    expected = np.clip(luma[..., None] + added / 255, 0, 1)
    np.testing.assert_allclose(how.finished(PIXELS[..., 0]), expected, atol=1e-5)


class Given(NamedTuple):
    """A picture, and what it is restored from.

    Attributes:
      picture: as given.
      resized: pixels, before they were saved as that.
      plain: pixels, as Pillow shows them.
      reference: what it were, had it never been compressed.
      source: what is found of it.
    """

    picture: Stored
    resized: np.ndarray
    plain: np.ndarray
    reference: np.ndarray
    source: Damaged


@pytest.fixture(scope="module")
def restorers() -> dict[str, Restorer]:
    options: dict[str, dict[str, Any]] = {"auto": {}, "off": {"history": "off"}}
    options["zero"] = {"strength": 0.0}
    return {name: Restorer("fast", pixels=None, **each) for name, each in options.items()}


EXIF = Image.Exif()
EXIF[0x010E] = "a description"


@pytest.fixture(scope="module", params=["gray pixels", "colour file", "mild pixels"])
def known(request: pytest.FixtureRequest, restorers: dict[str, Restorer]) -> Given:
    colours, kind = request.param.split()
    original = {"gray": GRAY, "colour": PHOTO, "mild": MILD}[colours]
    pixels = made(original)
    data = jpeg_bytes(pixels, quality=85, exif=EXIF.tobytes())
    picture = reader.read(data) if kind == "file" else pictures.of_array(pixels)
    plain = shown(data) if kind == "file" else pixels
    source = restorers["auto"].damaged(picture)
    assert source.rescaled is not None
    assert isinstance(source.file, JpegFile)
    assert len(source.file.components) == (1 if original.ndim == 2 else 3)
    return Given(picture, pixels, plain, resized(original), source)


def test_restoring_brings_it_nearer_the_original(
    known: Given, restorers: dict[str, Restorer]
) -> None:
    restored = restorers["auto"].picture(known.picture, known.source)
    believed = restorers["off"].picture(known.picture, restorers["off"].damaged(known.picture))
    assert restored.shape == known.plain.shape
    assert restored.dtype == np.uint8
    best, plain, other = (
        peak_signal_noise_ratio(known.reference, each) for each in (restored, known.plain, believed)
    )
    assert best > plain + 0.5
    assert best > other + 0.5


def test_two_compressions_that_did_much_are_mixed(restorers: dict[str, Restorer]) -> None:
    """Both of their results know something that the other does not."""
    picture = reader.read(jpeg_bytes(made(PHOTO), quality=60))
    told = restorers["auto"].at(
        1.0, history="quality=20,grid=0:0,size={1}x{0}".format(*PHOTO.shape)
    )
    source = told.damaged(picture)
    assert 0.5 < source.share < 0.8
    mixed, one, other = (
        restorers["auto"].picture(picture, each, "float32")
        for each in (source, source._replace(share=1.0), Damaged(picture))
    )
    expected = source.share * one + (1 - source.share) * other
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    quality = [
        peak_signal_noise_ratio(resized(PHOTO) / 255, each.astype(float), data_range=1)
        for each in (mixed, one, other)
    ]
    assert quality[0] > max(quality[1:]) + 0.1


def test_a_network_that_does_not_know_the_files_own_table(restorers: dict[str, Restorer]) -> None:
    """Nothing is mixed in: it restores the earlier compression, whose table it knows."""
    picture = reader.read(jpeg_bytes(made(GRAY), quality=60))
    paper = Restorer("hrcnn-q10", history="quality=10,grid=0:0,size={1}x{0}".format(*GRAY.shape))
    source = paper.damaged(picture)
    expected = paper.picture(picture, source._replace(share=1.0), "float32")
    assert source.share < 1
    np.testing.assert_array_equal(paper.picture(picture, source, "float32"), expected)


@pytest.mark.parametrize(
    ("coarseness", "samples", "expected"),
    [(1 / 0.7, 1.0, 0.5), (2.0, 0.0, 0.0), (4.0, 0.5, 1.96 / 2.96), (9.0, 0.5, 0.9), (2, 9, 0.9)],
)
def test_how_much_of_each(coarseness: float, samples: float, expected: float) -> None:
    assert mixture.share_of_resized(coarseness, samples) == pytest.approx(expected)


def test_depths(known: Given, restorers: dict[str, Restorer]) -> None:
    shallow, deep, exact = (
        restorers["auto"].picture(known.picture, known.source, depth)
        for depth in ("uint8", "uint16", "float32")
    )
    assert [each.dtype for each in (shallow, deep, exact)] == [np.uint8, np.uint16, np.float32]
    assert shallow.shape == deep.shape == exact.shape == known.plain.shape
    assert 0 <= exact.min() < exact.max() <= 1
    # Half a level of rounding each, and what single precision is off.
    assert np.abs(shallow - 255.0 * exact).max() < 0.501
    assert np.abs(deep - 65535.0 * exact).max() < 0.51


def test_what_goes_along(known: Given, restorers: dict[str, Restorer]) -> None:
    file = known.source.file
    assert isinstance(file, JpegFile)
    assert (file.height, file.width) == PHOTO.shape[:2]
    assert (file.name, file.exif) == (known.picture.name, known.picture.exif)
    assert (known.picture.exif is not None) == isinstance(known.picture, JpegFile)
    if isinstance(known.picture, Picture):
        alpha = np.tile(np.arange(SIZE[1], dtype=np.uint8), (SIZE[0], 1))
        whole = replace(known.picture, alpha=alpha)
        restored = restorers["auto"].picture(whole, known.source)
        np.testing.assert_array_equal(restored[..., -1], alpha)
        opaque = restored[..., 0] if restored.shape[2] == 2 else restored[..., :-1]
        assert opaque.shape == known.plain.shape
        assert peak_signal_noise_ratio(known.reference, opaque) > 30


def test_strength_zero_gives_what_was_resized(known: Given, restorers: dict[str, Restorer]) -> None:
    """Pixels as they are given; of a file what it was before it was saved, but for a few codes."""
    back = restorers["zero"].picture(known.picture, known.source)
    if isinstance(known.picture, JpegFile):
        after, before = (
            peak_signal_noise_ratio(known.resized, each) for each in (back, known.plain)
        )
        assert after > before + 6
    else:
        error = np.abs(back.astype(int) - known.plain)
        # Pillow rounds after each axis, and the decoder rounded before.
        assert error.max() <= 3
        assert error.mean() < 0.5


@pytest.mark.parametrize("photo", [GRAY, PHOTO], ids=["gray", "colour"])
def test_what_was_drawn_over_it_stays(restorers: dict[str, Restorer], photo: np.ndarray) -> None:
    pixels = Image.fromarray(made(photo))
    pen = ImageDraw.Draw(pixels)
    pen.rectangle((100, 90, 159, 129), fill="white")
    pen.text((132, 100), "text", fill="black")
    drawn = np.array(pixels)
    picture = pictures.of_array(drawn)
    source = restorers["auto"].damaged(picture)
    assert source.rescaled is not None
    box, white, above = np.s_[90:130, 100:160], np.s_[90:130, 100:124], np.s_[:80]
    plain, restored = (restorers[each].picture(picture, source) for each in ("zero", "auto"))
    # Colours that the decoder clips at the box's edge are told less well than gray.
    few = np.abs(plain[box].astype(int) - drawn[box])
    assert few.max() <= (4 if photo.ndim == 2 else 12)
    assert few.mean() < 0.5
    assert np.abs(restored[white].astype(int) - drawn[white]).mean() < 1.5
    # What the network does to letters, it does as it does to those of a file.
    assert ((restored[box] < 128) == (drawn[box] < 128)).mean() > 0.99
    assert np.abs(restored[box].astype(int) - drawn[box]).mean() < 2
    before, after = (
        peak_signal_noise_ratio(resized(photo)[above], each[above]) for each in (drawn, restored)
    )
    assert after > before + 0.5
