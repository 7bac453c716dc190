"""Training pictures: sources, splits, crops on the host; planes and augmentation on the device.

A *source* is a sequence of colour pictures, ``(H, W, 3)`` uint8 each, with names: a folder tree
or a TensorFlow Datasets set. Crops are cut once, into one uint8 array ``(N, S, S, C)``; JPEG codes
are never stored, they are made from the crops inside the jitted step.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image
from tqdm import tqdm

from hrcnn_jax import jpeg
from hrcnn_jax.files import written_whole

PICTURE_SUFFIXES = {".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}

PLANES = {
    "green": ((0.0, 1.0, 0.0),),
    "luma": ((0.299, 0.587, 0.114),),
    "rgb": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "colour": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "any": (
        (1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0),
        (0.0, 0.0, 1.0),
        *3 * ((0.299, 0.587, 0.114),),
        (-0.168736, -0.331264, 0.5),
        (0.5, -0.418688, -0.081312),
    ),
}
"""Planes a network can be trained on, as weights of R, G and B (T.871 clause 7 for Y, Cb, Cr).

Each is drawn equally often; ``any`` has Y three times, for it is what files mostly hold. Of
``colour``, all three are drawn together."""


class DataError(ValueError):
    """Pictures that cannot be used; the message says which and what to do."""


class Source(Protocol):
    """Pictures by index, loaded when asked for."""

    @property
    def names(self) -> Sequence[str]:
        """A stable name for every picture."""

    def load(self, index: int) -> np.ndarray:
        """Picture ``index`` as ``(H, W, 3)`` uint8."""


@dataclass(frozen=True)
class FolderSource:
    """Pictures of a folder tree (PNG, WebP, JPEG, BMP, TIFF), in the order of their paths."""

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, *folders: str | os.PathLike[str]) -> "FolderSource":
        """Finds the pictures below folders; a single picture file may be given too.

        Raises:
          DataError: if a folder is missing or holds no picture.
        """
        paths: list[Path] = []
        for folder in folders:
            root = Path(folder).resolve()  # so that a picture has one name, however it is reached
            if root.is_file():
                found = [root]
            elif root.is_dir():
                found = sorted(p for p in root.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
            else:
                raise DataError(f"{folder}: no such folder")
            if not found:
                kinds = ", ".join(sorted(PICTURE_SUFFIXES))
                raise DataError(f"{folder}: no pictures in this folder (looked for {kinds})")
            paths += found
        return cls(tuple(dict.fromkeys(paths)))  # folders may overlap

    @property
    def names(self) -> Sequence[str]:
        """The paths as text."""
        return [str(path) for path in self.paths]

    def load(self, index: int) -> np.ndarray:
        """Picture ``index`` as ``(H, W, 3)`` uint8.

        Raises:
          DataError: if the file cannot be read as a picture.
        """
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: cannot be read as a picture: {error}") from error


@dataclass(frozen=True)
class TfdsSource:
    """Pictures of a prepared TensorFlow Datasets set, read without TensorFlow."""

    dataset: str
    split: str
    pictures: Any

    @classmethod
    def of(cls, dataset: str, split: str, data_dir: str | None = None) -> "TfdsSource":
        """Opens ``dataset`` where it is already prepared as ``array_record``.

        Args:
          dataset: for instance ``div2k``.
          split: for instance ``train``.
          data_dir: where it was prepared; TFDS's default when None.

        Raises:
          DataError: if it is not prepared there; the message tells how to prepare it.
        """
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise DataError(f"tfds:{dataset}: {error}: pip install tensorflow-datasets") from error
        try:
            pictures = tfds.data_source(dataset, split=split, data_dir=data_dir, download=False)
        except (AssertionError, FileNotFoundError, ValueError, NotImplementedError) as error:
            flag = f", data_dir={data_dir!r}" if data_dir else ""
            raise DataError(
                f"tfds:{dataset}: split {split!r} is not prepared here ({_first_line(error)}). "
                'Preparing needs TensorFlow, once: pip install tensorflow && python -c "import '
                f"tensorflow_datasets as tfds; tfds.data_source('{dataset}'{flag})\""
            ) from error
        return cls(dataset, split, pictures)

    @property
    def names(self) -> Sequence[str]:
        """Names made of data set, split and index."""
        return [f"tfds:{self.dataset}/{self.split}/{i}" for i in range(len(self.pictures))]

    def load(self, index: int) -> np.ndarray:
        """Picture ``index`` as ``(H, W, 3)`` uint8; DIV2K keeps the original under ``hr``."""
        example = self.pictures[index]
        return np.asarray(example["hr"] if "hr" in example else example["image"])


@dataclass(frozen=True)
class Subset:
    """Some pictures of another source."""

    source: Source
    indices: tuple[int, ...]

    @property
    def names(self) -> Sequence[str]:
        """The names of the pictures kept."""
        names = self.source.names
        return [names[i] for i in self.indices]

    def load(self, index: int) -> np.ndarray:
        """Picture ``index`` of those kept."""
        return self.source.load(self.indices[index])


def open_source(specs: Sequence[str], *, split: str = "train") -> Source:
    """Opens folders, or one TFDS set named ``tfds:NAME`` or ``tfds:NAME@DATA_DIR``.

    Raises:
      DataError: if the pictures cannot be had.
    """
    if any(spec.startswith("tfds:") for spec in specs):
        if len(specs) != 1:
            raise DataError(f"give one tfds: set, or folders, not several: {' '.join(specs)}")
        name, _, data_dir = specs[0].removeprefix("tfds:").partition("@")
        return TfdsSource.of(name, split, data_dir or None)
    return FolderSource.of(*specs)


def split_source(source: Source, shares: Sequence[float], *, seed: int = 0) -> list[Source]:
    """Splits a source into parts that share no picture.

    Args:
      source: at least as many pictures as parts.
      shares: relative sizes, for instance ``(0.8, 0.1, 0.1)``; each part gets at least one.
      seed: the same seed and names give the same parts.

    Raises:
      DataError: if there are fewer pictures than parts.
    """
    count = len(source.names)
    if count < len(shares):
        raise DataError(f"{count} picture(s) cannot be split into {len(shares)} parts: add more")
    order = np.random.default_rng(seed).permutation(count)
    edges = np.round(np.cumsum([0.0, *shares]) / sum(shares) * count).astype(int)
    # Small sources: every part keeps one picture, taken from its larger neighbours.
    for part in range(1, len(edges)):
        edges[part] = max(edges[part], edges[part - 1] + 1)
        edges[part] = min(edges[part], count - (len(edges) - 1 - part))
    return [
        Subset(source, tuple(sorted(int(i) for i in order[start:end])))
        for start, end in pairwise(edges)
    ]


def open_split(specs: Sequence[str], split: str, *, seed: int = 0) -> Source:
    """The train, validation or test part of some pictures; no two parts share a picture.

    Folders are split 8:1:1. A TFDS set brings its own test pictures, its split ``validation``
    (DIV2K has no other with originals), and its split ``train`` is split 9:1.

    Args:
      specs: as for :func:`open_source`.
      split: ``train``, ``validation`` or ``test``.
      seed: the same seed gives the same parts.

    Raises:
      DataError: if the pictures cannot be had or are too few.
    """
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    if specs[0].startswith("tfds:"):
        if split == "test":
            return open_source(specs, split="validation")
        shares = {"train": 0.9, "validation": 0.1}
    parts = split_source(open_source(specs), list(shares.values()), seed=seed)
    return parts[list(shares).index(split)]


def open_training(
    data: Sequence[str], validation: Sequence[str], *, seed: int = 0
) -> tuple[Source, Source]:
    """The training and validation pictures that a run's flags name; they share none.

    Raises:
      DataError: if pictures cannot be had, or ``validation`` names pictures of ``data``.
    """
    if not validation:
        training, held_out = (open_split(data, part, seed=seed) for part in ("train", "validation"))
    else:
        training, held_out = open_source(data), open_source(validation, split="validation")
    shared = set(training.names) & set(held_out.names)
    if shared:
        raise DataError(f"{min(shared)}: in both training and validation pictures; separate them")
    return training, held_out


def cut_crops(
    source: Source,
    count: int,
    size: int,
    *,
    planes: str,
    scales: Sequence[float] = (1.0,),
    seed: int = 0,
    out: np.ndarray | None = None,
    label: str = "cutting crops",
) -> np.ndarray:
    """Cuts crops at random places, as many from each picture (give or take one).

    Positions are uniform over pixels, so crops of pictures that were once JPEG files lie off
    their 8x8 grid seven times out of eight each way.

    Args:
      source: the pictures.
      count: how many crops.
      size: their side in pixels.
      planes: key of ``PLANES``; a single plane is stored as one channel, several as RGB.
      scales: each crop is cut from its picture resized by one of these (Lanczos).
      seed: the same arguments give the same crops.
      out: array ``(count, size, size, C)`` uint8 to fill; made when None.
      label: of the progress bar.

    Returns:
      ``(count, size, size, C)`` uint8, C = 1 or 3.

    Raises:
      DataError: if a picture cannot be read or is smaller than the crop.
    """
    names = source.names
    channels = stored_channels(planes)
    crops = np.empty((count, size, size, channels), np.uint8) if out is None else out
    share = np.array_split(np.arange(count), len(names))

    def cut(index: int) -> None:
        if not len(share[index]):
            return
        random = np.random.default_rng((seed, index))
        picture = source.load(index)
        if min(picture.shape[:2]) < size:
            raise DataError(
                f"{names[index]}: {picture.shape[1]}x{picture.shape[0]} pixels is smaller than "
                f"the {size}x{size} crop: remove it or choose a smaller crop"
            )
        which = random.integers(len(scales), size=len(share[index]))
        for number, scale in enumerate(scales):
            resized = _resize(picture, scale, size)
            height, width = resized.shape[:2]
            for target in share[index][which == number]:
                top = random.integers(height - size + 1)
                left = random.integers(width - size + 1)
                crops[target] = _store(resized[top : top + size, left : left + size], planes)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(cut, range(len(names)))
        for _ in tqdm(done, total=len(names), desc=label, unit="picture", disable=None):
            pass
    return crops


def stored_channels(planes: str) -> int:
    """Channels of stored crops: one where a single plane is trained on, else RGB."""
    return 1 if len(PLANES[planes]) == 1 else 3


def cached_crops(
    source: Source, count: int, size: int, *, cache: Path, **options: Any
) -> np.ndarray:
    """:func:`cut_crops`, kept in a memory-mapped file below ``cache`` and found again there."""
    described = json.dumps([list(source.names), count, size, sorted(options.items())], default=list)
    path = cache / f"crops-{hashlib.sha256(described.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        shape = (count, size, size, stored_channels(options["planes"]))
        with written_whole(path) as partial:
            out = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
            cut_crops(source, count, size, out=out, **options)
            out.flush()
    return np.load(path, mmap_mode="r")


def host_batches(
    crops: np.ndarray, batch: int, *, seed: int, first_step: int, shard: int = 0, shards: int = 1
) -> Iterator[np.ndarray]:
    """Endless shuffled batches for crops that do not fit on the device, read ahead by grain.

    Batch number ``n`` is the same whatever ``first_step`` the iteration starts from.

    Args:
      crops: ``(N, S, S, C)`` uint8, usually memory-mapped.
      batch: crops in a batch of this shard.
      seed: of the order, which is new in every epoch.
      first_step: the number of the first batch to give.
      shard: which of ``shards`` equal parts of the crops to read (one a process).
      shards: how many parts there are.
    """
    import grain

    dataset = grain.MapDataset.source(crops)[shard::shards].shuffle(seed).repeat(None)
    iterator = iter(dataset.batch(batch).to_iter_dataset())
    iterator.set_state({**iterator.get_state(), "next_index": first_step})
    return iterator


@dataclass(frozen=True)
class Augmentation:
    """What a training step draws from a stored crop.

    Attributes:
      planes: key of ``PLANES``.
      patch: side of the plane that is returned, in pixels.
    """

    planes: str
    patch: int

    def __call__(self, key: Array, crop: Array) -> tuple[Array, Array]:
        """One random patch of one crop; lift it over a batch with ``jax.vmap``.

        Args:
          key: a PRNG key.
          crop: ``(S, S, C)`` uint8.

        Returns:
          The plane ``(patch, patch)`` float32 in [0, 1], and whether it is chroma (a bool).
        """
        place_key, plane_key, half_key, turn_key = jax.random.split(key, 4)
        rows = PLANES[self.planes]
        index = jax.random.randint(plane_key, (), 0, len(rows))
        is_chroma = (index >= len(rows) - 2) if self.planes == "any" else jnp.zeros((), bool)
        side = 2 * self.patch if self.planes == "any" else self.patch
        top, left = jax.random.randint(place_key, (2,), 0, crop.shape[0] - side + 1)
        window = jax.lax.dynamic_slice(crop, (top, left, 0), (side, side, crop.shape[2]))
        pixels = window.astype(jnp.float32) / 255.0
        if crop.shape[2] == 1:
            plane = pixels[..., 0]
        else:
            offset = jnp.where(is_chroma, 128.0 / 255.0, 0.0)
            row = jnp.asarray(rows, jnp.float32)[index]
            plane = jnp.matmul(pixels, row, precision=jpeg.EXACT) + offset
        if self.planes == "any":
            # Chroma is subsampled in half the cases, as the box filter of libjpeg's encoder does.
            half = plane.reshape(self.patch, 2, self.patch, 2).mean((1, 3))
            subsample = is_chroma & jax.random.bernoulli(half_key)
            plane = jnp.where(subsample, half, plane[: self.patch, : self.patch])
        return _turn(turn_key, plane), is_chroma


def colour_patch(key: Array, crop: Array, patch: int) -> Array:
    """One random patch ``(patch, patch, 3)`` float32 in [0, 1] of a crop ``(S, S, 3)`` uint8."""
    place_key, turn_key = jax.random.split(key)
    top, left = jax.random.randint(place_key, (2,), 0, crop.shape[0] - patch + 1)
    window = jax.lax.dynamic_slice(crop, (top, left, 0), (patch, patch, 3))
    return _turn(turn_key, window.astype(jnp.float32) / 255.0)


def _turn(key: Array, plane: Array) -> Array:
    """One of the eight flips and rotations of a square, ``(S, S)`` or ``(S, S, C)``."""
    transpose, down, across = jax.random.bernoulli(key, shape=(3,))
    plane = jnp.where(transpose, plane.swapaxes(0, 1), plane)
    plane = jnp.where(down, plane[::-1], plane)
    return jnp.where(across, plane[:, ::-1], plane)


def _resize(picture: np.ndarray, scale: float, smallest: int) -> np.ndarray:
    if scale == 1.0:
        return picture
    height, width = (max(smallest, round(side * scale)) for side in picture.shape[:2])
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _store(crop: np.ndarray, planes: str) -> np.ndarray:
    rows = np.asarray(PLANES[planes], np.float32)
    return crop if len(rows) > 1 else np.round(crop @ rows.T).astype(np.uint8)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
