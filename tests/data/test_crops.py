"""Sources, splits, crops and batches on the host; planes and turns on the device."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_photo
from PIL import Image

from hrcnn_jax.data import crops as cutting
from hrcnn_jax.data import sources
from hrcnn_jax.data.crops import cached_crops, cut_crops, host_batches
from hrcnn_jax.data.patches import Augmentation
from hrcnn_jax.data.planes import GREEN, LUMA, PLANES
from hrcnn_jax.data.sources import DataError, FolderSource, TfdsSource
from hrcnn_jax.files import exif


def save(folder: Path, name: str, picture: np.ndarray) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def coordinates(height: int, width: int, number: int = 0) -> np.ndarray:
    """A picture whose R is its row, G its column and B its number: a crop says where it is from."""
    row, column = np.mgrid[:height, :width]
    return np.stack([row, column, np.full_like(row, number)], -1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures of coordinates."""
    for number in range(5):
        save(tmp_path / "pictures", f"{number}.png", coordinates(40 + number, 50, number))
    return tmp_path / "pictures"


# --- sources -------------------------------------------------------------------------------------


def test_folders_are_searched_in_depth(tmp_path: Path) -> None:
    picture = make_photo(16, 24)
    names = ["b.png", "a/x.PNG", "a/deep/y.jpg", "c.jpeg", "d.webp", "e.bmp", "f.tif", "g.TIFF"]
    for name in names:
        save(tmp_path, name, picture)
    (tmp_path / "notes.txt").write_text("no picture")
    source = FolderSource.of(tmp_path)
    expected = sorted(tmp_path / name for name in names)
    assert source.names == [str(path) for path in expected]
    for index in range(len(names)):
        loaded = source.load(index)
        assert (loaded.shape, loaded.dtype) == ((16, 24, 3), np.uint8)
    np.testing.assert_array_equal(source.load(expected.index(tmp_path / "b.png")), picture)


def test_several_folders_and_single_files(tmp_path: Path) -> None:
    paths = [save(tmp_path, name, make_photo(8, 8)) for name in ("b/1.png", "a/2.png", "3.png")]
    source = sources.open_source([str(paths[2]), str(tmp_path / "b"), str(tmp_path / "a")])
    assert source.names == [str(paths[2]), str(paths[0]), str(paths[1])]
    again = sources.open_source([str(tmp_path), str(tmp_path / "a")])
    assert len(again.names) == 3, "a folder within another counts once"


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_other_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.fromarray(make_photo(9, 11)).convert(mode).save(tmp_path / f"picture.{suffix}")
    assert FolderSource.of(tmp_path).load(0).shape == (9, 11, 3)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: no such folder"):
        sources.open_source([str(tmp_path / "none")])
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match=rf"{tmp_path.name}: no pictures.*\.png"):
        sources.open_source([str(tmp_path)])


def test_broken_pictures(tmp_path: Path) -> None:
    """Wherever a file is damaged: its name, and never another exception."""
    whole = save(tmp_path, "whole.png", make_photo(32, 32)).read_bytes()
    (tmp_path / "whole.png").unlink()
    path = tmp_path / "broken.png"
    broken = [b"", b"text", whole[:60], whole[: len(whole) // 2]]
    broken += [whole[:i] + b"\xff\xff\xff" + whole[i + 3 :] for i in (0, 9, 12, 20, 30, 38, 42)]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.png: cannot be read as a picture"):
            FolderSource.of(tmp_path).load(0)


def test_a_broken_tag_of_tiff(tmp_path: Path) -> None:
    """Found by fuzzing: Pillow raises a TypeError where the place of its rows is a fraction."""
    path = save(tmp_path, "broken.tiff", make_photo(8, 8))
    data = bytearray(path.read_bytes())
    entries = exif.directory(bytes(data), exif.first_directory(bytes(data)))
    (strips,) = (entry for entry in entries if entry.tag == 273)
    data[strips.at + 2] = 5
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"broken\.tiff: cannot be read as a picture"):
        FolderSource.of(path).load(0)


def test_pictures_are_called_without_what_leads_to_them(tmp_path: Path) -> None:
    assert sources.name_of(f"{tmp_path}/a/../b/") == "b"
    assert sources.name_of(f"{tmp_path}/b", 2) == f"{tmp_path.name}/b"
    for parts in (1, 2):
        assert sources.name_of("tfds:div2k@/data/tfds", parts) == "tfds:div2k"


# --- splits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 10, 101])
@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (1, 1, 1), (0.01, 0.01, 0.98), (1, 0, 1)])
def test_splits_share_nothing_and_lose_nothing(count: int, shares: tuple[float, ...]) -> None:
    source = FolderSource(tuple(Path(f"{number}.png") for number in range(count)))
    parts = sources.split_source(source, shares)
    names = [name for part in parts for name in part.names]
    assert sorted(names) == sorted(source.names)
    for part, share in zip(parts, shares, strict=True):
        assert len(part.names) >= 1
        assert abs(len(part.names) - count * share / sum(shares)) <= 2  # each part keeps one


def test_splits_depend_on_the_seed_alone() -> None:
    source = FolderSource(tuple(Path(f"{number}.png") for number in range(50)))
    first, same, other = (sources.split_source(source, (1, 1), seed=seed) for seed in (3, 3, 4))
    assert first[0].names == same[0].names
    assert first[0].names != other[0].names
    turned = sources.split_source(FolderSource(source.paths[::-1]), (1, 1), seed=3)
    assert sorted(turned[0].names) == sorted(first[0].names), "whatever their order"


def test_too_few_pictures_to_split() -> None:
    with pytest.raises(DataError, match=r"1 picture\(s\) cannot be split into 2 parts"):
        sources.split_source(FolderSource((Path("a.png"),)), (0.9, 0.1))


def test_folders_are_split_8_1_1(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path, f"{number:02}.png", make_photo(8, 8))
    training, validation = sources.open_training([str(tmp_path)], [])
    test = sources.open_split([str(tmp_path)], "test")
    assert [len(part.names) for part in (training, validation, test)] == [16, 2, 2]
    assert len({*training.names, *validation.names, *test.names}) == 20


def test_training_and_validation_may_not_overlap(folder: Path) -> None:
    with pytest.raises(DataError, match=r"2\.png: in both training and validation"):
        sources.open_training([str(folder)], [str(folder / "2.png")])


# --- crops ---------------------------------------------------------------------------------------


def test_crops_are_parts_of_their_pictures(folder: Path) -> None:
    source = FolderSource.of(folder)
    crops = cut_crops(source, 23, 16, channel=None, seed=1)
    assert (crops.shape, crops.dtype) == ((23, 16, 16, 3), np.uint8)
    for crop in crops:
        top, left, number = crop[0, 0]
        picture = source.load(number)
        np.testing.assert_array_equal(crop, picture[top : top + 16, left : left + 16])
    used = np.bincount(crops[:, 0, 0, 2], minlength=5)
    assert set(used) == {4, 5}, "as many from each picture, give or take one"
    places = {tuple(crop[0, 0]) for crop in crops}
    assert len(places) > 20, "at different places"


def test_crops_reach_every_edge(tmp_path: Path) -> None:
    save(tmp_path, "a.png", coordinates(10, 11))
    crops = cut_crops(FolderSource.of(tmp_path), 300, 8, channel=None)
    assert {tuple(crop[0, 0, :2]) for crop in crops} == set(itertools.product(range(3), range(4)))


def test_crops_depend_on_the_seed_alone(folder: Path) -> None:
    source = FolderSource.of(folder)
    first, same, other = (
        cut_crops(source, 9, 16, channel=None, scales=(1.0, 0.5), seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_planes_of_crops(folder: Path) -> None:
    source = FolderSource.of(folder)
    rgb = cut_crops(source, 9, 16, channel=None)
    green = cut_crops(source, 9, 16, channel=GREEN)
    luma = cut_crops(source, 9, 16, channel=LUMA)
    np.testing.assert_array_equal(green[..., 0], rgb[..., 1])
    for gray, crop in zip(luma[..., 0], rgb, strict=True):
        pillows = np.asarray(Image.fromarray(crop).convert("L")).astype(int)
        assert np.abs(gray - pillows).max() <= 1  # Pillow rounds its weights to 16 bits


def test_scales_are_resized_pictures(tmp_path: Path) -> None:
    picture = make_photo(48, 64)
    save(tmp_path, "a.png", picture)
    source = FolderSource.of(tmp_path)
    crops = cut_crops(source, 6, 24, channel=None, scales=(0.5,))
    half = Image.fromarray(picture).resize((32, 24), Image.Resampling.LANCZOS)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(half), (24, 24, 3))
    for crop in crops:
        assert (windows == crop).all((-3, -2, -1)).any()
    # However small the scale: still as large as the crop.
    tiny = cut_crops(source, 2, 24, channel=None, scales=(0.01,))
    least = Image.fromarray(picture).resize((32, 24), Image.Resampling.LANCZOS)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(least), (24, 24, 3))
    assert all((windows == crop).all((-3, -2, -1)).any() for crop in tiny), "not out of shape"


def test_pictures_smaller_than_the_crop(folder: Path) -> None:
    save(folder, "small.png", coordinates(12, 90))
    with pytest.raises(DataError, match=r"small\.png: 90x12 pixels is smaller than the 16x16 crop"):
        cut_crops(FolderSource.of(folder), 12, 16, channel=None)


def test_cached_crops_are_found_again(folder: Path, tmp_path: Path) -> None:
    source, cache = FolderSource.of(folder), tmp_path / "cache"
    options: dict[str, Any] = {"channel": GREEN, "seed": 3}
    crops = cached_crops(source, 9, 16, cache=cache, **options)
    np.testing.assert_array_equal(crops, cut_crops(source, 9, 16, **options))
    for path in folder.iterdir():
        path.unlink()
    np.testing.assert_array_equal(cached_crops(source, 9, 16, cache=cache, **options), crops)
    with pytest.raises(DataError, match=r"0\.png: cannot be read"):
        cached_crops(source, 9, 16, cache=cache, channel=GREEN, seed=4)
    left = {path.stem for path in cache.iterdir()}
    assert len(left) == 1, "nothing is left of crops that could not be cut"


@pytest.mark.parametrize("damage", ["cut off", "empty", "no array", "of another shape"])
def test_damaged_crops_are_cut_anew(damage: str, folder: Path, tmp_path: Path) -> None:
    source, options = FolderSource.of(folder), {"channel": GREEN, "seed": 3}
    crops = np.array(cached_crops(source, 9, 16, cache=tmp_path / "cache", **options))
    (path,) = (tmp_path / "cache").glob("*.npy")
    whole = path.read_bytes()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    if damage == "of another shape":
        np.save(path, np.zeros((3, 16, 16, 1), np.uint8))
    else:
        contents = {"cut off": whole[:-100], "empty": b"", "no array": b"crops"}
        path.write_bytes(contents[damage])
    again = cached_crops(source, 9, 16, cache=tmp_path / "cache", **options)
    np.testing.assert_array_equal(again, crops)


# --- TensorFlow Datasets -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def div2k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DIV2K as TFDS prepares it, its own builder and features, but of tiny pictures."""
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")
    for split, count in (("train", 10), ("validation", 2)):
        for number in range(count):
            picture = coordinates(40, 48, number + 100 * (split == "validation"))
            save(root, f"{split}/hr/{number:04}.png", picture)
            save(root, f"{split}/lr/{number:04}x2.png", picture[::2, ::2])
    builder = tfds.builder("div2k", data_dir=str(root / "data"), file_format="array_record")

    def examples(split: str) -> Any:
        for path in sorted((root / split / "hr").iterdir()):
            low = root / split / "lr" / f"{path.stem}x2.png"
            yield path.name, {"lr": str(low), "hr": str(path)}

    builder._split_generators = lambda *_: {s: examples(s) for s in ("train", "validation")}
    builder.download_and_prepare()
    return root / "data"


def test_div2k_is_read(div2k: Path) -> None:
    """Its originals; its own validation split, the only other one with originals, is for tests."""
    spec = f"tfds:div2k@{div2k}"
    training, validation = sources.open_training([spec], [])
    parts = [training, validation, sources.open_split([spec], "test")]
    pictures = [[part.load(i) for i in range(len(part.names))] for part in parts]
    numbers = [{int(picture[0, 0, 2]) for picture in part} for part in pictures]
    assert [len(part) for part in numbers] == [9, 1, 2]
    assert numbers[0] | numbers[1] == set(range(10))
    assert numbers[2] == {100, 101}
    for picture in itertools.chain(*pictures):
        np.testing.assert_array_equal(picture, coordinates(40, 48, picture[0, 0, 2]))
    crops = cut_crops(training, 9, 16, channel=None)
    assert set(crops[:, 0, 0, 2]) == numbers[0]


def test_gray_data_sets_and_those_without_pictures() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    loaded = TfdsSource("mnist", "train", [{"image": gray, "label": 3}]).load(0)
    np.testing.assert_array_equal(loaded, np.dstack([gray] * 3))
    with pytest.raises(DataError, match="tfds:words: holds no pictures, but text, label"):
        TfdsSource("words", "train", [{"text": "a", "label": 3}]).load(0)


def test_data_sets_that_are_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tfds:div2k: split 'train' is not prepared.*data_dir="):
        sources.open_source([f"tfds:div2k@{tmp_path}"])


def test_data_sets_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tfds:div3k"):
        sources.open_source([f"tfds:div3k@{tmp_path}"])
    with pytest.raises(DataError, match="not several: tfds:div2k pictures"):
        sources.open_source(["tfds:div2k", "pictures"])


# --- batches for crops that stay on disk ---------------------------------------------------------


def numbered_crops(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)


def take(count: int, **options: Any) -> list[list[int]]:
    batches = host_batches(numbered_crops(20), **options)
    return [[int(x) for x in next(batches).ravel()] for _ in range(count)]


def test_batches_do_not_depend_on_where_one_starts() -> None:
    """What a resumed run sees."""
    whole = take(12, batch=6, seed=1, first_step=0)
    for first in (1, 3, 7):
        assert take(4, batch=6, seed=1, first_step=first) == whole[first : first + 4]


def test_batches_show_every_crop_once_an_epoch() -> None:
    shown = list(itertools.chain(*take(10, batch=6, seed=1, first_step=0)))  # three epochs
    epochs = [shown[start : start + 20] for start in (0, 20, 40)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(20))
    assert epochs[0] != epochs[1] != epochs[2], "shuffled anew"
    assert take(3, batch=6, seed=2, first_step=0) != take(3, batch=6, seed=1, first_step=0)


def test_shards_share_no_crop() -> None:
    shown = [
        set(itertools.chain(*take(5, batch=2, seed=1, first_step=0, shard=shard, shards=2)))
        for shard in (0, 1)
    ]
    assert not shown[0] & shown[1]
    assert shown[0] | shown[1] == set(range(20))


# --- augmentation --------------------------------------------------------------------------------


def draw(augment: Augmentation, crop: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    keys = jax.random.split(jax.random.key(7), count)
    lifted = jax.jit(jax.vmap(augment, in_axes=(0, None)))
    planes, is_chroma = lifted(keys, jnp.asarray(crop))
    return np.asarray(planes), np.asarray(is_chroma)


def turns(plane: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(side, times) for side in (plane, plane.T) for times in range(4)]


def test_patches_are_turned_windows() -> None:
    crop = np.random.default_rng(0).permutation(12 * 12).reshape(12, 12, 1).astype(np.uint8)
    planes, is_chroma = draw(Augmentation(PLANES["green"], 8), crop, 400)
    assert planes.shape == (400, 8, 8)
    assert planes.dtype == np.float32
    assert not is_chroma.any()
    windows = {
        turned.tobytes(): (top, left, turn)
        for top, left in itertools.product(range(5), range(5))
        for turn, turned in enumerate(turns(crop[top : top + 8, left : left + 8, 0]))
    }
    assert len(windows) == 25 * 8
    found = [windows[np.rint(255 * plane).astype(np.uint8).tobytes()] for plane in planes]
    np.testing.assert_allclose(np.rint(255 * planes), 255 * planes, atol=1e-4)  # float32
    assert {turn for _, _, turn in found} == set(range(8))
    assert {(top, left) for top, left, _ in found} == set(itertools.product(range(5), range(5)))


def test_a_patch_may_be_the_whole_crop() -> None:
    crop = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    planes, _ = draw(Augmentation(PLANES["luma"], 8), crop, 100)
    seen = {np.rint(255 * plane).astype(np.uint8).tobytes() for plane in planes}
    assert seen == {turned.tobytes() for turned in turns(crop[..., 0])}


def test_any_plane_is_one_of_six() -> None:
    """R, G, B, Y, Cb and Cr of one flat colour as Pillow has them, Y three times as often."""
    colour = (200, 90, 30)
    crop = np.tile(np.uint8(colour), (16, 16, 1))
    planes, is_chroma = draw(Augmentation(PLANES["any"], 8), crop, 800)
    assert np.ptp(planes, axis=(1, 2)).max() == 0
    values = 255 * planes[:, 0, 0]
    ycbcr = Image.new("RGB", (1, 1), colour).convert("YCbCr").getpixel((0, 0))
    expected = np.array([*colour, *ycbcr])
    distance = np.abs(values[:, None] - expected)
    kind = distance.argmin(1)
    assert distance.min(1).max() < 1.01  # Pillow rounds to integers, ours stay between
    np.testing.assert_array_equal(is_chroma, kind >= 4)
    counts = np.bincount(kind, minlength=6)
    expected_counts = 100 * np.array([1, 1, 1, 3, 1, 1])
    deviations = np.sqrt(expected_counts * (1 - expected_counts / 800))
    assert (np.abs(counts - expected_counts) < 5 * deviations).all()


def test_planes_at_their_own_size_come_from_all_of_a_crop() -> None:
    """Though chroma, to be halved, may need all of it at once."""
    crop = np.dstack([coordinates(16, 16)[..., :2], np.zeros((16, 16), np.uint8)])
    planes, _ = draw(Augmentation(PLANES["any"], 8), crop, 600)
    red = 255 * planes[np.ptp(planes, axis=(1, 2)) > 0]
    first = {round(float(plane.min())) for plane in red if np.ptp(plane) == pytest.approx(7)}
    assert first == set(range(9))


def test_half_of_the_chroma_is_subsampled() -> None:
    """By averaging 2x2: a chequerboard of two colours becomes flat."""
    board = np.indices((16, 16)).sum(0) % 2
    crop = np.where(board[..., None], np.uint8([250, 20, 90]), np.uint8([10, 200, 90]))
    planes, is_chroma = draw(Augmentation(PLANES["any"], 8), crop.astype(np.uint8), 600)
    flat = np.ptp(planes, axis=(1, 2)) < 1e-6
    blue = np.abs(planes - 90 / 255).max((1, 2)) < 1e-6
    chroma = flat[is_chroma]
    assert abs(chroma.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(chroma))  # five standard deviations
    np.testing.assert_array_equal(flat[~is_chroma], blue[~is_chroma])


def test_rgb_is_never_chroma() -> None:
    crop = np.tile(np.uint8([200, 90, 30]), (8, 8, 1))
    planes, is_chroma = draw(Augmentation(PLANES["rgb"], 8), crop, 60)
    assert not is_chroma.any()
    assert set(np.rint(255 * planes).ravel().astype(int)) == {200, 90, 30}


def test_pictures_that_would_not_be_what_they_seem(tmp_path: Path) -> None:
    """More than 8 bits a sample are refused; what is transparent is white."""
    deep = np.linspace(0, 65535, 16 * 24).reshape(16, 24).astype(np.uint16)
    save(tmp_path, "deep.png", deep)
    with pytest.raises(DataError, match=r"deep\.png: has more than 8 bits a sample"):
        FolderSource.of(tmp_path / "deep.png").load(0)
    glass = np.dstack([make_photo(16, 24), np.full((16, 24), 255, np.uint8)])
    glass[:, 12:, 3] = 0
    seen = FolderSource.of(save(tmp_path, "glass.png", glass)).load(0)
    np.testing.assert_array_equal(seen[:, :12], glass[:, :12, :3])
    assert (seen[:, 12:] == 255).all()


def test_crops_of_another_picture_of_the_same_name(tmp_path: Path) -> None:
    for level in (0, 255):
        save(tmp_path / "in", "x.png", np.full((32, 32, 3), level, np.uint8))
        source = FolderSource.of(tmp_path / "in")
        crops = cached_crops(source, 2, 16, channel=GREEN, cache=tmp_path / "cache")
        assert (crops == level).all()


def test_cutting_that_is_interrupted_brings_no_old_crops_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut() -> np.ndarray:
        source = FolderSource.of(tmp_path / "in")
        return cached_crops(source, 2, 16, channel=GREEN, cache=tmp_path / "cache")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    save(tmp_path / "in", "x.png", np.full((32, 32, 3), 10, np.uint8))
    assert (cut() == 10).all()
    save(tmp_path / "in", "x.png", np.full((33, 33, 3), 200, np.uint8))
    with monkeypatch.context() as patch:
        patch.setattr(cutting, "cut_crops", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cut()
    assert (cut() == 200).all()
