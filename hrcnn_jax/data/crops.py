"""Crops of training pictures, cut once on the host into one uint8 array `(N, S, S, C)`.

JPEG codes are never stored: they are made from the crops inside the jitted step. Only what no
jitted step can do, chains of compressions and filters (`chains.py`), is done before.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image
from tqdm import tqdm

from hrcnn_jax.data import chains, graphics
from hrcnn_jax.data.planes import Channel
from hrcnn_jax.data.sources import DataError, Source
from hrcnn_jax.files.atomic import write_text, written_whole

_READERS, _BATCHES_AHEAD = 4, 8
"""Threads that read batches, and how many batches at most lie ready: each may be megabytes."""


_GRAPHICS, _CLEAN_GRAPHICS = 0.08, 0.4
"""Shares, of crops that are damaged, of graphics and of altered photographs each, and of chains
without compressions among these: they are what intact pictures are mistaken for."""


def cut_crops(
    source: Source,
    count: int,
    size: int,
    *,
    channel: Channel | None,
    scales: Sequence[float] = (1.0,),
    damage: Sequence[int] = (),
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
      channel: the one plane that is stored, `C` = 1; RGB, `C` = 3, when None.
      scales: each crop is cut from its picture resized by one of these (Lanczos).
      damage: the lowest and highest quality of the random chain that each crop goes through, which
        is then stored beside what it would be without loss, `C` = 6; none if empty.
      seed: the same arguments give the same crops.
      out: array `(count, size, size, C)` uint8 to fill; made when None.
      label: of the progress bar.

    Returns:
      `(count, size, size, C)` uint8, C = 1, 3 or 6.

    Raises:
      DataError: if a picture cannot be read or is smaller than the crop.
    """
    names = source.names
    shape = shape_of(count, size, channel, damage)
    least = size + chains.AROUND if damage else size
    crops = np.empty(shape, np.uint8) if out is None else out
    share = np.array_split(np.arange(count), len(names))

    def cut(index: int) -> None:
        if not len(share[index]):
            return
        random = np.random.default_rng((seed, index))
        picture = source.load(index)
        if min(picture.shape[:2]) < least:
            around = f" with {chains.AROUND} pixels around it" if damage else ""
            raise DataError(
                f"{names[index]}: {picture.shape[1]}x{picture.shape[0]} pixels is smaller than "
                f"the {size}x{size} crop{around}: remove it or choose a smaller crop"
            )
        which = random.integers(len(scales), size=len(share[index]))
        for number, scale in enumerate(scales):
            resized = _resize(picture, scale, least)
            height, width = resized.shape[:2]
            for target in share[index][which == number]:
                if damage:
                    crops[target] = _damaged(resized, size, random, damage)
                    continue
                top = random.integers(height - size + 1)
                left = random.integers(width - size + 1)
                crops[target] = _store(resized[top : top + size, left : left + size], channel)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(cut, range(len(names)))
        for _ in tqdm(done, total=len(names), desc=label, unit="picture", disable=None):
            pass
    return crops


def cached_crops(
    source: Source,
    count: int,
    size: int,
    *,
    channel: Channel | None,
    damage: Sequence[int] = (),
    cache: Path,
    label: str = "cutting crops",
    **options: Any,
) -> np.ndarray:
    """`cut_crops`, kept in a memory-mapped file below `cache` and found again there.

    A file that is not whole is cut anew, and one of pictures that have been replaced since.
    """
    if damage:
        options["damage"] = damage
    asked = [list(source.names), count, size, channel, sorted(options.items())]
    described = json.dumps(asked, default=list)
    path = cache / f"crops-{hashlib.sha256(described.encode()).hexdigest()[:16]}.npy"
    shape = shape_of(count, size, channel, damage)
    stamps = path.with_suffix(".json")
    kept = _whole(path, shape) if _as_before(source, stamps) else None
    if kept is not None:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    for old in (path, stamps):  # or, interrupted, crops without stamps would be believed
        old.unlink(missing_ok=True)
    with written_whole(path) as partial:
        out = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        cut_crops(source, count, size, channel=channel, out=out, label=label, **options)
        out.flush()
    write_text(stamps, json.dumps(source.stamps))
    return np.load(path, mmap_mode="r")


def _as_before(source: Source, stamps: Path) -> bool:
    """Whether the pictures that are still there are those whose stamps were kept, if any were."""
    try:
        kept = json.loads(stamps.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    now = source.stamps
    return len(kept) == len(now) and all(
        stamp is None or list(stamp) == before for stamp, before in zip(now, kept, strict=True)
    )


def _damaged(
    picture: np.ndarray, size: int, random: Generator, quality: Sequence[int]
) -> np.ndarray:
    """`chains.pair` of a picture; now and then of graphics, or of the picture altered."""
    what, least = random.random(), size + chains.AROUND
    if what > 2 * _GRAPHICS:
        return chains.pair(picture, size, random, quality)
    if what < _GRAPHICS:
        other = graphics.drawn(random, least)
    else:
        top, left = (int(random.integers(length - least + 1)) for length in picture.shape[:2])
        part = picture[top : top + least, left : left + least]
        other = graphics.altered(random, np.ascontiguousarray(part))
    return chains.pair(other, size, random, quality, clean=_CLEAN_GRAPHICS)


def shape_of(
    count: int, size: int, channel: Channel | None, damage: Sequence[int]
) -> tuple[int, int, int, int]:
    """Of the array that `cut_crops` makes, given the same."""
    channels = 3 if channel is None else 1
    return count, size, size, 2 * channels if damage else channels


def _whole(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The crops in a file; None if there is none, or it is damaged."""
    try:
        kept = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # missing; cut off, or no such file at all
        return None
    return kept if kept.shape == shape and kept.dtype == np.uint8 else None


def host_batches(
    crops: np.ndarray, batch: int, *, seed: int, first_step: int, shard: int = 0, shards: int = 1
) -> Iterator[np.ndarray]:
    """Endless shuffled batches for crops that do not fit on the device, read ahead by grain.

    Batch number `n` is the same whatever `first_step` the iteration starts from.

    Args:
      crops: `(N, S, S, C)` uint8, usually memory-mapped.
      batch: crops in a batch of this shard.
      seed: of the order, which is new in every epoch.
      first_step: the number of the first batch to give.
      shard: which of `shards` equal parts of the crops to read (one a process).
      shards: how many parts there are.
    """
    import grain

    dataset = grain.MapDataset.source(crops)[shard::shards].shuffle(seed).repeat(None)
    ahead = grain.ReadOptions(num_threads=_READERS, prefetch_buffer_size=_BATCHES_AHEAD)
    iterator = iter(dataset.batch(batch).to_iter_dataset(ahead))
    iterator.set_state({**iterator.get_state(), "next_index": first_step})
    return iterator


def _resize(picture: np.ndarray, scale: float, smallest: int) -> np.ndarray:
    if scale == 1.0:
        return picture
    scale = max(scale, smallest / min(picture.shape[:2]))
    height, width = (max(smallest, round(side * scale)) for side in picture.shape[:2])
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _store(crop: np.ndarray, channel: Channel | None) -> np.ndarray:
    if channel is None:
        return crop
    return channel.of(crop)[..., None]
