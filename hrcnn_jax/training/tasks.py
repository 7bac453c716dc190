"""What a network is trained to do: what is drawn from a crop, and what is compared with what.

A task draws pixels and quantisation tables, makes the codes a file would hold, and has the network
restore them. The training step, validation and checkpoints know no more of it than that.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax import compiler
from hrcnn_jax.data.patches import Augmentation, colour_patch, damaged_patch
from hrcnn_jax.data.planes import PLANES
from hrcnn_jax.jpeg import color, damage, transform
from hrcnn_jax.jpeg.tables import BASELINE_STEP, CHROMINANCE, LIBJPEG_STEP, LUMINANCE, ROBIDOUX
from hrcnn_jax.networks import base, zoo
from hrcnn_jax.networks.cards import Kind
from hrcnn_jax.networks.chroma import FACTOR
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.training.settings import Codes, Settings


class Drawn(NamedTuple):
    """What a file's codes are made of, all arrays with a leading axis of pictures.

    Attributes:
      pixels: `(B, H, W)` or `(B, H, W, 3)` float32 in [0, 1].
      tables: quantisation steps `(B, 8, 8)`, or `(B, 2, 8, 8)` of luma and chroma.
    """

    pixels: Array
    tables: Array


class Pair(NamedTuple):
    """What became of pictures, all arrays with a leading axis of pictures.

    Attributes:
      intact: `(B, H, W, 3)` RGB float32 in [0, 1].
      damaged: the same.
      seen: `(B, S, S, 3)` likewise, damaged: what the network sees of a picture to estimate how
        bad it is, more than it restores of it.
      error: `(B,)` how bad that is (`hrcnn_jax.jpeg.damage`).
      told: `(B,)` bool, whether the network is told how bad they are.
    """

    intact: Array
    damaged: Array
    seen: Array
    error: Array
    told: Array


class Outcome(NamedTuple):
    """Three versions of the same planes `(B, H, W)` or `(B, 3, H, W)`, not clipped.

    Attributes:
      target: what they were.
      plain: what the network was given, or plain decoding makes of that.
      restored: what the network makes of it.
      steps: `(B,)` mean quantisation step of what did the damage.
      penalty: what else a network is to be blamed for, `(B,)`.
    """

    target: Array
    plain: Array
    restored: Array
    steps: Array
    penalty: Array | float = 0.0


class Task(Protocol):
    """What a network is trained to do; pure functions."""

    def draw(self, key: Array, crop: Array) -> Any:
        """One example of one crop `(S, S, C)` uint8, without the axis of pictures."""

    def cases(self, pixels: Array) -> Mapping[str, Any]:
        """What held-out pictures, float32 in [0, 1], are validated as, by name."""

    def outcome(self, params: Any, drawn: Any) -> Outcome:
        """What the network makes of what was drawn."""


QUALITIES = (5, 10, 20, 30, 50, 70, 90, 95)
"""Where networks that serve many qualities are validated, as far as they are trained there."""


def validated_qualities(codes: Codes) -> list[int]:
    """The qualities at which a network is validated."""
    low, high = codes.quality[0], codes.quality[-1]
    return [quality for quality in QUALITIES if low <= quality <= high] or [low]


def beside(flag: str, name: str, kind: Kind, settings: Settings) -> Network:
    """A trained network that a run needs beside the one that it trains.

    Args:
      flag: that names it, for messages.
      name: of the network, or its path.
      kind: that it has to be of.
      settings: of the run.

    Raises:
      ValueError: if there is none, or it does not serve the run's tables.
    """
    network = zoo.load(name, dtype=settings.run.dtype, kinds=(kind,))
    if network.architecture.kind != kind:
        raise ValueError(
            f"{flag} {name} is a network of {network.architecture.kind}: give one of {kind}"
        )
    codes = settings.codes
    if network.quality is not None and (
        codes.quality not in ((network.quality,), (network.quality,) * 2)
        or codes.tables != "luminance"
    ):
        raise ValueError(
            f"{flag} {name} serves the luminance table of quality {network.quality} alone: "
            f"train with --quality {network.quality} --tables luminance, or give one for all tables"
        )
    return network


def _validated(standard: Callable[[int], Drawn], codes: Codes) -> dict[str, Drawn]:
    """Held-out pictures at a few qualities, by their names."""
    return {str(quality): standard(quality) for quality in validated_qualities(codes)}


class Planes:
    """Restoring one plane, whatever it is of."""

    def __init__(self, module: Any, settings: Settings) -> None:
        """For architectures of kind `planes`."""
        self._module, self._settings = module, settings
        self._augment = Augmentation(PLANES[settings.data.planes], settings.data.patch)

    def draw(self, key: Array, crop: Array) -> Drawn:
        """A plane, with a table that suits it."""
        augment_key, table_key = jax.random.split(key)
        plane, is_chroma = self._augment(augment_key, crop)
        return Drawn(plane, draw_table(table_key, is_chroma, self._settings.codes))

    def cases(self, pixels: Array) -> dict[str, Drawn]:
        """The planes at a few qualities."""
        return _validated(partial(self.standard, pixels), self._settings.codes)

    def standard(self, pixels: Array, quality: int | Array) -> Drawn:
        """With Annex K's luminance table."""
        table = transform.quality_table(quality)
        return Drawn(pixels, jnp.broadcast_to(table, (pixels.shape[0], 8, 8)))

    def outcome(self, params: Any, drawn: Drawn) -> Outcome:
        """The plane, decoded and restored."""
        codes = transform.encode(drawn.pixels, drawn.tables)
        restored = base.restore(self._module, params, codes, drawn.tables)
        plain = transform.decode(codes, drawn.tables)
        return Outcome(drawn.pixels, plain, restored, _mean_step(drawn.tables))


class Colour:
    """Restoring 4:2:0 chroma beside luma that another network restores, compared as RGB."""

    def __init__(self, module: Any, settings: Settings) -> None:
        """For architectures of kind `chroma`; `settings.codes.luma` is the other network.

        Raises:
          ValueError: if that one does not restore luma of the run's tables.
        """
        self._module, self._settings = module, settings
        self._luma = beside("--luma", settings.codes.luma, "planes", settings)

    def draw(self, key: Array, crop: Array) -> Drawn:
        """A colour patch, with a table of luma and one of both chroma planes."""
        patch_key, table_key = jax.random.split(key)
        pixels = colour_patch(patch_key, crop, self._settings.data.patch)
        # One key for both: an encoder scales its tables by the same quality.
        tables = [
            draw_table(table_key, jnp.asarray(c), self._settings.codes, own=table)
            for c, table in ((False, LUMINANCE), (True, CHROMINANCE))
        ]
        return Drawn(pixels, jnp.stack(tables))

    def cases(self, pixels: Array) -> dict[str, Drawn]:
        """The pictures at a few qualities."""
        return _validated(partial(self.standard, pixels), self._settings.codes)

    def standard(self, pixels: Array, quality: int | Array) -> Drawn:
        """With Annex K's two tables."""
        tables = jnp.stack(
            [
                transform.quality_table(quality),
                transform.quality_table(quality, CHROMINANCE),
            ]
        )
        return Drawn(pixels, jnp.broadcast_to(tables, (pixels.shape[0], 2, 8, 8)))

    def outcome(self, params: Any, drawn: Drawn) -> Outcome:
        """RGB, decoded as libjpeg does and restored."""
        luma_table, table = drawn.tables[:, 0], drawn.tables[:, 1]
        tables = jnp.stack([table, table], axis=1)
        y, *chroma = jnp.moveaxis(color.rgb_to_ycbcr(drawn.pixels), -1, 0)
        subsampled = color.downsample(jnp.stack(chroma, axis=1), FACTOR)
        luma_codes, codes = transform.encode(y, luma_table), transform.encode(subsampled, tables)

        enlarged = color.upsample(transform.decode(codes, tables), FACTOR)
        plain = [transform.decode(luma_codes, luma_table), enlarged[:, 0], enlarged[:, 1]]

        network = self._luma
        luma = base.restore(network.module, network.params, luma_codes, luma_table)
        luma = jax.lax.stop_gradient(luma)
        planes = jnp.moveaxis(transform.from_blocks(codes), 1, -1)
        full: Any = self._module.apply({"params": params}, planes, tables, luma, luma_table)
        restored = [luma, full[..., 0], full[..., 1]]
        target, steps = jnp.moveaxis(drawn.pixels, -1, 1), _mean_step(drawn.tables)
        return Outcome(target, _to_rgb(plain), _to_rgb(restored), steps)


def _to_rgb(planes: list[Array]) -> Array:
    """Y, Cb and Cr `(B, H, W)` each to RGB `(B, 3, H, W)`."""
    return jnp.moveaxis(color.ycbcr_to_rgb(jnp.stack(planes, axis=-1)), -1, 1)


def _mean_step(tables: Array) -> Array:
    """Of all tables of each picture, `(B,)`."""
    return jnp.mean(tables.reshape(tables.shape[0], -1).astype(jnp.float32), axis=1)


class Pictures:
    """Restoring pixels after a random chain of compressions, compared as YCbCr.

    The network also learns to say how bad a picture is. In half the examples it is told instead, so
    that it heeds what it is told, and knows what to do before it knows how to tell.
    """

    TOLD = 0.5
    ESTIMATE = 1e-3
    """Weight of the estimate's squared mistake, in logarithms, beside the loss of pixels."""

    LEVELS = 5
    """Equal parts that held-out pictures are validated in, from the most damaged on."""

    def __init__(self, module: Any, settings: Settings) -> None:
        """For architectures of kind `pictures`."""
        self._module, self._patch = module, settings.data.patch

    def draw(self, key: Array, crop: Array) -> Pair:
        """A patch as it came out of its chain, and as it would have without loss."""
        patch_key, told_key = jax.random.split(key)
        patch, whole = damaged_patch(patch_key, crop, self._patch)
        damaged, intact = jnp.split(patch, 2, axis=-1)
        seen, error = _judged(whole[None])
        told = jax.random.bernoulli(told_key, self.TOLD)
        return Pair(intact, damaged, seen[0], error[0], told)

    def cases(self, pixels: Array) -> dict[str, Pair]:
        """Pairs `(B, H, W, 6)` from the most to the least damaged, by their middle quality."""
        damaged, intact = jnp.split(pixels, 2, axis=-1)
        _, errors = jax.jit(_judged, compiler_options=compiler.sound())(pixels)
        order = np.argsort(-np.asarray(errors))
        if len(order) < self.LEVELS:
            raise ValueError(
                f"--validation-crops must be at least {self.LEVELS} for networks of pictures, as "
                f"they are validated in so many parts, got {len(order)}"
            )
        cases: dict[str, Pair] = {}
        for part in np.array_split(order[: len(order) // self.LEVELS * self.LEVELS], self.LEVELS):
            quality = f"{damage.quality_of(jnp.median(errors[part])):.0f}"
            alike = sum(name.partition(" ")[0] == quality for name in cases)
            cases[f"{quality} ({alike + 1})" if alike else quality] = Pair(
                intact[part], damaged[part], damaged[part], errors[part], jnp.zeros(len(part), bool)
            )
        return cases

    def outcome(self, params: Any, drawn: Pair) -> Outcome:
        """YCbCr as it was damaged and as it is restored."""
        target, given = (color.rgb_to_ycbcr(each) for each in (drawn.intact, drawn.damaged))
        call, true = partial(self._module.apply, {"params": params}), drawn.error
        seen = color.rgb_to_ycbcr(drawn.seen)
        error, traits = call(seen[:, None], method="estimate")
        # Its own loss teaches the estimate, so that it stays one.
        believed = jnp.where(drawn.told, true, jax.lax.stop_gradient(error))
        restored: Any = call(given, prepared=call(believed, traits, method="prepare"))
        # An intact picture may be found more than intact.
        found = damage.logarithm(jnp.where(true > 0, error, jnp.maximum(error, 0.0)))
        penalty = self.ESTIMATE * jnp.square(found - damage.logarithm(true))
        of_target, of_given, of_restored = (
            jnp.moveaxis(each, -1, 1) for each in (target, given, restored)
        )
        steps = jnp.maximum(damage.MEAN_STEP * jnp.square(true), 1.0)
        return Outcome(of_target, of_given, of_restored, steps, penalty)


def _judged(pairs: Array) -> tuple[Array, Array]:
    """The damaged of `(B, H, W, 6)`, and how bad each is."""
    damaged, intact = jnp.split(pairs, 2, axis=-1)
    return damaged, damage.measured(color.luma(intact), color.luma(damaged))


TASKS: dict[Kind, Callable[[Any, Settings], Task]] = {
    "planes": Planes,
    "chroma": Colour,
    "pictures": Pictures,
}
"""What a network is trained to do, by the kind of its architecture."""


def draw_table(
    key: Array, is_chroma: Array, codes: Codes, *, own: NDArray[np.int32] = LUMINANCE
) -> Array:
    """A quantisation table `(8, 8)` int32 as the files that are trained on carry them.

    Qualities are log-uniform between the lowest and the highest. With `tables="luminance"` it is
    `own` at such a quality. With `tables="any"` chroma
    mostly gets Annex K's chrominance table, and four tables in ten are non-standard: blends of
    luminance, chrominance, MozJPEG's and flat, often nearly one of them, with each step off by up
    to a half, by much less in most tables. One in twenty is not kept to baseline's steps, as files
    of low quality need not be, and is up to sixteen times as coarse. Another has steps of 1 to 6 or
    so, all alike in half of these: files with the finest tables are the easiest to make worse.
    """
    quality_key, swap_key, odd_key, blend_key, spread_key, jitter_key, coarse_key, scale_key = (
        jax.random.split(key, 8)
    )
    fine_key, mean_key, flat_key = jax.random.split(jax.random.fold_in(key, 1), 3)
    low, high = codes.quality[0], codes.quality[-1]
    exponent = jax.random.uniform(quality_key, (), minval=np.log(low), maxval=np.log(high + 1))
    quality = jnp.clip(jnp.exp(exponent).astype(jnp.int32), low, high)
    if codes.tables == "luminance":
        return transform.quality_table(quality, own)
    use_chrominance = is_chroma ^ jax.random.bernoulli(swap_key, 0.15)
    base = jnp.where(use_chrominance, CHROMINANCE, LUMINANCE)
    flat = np.full((8, 8), 32)
    kinds = jnp.asarray(np.stack([LUMINANCE, CHROMINANCE, ROBIDOUX, flat]), jnp.float32)
    blend = jnp.einsum("k,kvu->vu", jax.random.dirichlet(blend_key, jnp.full(4, 0.5)), kinds)
    spread = 0.6 * jax.random.uniform(spread_key) ** 2
    jitter = jnp.exp2(spread * jax.random.uniform(jitter_key, (8, 8), minval=-1.0, maxval=1.0))
    blend *= jitter
    odd = jnp.clip(jnp.round(blend), 1, 255).astype(jnp.int32)
    base = jnp.where(jax.random.bernoulli(odd_key, 0.4), odd, base)
    is_coarse = jax.random.bernoulli(coarse_key, 0.05)
    scale = jnp.exp2(jnp.where(is_coarse, jax.random.uniform(scale_key, maxval=4.0), 0.0))
    base = jnp.round(scale * base.astype(jnp.float32)).astype(jnp.int32)
    largest = jnp.where(is_coarse, LIBJPEG_STEP, BASELINE_STEP)
    table = transform.quality_table(quality, base, largest)
    mean = jnp.exp2(jax.random.uniform(mean_key, minval=0.5, maxval=2.0))
    fine = jnp.where(jax.random.bernoulli(flat_key), mean, blend * (mean / jnp.mean(blend)))
    fine = jnp.clip(jnp.round(fine), 1, 255).astype(table.dtype)
    return jnp.where(jax.random.bernoulli(fine_key, 0.05), fine, table)
