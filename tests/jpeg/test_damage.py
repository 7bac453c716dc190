"""How bad pictures are, against pictures that Pillow compressed."""

import io

import jax
import jax.numpy as jnp
import numpy as np
from conftest import jpeg_bytes, make_photo
from PIL import Image

from hrcnn_jax.jpeg import damage

PHOTO = make_photo(128, 160)[..., 1]


def measured(damaged: np.ndarray) -> float:
    planes = (jnp.asarray(each, jnp.float32)[None] / 255 for each in (PHOTO, damaged))
    return float(jax.jit(damage.measured)(*planes)[0])


def test_a_compression_is_as_bad_as_it_is() -> None:
    for quality in (5, 10, 25, 50, 75, 90):
        file = jpeg_bytes(PHOTO, quality=quality)
        found = measured(np.asarray(Image.open(io.BytesIO(file))))
        # Between the qualities that are compared the curve is taken for straight.
        assert abs(float(damage.quality_of(jnp.asarray(found))) - quality) < 2, quality


def test_other_damage_is_as_bad_as_its_mean_squared_error() -> None:
    """Noise as large as quality 20's error, by hand."""
    compressed = np.asarray(Image.open(io.BytesIO(jpeg_bytes(PHOTO, quality=20)))).astype(float)
    size = np.sqrt(np.mean((compressed - PHOTO) ** 2))
    noise = np.random.default_rng(0).choice([-size, size], PHOTO.shape)
    quality = float(damage.quality_of(jnp.asarray(measured(PHOTO + noise))))
    assert abs(quality - 20) < 1


def test_what_is_intact() -> None:
    assert measured(PHOTO) == 0
    assert 0 < measured(np.asarray(Image.open(io.BytesIO(jpeg_bytes(PHOTO, quality=98))))) < 0.3
    assert float(damage.quality_of(jnp.asarray(0.0))) == 100


def test_logarithms() -> None:
    errors = jnp.asarray([0.0, 0.1, 2.0])
    np.testing.assert_allclose(damage.of_logarithm(damage.logarithm(errors)), errors, atol=1e-6)
