"""Chains of what happens to pictures, against Pillow, which is called here by hand."""

import io

import numpy as np
import pytest
from conftest import make_photo
from PIL import Image, ImageFilter

from hrcnn_jax.data import chains
from hrcnn_jax.data.crops import cut_crops
from hrcnn_jax.data.sources import DataError

PHOTO = make_photo(120, 160)


def text_of(chain: chains.Chain) -> str:
    return ",".join(map(str, chain)) or "clean"


def saved(image: Image.Image, kind: str, **options: object) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def test_a_chain_step_by_step() -> None:
    text = "20/444,x0.75/lanczos,blur0.5,+3:5,w40,sharpen80,png,70"
    chain = chains.parse(text)
    assert text_of(chain) == text
    damaged, intact = chains.played(chain, PHOTO)

    image = Image.fromarray(PHOTO)
    both = [saved(image, "JPEG", quality=20, subsampling="4:4:4"), image]
    both = [each.resize((120, 90), Image.Resampling.LANCZOS) for each in both]
    both = [each.filter(ImageFilter.GaussianBlur(0.5)).crop((5, 3, 120, 90)) for each in both]
    both[0] = saved(both[0], "WEBP", quality=40)
    both = [each.filter(ImageFilter.UnsharpMask(1, 80, 0)) for each in both]
    both[0] = saved(both[0], "JPEG", quality=70, subsampling="4:2:0")
    np.testing.assert_array_equal(damaged, both[0])
    np.testing.assert_array_equal(intact, both[1])


def test_gray_and_flat() -> None:
    damaged, intact = chains.played(chains.parse("gray,25/flat"), PHOTO)
    gray = Image.fromarray(PHOTO).convert("L")
    np.testing.assert_array_equal(intact, gray)
    np.testing.assert_array_equal(damaged, saved(gray, "JPEG", qtables=[[64] * 64]))


def test_nothing_happens_to_what_is_clean() -> None:
    assert chains.parse("clean") == ()
    assert text_of(()) == "clean"
    for each in chains.played((), PHOTO):
        np.testing.assert_array_equal(each, PHOTO)


@pytest.mark.parametrize(
    "text", ["", "0", "101", "30,", "x", "x0.5/nearest", "x1000", "sharpen10000", "+3", "clean,30"]
)
def test_no_chain(text: str) -> None:
    with pytest.raises(ValueError, match="is no step of a chain"):
        chains.parse(text)


def test_what_is_drawn() -> None:
    """All kinds of steps, a tenth without loss, qualities from end to end, and as they are read."""
    random = np.random.default_rng(0)
    drawn = [chains.draw(random, (5, 98)) for _ in range(1500)]
    for chain, factor in drawn:
        assert chains.parse(text_of(chain)) == chain
        factors = [step.factor for step in chain if isinstance(step, chains.Resize)]
        assert factor == pytest.approx(np.prod(factors))
    kinds = {type(step).__name__ for chain, _ in drawn for step in chain}
    assert kinds == {"Jpeg", "WebP", "Resize", "Cut", "Blur", "Sharpen", "Gray"}
    losses = np.array([sum(step.lossy for step in chain) for chain, _ in drawn])
    shares = np.bincount(losses, minlength=4) / len(drawn)
    np.testing.assert_allclose(shares, [0.1, 0.405, 0.36, 0.135], atol=0.06)  # 5 deviations
    qualities = [s.quality for chain, _ in drawn for s in chain if isinstance(s, chains.Jpeg)]
    assert (min(qualities), max(qualities)) == (5, 98)


def test_pairs_are_as_large_as_they_are_meant_to_be() -> None:
    """However much a chain shrinks them; those without loss are equal."""
    random = np.random.default_rng(1)
    photo = make_photo(130, 190)
    equal = 0
    for _ in range(60):
        made = chains.pair(photo, 48, random, (5, 60))
        assert made.shape == (48, 48, 6)
        equal += np.array_equal(made[..., :3], made[..., 3:])
    assert 0 < equal < 20


class OnePhoto:
    names = ("photo",)

    def __init__(self, side: int) -> None:
        self.photo = make_photo(side, side)

    def load(self, index: int) -> np.ndarray:
        return self.photo


def test_crops_are_pairs() -> None:
    crops, again = (
        cut_crops(OnePhoto(150), 7, 48, channel=None, damage=(5, 50), seed=3) for _ in range(2)
    )
    assert crops.shape == (7, 48, 48, 6)
    np.testing.assert_array_equal(crops, again)
    with pytest.raises(DataError, match="smaller than"):
        cut_crops(OnePhoto(100), 7, 48, channel=None, damage=(5, 50))
