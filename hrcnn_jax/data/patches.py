"""What a training step draws from a stored crop, on the device: a place, a plane, a turn."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from hrcnn_jax.data.planes import Planes
from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK


@dataclass(frozen=True)
class Augmentation:
    """What a training step draws from a stored crop.

    Attributes:
      planes: what is drawn.
      patch: side of the plane that is returned, in pixels.
    """

    planes: Planes
    patch: int

    def __call__(self, key: Array, crop: Array) -> tuple[Array, Array]:
        """One random patch of one crop; lift it over a batch with `jax.vmap`.

        Args:
          key: a PRNG key.
          crop: `(S, S, C)` uint8.

        Returns:
          The plane `(patch, patch)` float32 in [0, 1], and whether it is chroma (a bool).
        """
        place_key, plane_key, half_key, turn_key, inner_key = jax.random.split(key, 5)
        channels = self.planes.channels
        index = jax.random.randint(plane_key, (), 0, len(channels))
        is_chroma = jnp.asarray([channel.is_chroma for channel in channels])[index]
        side = 2 * self.patch if self.planes.has_chroma else self.patch
        top, left = jax.random.randint(place_key, (2,), 0, crop.shape[0] - side + 1)
        window = jax.lax.dynamic_slice(crop, (top, left, 0), (side, side, crop.shape[2]))
        pixels = window.astype(jnp.float32) / 255.0
        if crop.shape[2] == 1:
            plane = pixels[..., 0]
        else:
            weights = jnp.asarray([channel.weights for channel in channels], jnp.float32)[index]
            offset = jnp.asarray([channel.offset for channel in channels], jnp.float32)[index]
            plane = jnp.matmul(pixels, weights, precision=transform.EXACT) + offset / 255.0
        if self.planes.has_chroma:
            # Chroma is subsampled in half the cases, as the box filter of libjpeg's encoder does.
            half = plane.reshape(self.patch, 2, self.patch, 2).mean((1, 3))
            subsample = is_chroma & jax.random.bernoulli(half_key)
            corner = jax.random.randint(inner_key, (2,), 0, self.patch + 1)
            own = jax.lax.dynamic_slice(plane, corner, (self.patch, self.patch))
            plane = jnp.where(subsample, half, own)
        return _turn(turn_key, plane), is_chroma


def colour_patch(key: Array, crop: Array, patch: int) -> Array:
    """One random patch `(patch, patch, 3)` float32 in [0, 1] of a crop `(S, S, 3)` uint8."""
    place_key, turn_key = jax.random.split(key)
    top, left = jax.random.randint(place_key, (2,), 0, crop.shape[0] - patch + 1)
    window = jax.lax.dynamic_slice(crop, (top, left, 0), (patch, patch, 3))
    return _turn(turn_key, window.astype(jnp.float32) / 255.0)


def damaged_patch(key: Array, crop: Array, patch: int) -> tuple[Array, Array]:
    """One random patch of a crop `(S, S, 6)` uint8, damaged and intact, and all of the crop.

    Its place is a multiple of 8 pixels, so that it lies as the crop does on the grid of the last
    compression, and turned so it still does.

    Returns:
      The patch `(patch, patch, 6)` and the crop `(S, S, 6)` it was cut from, both turned, float32
      in [0, 1].
    """
    place_key, turn_key = jax.random.split(key)
    whole = _turn(turn_key, crop).astype(jnp.float32) / 255.0
    places = (crop.shape[0] - patch) // BLOCK + 1
    top, left = BLOCK * jax.random.randint(place_key, (2,), 0, places)
    return jax.lax.dynamic_slice(whole, (top, left, 0), (patch, patch, 6)), whole


def _turn(key: Array, plane: Array) -> Array:
    """One of the eight flips and rotations of a square, `(S, S)` or `(S, S, C)`."""
    transpose, down, across = jax.random.bernoulli(key, shape=(3,))
    plane = jnp.where(transpose, plane.swapaxes(0, 1), plane)
    plane = jnp.where(down, plane[::-1], plane)
    return jnp.where(across, plane[:, ::-1], plane)
