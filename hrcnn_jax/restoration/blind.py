"""Pictures restored by a network of pixels, whatever their history: estimated once, then by tiles.

How bad a picture is is estimated from a few windows of it, before any tile is restored: results do
not depend on where tiles are cut. What somebody says takes the estimate's place. What is found
intact is not touched.

Pixels and codes go the same way: squares are cut out of a picture that is continued by its mirror
image, and *opened* as Y, Cb and Cr. Those of a JPEG file are decoded as libjpeg does, but not
rounded, and what is restored is moved to the nearest planes that have the file's own codes, as
other networks' planes are; unless the picture looks worse than its table makes pictures. Then the
codes are those of damage that was there before, and would hold on to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax.compiler import hasty
from hrcnn_jax.files import pictures
from hrcnn_jax.files.depths import Depth, in_depth
from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import Component, JpegError, JpegFile
from hrcnn_jax.jpeg import color, damage, transform
from hrcnn_jax.jpeg.tables import BLOCK, LEVEL_SHIFT, MAX_SAMPLE
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration import pure, tiles, windows
from hrcnn_jax.restoration.assembly import Plane
from hrcnn_jax.restoration.programs import Program

INTACT = 65
"""What is found as good as JPEG of this quality counts as intact: some that never was compressed
looks no better. Estimates are on the low side: mostly that is quality 85 and more."""

_FINE = 92
"""Tables of JPEG files of at least this quality do no damage worth mending."""

_WORSE = 2.0
"""How many times as much error as its own table makes has to be found in a JPEG file that its table
does not explain."""

_HELD = 1.7
"""How many times as much it may be for a file's codes to be held to. Beyond, results are up to 0.3
dB better without; but files of quality 75 and 90 are found up to 1.7 times as bad as they are, and
lose 0.04 dB without (docs/wild.md)."""

_CONVINCING = 45
"""As bad as JPEG of this quality, or worse, look pictures that are believed to be damaged though no
codes say so. Of 754 clean ones one does (docs/wild.md); what looks better gains little."""

_COARSEST = 0.85
"""Mean step of the tables, in those of quality 50, up to which files' pixels are asked: quality 60
is below it."""

_SMALLEST = 64
"""Pixels a side of the smallest pictures that are."""

_NO_TABLE = np.zeros((BLOCK, BLOCK), np.int32)
"""Of pixels, no damage is explained by any table."""

Corner = tuple[int, int]
Square = Any
"""Samples `(S, S)` or `(S, S, 3)` uint8; or codes `(s, s, 8, 8)` of each component, and tables."""

Cut = Callable[[Corner, int], Square]
"""Cuts a square, given its corner and side in blocks, both multiples of 4."""


class Verdict(NamedTuple):
    """How bad a picture is.

    Attributes:
      quality: the JPEG quality that does as much damage, 1-100.
      told: whether somebody said so; else it is estimated.
      intact: whether it is found to be as it was: then nothing is corrected.
      excess: how many times as much error there is as the file's own table makes, at least 1 if
        nobody said so; pixels have no table, and any is infinitely more.
      error: `(1,)`, as `hrcnn_jax.jpeg.damage` has it.
      traits: `(1, T)`, what else the network found.
    """

    quality: float
    told: bool
    intact: bool
    excess: float
    error: Array
    traits: Array

    @property
    def unexplained(self) -> bool:
        """Whether there is damage to be seen, and much more than the file's own table does."""
        return not self.told and not self.intact and self.excess >= _WORSE

    @property
    def has_own_codes(self) -> bool:
        """Whether a file's codes tell what the picture was, rather than how it was damaged."""
        return self.intact or self.excess < _HELD

    @property
    def is_convincing(self) -> bool:
        """Whether pixels are to be believed rather than codes, or the want of any."""
        return self.unexplained and self.quality <= _CONVINCING

    def __str__(self) -> str:
        """What there is to say of a picture."""
        if self.told:
            return f"restored as if JPEG of quality {self.quality:.0f} had done the damage, as told"
        if self.intact:
            return "looks intact"
        return f"looks as bad as JPEG of quality {self.quality:.0f} would make it"


@dataclass(frozen=True)
class _OfSamples:
    """Opens squares of samples; pure."""

    def __call__(self, square: Square) -> Array:
        """Pixels `(S, S, 3)`: Y, Cb and Cr in [0, 1]."""
        pixels = square.astype(jnp.float32) / MAX_SAMPLE
        return _gray(pixels) if pixels.ndim == 2 else color.rgb_to_ycbcr(pixels)

    def closed(self, pixels: Array, square: Square, faithful: bool) -> Array:
        """Restored pixels `(H, W, 3)` of the inside of a square, as planes: gray or R, G and B."""
        if square.ndim == 2:
            return pixels[..., 0]
        return jnp.moveaxis(color.ycbcr_to_rgb(pixels), -1, 0)


@dataclass(frozen=True)
class _OfCodes:
    """Opens squares of codes, each component's with its table; pure.

    Attributes:
      colour: gray, ycbcr or rgb.
      factors: how many times coarser each component is.
    """

    colour: str
    factors: tuple[tuple[int, int], ...]

    def __call__(self, square: Square) -> Array:
        """Pixels `(S, S, 3)`: Y, Cb and Cr in [0, 1]."""
        planes = [
            color.upsample(transform.decode(codes, table), factor)
            for codes, table, factor in zip(*square, self.factors, strict=True)
        ]
        if self.colour == "gray":
            return _gray(planes[0])
        pixels = jnp.stack(planes, axis=-1)
        return color.rgb_to_ycbcr(pixels) if self.colour == "rgb" else pixels

    def closed(self, pixels: Array, square: Square, faithful: bool) -> Array:
        """Restored pixels `(H, W, 3)` of the inside of a square, as components `(C, H, W)`.

        If they are to be faithful, they are the nearest that have the file's codes once their boxes
        of pixels are shrunk as an encoder shrinks them.
        """
        if self.colour == "rgb":
            pixels = color.ycbcr_to_rgb(pixels)
        planes = [pixels[..., index] for index in range(len(self.factors))]
        if faithful:
            parts = zip(planes, square[0], square[1], self.factors, strict=True)
            planes = [_projected(*each) for each in parts]
        return jnp.stack(planes)


def _projected(plane: Array, codes: Array, table: Array, factor: tuple[int, int]) -> Array:
    """The nearest plane `(H, W)` that has the codes of the square `(s, s, 8, 8)` it lies inside."""
    down, across = (
        (whole - side // (times * BLOCK)) // 2
        for whole, side, times in zip(codes.shape[:2], plane.shape, factor, strict=True)
    )
    inside = codes[down : codes.shape[0] - down, across : codes.shape[1] - across]
    return pure.projected(plane, inside, table, factor)


Opening = _OfSamples | _OfCodes


def worth_asking(given: Stored) -> bool:
    """Whether a picture's pixels may tell of more damage than its codes do.

    Not if it is too small to tell, has inks or gaps, or codes whose own table does much damage.
    """
    if min(given.height, given.width) < _SMALLEST or given.colour in ("cmyk", "ycck"):
        return False
    if given.damage is not None:
        return False
    if isinstance(given, JpegFile):
        mean = float(given.components[0].table.mean())
        return _even(given) and mean <= _COARSEST * damage.MEAN_STEP
    return True


class Blind:
    """A network of pictures, and its programs; safe to share among threads."""

    def __init__(self, network: Network, *, faithful: bool = True) -> None:
        """Of a network of kind `pictures`.

        Args:
          network: that restores.
          faithful: whether what is restored of a JPEG file is made to have its codes, where they
            tell what the picture was.
        """
        module, params = network.architecture.fold(network.module, network.params)
        self.network = network
        self._reach = _reach(module.halo)
        self._side = tiles.side_for(module.halo)
        self._params = params
        self._look = Program(partial(_look, module))
        self._prepare = Program(partial(_prepare, module), hasty)
        self._faithful = faithful
        self._program_of = cache(
            lambda opening, held: Program(partial(_restored, module, opening, held))
        )

    def judge(self, given: Stored, quality: int | None = None) -> Verdict:
        """How bad a picture is.

        A JPEG file is at least as bad as its own table makes pictures.

        Args:
          given: a file or a picture, not of inks.
          quality: what somebody says it is: the JPEG quality that does as much damage.

        Raises:
          JpegError: if a file has components that are 3 times coarser.
        """
        if not _even(given):
            raise JpegError(
                f"{given.name}: {self.network.name} does not know components that are 3 times "
                "coarser than the picture; use another network"
            )
        table = given.components[0].table if isinstance(given, JpegFile) else _NO_TABLE
        told = np.float32(quality or 0)
        seen = self._look(self._params, windows.of(given), table, told)
        return Verdict(
            quality=float(seen.quality),
            told=quality is not None,
            intact=bool(seen.intact),
            excess=float(seen.excess),
            error=seen.error,
            traits=seen.traits,
        )

    def planes(self, file: JpegFile, verdict: Verdict, strength: float) -> list[Plane]:
        """The components of a file at its own size, not rounded.

        Args:
          file: gray, YCbCr or RGB.
          verdict: by `judge`.
          strength: from 0, the plain decode, to 1.
        """
        strips = self._strips(file, verdict, strength)
        size = file.height, file.width
        return [Plane(each, size, (1, 1)) for each in tiles.planes(strips, len(file.components))]

    def picture(
        self,
        picture: Picture,
        verdict: Verdict,
        strength: float,
        depth: Depth,
        watch: Callable[[int, Plane, None], Plane] | None = None,
    ) -> NDArray[Any]:
        """A picture restored, with its opacity, as `Restorer.restore` gives it.

        Args:
          picture: pixels.
          verdict: by `judge`.
          strength: from 0, the picture as it is, to 1.
          depth: of the result's samples.
          watch: is given all channels at once, `(8*n, 8*wb, C)` a strip, or `(8*n, 8*wb)` of gray
            pictures, and passes them on.
        """
        if verdict.intact or strength == 0.0:
            return pictures.pixels(picture, depth)
        restored = np.empty(picture.samples.shape, depth)
        top = 0
        size = picture.height, picture.width
        strips = map(_colours_last, self._strips(picture, verdict, strength))
        plane = Plane(strips, size, (1, 1))
        for strip in (plane if watch is None else watch(0, plane, None)).strips:
            rows = np.clip(strip[: picture.height - top, : picture.width], 0.0, 1.0)
            restored[top : top + len(rows)] = in_depth(rows, depth)
            top += len(rows)
        return pictures.with_alpha(restored, picture.alpha)

    def _strips(
        self, given: Stored, verdict: Verdict, strength: float
    ) -> Iterator[NDArray[np.float32]]:
        """From the top down, rows of planes `(C, 8*n, 8*wb)`; of gray pictures `(8*n, 8*wb)`."""
        cut, opening = _seen(given)
        reach, side = self._reach, self._side
        restore_tile = self._program_of(opening, self._faithful and verdict.has_own_codes)
        prepared = self._prepare(self._params, verdict.error, verdict.traits)
        mix = np.float32(strength)

        def restored(square: Square) -> Array:
            return restore_tile(prepared, square, mix)

        return tiles.cover(
            _blocks(given),
            lambda corner: cut((corner[0] - reach, corner[1] - reach), side + 2 * reach),
            restored,
            side=side,
        )


def _seen(given: Stored) -> tuple[Cut, Opening]:
    """How squares of a picture are cut and opened."""
    if isinstance(given, Picture):
        return partial(tiles.square, given.samples), _OfSamples()
    factors = tuple(part.factor for part in given.components)
    return partial(_cut_codes, given.components), _OfCodes(given.colour, factors)


def _even(given: Stored) -> bool:
    """Whether squares of pictures are whole blocks of all components."""
    parts = given.components if isinstance(given, JpegFile) else ()
    return all(windows.UNIT % each == 0 for part in parts for each in part.factor)


def _colours_last(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Planes `(C, H, W)` as a picture `(H, W, C)`; one alone stays as it is."""
    return planes if planes.ndim == 2 else np.moveaxis(planes, 0, -1)


def _blocks(given: Stored) -> tuple[int, int]:
    """Blocks of a picture, down and across: of a file as many as its coarsest component covers."""
    if isinstance(given, JpegFile):
        parts = given.components
        down, across = (max(p.codes.shape[axis] * p.factor[axis] for p in parts) for axis in (0, 1))
        return down, across
    return -(-given.height // BLOCK), -(-given.width // BLOCK)


def _cut_codes(components: tuple[Component, ...], corner: Corner, side: int) -> Square:
    squares = []
    for part in components:
        down, across = part.factor
        first, size = (corner[0] // down, corner[1] // across), (side // down, side // across)
        squares.append(tiles.window(part.codes, first, size))
    return tuple(squares), tuple(part.table for part in components)


def _gray(plane: Array) -> Array:
    """Y beside neutral Cb and Cr."""
    neutral = jnp.full_like(plane, LEVEL_SHIFT / MAX_SAMPLE)
    return jnp.stack([plane, neutral, neutral], axis=-1)


def _inside(pixels: Array, border: int) -> Array:
    """Pixels `(..., H, W, 3)` without so many on every side."""
    return jnp.moveaxis(transform.without_border(jnp.moveaxis(pixels, -1, 0), border), 0, -1)


class _Seen(NamedTuple):
    """What there is to see of how bad a picture is: as `Verdict` has it."""

    quality: Array
    intact: Array
    excess: Array
    error: Array
    traits: Array


def _look(module: nn.Module, params: Any, seen: Array, table: Array, told: Array) -> _Seen:
    """How bad a picture is.

    Args:
      module: a network of pictures.
      params: its parameters.
      seen: windows of it, `(N, S, S, 3)` uint8 RGB.
      table: `(8, 8)`, that of luma; of pixels zeros.
      told: the quality that somebody says; 0 if nobody does.
    """
    pixels = color.rgb_to_ycbcr(seen.astype(jnp.float32) / MAX_SAMPLE)
    found: Any = module.apply({"params": params}, pixels[None], method="estimate")
    of_table = damage.usual_error(table[None])[:, 0, 0]
    is_told = told > 0
    estimated = jnp.maximum(found.error, of_table)
    error = jnp.where(is_told, damage.of_quality(told), estimated)
    is_fine = damage.quality_of(of_table[0]) >= _FINE
    is_intact = ~is_told & is_fine & (damage.quality_of(found.error[0]) >= INTACT)
    return _Seen(
        quality=damage.quality_of(error[0]),
        intact=is_intact,
        excess=jnp.where(of_table > 0, error / of_table, jnp.inf)[0],
        error=error,
        traits=found.traits,
    )


def _prepare(module: nn.Module, params: Any, error: Array, traits: Array) -> Any:
    return module.apply({"params": params}, error, traits, method="prepare")


def _restored(
    module: nn.Module,
    opening: Opening,
    faithful: bool,
    prepared: Any,
    square: Square,
    strength: Array,
) -> Array:
    """The inside of a tile: its components `(C, H, W)`, or `(H, W)` of gray samples."""
    halo: int = module.halo
    reach = _reach(halo)
    pixels = opening(square)
    given = _inside(pixels, BLOCK * reach)
    seen = _inside(pixels, BLOCK * (reach - halo))[None]
    found: Any = module.apply({}, seen, inside=True, prepared=prepared)
    mixed = given + strength * (found[0] - given)
    return opening.closed(mixed, square, faithful)


def _reach(halo: int) -> int:
    """Blocks around a tile: the halo, what upsampling looks at, and up to a whole unit."""
    return (halo // windows.UNIT + 1) * windows.UNIT
