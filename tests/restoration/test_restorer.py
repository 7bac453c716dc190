"""From files and codes to pictures, with small networks of random weights."""

import io
import os
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo, random_params
from PIL import Image
from scipy.fft import dctn

import hrcnn_jax
from hrcnn_jax.files import reader
from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration import restorer as restorer_module
from hrcnn_jax.restoration import tiles
from hrcnn_jax.restoration.pure import restore_plane
from hrcnn_jax.restoration.restorer import Restorer


def network(name: str, **options: int) -> Network:
    """A network whose every weight is random, so that it changes pictures much."""
    architecture = registry.get(name)
    module = architecture.build(options)
    fresh, noise = architecture.init(module, jax.random.key(0)), random_params(module, scale=0.05)
    params = jax.tree.map(jnp.add, fresh, noise)
    card = Card(
        architecture=name,
        kind=architecture.kind,
        options=options,
        parameters=0,
        multiply_adds_per_pixel=0,
        qualities=(1, 100),
        data=(),
        steps=0,
        validation_gain_db=0.0,
        hardware="",
        date="",
        training={},
    )
    return Network("random", architecture, module, params, card)


@pytest.fixture(scope="module")
def compact() -> Network:
    return network("compact", width=8, blocks=1)


@pytest.fixture(scope="module")
def hrcnn() -> Network:
    return network("hrcnn", quality=10, blocks=1)


@pytest.fixture(scope="module")
def chroma() -> Network:
    return network("chroma", width=8, blocks=1)


@pytest.fixture(scope="module")
def gray_file() -> reader.JpegFile:
    return reader.read(jpeg_bytes(make_photo(93, 122)[..., 1], quality=10))


def codes_of(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Codes of a float plane in [0, 1], by SciPy in float64."""
    down, across = (side // 8 for side in pixels.shape)
    samples = pixels.astype(np.float64) * 255 - 128
    blocks = samples.reshape(down, 8, across, 8).swapaxes(1, 2)
    return np.round(dctn(blocks, axes=(2, 3), norm="ortho") / table)


def test_gray_stays_gray(compact: Network) -> None:
    data = jpeg_bytes(make_photo(40, 50)[..., 0], quality=20)
    pillow = np.asarray(Image.open(io.BytesIO(data)))
    assert Restorer(compact).restore(data).shape == (40, 50)
    assert np.abs(hrcnn_jax.decode(data).astype(int) - pillow).max() <= 1


def test_tiles_leave_no_seam(
    compact: Network,
    hrcnn: Network,
    gray_file: reader.JpegFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = gray_file.components[0]
    for net in (compact, hrcnn):
        whole = Restorer(net).restore_codes(part.codes, part.table)
        monkeypatch.setattr(tiles, "side_for", lambda halo: 5)
        tiled = Restorer(net).restore_codes(part.codes, part.table)
        monkeypatch.undo()
        np.testing.assert_allclose(tiled, whole, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("options", [{}, {"strength": 0.3}])
def test_the_pure_function_is_the_restorer_without_tiles(
    compact: Network, hrcnn: Network, gray_file: reader.JpegFile, options: dict
) -> None:
    part = gray_file.components[0]
    for net in (compact, hrcnn):
        pure = jax.jit(partial(restore_plane, net.module, **options))
        result = pure(net.params, jnp.asarray(part.codes), jnp.asarray(part.table))
        expected = Restorer(net, **options).restore_codes(part.codes, part.table)
        np.testing.assert_allclose(result, expected, atol=5e-5)  # float32 sums in another order


def test_the_inside_is_what_the_network_says(hrcnn: Network, gray_file: reader.JpegFile) -> None:
    part = gray_file.components[0]
    plane = transform.from_blocks(jnp.asarray(part.codes))[None, ..., None]
    direct = hrcnn.module.apply({"params": hrcnn.params}, plane)[0, ..., 0]
    ours = Restorer(hrcnn, faithful=False).restore_codes(part.codes, part.table)
    margin = 8 * hrcnn.module.halo  # nearer the border the two continue the picture differently
    inside = slice(margin, -margin), slice(margin, -margin)
    # float32: folded, its sums are in another order.
    np.testing.assert_allclose(ours[inside], direct[inside], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_results_are_faithful_to_the_codes(
    hrcnn: Network, compact: Network, gray_file: reader.JpegFile, strength: float
) -> None:
    part = gray_file.components[0]
    for net in (compact, hrcnn):
        restored = Restorer(net, strength=strength).restore_codes(part.codes, part.table)
        plain = Restorer(net, strength=0.0).restore_codes(part.codes, part.table)
        assert np.abs(restored - plain).max() > 0.01
        np.testing.assert_array_equal(codes_of(restored, part.table), part.codes)
    free = Restorer(hrcnn, faithful=False).restore_codes(part.codes, part.table)
    assert (codes_of(free, part.table) != part.codes).any()


def test_strength_zero_is_the_plain_decode(hrcnn: Network, gray_file: reader.JpegFile) -> None:
    restored = Restorer(hrcnn, strength=0.0).restore(gray_file)
    np.testing.assert_array_equal(restored, hrcnn_jax.decode(gray_file))
    other = reader.read(jpeg_bytes(make_photo(24, 40)[..., 0], quality=33))  # of another table
    plain = Restorer(hrcnn, strength=0.0).restore(other)
    np.testing.assert_array_equal(plain, hrcnn_jax.decode(other))
    with pytest.raises(ValueError, match=r"strength.*1\.5"):
        Restorer(hrcnn, strength=1.5)


def test_colour_is_restored_plane_by_plane(compact: Network) -> None:
    data = jpeg_bytes(make_photo(93, 122), quality=10)
    restored, plain = Restorer(compact).restore(data), hrcnn_jax.decode(data)
    assert restored.shape == (93, 122, 3)
    assert restored.dtype == np.uint8
    ycc = [np.asarray(Image.fromarray(p).convert("YCbCr")).astype(int) for p in (restored, plain)]
    assert (np.abs(ycc[0] - ycc[1]).max((0, 1)) > 2).all()  # luma and both chroma planes


def chroma_by_hand(
    restorer: Restorer, chroma: Network, file: reader.JpegFile
) -> tuple[np.ndarray, np.ndarray]:
    """Both planes `(H, W)` in one piece, the picture continued by NumPy's mirror."""
    y, cb, cr = file.components
    down, across = cb.codes.shape[:2]
    margin = chroma.module.halo
    luma = restorer.restore_codes(y.codes, y.table)
    grid = zip((down, across), luma.shape, strict=True)
    missing = [(0, 16 * count - side) for count, side in grid]
    luma = np.pad(np.pad(luma, missing, mode="edge"), 16 * margin, mode="symmetric")
    size = down + 2 * margin, across + 2 * margin
    codes = [
        transform.from_blocks(jnp.asarray(tiles.window(part.codes, (-margin, -margin), size)))
        for part in (cb, cr)
    ]
    pixels = jax.jit(chroma.module.apply)(
        {"params": chroma.params},
        jnp.stack(codes, axis=-1)[None],
        jnp.asarray(np.stack([cb.table, cr.table]))[None],
        jnp.asarray(luma)[None],
        jnp.asarray(y.table)[None],
    )
    inside = slice(16 * margin, 16 * margin + file.height)
    inside_across = slice(16 * margin, 16 * margin + file.width)
    return tuple(np.asarray(pixels)[0, inside, inside_across, plane] for plane in (0, 1))


@pytest.mark.parametrize("size", [(300, 185), (93, 122), (17, 33), (8, 199), (1, 1)])
def test_chroma_of_420_files(
    compact: Network, chroma: Network, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In tiles as in one piece, at odd sizes and odd numbers of blocks too."""
    picture = np.dstack([make_photo(300, 200, seed)[..., 1] for seed in range(3)])
    file = reader.read(jpeg_bytes(picture[: size[0], : size[1]], quality=30, subsampling="4:2:0"))
    monkeypatch.setattr(tiles, "side_for", lambda halo: 5)
    restorer = Restorer(compact, chroma=chroma)
    expected = chroma_by_hand(restorer, chroma, file)
    for plane, ours in zip(restorer.planes(file)[1:], expected, strict=True):
        assert plane.factor == (1, 1)
        assert plane.size == size
        whole = np.concatenate(list(plane.strips))[: size[0], : size[1]]
        # float32 sums in another order; variances of luma lose some more
        np.testing.assert_allclose(whole, ours, atol=5e-5)


@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("colour", ["ycbcr", "ycck"])
def test_chroma_is_faithful(
    compact: Network, chroma: Network, strength: float, colour: str
) -> None:
    """Shrunk as the encoder shrank it, by SciPy in float64."""
    picture = np.dstack([make_photo(64, 96, seed)[..., 1] for seed in range(4)])
    data = io.BytesIO()
    mode = "CMYK" if colour == "ycck" else "RGB"
    image = Image.fromarray(picture[..., : len(mode)], mode)
    image.save(data, "JPEG", quality=20, subsampling="4:2:0")
    content = data.getvalue()
    if colour == "ycck":  # which Adobe's marker says
        transform = content.index(b"Adobe") + 11
        content = content[:transform] + b"\2" + content[transform + 1 :]
    file = reader.read(content)
    assert file.colour == colour
    restorer = Restorer(compact, chroma=chroma, strength=strength)
    planes = restorer.planes(file)
    assert len(planes) == len(file.components)
    for plane, part in zip(planes[1:3], file.components[1:3], strict=True):
        pixels = np.concatenate(list(plane.strips)).astype(np.float64)
        samples = pixels.reshape(32, 2, 48, 2).mean((1, 3))
        np.testing.assert_array_equal(codes_of(samples, part.table), part.codes)


def test_weaker_chroma_is_nearer_the_plain_decode(compact: Network, chroma: Network) -> None:
    data = jpeg_bytes(make_photo(93, 122), quality=10)
    plain = hrcnn_jax.decode(data, depth="float32")
    distance = [
        np.abs(
            Restorer(compact, chroma=chroma, strength=s).restore(data, depth="float32") - plain
        ).mean()
        for s in (0.0, 0.25, 1.0)
    ]
    assert distance[0] == 0
    assert distance[0] < distance[1] < 0.5 * distance[2]


def test_chroma_of_other_files_is_restored_plane_by_plane(
    compact: Network, chroma: Network
) -> None:
    for options in ({"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}, {"keep_rgb": True}):
        data = jpeg_bytes(make_photo(40, 50), quality=10, **options)
        ours, other = (Restorer(compact, chroma=net).restore(data) for net in (chroma, None))
        np.testing.assert_array_equal(ours, other)
    data = jpeg_bytes(make_photo(40, 50), quality=10, subsampling="4:2:0")
    ours, other = (Restorer(compact, chroma=net).restore(data) for net in (chroma, None))
    assert (ours != other).any()


def test_networks_of_the_wrong_kind(compact: Network, chroma: Network) -> None:
    with pytest.raises(hrcnn_jax.ModelError, match="only restores chroma beside another"):
        Restorer(chroma)
    with pytest.raises(hrcnn_jax.ModelError, match="is no network for chroma"):
        Restorer(compact, chroma=compact)


def test_inks_are_restored(compact: Network) -> None:
    file = io.BytesIO()
    Image.fromarray(make_photo(40, 50)).convert("CMYK").save(file, "JPEG", quality=10)
    restored, plain = Restorer(compact).restore(file.getvalue()), hrcnn_jax.decode(file.getvalue())
    assert restored.shape == (40, 50, 4)
    assert (np.abs(restored.astype(int) - plain).max((0, 1)) > 2).all()


@pytest.mark.parametrize(("depth", "white"), [("uint16", 65535), ("float32", 1)])
def test_more_than_8_bits(compact: Network, depth: str, white: int) -> None:
    data = jpeg_bytes(make_photo(40, 50), quality=10)
    deep = Restorer(compact).restore(data, depth=depth)
    assert deep.dtype == depth
    error = np.abs(deep * (255 / white) - Restorer(compact).restore(data))
    assert 0.4 < error.max() <= 0.51  # rounding to 8 bits, and to 16


def test_a_network_of_one_table_serves_that_table_only(hrcnn: Network) -> None:
    photo = make_photo(24, 24)
    assert Restorer(hrcnn).restore(jpeg_bytes(photo, quality=10)).shape == (24, 24, 3)
    with pytest.raises(hrcnn_jax.JpegError, match=r"only serves luma .* quality 10.*--model small"):
        Restorer(hrcnn).restore(jpeg_bytes(photo, quality=11))
    with pytest.raises(ValueError, match="does not know this quantisation table"):
        Restorer(hrcnn).restore_codes(np.zeros((1, 1, 8, 8)), np.ones((8, 8)))


def test_wrong_shapes_are_refused(compact: Network) -> None:
    with pytest.raises(ValueError, match=r"codes \(hb, wb, 8, 8\).*\(16, 16\)"):
        Restorer(compact).restore_codes(np.zeros((16, 16)), np.ones((8, 8)))


@pytest.mark.parametrize(
    "codes",
    [np.full((1, 1, 8, 8), 40_000), np.full((1, 1, 8, 8), 9.9), np.zeros((0, 2, 8, 8))],
    ids=["16 bits", "fractions", "none"],
)
def test_codes_that_no_file_holds(codes: np.ndarray, compact: Network) -> None:
    with pytest.raises(ValueError, match="a block of codes at least, all of them integers of 16"):
        Restorer(compact).restore_codes(codes, np.ones((8, 8)))


def test_results_are_arrays_of_their_own(compact: Network, tmp_path: Path) -> None:
    """Also of what is left as it is."""
    given = make_photo(24, 24)
    Image.fromarray(given).save(tmp_path / "x.png")
    for source in (given, tmp_path / "x.png", Image.fromarray(given)):
        result = Restorer(compact, pixels=None).restore(source)
        np.testing.assert_array_equal(result, given)
        assert result.flags.writeable
        assert not np.shares_memory(result, given)


def test_networks_that_there_are_not(compact: Network) -> None:
    with pytest.raises(
        hrcnn_jax.ModelError,
        match="no network 'nope': choose from chroma, chroma-fast, chroma-large, or",
    ):
        Restorer(compact, chroma="nope")
    with pytest.raises(hrcnn_jax.ModelError, match="no network 'nope': choose from wild, or"):
        Restorer(compact, pixels="nope")


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """Names of functions that were compiled, none having been kept on disk."""
    found: list[str] = []

    def note(event: str, _: float, **about: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(about.get("fun_name", ""))

    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)
    jax.config.update("jax_compilation_cache_dir", before)


def test_what_restoring_takes_is_ready_when_history_has_been_looked_for(
    compact: Network, chroma: Network, compiled: list[str]
) -> None:
    data = jpeg_bytes(make_photo(40, 50), quality=10)
    restorer = Restorer(compact, chroma=chroma)
    others = set(threading.enumerate())
    restorer.damaged(reader.read(data))
    for begun in set(threading.enumerate()) - others:
        begun.join()
    assert {name for name in compiled if "tile" in name} == {
        "jit(restore_tile)",
        "jit(restore_chroma_tile)",
    }
    compiled.clear()
    restorer.restore(data)
    assert not any("tile" in name or "prepare" in name for name in compiled), compiled


def test_a_handful_of_programs_serves_every_picture(
    compact: Network, chroma: Network, compiled: list[str]
) -> None:
    """Of thirty sizes, qualities and samplings; nor does memory hold more than those few."""
    random = np.random.default_rng(0)
    photo = make_photo(200, 200)
    kinds: list[dict[str, Any]] = [
        {"subsampling": "4:2:0"},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2"},
        {},
    ]
    restorer = Restorer(compact, chroma=chroma)
    maps = []
    for number in range(30):
        height, width = random.integers(1, 200, 2)
        picture = photo[:height, :width]
        picture = picture[..., 1] if number % 4 == 3 else picture
        quality = int(random.integers(5, 96))
        file = jpeg_bytes(picture, quality=quality, **kinds[number % 4])
        assert restorer.restore(file).shape == picture.shape
        maps.append(len(Path("/proc/self/maps").read_text().splitlines()))
    assert 1 <= len(compiled) <= 6, compiled
    assert maps[-1] - maps[9] < 100, "a compiled program takes over a hundred"


def test_other_strengths_share_a_restorers_programs(
    compact: Network, chroma: Network, compiled: list[str]
) -> None:
    data = jpeg_bytes(make_photo(40, 50), quality=10)
    restorer = Restorer(compact, chroma=chroma)
    expected = Restorer(compact, chroma=chroma, strength=0.3).restore(data)
    restorer.at(0.5).restore(data)
    compiled.clear()
    np.testing.assert_array_equal(restorer.at(0.3).restore(data), expected)
    restorer.at(0.9).restore(data)
    assert compiled == []
    assert restorer.strength == 1.0
    np.testing.assert_array_equal(restorer.at(0.0).restore(data), hrcnn_jax.decode(data))
    assert restorer.at(0.5, history="auto").history == "auto"
    with pytest.raises(ValueError, match=r"strength.*-1"):
        restorer.at(-1.0)


def test_restorers_can_be_pickled(compact: Network, chroma: Network) -> None:
    data = jpeg_bytes(make_photo(40, 50), quality=10)
    for restorer in (
        Restorer(compact, chroma=chroma, strength=0.5),
        Restorer(compact, chroma=None),
        Restorer("small"),
    ):
        again = pickle.loads(pickle.dumps(restorer))
        np.testing.assert_array_equal(again.restore(data), restorer.restore(data))


class Unreadable:
    """What has no bytes to read."""

    def read(self) -> str:
        return "text"


def test_whatever_holds_a_file(compact: Network, tmp_path: Path) -> None:
    data = jpeg_bytes(make_photo(40, 50), quality=10)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    restorer = Restorer(compact, chroma=None)
    expected = restorer.restore(reader.read(data))
    loaded = Image.open(path)
    loaded.load()
    sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data)]
    opened = Image.open(path)
    sources += [opened, Image.open(io.BytesIO(data)), loaded, reader.read(data)]
    for source in sources:
        np.testing.assert_array_equal(restorer.restore(source), expected)
    opened.close()
    for several in (sources, tuple(sources)):
        restored = restorer.restore([*several[:5]])
        assert len(restored) == 5
        for picture in restored:
            np.testing.assert_array_equal(picture, expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(restorer.restore(file), expected)


def test_what_holds_no_file(compact: Network) -> None:
    restorer = Restorer(compact, chroma=None)
    photo = make_photo(40, 50)
    for source, found in (
        (None, "NoneType"),
        (Unreadable(), "a text file"),
    ):
        with pytest.raises(TypeError, match=f"expected a picture: a file's path.*got {found}"):
            restorer.restore(source)
    away = Image.open(io.BytesIO(jpeg_bytes(photo)))
    away.load()
    with pytest.raises(hrcnn_jax.JpegError, match=r"no longer at hand.*give the file's bytes"):
        restorer.restore(away)
    closed = Image.open(io.BytesIO(jpeg_bytes(photo)))
    closed.fp.close()
    with pytest.raises(hrcnn_jax.JpegError, match=r"no longer at hand.*give the file's bytes"):
        restorer.restore(closed)
    whole = io.BytesIO()
    Image.fromarray(photo).save(whole, "PNG")
    cut = Image.open(io.BytesIO(whole.getvalue()[:-40]))
    with pytest.raises(hrcnn_jax.JpegError, match="Pillow cannot load it"):
        restorer.restore(cut)
    with pytest.raises(hrcnn_jax.JpegError, match="has no pixels"):
        restorer.restore(Image.new("RGB", (0, 5)))
    with pytest.raises(hrcnn_jax.JpegError, match="more than max_pixels=10"):
        restorer.restore(Image.fromarray(photo), max_pixels=10)
    with pytest.raises(hrcnn_jax.JpegError, match="missing"):
        restorer.restore(["missing.jpg"])


def test_the_function_keeps_its_restorers(
    compact: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "mine.safetensors"
    zoo.write_weights(weights, compact.params, compact.card)
    data = jpeg_bytes(make_photo(40, 50)[..., 1], quality=10)
    kept: list[None] = []
    monkeypatch.setattr(restorer_module.compilation, "keep_programs", lambda: kept.append(None))
    first = hrcnn_jax.restore(data, model=weights)
    np.testing.assert_array_equal(first, Restorer(weights).restore(data))
    again = hrcnn_jax.restore([data, data], model=str(weights))
    np.testing.assert_array_equal(again, [first, first])
    assert len(kept) == 1, "programs are kept on disk, and the restorer is made once"
    weaker = jax.tree.map(jnp.zeros_like, compact.params)
    zoo.write_weights(weights, weaker, compact.card)
    os.utime(weights, ns=(1, 1))
    changed = hrcnn_jax.restore(data, model=weights)
    assert (changed != first).any(), "other weights, another restorer"
