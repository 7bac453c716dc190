"""From JPEG file to picture: codes through the network, plane by plane, then colour."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, overload

import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from hrcnn_jax import history as past
from hrcnn_jax import threads
from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.depths import Depth, check_depth, in_depth
from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import Component, JpegError, JpegFile
from hrcnn_jax.history import History, Said
from hrcnn_jax.jpeg import transform
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.networks import cards, zoo
from hrcnn_jax.networks.cards import Kind
from hrcnn_jax.networks.chroma import FACTOR, MCU
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration import compilation, mixture, network_programs, tiles
from hrcnn_jax.restoration.assembly import Plane, assemble
from hrcnn_jax.restoration.blind import Blind, Verdict, worth_asking
from hrcnn_jax.restoration.earlier import Damaged, damaged
from hrcnn_jax.restoration.network_programs import NetworkPrograms
from hrcnn_jax.restoration.opening import Source, ahead, opened
from hrcnn_jax.restoration.programs import Program

Watch = Callable[[int, Plane, Component | None], Plane]
"""Sees the plane of a component, given its number, on its way into a picture."""

_SHARED = 4
"""Networks that `restore` keeps."""


class Restorer:
    """Restores planes and files with one network; keeps its compiled programs between calls.

    Safe to share among threads.
    """

    def __init__(
        self,
        network: str | os.PathLike[str] | Network = cards.DEFAULT,
        *,
        faithful: bool = True,
        strength: float = 1.0,
        chroma: str | os.PathLike[str] | Network | None = cards.OWN,
        pixels: str | os.PathLike[str] | Network | None = cards.PIXELS,
        history: str | Said = "auto",
    ) -> None:
        """Prepares a network.

        Args:
          network: a released network's name, a weights file, the folder of a training run, or a
            network.
          faithful: project every plane onto those that quantise to exactly the file's codes. A
            network that is faithful by construction cannot do without. One of pictures lets codes
            go that are those of earlier damage (`keeps_codes`).
          strength: 0 gives the plain decode, 1 the restored picture, between them a mix; a
            faithful mix stays faithful. Subsampled chroma follows the detail of luma as far.
          chroma: the network that restores 4:2:0 chroma beside one that serves any table; `own`
            is the one that the other's card names, None has each plane restored by itself.
          pixels: the network of pictures that restores those whose damage no codes explain,
            beside one that serves any table; loaded when there is such a picture to ask about.
            None leaves pixels as they are, and believes the codes of files.
          history: `auto` looks for an earlier compression that did the damage, and restores from
            its codes where it can be proved, or has `pixels` restore it where no codes explain
            it; `off` believes the file's own codes; `quality=20`, `quality=20,grid=3:5` or
            `quality=20,size=1024x768` says which there was, where its blocks begin if that is
            known (rows down and columns across, 0-7), and which width and height the picture had
            if it was resized since. A network of pictures looks for none: it estimates how bad
            a picture is, or is told by `quality=20`.

        Raises:
          ModelError: if there is no such network, or one is of the other's kind.
          ValueError: if the strength is outside 0-1, there is no such history, or more of it is
            told than a network of pictures can use; or if `faithful` is off for a network that is
            faithful by construction.
        """
        self.network = _load(network, cards.RESTORING)
        self._set(strength, history)
        if self.network.architecture.is_faithful and not faithful:
            raise ValueError(
                f"network {self.network.name} is faithful by construction: it has no other way; "
                "leave --no-faithful out"
            )
        self._faithful = faithful
        self._luma: NetworkPrograms | None = None
        self._chroma: NetworkPrograms | None = None
        self._pixels = pixels if self.network.table is None else None
        if self.network.architecture.kind == "pictures":
            self._pixels = self.network
        if self._pixels is not None and not isinstance(self._pixels, Network):
            # There should be one, though it may stay unused.
            name, path = zoo.find(os.fspath(self._pixels), kinds=("pictures",))
            _check_kind(name, cards.of_weights(path).kind, ("pictures",))
        # Of nothing that holds this restorer: its programs are let go of as soon as it is.
        self._blind = threads.once(partial(_made_blind, self._pixels, faithful))
        if self._pixels is self.network:
            return
        projected = faithful and not self.network.architecture.is_faithful
        self._luma = network_programs.of_planes(self.network, faithful=projected)
        if chroma is not None and self.network.table is None:
            own = isinstance(chroma, str) and chroma == cards.OWN
            network = _load(self.network.card.chroma if own else chroma, ("chroma",))
            self._chroma = network_programs.of_chroma(network, faithful=faithful)

    def _set(self, strength: float, history: str | Said) -> None:
        if not 0.0 <= strength <= 1.0:
            raise ValueError(f"strength must be from 0 to 1, got {strength}")
        self.strength = strength
        self.history = past.parse(history) if isinstance(history, str) else history
        told, is_blind = self.history, self.network.architecture.kind == "pictures"
        if is_blind and isinstance(told, Said) and told != Said(told.quality):
            raise ValueError(
                f"network {self.network.name} reads pixels, of any grid, encoder and size: tell it "
                f"no more of a history than quality={told.quality}"
            )

    def at(self, strength: float, *, history: str | Said | None = None) -> "Restorer":
        """A restorer of another strength, and if asked for another history, of the same programs.

        Args:
          strength: from 0, the plain decode, to 1.
          history: as `Restorer` takes it; this one's own if not given.

        Raises:
          ValueError: if the strength is outside 0-1, or there is no such history, or the network
            cannot use all of it.
        """
        other = object.__new__(type(self))  # as copy.copy makes anew, like pickle
        other.__dict__.update(self.__dict__)
        other._set(strength, self.history if history is None else history)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled is what it was made from: programs are compiled again, or found on disk."""
        chroma = self._chroma.network if self._chroma is not None else None
        others = chroma, self._pixels
        return _made_again, (self.network, self._faithful, self.strength, *others, self.history)

    def serves(self, table: ArrayLike) -> bool:
        """Whether the network knows planes with this quantisation table `(8, 8)`."""
        own = self.network.table
        return own is None or np.array_equal(own, table)

    def restore_codes(self, codes: ArrayLike, table: ArrayLike) -> NDArray[np.float32]:
        """Restores one plane of codes.

        Args:
          codes: `(hb, wb, 8, 8)` integers, natural order `[v, u]`.
          table: `(8, 8)` quantisation steps.

        Returns:
          Pixels `(8*hb, 8*wb)` float32, neither clipped to [0, 1] nor rounded.

        Raises:
          ValueError: if the shapes are others, there is no block, codes are no integers of 16 bits,
            or the network does not know the table.
        """
        codes, table = np.asarray(codes), np.asarray(table)
        if codes.ndim != 4 or codes.shape[2:] != (8, 8) or table.shape != (8, 8):
            raise ValueError(
                "expected codes (hb, wb, 8, 8) and a table (8, 8), got "
                f"{codes.shape} and {table.shape}"
            )
        if not self.serves(table):
            raise ValueError(f"network {self.network.name} does not know this quantisation table")
        given, codes = codes, codes.astype(np.int16)
        if not codes.size or not np.array_equal(codes, given):
            raise ValueError("expected a block of codes at least, all of them integers of 16 bits")
        if self._luma is None:
            (plane,) = self.planes(reader.of_codes(codes, table))
            return np.concatenate(list(plane.strips))
        return np.concatenate(list(self._strips(codes, table)))

    def planes(self, source: JpegFile | Damaged, watch: Watch | None = None) -> list[Plane]:
        """Restores the components of what a picture is restored from, as far as they are asked for.

        A network that knows one table only restores luma; chroma is then decoded plainly.

        Args:
          source: a file, or what `damaged` gives if that has codes.
          watch: sees each plane as it is restored from its codes.

        Returns:
          For each component its pixels, neither clipped nor rounded; chroma of 4:2:0 files at the
          picture's size.

        Raises:
          JpegError: if the network does not know the table of luma.
        """
        source = Damaged(source) if isinstance(source, JpegFile) else source
        file, watch = source.file, watch or (lambda index, plane, part: plane)
        assert isinstance(file, JpegFile)
        if self._luma is None or source.verdict is not None:
            return self._blind_planes(file, source.verdict, watch)
        luma = self._luma_plane(source, watch)
        if self._chroma is not None and self.strength > 0.0 and _is_420(file):
            own, guide = tiles.shared(luma.strips, 2)
            chroma = self._chroma_strips(file, guide)
            size = file.height, file.width
            planes = [
                luma._replace(strips=own),
                *(Plane(plane, size, (1, 1)) for plane in tiles.planes(chroma, 2)),
            ]
        else:
            planes = [luma]
        for part in file.components[len(planes) :]:
            decode = self._strips if self.serves(part.table) else _plain
            planes.append(Plane.of(part, decode(part.codes, part.table)))
        seen = zip(range(1, len(planes)), planes[1:], file.components[1:], strict=True)
        return [planes[0], *(watch(*each) for each in seen)]

    def _blind_planes(self, file: JpegFile, verdict: Verdict | None, watch: Watch) -> list[Plane]:
        """All components, from pixels.

        Inks, what is found intact, and everything at strength 0 are plainly decoded.
        """
        if verdict is None and self.strength > 0.0:
            verdict = self.judge(file)
        if verdict is None or verdict.intact or self.strength == 0.0:
            planes = [Plane.of(part, _plain(part.codes, part.table)) for part in file.components]
        else:
            planes = self._blind().planes(file, verdict, self.strength)
        parts = zip(planes, file.components, strict=True)
        return [watch(index, *each) for index, each in enumerate(parts)]

    def _luma_plane(self, source: Damaged, watch: Watch) -> Plane:
        """The first component, or what stands for it, where the file has it."""
        assert isinstance(source.file, JpegFile)
        own = source.file.components[0]
        part = source.luma or own
        self._check_serves(source.file.name, part.table)
        plane = Plane.of(part, self._strips(part.codes, part.table))
        if source.luma is None:
            return watch(0, plane, part)
        if source.share == 1.0:
            plane = watch(0, plane, part)
        down, across = own.codes.shape[:2]
        wanted = BLOCK * down, BLOCK * across
        strips = tiles.moved(plane.strips, part.size, source.luma_offset, wanted)
        if source.share == 1.0:
            return Plane.of(own, strips)
        plain = tiles.moved(self._strips(own.codes, own.table), wanted, (0, 0), wanted)
        strips = mixture.mixed(
            plain, strips, source.share, own.codes, own.table, faithful=self._faithful
        )
        return watch(0, Plane.of(own, strips), own)

    def _chroma_strips(
        self, file: JpegFile, luma: Iterator[NDArray[np.float32]]
    ) -> Iterator[NDArray[np.float32]]:
        """Cb and Cr at the picture's size, in strips `(2, 16*n, 16*wb)`."""
        y, cb, cr = file.components[:3]
        down, across = cb.codes.shape[:2]
        rows = tiles.Rows((BLOCK * y.codes.shape[0], BLOCK * y.codes.shape[1]), luma)
        tables = np.stack([cb.table, cr.table])
        assert self._chroma is not None
        side, halo = self._chroma.side, self._chroma.halo
        restore_tile = self._chroma.of(tables, y.table, strength=self.strength)

        def cut(corner: tuple[int, int]) -> tuple[NDArray, NDArray]:
            size = (side, side)
            codes = [tiles.surrounded(part.codes, corner, size, halo) for part in (cb, cr)]
            guide = rows.take(
                *(
                    tiles.mirrored(MCU * count, MCU * (start - halo), MCU * (start + side + halo))
                    for count, start in zip((down, across), corner, strict=True)
                )
            )
            return np.stack(codes), guide

        return tiles.cover(
            (down, across), cut, lambda tile: restore_tile(*tile), side=side, block=MCU
        )

    def _strips(self, codes: NDArray[np.int16], table: NDArray) -> Iterator[NDArray[np.float32]]:
        if self.strength == 0.0:
            return _plain(codes, table)
        luma = self._luma
        assert luma is not None
        restore_tile = luma.of(table, strength=self.strength)
        return tiles.strips(codes, restore_tile, halo=luma.halo, side=luma.side)

    @overload
    def restore(
        self,
        source: list[Source] | tuple[Source, ...],
        *,
        max_pixels: int | None = ...,
        depth: Depth = ...,
    ) -> list[NDArray[Any]]: ...

    @overload
    def restore(
        self, source: Source, *, max_pixels: int | None = ..., depth: Depth = ...
    ) -> NDArray[Any]: ...

    def restore(
        self,
        source: Source | list[Source] | tuple[Source, ...],
        *,
        max_pixels: int | None = reader.MAX_PIXELS,
        depth: Depth = "uint8",
    ) -> NDArray[Any] | list[NDArray[Any]]:
        """Restores a picture, or several.

        What was never a JPEG, as far as can be told, comes out as it went in. A network that knows
        one table only restores luma; chroma is then decoded plainly.

        Args:
          source: a JPEG, PNG, WebP, TIFF or BMP file as a path, its content, a binary file
            object, or a file already read; a picture of Pillow's (of one that was opened from a
            JPEG file that file is restored, whatever was done to the picture); or pixels,
            `(H, W)` gray or `(H, W, 3)` RGB uint8, perhaps with opacity as one more channel;
            or a list or tuple of them, of which each is read while the one before it is restored.
          max_pixels: refuse larger files, and larger pictures of Pillow's; None for no limit.
          depth: of the result's samples: `uint8` and `uint16` use the type's whole range,
            `float32` is in [0, 1].

        Returns:
          `(H, W)` of a grayscale file, `(H, W, 3)` RGB of a colour file, `(H, W, 4)` of a
          CMYK file, the largest value being full ink; opacity, if a picture has it, is one
          channel more; as stored: not turned by an EXIF orientation, but for TIFF
          files. Of a list or tuple, the list of them.

        Raises:
          JpegError: if a file cannot be read, Pillow cannot load a picture, or the network does not
            know the table of luma.
          TypeError: if a source is none of these.
          ValueError: if there is no such depth, or an array is no picture.
        """
        check_depth(depth)
        read = partial(opened, max_pixels=max_pixels)
        if isinstance(source, list | tuple):
            return [self._restored(file, depth) for file in ahead(read, source)]
        return self._restored(read(source), depth)

    def _restored(self, given: Stored, depth: Depth) -> NDArray[Any]:
        return self.picture(given, self.damaged(given), depth)

    def damaged(self, given: Stored) -> Damaged:
        """What a picture is restored from: its own codes, those of an earlier one, or nothing.

        While that is found out, what restoring a JPEG file takes is loaded or compiled. What
        pixels suffered is told where they are what is restored from.
        """
        if self.strength == 0.0:
            return Damaged(given)  # plain decoding asks for no history, and nobody
        if self._luma is None:
            return Damaged(given, verdict=self.judge(given))
        if isinstance(given, JpegFile):
            self._begin(given)
        source = self._served(given, damaged(given, self.history))
        return source._replace(verdict=self.judge(given, source.history))

    def _served(self, given: Stored, source: Damaged) -> Damaged:
        """Of that, what a network of one table can restore: a file itself, if it has the table."""
        if not isinstance(given, JpegFile) or not isinstance(source.file, JpegFile):
            return source
        own = self.serves(given.components[0].table)
        if own and not self.serves((source.luma or source.file.components[0]).table):
            return Damaged(given)
        mixed = source.luma is not None and source.share < 1.0
        return source._replace(share=1.0) if mixed and not own else source

    def judge(self, given: Stored, found: History | None = None) -> Verdict | None:
        """How bad a picture is, if it is to be restored from its pixels; else None.

        A network of pictures restores all from them, but inks, and those that were never files of
        codes if no past is to be believed; and it believes what it is told.
        Beside a network of planes it is asked about pictures of which no earlier compression was
        found, and has to find damage that the file's own codes do not explain.

        Args:
          given: a file or a picture.
          found: the earlier compression.

        Raises:
          JpegError: if a network of pictures that is asked for does not see such files.
        """
        if self._luma is None:
            if given.colour in ("cmyk", "ycck"):
                return None
            if self.history == "off" and not isinstance(given, JpegFile):
                return None
            told = self.history.quality if isinstance(self.history, Said) else None
            return self._blind().judge(given, told)
        asked = self._pixels is not None and self.history == "auto" and self.strength > 0.0
        if not asked or found is not None or not worth_asking(given):
            return None
        verdict = self._blind().judge(given)
        return verdict if verdict.is_convincing else None

    def used(self, verdict: Verdict | None) -> Network:
        """The network that restores what `judge` said this of."""
        return self.network if verdict is None else self._blind().network

    def keeps_codes(self, source: Damaged) -> bool:
        """Whether what is restored of this gives back the codes it is restored from, all of them.

        Not if that was not asked for, nor where a network of pictures finds that a file's codes are
        those of damage which was there before them.
        """
        return self._faithful and (source.verdict is None or source.verdict.has_own_codes)

    def _begin(self, file: JpegFile) -> None:
        if not self.serves(file.components[0].table):
            return
        luma, *others = (part.table for part in file.components)
        assert self._luma is not None
        self._luma.begin(luma, strength=self.strength)
        if self._chroma is not None and _is_420(file):
            self._chroma.begin(np.stack(others[:2]), luma, strength=self.strength)

    def picture(
        self, given: Stored, source: Damaged, depth: Depth = "uint8", watch: Watch | None = None
    ) -> NDArray[Any]:
        """The restored picture, as `restore` gives it.

        Args:
          given: a file or a picture.
          source: what `damaged` says of it.
          depth: of the result's samples.
          watch: as that of `planes`.

        Raises:
          JpegError: if the network does not know the table of luma.
        """
        if isinstance(source.file, Picture):
            if source.verdict is None:
                return pictures.pixels(source.file, depth)
            pixels, verdict = source.file, source.verdict
            return self._blind().picture(pixels, verdict, self.strength, depth, watch)
        whole = self.assembled(source, self.planes(source, watch), depth)
        return self.finished(given, source, whole, depth)

    def finished(
        self, given: Stored, source: Damaged, whole: NDArray[Any], depth: Depth
    ) -> NDArray[Any]:
        """What `assembled` gave as the picture was given: cropped or resized, with its opacity.

        One that was resized is mixed with what its own codes, or pixels, give, if the network knows
        their table.

        Args:
          given: a file or a picture.
          source: what `damaged` says of it.
          whole: of that depth; in [0, 1] if it is to be resized.
          depth: of the result's samples.
        """
        result = source.finished(whole)
        if source.rescaled is not None:
            own = self._own(given)
            if own is not None:
                result = own + np.float32(source.share) * (result - own)
            result = in_depth(result, depth)
        return pictures.with_alpha(result, pictures.alpha_of(given))

    def _own(self, given: Stored) -> NDArray[np.float32] | None:
        """What a picture's own codes, or pixels, give in [0, 1], opacity left out."""
        if isinstance(given, Picture):
            return pictures.pixels(replace(given, alpha=None), "float32")
        if not self.serves(given.components[0].table):
            return None
        return self.picture(given, Damaged(given), "float32")

    def assembled(self, source: Damaged, planes: list[Plane], depth: Depth) -> NDArray[Any]:
        """The picture `(H, W)` or `(H, W, C)` of what `planes` gave, without opacity.

        It is still to be finished by `source`; until then it is in [0, 1] if that resizes it.
        Coarser chroma is enlarged along the edges of luma as far as the picture is restored.
        """
        assert isinstance(source.file, JpegFile)
        if source.rescaled is not None:
            depth = "float32"
        is_intact = source.verdict is not None and source.verdict.intact
        guidance = 0.0 if is_intact else self.strength
        return assemble(source.file, planes, depth, guidance=guidance)

    def _check_serves(self, name: str, table: NDArray[np.int32]) -> None:
        if self.strength > 0.0 and not self.serves(table):
            quality = self.network.quality
            raise JpegError(
                f"{name}: {self.network.name} only serves luma with the standard table of "
                f"quality {quality}, and this file has another; use --model {cards.DEFAULT}"
            )


def _made_again(
    network: Network,
    faithful: bool,
    strength: float,
    chroma: Network | None,
    pixels: str | os.PathLike[str] | Network | None,
    history: past.Mode | Said,
) -> Restorer:
    return Restorer(
        network,
        faithful=faithful,
        strength=strength,
        chroma=chroma,
        pixels=pixels,
        history=history,
    )


def _made_blind(pixels: str | os.PathLike[str] | Network | None, faithful: bool) -> Blind:
    assert pixels is not None
    return Blind(_load(pixels, ("pictures",)), faithful=faithful)


@overload
def restore(
    source: list[Source] | tuple[Source, ...],
    *,
    model: str | os.PathLike[str] = ...,
    depth: Depth = ...,
) -> list[NDArray[Any]]: ...


@overload
def restore(
    source: Source, *, model: str | os.PathLike[str] = ..., depth: Depth = ...
) -> NDArray[Any]: ...


def restore(
    source: Source | list[Source] | tuple[Source, ...],
    *,
    model: str | os.PathLike[str] = cards.DEFAULT,
    depth: Depth = "uint8",
) -> NDArray[Any] | list[NDArray[Any]]:
    """Restores a picture, or several: JPEG files, and other pictures that were JPEG files once.

    The few networks asked for last stay loaded and compiled, and programs are kept on disk as the
    commands keep them (`hrcnn_jax.restoration.compilation.keep_programs`).

    Args:
      source: as that of `Restorer.restore`.
      model: a released network's name, a weights file, or the folder of a training run.
      depth: of the result's samples: `uint8`, `uint16` or `float32`.

    Returns:
      As `Restorer.restore`.

    Raises:
      JpegError: if a file cannot be restored; the message says why.
      ModelError: if there is no such network.
      TypeError: if a source is none of these.
      ValueError: if there is no such depth.
    """
    _, weights = zoo.find(os.fspath(model))
    restorer = _shared(os.fspath(model), weights.stat().st_mtime_ns)
    return restorer.restore(source, depth=depth)


@lru_cache(_SHARED)
def _shared(model: str, changed: int) -> Restorer:
    """The restorer of a network, and another once its weights have changed."""
    del changed
    compilation.keep_programs()
    return Restorer(model)


def decode(source: Source, *, depth: Depth = "uint8") -> NDArray[Any]:
    """Decodes a JPEG file plainly, with this package's own colour and upsampling.

    What is no JPEG is given as it is.

    Args and returns as `Restorer.restore`, of one picture of up to 200 million pixels.

    Raises:
      JpegError: if the file cannot be read.
      TypeError: if the source is none.
      ValueError: if there is no such depth.
    """
    check_depth(depth)
    file = opened(source, reader.MAX_PIXELS)
    if isinstance(file, Picture):
        return pictures.pixels(file, depth)
    planes = [Plane.of(part, _plain(part.codes, part.table)) for part in file.components]
    return assemble(file, planes, depth)


def _plain(codes: NDArray[np.int16], table: NDArray) -> Iterator[NDArray[np.float32]]:
    steps = np.asarray(table, np.int32)
    return tiles.strips(codes, lambda tile: _plain_tile(tile, steps), halo=0)


@Program
def _plain_tile(codes: Array, table: Array) -> Array:
    """Pixels `(8*h, 8*w)` of codes `(h, w, 8, 8)`, not clipped: faithful to them."""
    return transform.decode(codes, table, clip=False)


def _is_420(file: JpegFile) -> bool:
    factors = [part.factor for part in file.components[:3]]
    return file.colour in ("ycbcr", "ycck") and factors == [(1, 1), FACTOR, FACTOR]


_NOT_AMONG: dict[tuple[Kind, ...], str] = {
    cards.RESTORING: "only restores chroma beside another",
    ("chroma",): "is no network for chroma",
    ("pictures",): "is no network of pictures",
}
"""What is said of a network that is of none of these kinds."""


def _load(network: str | os.PathLike[str] | Network, kinds: tuple[Kind, ...]) -> Network:
    loaded = network if isinstance(network, Network) else zoo.load(network, kinds=kinds)
    _check_kind(loaded.name, loaded.architecture.kind, kinds)
    return loaded


def _check_kind(name: str, kind: str, kinds: tuple[Kind, ...]) -> None:
    if kind not in kinds:
        known = [each for known in kinds for each in cards.names(kind=known)]
        raise cards.ModelError(
            f"network {name!r} {_NOT_AMONG[kinds]}: choose from {', '.join(known)}"
        )
