"""The network for pictures whose history nobody knows: pixels in, pixels out.

A picture that was resized after it was compressed, or compressed three times on three grids, has
no codes that would tell what its pixels were. This network reads the pixels themselves, Y, Cb and
Cr at once, and is told nothing: it estimates from a few windows of the picture how bad it is, as
the JPEG quality that does as much damage (`hrcnn_jax.jpeg.damage`), and some traits that have no
names; and it measures what was left by what happened to the picture (`traces.py`). All of it
conditions its residual blocks as tables do those of the other networks (`trunk.py`). The correction
is proportional to the estimated error: what is less bad is changed less. A person who knows better
gives the quality instead, as with FBCNN (Jiang et al., "Towards flexible blind JPEG artifacts
removal", 2021).

The residual blocks work on mirrored cells (`mirrored.py`), although no grid is known. What a
picture should have been is the mirror image of what its mirror image should have been: of all
functions of cells, those that are equal under mirrors about the cells' edges hold the best one,
and they cost a quarter. Besides, most pictures lie on the grid of their last compression.

Pixels are `(B, H, W, 3)` float32 near [0, 1], H and W multiples of 8: Y, Cb and Cr (`color.py`); of
gray pictures Cb and Cr are neutral.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import damage
from hrcnn_jax.jpeg.tables import BLOCK, LUMINANCE
from hrcnn_jax.networks import traces, trunk
from hrcnn_jax.networks.cards import Kind
from hrcnn_jax.networks.convolution import PRECISE, Squares, cropped
from hrcnn_jax.networks.mirrored import PIXELS, from_cells, to_cells

PLANES = 3

_NEUTRAL = (0.5, 128.0 / 255.0, 128.0 / 255.0)
_CONTRAST = (1.0, 4.0, 4.0)
"""Planes are brought to about zero and about the same range: chroma varies less than luma does."""

_READ, _STRIDE = 8, 4
"""Side and distance in pixels of the squares that the estimate begins with."""

_EXACTLY: dict[str, Any] = {"precision": PRECISE}
"""The estimate decides whether a picture is restored: accelerators would round its factors."""

_FINE = 128.0
"""In steps to a unit: two levels of 255."""

_INTACT = -4.0
"""Logarithm of the error, below that of what is intact, -2.3."""

_WORST = 1.0
"""The same, above that of quality 1, 0.79."""

_USUAL = 1 / 32
"""About the root mean squared error at quality 50, whose error is 1."""


class Estimate(NamedTuple):
    """What a picture is thought to have suffered.

    Attributes:
      error: `(B,)` as `hrcnn_jax.jpeg.damage` has it; below 0 for what is surely intact.
      traits: in [-1, 1], what else the residual blocks are told: `(B, T)`, and of all of `Wild`
        `(B, T + COUNT)`, what is measured (`traces.py`) after what is learnt.
    """

    error: Array
    traits: Array


class Estimator(nn.Module):
    """Means over all places of a picture of what a small network sees around each.

    Attributes:
      width: channels of its convolutions.
      depth: convolutions of 3x3 squares: three of them see 32 pixels each way, four blocks.
      features: of which the means are taken.
      traits: how many.
    """

    width: int = 48
    depth: int = 3
    features: int = 64
    traits: int = 16

    @nn.compact
    def __call__(self, windows: Array) -> Estimate:
        """Of windows `(B, N, S, S, 3)` of each picture."""
        pixels = windows.reshape(-1, *windows.shape[2:])
        least = _READ + 2 * _STRIDE * self.depth + 1
        room = [(0, max(least - side, 0)) for side in pixels.shape[1:3]]
        steps = _steps(jnp.pad(pixels, ((0, 0), *room, (0, 0)), mode="symmetric"))
        seen = Squares(self.width, _READ, _STRIDE, name="squares")(steps)
        for number in range(1, self.depth + 1):
            pattern = Squares(self.width, 3, name=f"pattern{number}")
            seen = seen[:, 1:-1, 1:-1] + pattern(nn.leaky_relu(seen, trunk.SLOPE))
        seen = nn.Dense(self.features, name="seen", **_EXACTLY)(nn.leaky_relu(seen, trunk.SLOPE))
        means = jnp.mean(nn.relu(seen).reshape(len(windows), -1, self.features), axis=1)
        # Damage is a matter of ratios: of what there is to what there should be.
        means = jnp.concatenate([means, 0.3 * jnp.log(means + 0.01)], axis=-1)
        hidden = nn.relu(nn.Dense(self.features, name="hidden", **_EXACTLY)(means))
        found = nn.Dense(1 + self.traits, name="found", **_EXACTLY)(hidden)
        error = damage.of_logarithm(_within_reason(found[:, 0]))
        return Estimate(error, jnp.tanh(found[:, 1:]))


def _within_reason(logarithm: Array) -> Array:
    """The error's logarithm: hardly beyond that of quality 1, and hardly below what is intact.

    In float32 nothing would be left of its exponential there, and training would end in infinities.
    What is beyond leaks a little, so that training finds back.
    """
    least, most = (bound + 0.01 * (logarithm - bound) for bound in (_INTACT, _WORST))
    return jnp.clip(logarithm, least, most)


class Prepared(NamedTuple):
    """What all tiles of a picture are restored with, for each of B pictures.

    Attributes:
      layers: of the residual blocks and around them.
      error: `(B,)`, which the correction is proportional to.
    """

    layers: trunk.Layers
    error: Array


class Wild(nn.Module):
    """Residual mirrored convolutions on cells of three planes, conditioned on an estimate.

    Attributes:
      width: channels of the residual blocks.
      blocks: residual blocks.
      kernels: deltas of every residual convolution, weighted by what the estimate asks for.
      traits: how many traits the residual blocks are told besides the error.
      dtype: what the residual blocks multiply, float32 or bfloat16; all else is float32.
    """

    width: int = 96
    blocks: int = 3
    kernels: int = 4
    traits: int = 16
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """The parts: what estimates, and what restores."""
        self.estimator = Estimator(traits=self.traits)
        self.trunk = Trunk(self.width, self.blocks, self.kernels, self.dtype)

    @property
    def halo(self) -> int:
        """Blocks on every side of a block that its pixels depend on, the estimate apart."""
        return trunk.halo(self.blocks)

    def estimate(self, windows: Array) -> Estimate:
        """What pictures suffered, from windows `(B, N, S, S, 3)`; small ones are mirrored."""
        found = self.estimator(windows)
        return Estimate(found.error, jnp.concatenate([found.traits, traces.of(windows)], axis=-1))

    def prepare(self, error: Array, traits: Array) -> Prepared:
        """What an estimate, or an error `(B,)` in its place, makes of the layers."""
        error = jnp.maximum(error, 0.0)
        return Prepared(self.trunk(_describe(error, traits)), error)

    def __call__(
        self, pixels: Array, *, inside: bool = False, prepared: Prepared | None = None
    ) -> Array:
        """Restores pictures.

        Args:
          pixels: `(B, H, W, 3)`.
          inside: leave out `halo` blocks on every side, which need not be computed.
          prepared: by `prepare`; worked out of all of these pixels if not given.

        Returns:
          `(B, H, W, 3)` float32, or 16 times `halo` less than H and W.
        """
        if prepared is None:
            prepared = self.prepare(*self.estimate(pixels[:, None]))
        planes = jnp.moveaxis(_centred(pixels), -1, 1)
        cells = [to_cells(planes[:, index]) for index in range(PLANES)]
        found = trunk.run(prepared.layers, jnp.concatenate(cells, axis=-1), inside=inside)
        parts = jnp.split(found, PLANES, axis=-1)
        correction = jnp.stack([from_cells(part) for part in parts], axis=-1)
        correction *= _USUAL * prepared.error[:, None, None, None] / _per_pixel(_CONTRAST)
        if inside:
            pixels = cropped(pixels, BLOCK * self.halo)
        return pixels + correction


class Trunk(nn.Module):
    """The layers between cells in and cells out, given the conditioning `(B, F)`.

    Attributes:
      width: channels of the residual blocks.
      blocks: residual blocks.
      kernels: deltas of every residual convolution.
      dtype: what is multiplied.
    """

    width: int
    blocks: int
    kernels: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, conditioning: Array) -> trunk.Layers:
        """All that depends on the conditioning alone."""
        return trunk.prepare(
            conditioning,
            width=self.width,
            blocks=self.blocks,
            kernels=self.kernels,
            inputs=PLANES * PIXELS,
            outputs=PLANES * PIXELS,
            dtype=self.dtype,
        )


def _centred(pixels: Array) -> Array:
    """Pixels `(B, H, W, 3)` about zero, all planes of about the same range."""
    return (pixels - _per_pixel(_NEUTRAL)) * _per_pixel(_CONTRAST)


def _per_pixel(values: tuple[float, ...]) -> Array:
    """A value a plane, `(1, 1, 1, 3)`."""
    return jnp.asarray(values).reshape(1, 1, 1, PLANES)


def _steps(pixels: Array) -> Array:
    """Steps from pixel to pixel, down and across, of all planes: `(B, H - 1, W - 1, 6)`.

    Those of a level or two, which tell blocks from what is natural, count for much; large ones, the
    edges of things, for not much more.
    """
    corner = pixels[:, :-1, :-1]
    steps = [pixels[:, 1:, :-1] - corner, pixels[:, :-1, 1:] - corner]
    return jnp.arcsinh(_FINE * jnp.concatenate(steps, axis=-1))


_LOGARITHM = 1
"""Where the error's logarithm stands in the conditioning."""


def _describe(error: Array, traits: Array) -> Array:
    """Conditioning `(B, 2 + T + COUNT)`: the error, its logarithm and the traits, well scaled."""
    scaled = jnp.stack([error - 1.0, damage.logarithm(error)], axis=-1)
    return jnp.concatenate([scaled, traits], axis=-1)


@dataclass(frozen=True)
class WildArchitecture(trunk.TrunkArchitecture):
    """The network of pictures as the rest of the package asks about it."""

    module: type[nn.Module] = Wild
    kind: Kind = "pictures"
    is_faithful: bool = False

    def inputs(self, side: int) -> tuple[Array, ...]:
        """A blank picture of side by side pixels."""
        return (jnp.zeros((1, side, side, PLANES)),)

    def trunk_of(self, params: Any) -> Any:
        """All but the estimator's."""
        return params["trunk"]

    def grow(self, params: Any, fresh: Any) -> Any:
        """Parameters that begin as a smaller network, or as a compact one for planes.

        The latter then restores luma as it did codes of Annex K's tables, but for its bound.

        Raises:
          ValueError: if it is neither, or larger.
        """
        if "estimator" in params:
            return super().grow(params, fresh)
        if "kernel_weights" in params and "kernel_weights" not in fresh["trunk"]:
            raise ValueError("--warm-start: its network mixes kernels: give as many --kernels")
        blocks = {name for name in params if name.startswith("residual")}
        of_planes = blocks and all("film" in params[name] for name in blocks)
        if not of_planes or params["head"]["kernel"].shape[-2] != PIXELS:
            raise ValueError(
                "--warm-start: its network is neither one of pictures nor a compact one"
            )
        if not blocks <= fresh["trunk"].keys():
            raise ValueError(
                f"--warm-start: its network has {len(blocks)} blocks, more than this run's"
            )
        began = {"trunk": _of_planes(params, fresh["trunk"])}
        return super().grow(began | {"estimator": fresh["estimator"]}, fresh)


def _of_planes(params: Any, fresh: Any) -> Any:
    """A compact network's parameters as those of a trunk that reads and corrects luma only.

    Its conditioning is of tables (`trunk.describe_table`). Those of libjpeg's qualities are one
    table times a scale, the square of the error: so what it makes of their logarithms is linear in
    the error's, which this conditioning has.
    """
    table = jnp.asarray(LUMINANCE)[None]  # of quality 50, whose error is 1
    at_one, at_two = trunk.describe_table(table)[0], trunk.describe_table(4 * table)[0]
    per_logarithm = (at_two - at_one) / jnp.log(2.0)
    known = at_one - per_logarithm * damage.logarithm(jnp.ones(()))

    def conditioned(dense: Any, like: Any) -> Any:
        kernel = jnp.zeros((like["kernel"].shape[0], dense["kernel"].shape[1]))
        kernel = kernel.at[_LOGARITHM].set(per_logarithm @ dense["kernel"])
        return {"kernel": kernel, "bias": dense["bias"] + known @ dense["kernel"]}

    adapted = dict(params)
    if "kernel_weights" in params:
        like = fresh["kernel_weights"]["dense"]
        adapted["kernel_weights"] = {"dense": conditioned(params["kernel_weights"]["dense"], like)}
    for name in params:
        if name.startswith("residual"):
            block, like = params[name], fresh[name]["film"]
            adapted[name] = {**block, "film": conditioned(block["film"], like)}
    # Cells of luma come first, and go out first: in units of the usual error.
    adapted["tail"] = {name: leaf / _USUAL for name, leaf in params["tail"].items()}
    return adapted
