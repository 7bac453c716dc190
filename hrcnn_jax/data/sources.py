"""Training pictures by index: folder trees, TensorFlow Datasets, and how they are split.

A *source* is a sequence of colour pictures, `(H, W, 3)` uint8 each, with names.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from hrcnn_jax.files import pictures, reader

PICTURE_SUFFIXES = reader.SUFFIXES | pictures.SUFFIXES


class DataError(ValueError):
    """Pictures that cannot be used; the message says which and what to do."""


class Source(Protocol):
    """Pictures by index, loaded when asked for."""

    @property
    def names(self) -> Sequence[str]:
        """A stable name for every picture."""

    @property
    def stamps(self) -> Sequence[Any]:
        """What changes, for every picture, when another is put in its place; None if not known."""

    def load(self, index: int) -> np.ndarray:
        """Picture `index` as `(H, W, 3)` uint8."""


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
                named = (p for p in root.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
                found = sorted(p for p in named if p.is_file())
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

    @property
    def stamps(self) -> Sequence[Any]:
        """Sizes and times of change."""
        return [_stamp(path) for path in self.paths]

    def load(self, index: int) -> np.ndarray:
        """Picture `index` as `(H, W, 3)` uint8.

        Raises:
          DataError: if the file cannot be read as a picture.
        """
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):
                    raise DataError(f"{path}: has more than 8 bits a sample; give it in 8 bits")
                if not image.has_transparency_data:
                    return np.asarray(image.convert("RGB"))
                white = Image.new("RGBA", image.size, "white")
                over_white = Image.alpha_composite(white, image.convert("RGBA"))
                return np.asarray(over_white.convert("RGB"))
        except DataError:
            raise
        except pictures.BROKEN as error:
            raise DataError(f"{path}: cannot be read as a picture: {error}") from error


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_size, known.st_mtime_ns


@dataclass(frozen=True)
class TfdsSource:
    """Pictures of a prepared TensorFlow Datasets set, read without TensorFlow."""

    dataset: str
    split: str
    pictures: Any

    @classmethod
    def of(cls, dataset: str, split: str, data_dir: str | None = None) -> "TfdsSource":
        """Opens `dataset` where it is already prepared as `array_record`.

        Args:
          dataset: for instance `div2k`.
          split: for instance `train`.
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

    @property
    def stamps(self) -> Sequence[Any]:
        """Nothing: data sets do not change but by version."""
        return [None] * len(self.pictures)

    def load(self, index: int) -> np.ndarray:
        """Picture `index` as `(H, W, 3)` uint8; DIV2K keeps the original under `hr`.

        Raises:
          DataError: if the set is none of pictures.
        """
        example = self.pictures[index]
        found = [np.asarray(example[name]) for name in ("hr", "image") if name in example]
        if not found:
            raise DataError(f"tfds:{self.dataset}: holds no pictures, but {', '.join(example)}")
        return np.broadcast_to(found[0], (*found[0].shape[:2], 3))  # gray: one channel thrice


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

    @property
    def stamps(self) -> Sequence[Any]:
        """Those of the pictures kept."""
        stamps = self.source.stamps
        return [stamps[i] for i in self.indices]

    def load(self, index: int) -> np.ndarray:
        """Picture `index` of those kept."""
        return self.source.load(self.indices[index])


def open_source(specs: Sequence[str], *, split: str = "train") -> Source:
    """Opens folders, or one TFDS set named `tfds:NAME` or `tfds:NAME@DATA_DIR`.

    Raises:
      DataError: if the pictures cannot be had.
    """
    if any(spec.startswith("tfds:") for spec in specs):
        if len(specs) != 1:
            raise DataError(f"give one tfds: set, or folders, not several: {' '.join(specs)}")
        name, _, data_dir = specs[0].removeprefix("tfds:").partition("@")
        return TfdsSource.of(name, split, data_dir or None)
    return FolderSource.of(*specs)


def name_of(spec: str, parts: int = 1) -> str:
    """What pictures are called without what leads to them.

    Args:
      spec: a folder, a picture or `tfds:NAME`, as `open_source` takes them.
      parts: of a path, how many of its last ones are told.
    """
    if spec.startswith("tfds:"):
        return spec.partition("@")[0]
    return "/".join(Path(spec).resolve().parts[-parts:])


def split_source(source: Source, shares: Sequence[float], *, seed: int = 0) -> list[Source]:
    """Splits a source into parts that share no picture.

    Args:
      source: at least as many pictures as parts.
      shares: relative sizes, for instance `(0.8, 0.1, 0.1)`; each part gets at least one.
      seed: the same seed and names give the same parts.

    Raises:
      DataError: if there are fewer pictures than parts.
    """
    count = len(source.names)
    if count < len(shares):
        raise DataError(f"{count} picture(s) cannot be split into {len(shares)} parts: add more")
    by_name = sorted(range(count), key=lambda index: source.names[index])
    order = [by_name[place] for place in np.random.default_rng(seed).permutation(count)]
    edges = np.round(np.cumsum([0.0, *shares]) / sum(shares) * count).astype(int)
    # Small sources: every part keeps one picture, taken from its larger neighbours.
    for part in range(1, len(edges)):
        edges[part] = max(edges[part], edges[part - 1] + 1)
        edges[part] = min(edges[part], count - (len(edges) - 1 - part))
    return [Subset(source, tuple(sorted(order[start:end]))) for start, end in pairwise(edges)]


def open_split(specs: Sequence[str], split: str) -> Source:
    """The train, validation or test part of some pictures; no two parts share a picture.

    Folders are split 8:1:1. A TFDS set brings its own test pictures, its split `validation`
    (DIV2K has no other with originals), and its split `train` is split 9:1.

    Args:
      specs: as for `open_source`.
      split: `train`, `validation` or `test`.

    Raises:
      DataError: if the pictures cannot be had or are too few.
    """
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    if specs[0].startswith("tfds:"):
        if split == "test":
            return open_source(specs, split="validation")
        shares = {"train": 0.9, "validation": 0.1}
    parts = split_source(open_source(specs), list(shares.values()))
    return parts[list(shares).index(split)]


def open_training(data: Sequence[str], validation: Sequence[str]) -> tuple[Source, Source]:
    """The training and validation pictures that a run's flags name; they share none.

    How pictures are split belongs to them and not to the run: what is left for testing was seen by
    none.

    Raises:
      DataError: if pictures cannot be had, or `validation` names pictures of `data`.
    """
    if not validation:
        training, held_out = (open_split(data, part) for part in ("train", "validation"))
    else:
        training, held_out = open_source(data), open_source(validation, split="validation")
    shared = set(training.names) & set(held_out.names)
    if shared:
        raise DataError(f"{min(shared)}: in both training and validation pictures; separate them")
    return training, held_out


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
