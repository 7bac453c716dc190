"""Pictures restored from pixels, with a small network of random weights."""

import gc
import hashlib
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import (
    fresh_params,
    jpeg_bytes,
    jpeglib_bytes,
    made_card,
    make_photo,
    random_params,
    write_network,
)
from PIL import Image
from starlette.testclient import TestClient

from benchmarks import convincing
from hrcnn_jax.app import server
from hrcnn_jax.app.workshop import Workshop
from hrcnn_jax.cli import evaluate
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.reader import Component, JpegError
from hrcnn_jax.fleet.treatments import Restoration
from hrcnn_jax.history import Said
from hrcnn_jax.jpeg import color, damage
from hrcnn_jax.networks import cards, registry
from hrcnn_jax.networks.cards import ModelError
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration import restorer, verification
from hrcnn_jax.restoration.assembly import Plane, assemble
from hrcnn_jax.restoration.blind import Verdict
from hrcnn_jax.restoration.programs import Program
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores.account import of_verdict, sha256_of
from hrcnn_jax.scores.protocol import Protocol, recorded

OPTIONS = {"width": 8, "blocks": 1, "kernels": 0, "traits": 2}
ARCHITECTURE = registry.get("wild")
MODULE = ARCHITECTURE.build(OPTIONS)
PHOTO = make_photo(93, 122)


def network(error: float) -> Network:
    """A network that finds the same error in every picture, and else is random."""
    params = jax.tree.map(jnp.add, fresh_params(MODULE), random_params(MODULE, scale=0.08))
    found = params["estimator"]["found"]
    found["kernel"] = found["kernel"].at[:, 0].set(0.0)
    found["bias"] = found["bias"].at[0].set(float(np.log(error + 0.1)))
    return Network("random", ARCHITECTURE, MODULE, params, made_card("wild", OPTIONS))


@pytest.fixture(scope="module")
def bad() -> Restorer:
    return Restorer(network(1.0))


@pytest.mark.parametrize("gray", [True, False])
def test_pixels_are_restored_as_a_whole_would_be(bad: Restorer, gray: bool) -> None:
    """Tiles, their borders and the mirror beyond the picture leave no trace."""
    large = make_photo(330, 410)  # of more than one tile
    samples = large[..., 1] if gray else large
    given = pictures.of_array(samples)
    source = bad.damaged(given)
    assert source.verdict is not None
    pixels = jnp.asarray(samples, jnp.float32) / 255
    neutral = jnp.full_like(pixels, 128 / 255)
    ycc = jnp.stack([pixels, neutral, neutral], -1) if gray else color.rgb_to_ycbcr(pixels)
    wide = jnp.pad(ycc, ((0, 54), (0, 54), (0, 0)), mode="symmetric")[None]
    arguments = source.verdict.error, source.verdict.traits
    variables = {"params": bad.network.params}
    prepared = MODULE.apply(variables, *arguments, method="prepare")
    restored = MODULE.apply({}, wide, prepared=prepared)[0, :330, :410]
    expected = restored[..., 0] if gray else color.ycbcr_to_rgb(restored)
    ours = bad.picture(given, source, "float32")
    assert ours.shape == samples.shape
    np.testing.assert_allclose(ours, np.clip(expected, 0, 1), atol=2e-5)
    assert np.abs(ours - samples / 255).max() > 0.01
    rounded = bad.picture(given, source)
    np.testing.assert_array_equal(rounded, np.rint(255 * ours).astype(np.uint8))


@pytest.mark.parametrize("size", [(93, 122), (24, 40), (1, 9)])
@pytest.mark.parametrize("kind", ["gray", "4:2:0", "4:2:2", "4:4:4", "4:1:1"])
def test_files_get_their_codes_back(
    bad: Restorer, kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    photo = PHOTO[: size[0], : size[1]]
    if kind == "gray":
        content = jpeg_bytes(photo[..., 1], quality=20)
    elif kind == "4:1:1":
        content = jpeglib_bytes(photo, [(4, 1), (1, 1), (1, 1)], tmp_path)
    else:
        content = jpeg_bytes(photo, quality=20, subsampling=kind)
    file = reader.read(content)
    tallies = [verification.Tally() for _ in file.components]
    planes = bad.planes(file, lambda i, plane, part: verification.watched(plane, part, tallies[i]))
    picture = assemble(file, planes)
    assert picture.shape == (photo[..., 1] if kind == "gray" else photo).shape
    for tally, part in zip(tallies, file.components, strict=True):
        assert tally.equal == tally.total == part.codes.size
    plain = restorer.decode(content)
    assert (picture != plain).mean() > 0.1
    np.testing.assert_array_equal(picture, bad.restore(content))


def test_without_its_codes_a_file_is_restored_as_its_pixels_are() -> None:
    """But for the rounding of what is decoded."""
    loose = Restorer(network(1.0), faithful=False)
    content = jpeg_bytes(PHOTO[..., 1], quality=30)
    of_pixels = loose.restore(restorer.decode(content), depth="float32")
    of_codes = loose.restore(content, depth="float32")
    assert np.abs(of_pixels - of_codes).mean() < 0.01


def error_of(quality: int) -> float:
    return float(damage.of_quality(jnp.float32(quality)))


def codes_back(restorer: Restorer, content: bytes) -> verification.Tally:
    """What comes back of a file's own codes."""
    file, tally = reader.read(content), verification.Tally()
    for plane in restorer.planes(file, lambda _, p, part: verification.watched(p, part, tally)):
        for _ in plane.strips:
            pass
    return tally


@pytest.mark.parametrize("colour", [False, True])
def test_codes_of_earlier_damage_are_let_go(bad: Restorer, colour: bool) -> None:
    """Of a file of quality 90 that looks as bad as 50, the codes describe that damage."""
    content = jpeg_bytes(PHOTO if colour else PHOTO[..., 1], quality=90)
    source = bad.damaged(reader.read(content))
    assert source.verdict is not None
    assert source.verdict.excess == pytest.approx(np.sqrt(16.0 / 3.2), rel=0.1)
    assert not bad.keeps_codes(source)
    loose = Restorer(bad.network, faithful=False)
    np.testing.assert_array_equal(bad.restore(content), loose.restore(content))
    tally = codes_back(bad, content)
    assert 0 < tally.equal < tally.total
    for quality, kept in ((88, True), (40, False)):
        told = bad.at(1.0, history=Said(quality))
        assert told.keeps_codes(told.damaged(reader.read(content))) is kept
        tally = codes_back(told, content)
        assert (tally.equal == tally.total) is kept


@pytest.mark.parametrize(("error", "quality"), [(-0.05, 100), (error_of(67), 67)])
def test_what_is_found_intact_comes_out_as_it_went_in(error: float, quality: int) -> None:
    """And what may be; of a file whose table is as fine, the plain decode."""
    sure = Restorer(network(error))
    alpha = np.dstack([PHOTO, PHOTO[..., 0]])
    np.testing.assert_array_equal(sure.restore(alpha), alpha)
    content = jpeg_bytes(PHOTO, quality=96)
    np.testing.assert_array_equal(sure.restore(content), restorer.decode(content))
    verdict = sure.damaged(pictures.of_array(PHOTO)).verdict
    assert verdict is not None
    assert verdict.intact
    assert verdict.quality == pytest.approx(quality, abs=1e-3)
    assert sure.keeps_codes(sure.damaged(reader.read(content))), "all come back, whatever it looks"


def test_what_is_not_found_intact_is_restored() -> None:
    unsure = Restorer(network(error_of(63)))
    assert (unsure.restore(PHOTO) != PHOTO).any()
    sure = Restorer(network(-0.05))
    content = jpeg_bytes(PHOTO, quality=88)
    assert (sure.restore(content) != restorer.decode(content)).any(), "its table tells"


@pytest.mark.parametrize(("quality", "looks_like"), [(30, 30), (70, 50)])
def test_files_are_as_bad_as_their_tables_at_least(
    bad: Restorer, quality: int, looks_like: int
) -> None:
    """The estimate is that of quality 50."""
    content = jpeg_bytes(PHOTO, quality=quality)
    verdict = bad.damaged(reader.read(content)).verdict
    assert verdict is not None
    assert abs(verdict.quality - looks_like) < 0.5


def test_the_dial(bad: Restorer) -> None:
    """What is told takes the estimate's place; the more damage, the larger the correction."""
    moved = []
    for quality in (20, 60, 95):
        told = bad.at(1.0, history=Said(quality))
        verdict = told.damaged(pictures.of_array(PHOTO)).verdict
        assert verdict is not None
        assert verdict.told
        assert abs(verdict.quality - quality) < 0.5
        moved.append(np.abs(told.restore(PHOTO, depth="float32") - PHOTO / 255).mean())
    assert moved == sorted(moved, reverse=True)


@pytest.mark.parametrize("more", [{"grid": (3, 5)}, {"encoder": "mozjpeg"}, {"size": (64, 64)}])
def test_pixels_are_of_no_grid(bad: Restorer, more: dict[str, Any]) -> None:
    """What cannot be used is refused, not left out in silence."""
    with pytest.raises(ValueError, match="no more of a history than quality=20"):
        bad.at(1.0, history=Said(20, **more))


def test_strength(bad: Restorer) -> None:
    plain, half, whole = (bad.at(s).restore(PHOTO, depth="float32") for s in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(plain, PHOTO / 255, atol=1e-6)
    inside = (whole > 0) & (whole < 1)
    np.testing.assert_allclose(half[inside], (plain + whole)[inside] / 2, atol=1e-5)
    content = jpeg_bytes(PHOTO, quality=30)
    np.testing.assert_array_equal(bad.at(0.0).restore(content), restorer.decode(content))


def test_inks_are_left_alone(bad: Restorer) -> None:
    inks = np.dstack([PHOTO, PHOTO[..., 0]])
    image = Image.fromarray(inks, "CMYK")
    np.testing.assert_array_equal(bad.restore(image), inks)


def test_what_it_cannot_do(bad: Restorer, tmp_path: Path) -> None:
    content = jpeglib_bytes(PHOTO, [(3, 1), (1, 1), (1, 1)], tmp_path)
    with pytest.raises(JpegError, match="3 times coarser"):
        bad.restore(content)
    np.testing.assert_array_equal(bad.at(0.0).restore(content), restorer.decode(content))


def test_codes_are_those_of_a_gray_file(bad: Restorer) -> None:
    content = jpeg_bytes(PHOTO[..., 1], quality=20)
    (part,) = reader.read(content).components
    plane = bad.restore_codes(part.codes, part.table)
    assert plane.shape == (96, 128)
    ours = np.rint(255 * np.clip(plane[:88, :120], 0, 1))
    # Both see the same windows, but for what an encoder puts beyond the border.
    assert np.abs(ours - bad.restore(content)[:88, :120]).max() <= 1


# Beside a network of planes it is asked where no codes explain the damage.

BAD = network(error_of(25))


def of_planes(name: str, **options: int) -> Network:
    """A network of planes of random weights."""
    architecture = registry.get(name)
    module = architecture.build(options)
    params = random_params(module, scale=0.05)
    return Network("planes", architecture, module, params, made_card(name, options))


@pytest.fixture(scope="module")
def compact() -> Network:
    return of_planes("compact", width=8, blocks=1)


@pytest.fixture(scope="module")
def beside(compact: Network) -> Restorer:
    return Restorer(compact, pixels=BAD, chroma=None)


@pytest.fixture(scope="module")
def alone(compact: Network) -> Restorer:
    return Restorer(compact, pixels=None, chroma=None)


def test_pixels_without_a_history_are_restored_by_it(beside: Restorer, alone: Restorer) -> None:
    given = pictures.of_array(PHOTO)
    source = beside.damaged(given)
    assert source.verdict is not None
    assert beside.used(source.verdict) is BAD
    restored = beside.picture(given, source)
    np.testing.assert_array_equal(restored, Restorer(BAD).restore(PHOTO))
    assert (restored != PHOTO).any()
    believed = Restorer(BAD, history="off")
    for other in (alone, beside.at(1.0, history="off"), beside.at(0.0), believed):
        np.testing.assert_array_equal(other.restore(PHOTO), PHOTO)


def test_a_file_that_looks_much_worse_than_its_table(beside: Restorer, alone: Restorer) -> None:
    """It is restored as the network of pictures does alone."""
    content = jpeg_bytes(PHOTO, quality=90)
    restored = beside.restore(content)
    np.testing.assert_array_equal(restored, Restorer(BAD).restore(content))
    assert (restored != alone.restore(content)).any()


@pytest.mark.parametrize(("quality", "looks_like"), [(90, 85), (75, 50), (40, 25)])
def test_files_whose_tables_explain_them(compact: Network, quality: int, looks_like: int) -> None:
    """The last is so bad that nobody asks."""
    content = jpeg_bytes(PHOTO, quality=quality)
    found = network(error_of(looks_like))
    with_it = Restorer(compact, pixels=found, chroma=None)
    source = with_it.damaged(reader.read(content))
    assert source.verdict is None
    assert with_it.used(source.verdict) is compact
    without = Restorer(compact, pixels=None, chroma=None)
    np.testing.assert_array_equal(with_it.restore(content), without.restore(content))


@pytest.mark.parametrize("looks_like", [90, 55])
def test_what_does_not_look_bad_is_left_alone(compact: Network, looks_like: int) -> None:
    """The latter may be damaged, but if it is not, more is lost than there is to gain."""
    unconvinced = Restorer(compact, pixels=network(error_of(looks_like)))
    np.testing.assert_array_equal(unconvinced.restore(PHOTO), PHOTO)
    fine = jpeg_bytes(PHOTO, quality=97)
    without = Restorer(compact, pixels=None)
    np.testing.assert_array_equal(unconvinced.restore(fine), without.restore(fine))


def test_a_history_that_is_proved_goes_before(compact: Network) -> None:
    """Codes say more than pixels."""
    before = jpeg_bytes(make_photo(300, 420), quality=30)
    pixels = np.asarray(Image.open(io.BytesIO(before)))
    source = Restorer(compact, pixels=BAD).damaged(pictures.of_array(pixels))
    assert source.history is not None
    assert source.verdict is None
    told = Restorer(compact, pixels=BAD, history="quality=40,grid=0:0")
    assert told.damaged(pictures.of_array(PHOTO)).verdict is None


@pytest.mark.parametrize(
    "given",
    [
        pictures.of_array(PHOTO[:40]),
        pictures.of_image(Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]]), "CMYK")),
    ],
    ids=["small", "inks"],
)
def test_what_nobody_asks_about(beside: Restorer, given: pictures.Picture) -> None:
    assert beside.damaged(given).verdict is None


def test_it_goes_along(beside: Restorer) -> None:
    """With copies; but not beside a network of one table."""
    again = pickle.loads(pickle.dumps(beside))
    np.testing.assert_array_equal(again.restore(PHOTO), beside.restore(PHOTO))
    of_one_table = Restorer(of_planes("hrcnn", quality=10, blocks=1), pixels=BAD)
    assert of_one_table.damaged(pictures.of_array(PHOTO)).verdict is None


def test_programs_go_with_it(compact: Network) -> None:
    """They are native code and memory maps: nothing waits for the collector of cycles."""

    def programs() -> int:
        return sum(isinstance(each, Program) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = programs()
        restorer = Restorer(compact, pixels=BAD)
        restorer.restore(PHOTO)
        assert programs() > before
        del restorer
        assert programs() == before
    finally:
        gc.enable()


def test_one_that_is_not_there(compact: Network) -> None:
    with pytest.raises(ModelError, match="no network 'nowhere'"):
        Restorer(compact, pixels="nowhere")
    with pytest.raises(ModelError, match="'small' is no network of pictures: choose from wild"):
        Restorer(compact, pixels="small")  # which it would not be asked for before it is needed


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of released networks, of which that of pixels finds all as bad as quality 25."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, architecture in (("small", "compact"), ("chroma", "chroma")):
        write_network(folder, name, architecture, width=8, blocks=1)
    write_network(folder, cards.PIXELS, "wild", BAD.params, **OPTIONS)
    monkeypatch.setattr(cards, "WEIGHTS", folder)
    return folder


def test_who_restored_it_is_told(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command and its report."""
    Image.fromarray(PHOTO).save(tmp_path / "kept.png")
    (tmp_path / "once.jpg").write_bytes(jpeg_bytes(PHOTO, quality=40))
    files = [str(tmp_path / "kept.png"), str(tmp_path / "once.jpg"), "-o", str(tmp_path / "out")]
    report = tmp_path / "done.json"
    assert main(["restore", *files, "--report", str(report)]) == 0
    kept, once = json.loads(report.read_text())
    assert kept["network"] == cards.PIXELS
    weights = released / f"{cards.PIXELS}.safetensors"
    assert kept["network_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert kept["estimated_quality"] == pytest.approx(25, abs=0.5)
    assert once["network"] == "small"
    assert once["network_sha256"] != kept["network_sha256"]
    told = "".join(capsys.readouterr())
    assert "looks as bad as JPEG of quality 25 would make it: wild restores its pixels" in told
    assert "once.jpg: looks" not in told
    assert kept["expected_gain"] is None, "no card tells of such pictures"
    assert main(["restore", *files, "--pixels", "none", "--report", str(report)]) == 0
    assert json.loads(report.read_text())[0]["network"] == "small"
    assert "no compression that can be proved: left as it is" in "".join(capsys.readouterr())


def test_codes_that_are_let_go_are_no_failure(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The share that comes back all the same is told, by the command and in a fleet's manifest."""
    content = jpeg_bytes(PHOTO, quality=90)
    (tmp_path / "saved-again.jpg").write_bytes(content)
    files = [str(tmp_path / "saved-again.jpg"), "-o", str(tmp_path / "out")]
    assert main(["restore", *files, "--verify"]) == 0
    told = "".join(capsys.readouterr())
    assert "they are those of earlier damage, and are let go" in told
    treatment = Restoration("small", sha256_of(released / "small.safetensors"), cards.PIXELS)
    treated = treatment.encode(treatment.compute(reader.read(content)))
    assert treated.facts["network"] == cards.PIXELS
    assert 0 < treated.facts["codes_share"] < 1


def made_of(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    return stream.getvalue()


def test_by_many_workers_too(released: Path) -> None:
    """Each row has the network that restored it, and what another machine has is checked."""
    hashes = [sha256_of(released / f"{name}.safetensors") for name in ("small", cards.PIXELS)]
    treatment = Restoration("small", hashes[0], cards.PIXELS, hashes[1])
    treatment.prepare()
    treated = treatment.encode(treatment.compute(pictures.of_array(PHOTO)))
    assert treated.facts["network"] == cards.PIXELS
    assert treated.facts["network_hash"] == hashes[1]
    once = treatment.encode(treatment.compute(reader.read(jpeg_bytes(PHOTO, quality=40))))
    assert once.facts["network"] == "small"
    assert once.facts["network_hash"] == hashes[0]
    with pytest.raises(ModelError, match="wild: its weights are others"):
        Restoration("small", hashes[0], cards.PIXELS, hashes[0]).prepare()
    # What is given back as it was gains nothing.
    plain = Restoration("small", hashes[0], cards.PIXELS, hashes[1], strength=0.0)
    inked = Restoration(cards.PIXELS, hashes[1])
    inks = Image.fromarray(PHOTO).convert("CMYK")
    for each, file in (
        (plain, jpeg_bytes(PHOTO, quality=40)),
        (plain, made_of(inks)),
        (inked, made_of(inks)),
    ):
        assert each.encode(each.compute(reader.read(file))).facts["expected_gain_db"] == 0.0


def test_the_page_tells_who_restores(released: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(PHOTO).save(content, "PNG")
    with TestClient(server.build(Workshop()), base_url="http://127.0.0.1:8642") as client:
        told = client.post("/api/inspect?name=kept.png", content=content.getvalue()).json()
    assert told["words"] == [
        "122 × 93 pixels, colour.",
        "It looks as bad as JPEG of quality 25 would make it: wild restores its pixels.",
    ]
    assert told["expected_gain"] is None


def test_what_is_known_of_the_gain() -> None:
    """Of what was measured, compressions told or explained by a table, and no damage at all."""
    card = recorded(made_card("wild", OPTIONS), Protocol("live1"), {10: {"gain": 1.5}})
    array = jnp.zeros(1)
    told = Verdict(10.0, True, False, 1.0, array, array)
    assert of_verdict(told, card) == 1.5
    assert of_verdict(told._replace(intact=True, quality=90.0), card) == 0.0
    assert of_verdict(told._replace(told=False, excess=2.5), card) is None


def test_what_believing_brings_by_hand() -> None:
    """Of three pictures that look as bad as 20, 42 and 58."""
    seen = [convincing.Seen(20.0, 0.9), convincing.Seen(42.0, -0.3), convincing.Seen(58.0, -1.2)]
    bounds = convincing.row(seen)["bounds"]
    assert bounds["30"] == pytest.approx({"share": 1 / 3, "mean": 0.3, "worst": 0.0})
    assert bounds["45"] == pytest.approx({"share": 2 / 3, "mean": 0.2, "worst": -0.3})
    assert bounds["60"] == pytest.approx({"share": 1.0, "mean": -0.2, "worst": -1.2})


@pytest.mark.usefixtures("released")
def test_what_believing_brings(tmp_path: Path) -> None:
    """All is found as bad as quality 25, what is clean as well; of coarse files nobody asks."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_photo(120, 150)).save(tmp_path / "photos" / "photo.png")
    flags = ["--data", str(tmp_path / "photos"), "--every", "1", "--history", "20,x0.75,png", "40"]
    convincing.main([*flags, "--output", str(tmp_path / "found.json")])
    clean, resized, once = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [each["chain"] for each in (clean, resized, once)] == ["clean", "20,x0.75,png", "40"]
    assert clean["bounds"]["30"]["share"] == resized["bounds"]["30"]["share"] == 1.0
    assert clean["bounds"]["30"]["mean"] == 0.0, "nothing is restored there"
    assert resized["bounds"]["30"]["mean"] != 0.0
    assert once["bounds"]["65"]["share"] == 0.0


@pytest.mark.usefixtures("released")
def test_measured_beside_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` has each network by itself, unless it is told."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(PHOTO).save(tmp_path / "photos" / "photo.png")
    gains = []
    for beside in ([], ["--pixels", cards.PIXELS]):
        flags = ["--data", str(tmp_path / "photos"), "--model", "small", "--planes", "luma"]
        output = ["--output-dir", str(tmp_path / "out")]
        assert evaluate.main([*flags, "--history", "20,x0.75,png", *beside, *output]) == 0
        measured = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert ("pixels by wild" in capsys.readouterr().out) == bool(beside)
        (row,) = measured["results"]
        gains.append(row["mean"]["gain"])
    assert gains[0] == 0.0
    assert gains[1] != 0.0


def test_who_watches_sees_pixels_pass(beside: Restorer) -> None:
    given = pictures.of_array(PHOTO)
    seen: list[tuple[int, ...]] = []

    def watch(index: int, plane: Plane, part: Component | None) -> Plane:
        def strips() -> Iterator[np.ndarray]:
            for strip in plane.strips:
                seen.append((index, len(strip)))
                yield strip

        assert part is None
        assert plane.size == PHOTO.shape[:2]
        return plane._replace(strips=strips())

    watched = beside.picture(given, beside.damaged(given), "uint8", watch)
    np.testing.assert_array_equal(watched, beside.restore(PHOTO))
    assert {index for index, _ in seen} == {0}
    assert sum(rows for _, rows in seen) >= len(PHOTO)
