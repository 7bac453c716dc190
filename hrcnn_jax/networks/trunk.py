"""What the compact networks share: residual blocks on cells, conditioned on the table, and bounds.

A network that serves every table has to know which it is reading. The table conditions every
residual block in two ways: by a scale and a shift of its channels (FiLM: Perez et al., "FiLM:
visual reasoning with a general conditioning layer", 2018), and by the weights of further kernels,
*deltas*, that are added to each convolution's own (CondConv: Yang et al., "CondConv: conditionally
parameterized convolutions for efficient inference", 2019).

Corrections are bounded so that a result quantises to the codes it was made from, whatever the
parameters: it is faithful by construction.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK, MAX_SAMPLE
from hrcnn_jax.networks import mirrored
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.mirrored import CELL, GROUP, PIXELS, SPARED, Layer, MirroredConv, trimmed

MARGIN = 1e-3
"""How far inside its half step a coefficient stays, in steps: room for float rounding."""


SLOPE = 0.1
"""Slope of the inner ReLUs below zero: without one, half of a block's channels died in training."""


def describe_table(table: Array) -> Array:
    """Quantisation steps `(B, 8, 8)` as 64 well-scaled features `(B, 64)`."""
    steps = table.reshape(table.shape[0], BLOCK**2).astype(jnp.float32)
    return 0.3 * (jnp.log2(steps) - 4.0)


def bound(correction: Array, steps: Array) -> Array:
    """Squashes a correction of coefficients into plus or minus half a quantisation step.

    Nothing is corrected where the step is 1: 8-bit samples tell no more than that.
    """
    half = (0.5 - MARGIN) * steps
    return jnp.where(steps > 1, half * jnp.tanh(correction / half), 0.0)


def bounded_correction(correction: Array, steps: Array) -> Array:
    """A correction of planes, its coefficients bounded.

    Args:
      correction: `(..., H, W)` in levels of 255.
      steps: `(..., 1, 1, 8, 8)` quantisation steps, float32.

    Returns:
      `(..., H, W)` in units of pixels in [0, 1].
    """
    bounded = bound(transform.dct(transform.to_blocks(correction)), steps)
    return transform.from_blocks(transform.idct(bounded)) / MAX_SAMPLE


def halo(blocks: int, pointwise: bool = False) -> int:
    """Blocks on every side of a block that its pixels depend on.

    Args:
      blocks: residual blocks, each of two 3x3 convolutions of cells, which are half a block wide.
      pointwise: the first and the last convolution are 1x1.
    """
    return blocks if pointwise else blocks + 1


@dataclass(frozen=True)
class TrunkArchitecture(Architecture):
    """What is asked about networks of mirrored convolutions, whose corrections are bounded.

    Attributes:
      pixels: of the result, that a cell stands for.
    """

    is_faithful: bool = True
    sums_in_float32: bool = True
    trains_singly: bool = True
    pixels: int = PIXELS

    def build(self, options: Mapping[str, Any] | None = None, *, dtype: str = "float32") -> Any:
        """As `Architecture.build`; without any 3x3 convolution there is no network."""
        module = super().build(options, dtype=dtype)
        if getattr(module, "pointwise", False) and module.blocks == 0:
            raise ValueError("--pointwise needs --blocks 1 or more: no cell would see another")
        return module

    def retarget(self, params: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
        """Of the first and last 3x3 kernel what every cell does by itself, if they become 1x1."""
        if old.get("pointwise", False) or not new.get("pointwise", False):
            return params
        ends = {
            name: params[name] | {"kernel": params[name]["kernel"][1:2, 1:2]}
            for name in ("head", "tail")
        }
        return params | ends

    def trunk_of(self, params: Any) -> Any:
        """The parameters of mirrored convolutions; all, unless something stands beside them."""
        return params

    def direct_multiply_adds(self, module: nn.Module) -> int:
        """As many as are computed, and those that mirrored convolutions spare."""
        params = jax.eval_shape(lambda: self.init(module, jax.random.key(0)))
        trunk = jax.tree.leaves(self.trunk_of(params))
        kernels = (leaf.shape for leaf in trunk if leaf.shape[:-2] == (3, 3))
        products = sum(inputs * outputs for *_, inputs, outputs in kernels)
        spared = SPARED * products * getattr(module, "orientations", 1) / self.pixels
        return round(self.multiply_adds(module) + spared)


class KernelWeights(nn.Module):
    """How much of each of K deltas the conditioning asks for: `(B, K)` float32 in [-1, 1]."""

    kernels: int

    @nn.compact
    def __call__(self, conditioning: Array) -> Array:
        # Biases apart, so that the weights turn at different qualities.
        biases = nn.initializers.normal(0.5)
        return nn.tanh(nn.Dense(self.kernels, bias_init=biases, name="dense")(conditioning))


class ResidualBlock(nn.Module):
    """The parameters of ReLU, 3x3, ReLU, 3x3; conditioned by FiLM and kernel weights."""

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, conditioning: Array, weights: Array | None) -> tuple[Layer, Layer]:
        zeros = nn.initializers.zeros
        film = nn.Dense(2 * self.width, kernel_init=zeros, name="film")(conditioning)
        scale, shift = jnp.split(film, 2, axis=-1)
        conv1 = MirroredConv(self.width, self.width, dtype=self.dtype, name="conv1")
        # At random, what a block adds is noise at first, and training silences it for good: half of
        # all channels ended below zero, where they are linear.
        conv2 = MirroredConv(
            self.width, self.width, kernel_init=zeros, dtype=self.dtype, name="conv2"
        )
        pictures = len(conditioning)
        return conv1(pictures, weights, 1 + scale, shift), conv2(pictures, weights)


class Layers(NamedTuple):
    """What the convolutions between cells in and cells out work with; of every picture its own.

    Attributes:
      head: from cells to the width of the residual blocks.
      residuals: both layers of each residual block.
      tail: to the cells that come out.
    """

    head: Layer
    residuals: tuple[tuple[Layer, Layer], ...]
    tail: Layer


def prepare(
    conditioning: Array,
    *,
    width: int,
    blocks: int,
    kernels: int,
    inputs: int,
    outputs: int,
    dtype: DTypeLike,
    pointwise: bool = False,
) -> Layers:
    """All that depends on the conditioning alone; to be called once by a Flax module.

    Args:
      conditioning: `(B, F)`, what is known of each picture's tables.
      width: channels of the residual blocks.
      blocks: how many residual blocks.
      kernels: deltas of every residual convolution; 0 for none.
      inputs: channels of the cells that go in.
      outputs: channels that come out, zero at first.
      dtype: what is multiplied; sums are float32.
      pointwise: the first and the last convolution are 1x1.
    """
    lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
    pictures = len(conditioning)
    weights = KernelWeights(kernels, name="kernel_weights")(conditioning) if kernels else None
    ends = partial(MirroredConv, pointwise=pointwise, dtype=dtype)
    head = ends(inputs, width, kernel_init=lecun, name="head")
    residuals = [ResidualBlock(width, dtype, name=f"residual{i + 1}") for i in range(blocks)]
    tail = ends(width, outputs, kernel_init=zeros, name="tail")
    return Layers(
        head(pictures),
        tuple(block(conditioning, weights) for block in residuals),
        tail(pictures),
    )


def run(layers: Layers, cells: Array, *, inside: bool) -> Array:
    """From cells `(B, h, w, C)` in a plane's order to cells of other channels, float32.

    Every 3x3 convolution looks one cell further, and what it makes of cells at the border is wrong
    for the inside of a picture. Inside, every other one leaves out the block at the border, two
    cells: its own and that of the one before. That is the first of a residual block after the head,
    and at last the tail; or the second, if those are pointwise. It is `halo` blocks in all.
    """
    down, across = cells.shape[1:3]
    pointwise = mirrored.is_pointwise(layers.tail.factors)
    at_first, at_second = inside and not pointwise, inside and pointwise
    reach = BLOCK // CELL * halo(len(layers.residuals), pointwise)
    margins = [_margin(length, 0 if inside else reach) for length in (down, across)]
    if any(margins):
        widths = [(0, 0), *((0, margin) for margin in margins), (0, 0)]
        cells = jnp.pad(cells, widths, mode="symmetric")
    features = mirrored.apply(layers.head, mirrored.to_groups(cells))
    for first, second in layers.residuals:
        detail = mirrored.apply(first, features, slope=0.0, inside=at_first)
        shortcut = trimmed(features) if inside else features
        features = mirrored.apply(second, detail, shortcut, slope=SLOPE, inside=at_second)
    # Before a pointwise tail all channels died once. Grown to 3x3, it has this slope no more.
    slope = SLOPE if pointwise else 0.0
    result = mirrored.apply(layers.tail, features, slope=slope, inside=inside)
    left_out = 2 * reach if inside else 0  # a block is two cells, and lies on either side
    kept = mirrored.from_groups(result)[:, : down - left_out, : across - left_out]
    return kept.astype(jnp.float32)


def readings(orientations: int, *planes: Array) -> tuple[Array, ...]:
    """Planes or tables `(B, ..., S, S)` as they are read, in one orientation or in two.

    For two, sides are to be alike, and what is turned over its diagonal comes after all that is
    not: `(2*B, ..., S, S)`.
    """
    if orientations == 1:
        return planes
    return tuple(jnp.concatenate([each, each.swapaxes(-1, -2)]) for each in planes)


def mean_correction(
    correct: Callable[..., Array], layers: Layers, planes: tuple[Array, ...], orientations: int
) -> Array:
    """What planes lack by one reading of them, or the mean of what they do by two.

    Whatever turns or mirrors a picture then does the same to what is made of it.

    Args:
      correct: `correct(layers, *planes)` is a correction `(B, ..., H, W)`.
      layers: of B pictures; of 2B if orientations are 2, the turned ones last.
      planes: each `(B, ..., h, w)`, cut from the same square of a picture or from all of it.
      orientations: 1 or 2.
    """
    if orientations == 1:
        return correct(layers, *planes)
    height, width = planes[0].shape[-2:]
    if height == width:  # as one batch: half the program to compile
        upright, turned = jnp.split(correct(layers, *readings(orientations, *planes)), 2)
    else:
        halves = zip(*(jnp.split(leaf, 2) for leaf in jax.tree.leaves(layers)), strict=True)
        tree = jax.tree.structure(layers)
        own, other = (jax.tree.unflatten(tree, leaves) for leaves in halves)
        upright = correct(own, *planes)
        turned = correct(other, *(each.swapaxes(-1, -2) for each in planes))
    return 0.5 * (upright + turned.swapaxes(-1, -2))


def _margin(length: int, reach: int) -> int:
    """Cells that make whole groups of a length; if any, then as far as a result depends on them."""
    return -length % GROUP and reach + -(length + reach) % GROUP
