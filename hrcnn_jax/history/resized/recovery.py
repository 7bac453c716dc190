"""Codes of a compression whose picture was resized since, and the chain played again with them.

Brought back to its earlier size, a picture has coefficients near multiples of the earlier steps,
but less of high frequencies than there was, and in every block a little of its neighbours. Codes
are told by rounding; then they are sent forward again, and what they leave over, brought back and
enlarged by what frequencies lost, tells which of them were wrong.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files.reader import Component, JpegFile
from hrcnn_jax.history import blocks, chain, observed
from hrcnn_jax.history.blocks import Floats
from hrcnn_jax.history.chain import Samples
from hrcnn_jax.history.codes import Codes, Layout
from hrcnn_jax.history.earlier import Earlier, component
from hrcnn_jax.history.observed import NO_MARGINS, Observed, Shares
from hrcnn_jax.history.record import History
from hrcnn_jax.history.resized.geometry import Geometry, of_component, of_plane
from hrcnn_jax.jpeg import jfif
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT, MAX_SAMPLE

_TURNS = 3
"""How often codes are corrected by what they leave over: more changes nothing."""

SEEN = 0.2
"""How much of a frequency has to come back for its codes to be told; the others are zero."""

_ROUNDING = 1 / 12
"""Energy of the noise of rounding to 8 bits."""

_CUT = 0.25
"""Levels by which a picture is darker than expected if fractions were cut off, not rounded, as
ImageMagick 6 does for PNG files: half a level."""

_CARE = 0.9
"""Part of what is left over that counts, so that a code changes only if most of a step is."""


def coefficients(earlier: Floats, before: tuple[int, int]) -> Floats:
    """Of the blocks of a component that was brought back, `(hb, wb, 8, 8)`.

    Args:
      earlier: its samples, from 0 to 255.
      before: rows and columns cut away above and left of it, in its first blocks.
    """
    return blocks.dct(blocks.to_blocks(Layout.of(earlier.shape, before).filled(earlier)))


def bits(codes: Codes) -> float:
    """About how many bits codes take: of each that is not zero its size and sign."""
    sizes = np.abs(codes[codes != 0].astype(np.float32))
    return float((1 + np.log2(1 + sizes)).sum())


def recovered(plane: Floats, geometry: Geometry, table: NDArray[np.int32]) -> Codes:
    """Codes `(hb, wb, 8, 8)` of a component.

    Args:
      plane: observed samples, from 0 to 255.
      geometry: how they came about.
      table: the earlier steps, `(8, 8)`.
    """
    layout, steps = Layout.of(geometry.size, geometry.before), table.astype(np.float32)
    visibility = geometry.visibility
    is_seen = visibility > SEEN
    gain = np.where(is_seen, _CARE / np.maximum(visibility, SEEN), 0) / steps
    codes = np.rint(coefficients(geometry.brought_back(plane), geometry.before) / steps) * is_seen
    for _ in range(_TURNS):
        made = blocks.from_blocks(blocks.idct(codes * steps))[layout.inside]
        rest = plane - np.clip(geometry.forth(np.clip(made, 0, MAX_SAMPLE)), 0, MAX_SAMPLE)
        missed = blocks.to_blocks(np.pad(geometry.back(rest), layout.outside))
        codes += np.rint(blocks.dct(missed + np.float32(LEVEL_SHIFT)) * gain)
    limit = np.iinfo(np.int16).max
    return np.clip(codes, -limit, limit).astype(np.int16)


def comes_back(
    view: Observed, geometry: Geometry, table: NDArray[np.int32], margin: int
) -> tuple[Codes, Shares]:
    """Codes, and what comes back of a component when the chain is played again with them.

    It is played component by component: what colours lose when they are rounded to RGB is as good
    as nothing beside what the last compression rounds.

    Args:
      view: the component alone.
      geometry: how its samples came about.
      table: the earlier steps, `(8, 8)`.
      margin: samples at the edges that do not count.
    """
    codes = recovered(view.planes[0], geometry, table)
    inside = Layout.of(geometry.size, geometry.before).inside
    made = geometry.forth(chain.decode(codes, table)[inside].astype(np.float32))
    played = _rounded(made, view.planes[0])
    (shares,), _ = view.compare(played, ((margin, margin), (margin, margin)))
    return codes, shares


def _rounded(made: Floats, there: Floats) -> Samples:
    """As the tool did that made what is there: to the nearest level, or to the next below."""
    is_cut = float(np.mean(there - made)) < -_CUT
    return np.clip(np.rint(made - np.float32(0.5 * is_cut)), 0, MAX_SAMPLE).astype(np.uint8)


def _believed(rest: Floats, noise: Floats) -> Floats:
    """What is left over, as far as it is more than the noise of the last compression.

    Where a code is wrong, its whole effect on the last codes is left over, noise included; so
    squares of 8x8 samples give what their mean energy has beyond that noise (Wiener's filter).
    """
    expected = _mean_energy(noise) + np.float32(_ROUNDING)
    share = np.maximum(0, 1 - expected / np.maximum(_mean_energy(rest), np.float32(1e-6)))
    height, width = rest.shape
    return rest * share.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width]


def _mean_energy(plane: Floats) -> Floats:
    """Of each square of 8x8 samples, those at the edges filled up."""
    filled = np.pad(plane, [(0, -side % BLOCK) for side in plane.shape], mode="edge")
    return np.asarray((blocks.to_blocks(filled) ** 2).mean((2, 3)), np.float32)


def recover(source: JpegFile | Samples, history: History) -> Earlier:
    """The codes of a compression before a picture was resized, and what they leave unexplained.

    Args:
      source: the file, or the pixels, in which the history was found.
      history: as found; of chroma nothing may be told.
    """
    size, _ = observed.extent(source)
    whole = observed.part_of(source, slice(0, size[0]), slice(0, size[1]))
    told = [steps for steps in history.tables if steps is not None]
    codes = [
        recovered(whole.planes[index], of_component(history, size, index, factor), steps)
        for index, (steps, factor) in enumerate(zip(told, whole.factors, strict=False))
    ]
    proof, rest = [], []
    for index, plane in enumerate(_earlier_planes(codes, history)):
        view = whole.component(index)
        made = of_plane(history, size, whole.factors[index]).forth(plane)
        (shares,), (missed,) = view.compare(_rounded(made, view.planes[0]), NO_MARGINS)
        proof.append(shares.share)
        rest.append(_believed(missed, view.planes[0] - missed - made))
    for plane in whole.planes[len(told) :]:
        proof.append(0.0)
        rest.append(plane - np.float32(LEVEL_SHIFT))
    before = _whole_size(history)
    components: list[Component | None] = [None] * len(history.tables)
    components[: len(codes)] = [
        component(each, before, history, index) for index, each in enumerate(codes)
    ]
    return Earlier(
        height=before[0],
        width=before[1],
        components=tuple(components),
        unsure=(None,) * len(components),
        offset=history.offset,
        history=replace(history, proof=tuple(proof)),
        rest=tuple(rest),
    )


def _whole_size(history: History) -> tuple[int, int]:
    """Of the earlier picture before it was cropped above and left, less whole MCUs."""
    assert history.resizing is not None
    height, width = history.resizing.size
    return height + history.offset[0], width + history.offset[1]


def _earlier_planes(codes: list[Codes], history: History) -> list[Floats]:
    """The earlier picture decoded and cropped, as luma or as Y, Cb and Cr of its RGB pixels."""
    (height, width), (top, left) = _whole_size(history), history.offset
    full = []
    for each, steps, (down, across) in zip(codes, history.tables, history.factors, strict=False):
        assert steps is not None
        samples = chain.decode(each, steps)[: -(-height // down), : -(-width // across)]
        full.append(chain.enlarge(samples, (down, across))[top:height, left:width])
    if len(full) == 1:
        return [full[0].astype(np.float32)]
    return list(jfif.components(chain.to_rgb(np.stack(full, axis=-1))))
