"""Evaluation end to end on tiny pictures, against Pillow's JPEG and scikit-image's metrics."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import fresh_params, jpeg_bytes, make_photo, random_params, write_network
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hrcnn_jax.cli import evaluate
from hrcnn_jax.data import sources
from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks import cards, registry, zoo
from hrcnn_jax.restoration.comparison import side_by_side
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import evaluation, figures, gallery, protocol
from hrcnn_jax.scores.figures import Panel
from hrcnn_jax.scores.protocol import Protocol
from hrcnn_jax.training.checkpoints import Checkpoints
from hrcnn_jax.training.export import describe
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.step import create_state

BRIGHTER = 13 / 255  # whole samples, so that it commutes with rounding


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four released networks.

    `tiny` is untrained, which is the plain decoder; `bent` is the same with some of its
    weights made up; `bright10` is the paper's network, serves quality 10 and makes all pictures
    too bright. `blue` makes chroma up, and is what the card of `tiny` names.
    """
    folder = tmp_path_factory.mktemp("weights")
    small = {"width": 4, "blocks": 1}
    params = fresh_params(registry.get("compact").build(small))
    write_network(folder, "tiny", "compact", params, **small)
    kernel = params["tail"]["kernel"]
    bent = {"kernel": 0.02 * jax.random.normal(jax.random.key(1), kernel.shape)}
    params = {**params, "tail": {**params["tail"], **bent}}
    write_network(folder, "bent", "compact", params, **small)

    one_block = {"quality": 10, "blocks": 1}
    params = fresh_params(registry.get("hrcnn").build(one_block))
    last = params["residual1"]["conv3"]
    last = {**last, "bias": last["bias"] + BRIGHTER}
    params = {**params, "residual1": {**params["residual1"], "conv3": last}}
    write_network(folder, "bright10", "hrcnn", params, **one_block)

    params = random_params(registry.get("chroma").build(small), scale=1.0)
    write_network(folder, "blue", "chroma", params, **small)
    of_tiny = folder / "tiny.json"
    cards.write(of_tiny, replace(cards.read(of_tiny), chroma="blue"))
    return folder


@pytest.fixture(autouse=True)
def released_networks(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "WEIGHTS", weights)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two pictures, one of whose sides are no multiples of 8."""
    folder = tmp_path_factory.mktemp("somewhere") / "photos"
    folder.mkdir()
    Image.fromarray(make_photo(40, 64)).save(folder / "first.png")
    Image.fromarray(make_photo(45, 70, seed=1)).save(folder / "second.png")
    return folder


def green(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))[:40, :64, 1]


def decoded_by_pillow(plane: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg_bytes(plane, quality=quality))))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(pictures: Path, out: Path, *flags: str) -> dict[str, Any]:
    """What an evaluation writes to metrics.json."""
    assert evaluate.main(["--data", str(pictures), "--output-dir", str(out), *flags]) == 0
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def test_plain_jpeg_is_pillows_and_an_untrained_network_adds_nothing(
    pictures: Path, tmp_path: Path
) -> None:
    found = run(pictures, tmp_path, "--model", "tiny", "--quality", "10", "50")
    assert found["protocol"]["data"] == "photos"
    assert [result["quality"] for result in found["results"]] == [10, 50]
    for result in found["results"]:
        names = [scores["picture"] for scores in result["pictures"]]
        assert names == ["photos/first.png", "photos/second.png"]
        for scores in result["pictures"]:
            original = green(pictures.parent / scores["picture"])
            plain = decoded_by_pillow(original, result["quality"])
            # libjpeg's inverse DCT works in integers, and now and then rounds the other way.
            psnr = peak_signal_noise_ratio(original, plain)
            ssim = structural_similarity(original, plain, data_range=255)
            as_paper = structural_similarity(original, plain, data_range=2 * 255)
            assert scores["jpeg_psnr"] == pytest.approx(psnr, abs=0.02)
            assert scores["jpeg_ssim"] == pytest.approx(ssim, abs=1e-3)
            assert scores["jpeg_ssim_as_paper"] == pytest.approx(as_paper, abs=1e-3)
            for gain in ("gain", "gain_ssim", "gain_ssim_as_paper"):
                assert scores[gain] == 0


def test_the_three_reports_agree(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(pictures, tmp_path, "--model", "bent", "--quality", "10", "50")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = read_csv(tmp_path / "metrics.csv")
    assert (rows[1]["height"], rows[1]["width"]) == ("40", "64")
    for result, pair in zip(found["results"], (rows[:2], rows[2:]), strict=True):
        mean = result["mean"]
        for row, scores in zip(pair, result["pictures"], strict=True):
            assert (row["model"], row["quality"]) == ("bent", str(result["quality"]))
            assert row["picture"] == scores.pop("picture")
            assert {name: float(row[name]) for name in scores} == scores
        for name, value in mean.items():
            total = sum(float(row[name]) for row in pair)
            assert value == pytest.approx(total if "seconds" in name else total / 2)
        shown = [
            "bent",
            str(result["quality"]),
            f"{mean['jpeg_psnr']:.2f}",
            f"{mean['psnr']:.2f}",
            f"{mean['gain']:+.2f}",
            f"{100 * mean['jpeg_ssim']:.2f}",
            f"{100 * mean['ssim']:.2f}",
        ]
        assert shown in [line[: len(shown)] for line in lines]
    assert not list(tmp_path.glob(".*")), "temporary files are gone"


def test_scores_are_of_what_the_network_restores(pictures: Path, tmp_path: Path) -> None:
    result = run(pictures, tmp_path, "--model", "bent", "--quality", "20")["results"][0]
    original = green(pictures / "first.png")
    table = np.asarray(transform.quality_table(20))
    codes = np.asarray(
        transform.encode(jnp.asarray(original / np.float32(255)), jnp.asarray(table))
    )
    pixels = Restorer("bent", chroma=None, pixels=None).restore_codes(codes.astype(int), table)
    restored = np.clip(np.rint(255 * pixels), 0, 255).astype(np.uint8)

    scores = result["pictures"][0]
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(original, restored), abs=1e-3)
    for name, data_range in (("ssim", 255), ("ssim_as_paper", 510)):
        expected = structural_similarity(original, restored, data_range=data_range)
        assert scores[name] == pytest.approx(expected, abs=1e-4)
    assert scores["gain"] == pytest.approx(scores["psnr"] - scores["jpeg_psnr"])
    assert scores["gain_ssim"] == pytest.approx(scores["ssim"] - scores["jpeg_ssim"])
    assert abs(scores["gain"]) > 0.01


def test_faithful_or_not(pictures: Path, tmp_path: Path) -> None:
    flags = ("--model", "bright10")
    faithful = run(pictures, tmp_path / "faithful", *flags)["results"][0]["pictures"][0]
    free = run(pictures, tmp_path / "free", *flags, "--no-faithful")["results"][0]["pictures"][0]
    original = green(pictures / "first.png")
    brighter = np.clip(decoded_by_pillow(original, 10) / 255 + BRIGHTER, 0, 1)
    expected = peak_signal_noise_ratio(original / 255, np.rint(255 * brighter) / 255, data_range=1)
    assert free["psnr"] == pytest.approx(expected, abs=0.02)  # as above
    assert faithful["psnr"] > free["psnr"] + 0.1, "the codes forbid so much brightness"


def test_luma_is_pillows(pictures: Path, tmp_path: Path) -> None:
    result = run(pictures, tmp_path, "--model", "tiny", "--planes", "luma", "--quality", "30")
    original = np.asarray(Image.open(pictures / "first.png").convert("L"))
    expected = peak_signal_noise_ratio(original, decoded_by_pillow(original, 30))
    scores = result["results"][0]["pictures"][0]
    # Pillow rounds luma from fixed-point weights.
    assert scores["jpeg_psnr"] == pytest.approx(expected, abs=0.05)


def test_studio_luma_is_scikit_images(pictures: Path, tmp_path: Path) -> None:
    """`rgb2ycbcr` is MATLAB's; the literature measures on its rounded luma."""
    result = run(pictures, tmp_path, "--model", "tiny", "--planes", "studio", "--quality", "30")
    picture = np.asarray(Image.open(pictures / "first.png"))
    original = np.rint(rgb2ycbcr(picture)[..., 0]).astype(np.uint8)
    expected = peak_signal_noise_ratio(original, decoded_by_pillow(original, 30))
    scores = result["results"][0]["pictures"][0]
    assert scores["jpeg_psnr"] == pytest.approx(expected, abs=0.02)  # as above


@pytest.mark.parametrize(("planes", "channel", "scale"), [("cb", 2, 1.772), ("cr", 0, 1.402)])
def test_chroma_and_other_tables(
    planes: str, channel: int, scale: float, pictures: Path, tmp_path: Path
) -> None:
    """Scaled differences to luma (T.871), as libjpeg codes them with a table of its caller's."""
    flags = ("--model", "tiny", "--planes", planes, "--table", "flat", "--quality", "30")
    result = run(pictures, tmp_path, *flags)
    assert result["protocol"]["table"] == "flat"
    picture = np.asarray(Image.open(pictures / "first.png"), float)
    difference = picture[..., channel] - picture @ [0.299, 0.587, 0.114]
    original = np.rint(128 + difference / scale).astype(np.uint8)
    file = jpeg_bytes(original, qtables=[[27] * 64])  # 16 times 5000 // 30 percent, rounded
    expected = peak_signal_noise_ratio(original, np.asarray(Image.open(io.BytesIO(file))))
    scores = result["results"][0]["pictures"][0]
    assert scores["jpeg_psnr"] == pytest.approx(expected, abs=0.02)  # as above


def test_colour_files_are_compared_over_all_samples(pictures: Path, tmp_path: Path) -> None:
    """Pillow's 4:2:0 files and decoder; whole pictures, of whatever size."""
    flags = ("--model", "tiny", "--planes", "rgb", "--quality", "30", "--chroma")
    result = run(pictures, tmp_path, *flags, "none")["results"][0]
    for name, scores in zip(("first", "second"), result["pictures"], strict=True):
        original = np.asarray(Image.open(pictures / f"{name}.png"))
        file = jpeg_bytes(original, quality=30, subsampling="4:2:0")
        plain = np.asarray(Image.open(io.BytesIO(file)))
        ssim = structural_similarity(original, plain, channel_axis=-1)
        assert scores["jpeg_psnr"] == pytest.approx(peak_signal_noise_ratio(original, plain))
        assert scores["jpeg_ssim"] == pytest.approx(ssim, abs=1e-4)
        # Untrained, it decodes as Pillow does up to rounding, and to how chroma is enlarged.
        assert abs(scores["gain"]) < 0.3
    rows = read_csv(tmp_path / "metrics.csv")
    assert [(row["height"], row["width"]) for row in rows] == [("40", "64"), ("45", "70")]
    invented = run(pictures, tmp_path, *flags, "blue")["results"][0]
    assert invented["mean"]["gain"] < result["mean"]["gain"] - 1
    own = run(pictures, tmp_path, *flags[:-1])
    assert (own["protocol"]["chroma"], own["models"]["tiny"]["chroma"]) == ("own", "blue")
    assert own["results"][0]["mean"]["gain"] == invented["mean"]["gain"]


def test_a_network_of_one_quality(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(pictures)]
    flags = ("--model", "tiny", "bright10", "--quality", "10", "30")
    results = run(pictures, tmp_path, *flags)["results"]
    assert [(r["model"], r["quality"]) for r in results] == [
        ("tiny", 10),
        ("tiny", 30),
        ("bright10", 10),
    ]
    message = "hrcnn-jax: bright10 serves quality 10 only: not measured at 30\n"
    assert message in capsys.readouterr().err
    assert evaluate.main([*data, "--model", "bright10", "--quality", "30"]) == 1
    assert "--quality: bright10 serves quality 10 only" in capsys.readouterr().err


def test_networks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    _, weights = zoo.find("tiny")
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"tiny{suffix}").write_bytes(weights.with_suffix(suffix).read_bytes())
    other = str(tmp_path / "tiny.safetensors")
    networks = evaluate.load_networks(["tiny", other], card=False)
    assert [network.name for network in networks] == ["tiny", other]


def test_the_purest_colours_are_measured_as_they_are_stored() -> None:
    pure = np.zeros((8, 24, 3), np.uint8)
    for index in range(3):
        pure[:, 8 * index : 8 * index + 8, index] = 255
    pillow = np.asarray(Image.fromarray(pure).convert("YCbCr")).astype(int)
    for index, planes in enumerate(("luma", "cb", "cr")):
        measured = evaluation.samples_of(pure, planes, "pure").astype(int)
        assert np.abs(measured - pillow[..., index]).max() <= 1


def test_default_qualities() -> None:
    assert evaluate.qualities_of(zoo.load("tiny"), None) == [10, 30, 50]
    assert evaluate.qualities_of(zoo.load("bright10"), None) == [10]


def test_crops(pictures: Path, tmp_path: Path) -> None:
    flags = ("--model", "tiny", "--quality", "10", "--crop", "16", "--crops", "5")
    first, again = (run(pictures, tmp_path / name, *flags)["results"][0] for name in "ab")
    quality = [scores["jpeg_psnr"] for scores in first["pictures"]]
    assert quality == [scores["jpeg_psnr"] for scores in again["pictures"]]
    assert len(set(quality)) == 5
    rows = read_csv(tmp_path / "a" / "metrics.csv")
    assert [(row["height"], row["width"]) for row in rows] == [("16", "16")] * 5


def test_a_perfect_picture_leaves_valid_json(tmp_path: Path) -> None:
    folder = tmp_path / "black"
    folder.mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "black.png")
    result = run(folder, tmp_path, "--model", "tiny", "--quality", "10")["results"][0]
    assert result["mean"]["psnr"] is None
    assert result["mean"]["gain"] == 0
    assert result["mean"]["ssim"] == pytest.approx(1)


def test_a_training_run(
    pictures: Path, tmp_path: Path, standard_promotion: None, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "my_run"
    settings = Settings().changed(
        workdir=str(workdir), architecture="compact", width=4, blocks=1, pictures=(str(pictures),)
    )
    state = create_state(registry.get("compact"), settings)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save_if_best(state.ema, describe(settings, gain=0.5))
    found = run(pictures, tmp_path / "out", "--model", str(workdir), "--quality", "10")
    assert found["results"][0]["model"] == "my_run"
    assert found["results"][0]["mean"]["gain"] == 0
    assert evaluate.main(["--data", str(pictures), "--model", str(workdir), "--card"]) == 1
    assert "my_run has no card beside its weights: release it first" in capsys.readouterr().err
    # A run of a released network's name is told apart by its folder.
    workdir = workdir.rename(tmp_path / "tiny")
    both = ("--model", str(workdir), "tiny", "--quality", "10")
    models = [result["model"] for result in run(pictures, tmp_path / "both", *both)["results"]]
    assert models == [str(workdir), "tiny"]


def test_times_are_of_the_second_run_and_only_if_asked_for(pictures: Path, tmp_path: Path) -> None:
    flags = ("--model", "tiny", "--quality", "10")
    untimed = run(pictures, tmp_path / "untimed", *flags)["results"][0]
    assert not [name for name in untimed["mean"] if "seconds" in name]
    timed = run(pictures, tmp_path / "timed", *flags, "--times")["results"][0]
    for name in ("jpeg_seconds", "seconds"):
        assert timed["mean"][name] == pytest.approx(sum(s[name] for s in timed["pictures"]))
        assert timed["mean"][name] > 0


def test_pictures_of_many_sizes_share_their_programs(tmp_path: Path) -> None:
    """Coding and comparing them compiles once for all that fit into the same padded size."""
    planes = [make_photo(8 * n, 64 - 8 * n, n)[..., 1] for n in range(1, 8)]
    programs = evaluation._compare, evaluation._encode
    before = [len(program._known) for program in programs]
    for plane in planes:
        original = evaluation.to_pixels(plane)
        codes, table = evaluation.make_codes(plane, 30)
        scores = evaluation.compare(original, evaluation.decode_plainly(codes, table), original)
        decoded = decoded_by_pillow(plane, 30)
        expected = peak_signal_noise_ratio(plane, decoded)
        assert scores["jpeg_psnr"] == pytest.approx(expected, abs=0.05)
        ssim = structural_similarity(plane, decoded, data_range=255)
        assert scores["jpeg_ssim"] == pytest.approx(ssim, abs=3e-3)
    after = [len(program._known) for program in programs]
    assert max(np.subtract(after, before)) <= 1


def test_cards(pictures: Path, weights: Path, tmp_path: Path) -> None:
    path = weights / "bent.json"
    measured = Protocol("photos")
    others = protocol.recorded(cards.read(path), Protocol("others"), {30: {"psnr": 2.0}})
    before = protocol.recorded(others, measured, {90: {"psnr": 1.0}})
    cards.write(path, before)
    result = run(pictures, tmp_path, "--model", "bent", "--quality", "10", "--card")["results"][0]
    after = cards.read(path)
    scores = protocol.means(after, measured)
    written = scores.pop(10)
    assert scores == protocol.means(before, measured)
    assert protocol.means(after, Protocol("others")) == {30: {"psnr": 2.0}}
    assert written == {
        name: pytest.approx(result["mean"][name], abs=1e-4)
        for name in ("jpeg_psnr", "psnr", "gain", "ssim", "gain_ssim")
    }


def test_what_is_measured_differently_is_another_protocol() -> None:
    flags = ["--data", "a/live1", "b/"]
    protocols = [
        evaluate.protocol_of(evaluate.parse([*flags, *more]))
        for more in (
            [],
            ["--test-split"],
            ["--planes", "luma", "--table", "flat"],
            ["--crop", "16"],
            ["--no-faithful"],
            ["--planes", "rgb", "--chroma", "runs/c"],
            ["--planes", "rgb"],
        )
    ]
    assert len(set(protocols)) == len(protocols)
    assert [str(each) for each in protocols] == [
        "live1 + b green",
        "live1 + b green, test split",
        "live1 + b luma, flat table",
        "live1 + b green, 14040 crops of 16×16",
        "live1 + b green, not projected",
        "live1 + b rgb, chroma by c",
        "live1 + b rgb",
    ]


def test_the_test_split_is_what_training_leaves_out(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(make_photo(16, 16, number)).save(folder / f"{number}.png")
    found = run(folder, tmp_path, "--model", "tiny", "--quality", "10", "--test-split")
    measured = {score["picture"] for score in found["results"][0]["pictures"]}
    used = [Path(n).name for part in sources.open_training([str(folder)], []) for n in part.names]
    assert len(measured) == 2
    assert measured | {f"photos/{name}" for name in used} == {f"photos/{i}.png" for i in range(20)}
    assert not measured & {f"photos/{name}" for name in used}


def test_figures(pictures: Path, tmp_path: Path) -> None:
    flags = ("--model", "bent", "bright10", "--quality", "10", "--figures", "--figure-pictures")
    run(pictures, tmp_path, *flags, "1")
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {
        "bent-photos-first.png",
        "bright10-photos-first.png",
        "bright10-stages.png",
    }
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.width == figures.WIDTH * figures.DPI
            assert len(np.unique(picture.convert("L"))) > 100, "more than text on white"


def test_features_are_what_the_segments_do() -> None:
    """The untrained segments are known: sorting, painting basis pictures, summing them up."""
    plane = make_photo(24, 40)[..., 1]
    codes, table = evaluation.make_codes(plane, 10)
    features = gallery.features_of(zoo.load("bright10"), codes)
    for v, u in ((0, 0), (0, 3), (2, 1)):
        snapshot = features["extracted"][..., 8 * u + v]
        np.testing.assert_array_equal(snapshot, codes[..., v, u])
    plain = np.asarray(transform.decode(jnp.asarray(codes), jnp.asarray(table)))
    summed = features["reconstructed"].sum(-1) + 128 / 255
    inside = (plain > 0) & (plain < 1)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(summed[inside], plain[inside], atol=1e-5)
    np.testing.assert_allclose(features["decoded"][inside], plain[inside], atol=1e-5)
    brightening = features["enhanced"] - features["decoded"]
    np.testing.assert_allclose(brightening, BRIGHTER, atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "huge"], "no network 'huge'"),
        (["--model", "tiny", "tiny"], "--model: tiny is given twice"),
        (["--model", "bent", "--no-faithful"], "network bent is faithful by construction"),
        (["--model", "blue"], "network 'blue' only restores chroma beside another"),
        (["--model", "bright10", "--planes", "rgb", "--chroma", "pink"], "no network 'pink'"),
        (["--planes", "rgb", "--chroma", "tiny"], "network 'tiny' is no network for chroma"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--data", "empty"], "empty: no pictures"),
        (["--data", "broken"], r"broken/text\.png: cannot be read as a picture"),
        (["--data", "narrow"], r"narrow/strip\.png: 7x90 pixels hold no 8x8 block"),
        (["--data", "narrow", "--crop", "8"], r"narrow/strip\.png: 7x90 pixels is smaller"),
        (["--output-dir", "file"], "file"),
    ],
)
def test_bad_input(
    flags: list[str],
    message: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "broken", "narrow"):
        Path(name).mkdir()
    Path("file").touch()
    Path("broken/text.png").write_text("text", encoding="utf-8")
    Image.fromarray(np.zeros((90, 7, 3), np.uint8)).save("narrow/strip.png")
    defaults = ["--model", "tiny", "--data", str(pictures), "--output-dir", "out"]
    assert evaluate.main([*defaults, *flags]) == 1
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert re.search(rf"^hrcnn-jax: .*{message}", line)
    assert not out
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--planes", "rgb"], "SSIM needs sides of at least 7 pixels, got 6×90"),
        (["--planes", "rgb", "--history", "20,+90:0"], r"\+90:0 leaves nothing of 6×90 pixels"),
    ],
)
def test_pictures_too_small_to_measure(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((90, 6, 3), np.uint8)).save(tmp_path / "a.png")
    assert evaluate.main(["--model", "tiny", "--data", str(tmp_path), *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"/a\.png: .*{message}.*; leave it out$", line)


def test_no_picture_is_blamed_for_what_a_network_cannot(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "bright10", "--table", "flat", "--quality", "10"]
    assert evaluate.main(["--data", str(pictures), *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "hrcnn-jax: network bright10 does not know this quantisation table"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--quality", "0"], "0: a quality is an integer from 1 to 100"),
        (["--quality", "10.5"], "10.5: a quality"),
        (["--crop", "20"], "--crop 20: must be a multiple of 8"),
        (["--crops", "20"], "--crops: give"),
        (["--figures"], "--figures: say where"),
        (["--figure-pictures", "-1"], "--figure-pictures -1: must be 0 or more"),
        (["--planes", "blue"], "invalid choice"),
        (["--table", "odd"], "invalid choice"),
        (["--table", "flat", "--planes", "rgb"], "--table flat: not for"),
        (["--chroma", "chroma"], "--chroma: is for --planes rgb"),
        (["--believe", "off"], "--believe and --pixels: are for pictures with a past"),
        (["--pixels", "wild"], "give --history"),
    ],
)
def test_usage(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["--data", "photos", *flags])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_side_by_side() -> None:
    gray, colours = make_photo(9, 5)[..., 1], make_photo(9, 5, seed=1)
    both = side_by_side(gray, colours)
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both[:, :5], np.stack([gray] * 3, -1))
    np.testing.assert_array_equal(both[:, -5:], colours)
    assert (both[:, 5:-5] == 255).all()
    assert side_by_side(gray, gray).shape == both.shape[:2]
    with pytest.raises(ValueError, match="different sizes"):
        side_by_side(gray, gray[1:])


def test_richest_window_is_the_best_of_all() -> None:
    values = np.random.default_rng(0).normal(size=(40, 56))
    top, left, height, width = figures.richest_window(values, (13, 20))
    assert (height, width) == (13, 20)
    sums = {
        (row, column): values[row : row + 13, column : column + 20].sum()
        for row in range(0, 40 - 13 + 1, 8)
        for column in range(0, 56 - 20 + 1, 8)
    }
    assert (top, left) == max(sums, key=lambda corner: sums[corner])


def test_gain_is_more_visible_where_there_is_no_texture() -> None:
    original = np.full((8, 24), 0.5)
    original[:, :8] += 0.2 * np.random.default_rng(0).normal(size=(8, 8))
    before = original + 0.1
    after = original.copy()
    after[:, 16:] += 0.2
    visible = figures.visible_gain(original, before, after)
    assert 0 < visible[:, :8].max() < visible[:, 8:16].min()
    assert (visible[:, 16:] < 0).all()


def test_montage_orders_channels_by_frequency() -> None:
    """Eq. 2: channel ch has vertical frequency ch mod 8 and horizontal ch // 8."""
    features = np.zeros((3, 40, 64))
    features[0, 0, 8 * 5 + 2] = -4.0
    features[2, 7, 8 * 1 + 3] = 9.0
    sheet = figures.montage(features, 8)
    gap = 1
    assert sheet.shape == (8 * 3 + 7 * gap, 8 * 40 + 7 * gap)
    assert sheet[2 * (3 + gap), 5 * (40 + gap)] == 0
    assert sheet[3 * (3 + gap) + 2, 1 * (40 + gap) + 7] == 1
    assert np.count_nonzero(sheet == 0.5) == 64 * 3 * 40 - 2


@pytest.mark.parametrize("size", [(32, 48), (48, 32)])
def test_comparison_shows_every_panel_and_its_detail(size: tuple[int, int]) -> None:
    panels = [Panel(make_photo(*size, seed)[..., 1] / 255, f"panel {seed}") for seed in range(3)]
    figure = figures.comparison([panels] * 2, (8, 16, 8, 12), labels=["a", "b"], title="title")
    shown = [image.get_array() for axes in figure.axes for image in axes.images]
    assert len(shown) == 12
    for panel in panels:
        for part in (panel.picture, panel.picture[8:16, 16:28]):
            assert sum(np.array_equal(part, other) for other in shown) == 2


def test_a_figure_that_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    figure = figures.comparison(
        [[Panel(np.zeros((8, 8)), "")]], (0, 0, 8, 8), labels=[""], title=""
    )
    with pytest.raises(ValueError, match="not supported"):
        figures.save(figure, tmp_path / "figure.unknown")
    assert not list(tmp_path.iterdir())
    figures.save(figure, tmp_path / "figure.png")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_no_two_figures_have_one_name() -> None:
    names = ["photos/a.png", "photos/a.bmp", "photos/b c.png", "crop 3", "/runs/q10"]
    assert evaluate.figure_names(names) == [
        "photos-a-png",
        "photos-a-bmp",
        "photos-b-c",
        "crop-3",
        "runs-q10",
    ]
    assert evaluate.figure_names(["a/1.png", "a/1.png", "2.png"]) == ["a-1-png-1", "a-1-png-2", "2"]
