"""The results page from end to end on tiny pictures and networks, and what it is made of."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import fresh_params, jpeg_bytes, made_card, make_photo
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from hrcnn_jax.networks import cards, registry, zoo
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.scores import figures
from reproduce import ablations, compact, model_card, paper, performance, results

CURVE = [{"step": 1, "hours": 0.1, "gain": 0.2}, {"step": 2, "hours": 0.2, "gain": 0.3}]


def write(folder: Path, name: str, card: Card) -> None:
    """An untrained network."""
    params = fresh_params(registry.get(card.architecture).build(card.options))
    zoo.write_weights(folder / f"{name}.safetensors", params, card)
    cards.write(folder / f"{name}.json", card)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Untrained networks of one residual block, two pictures, and what was measured before."""
    weights, pictures, measured = (tmp_path / name for name in ("weights", "live1", "measured"))
    for path in (weights, pictures, measured, tmp_path / "docs"):
        path.mkdir()
    training = {"optimisation": {"optimiser": "muon", "batch": 8}, "data": {"patch": 64}}
    for quality in (10, 30, 50):
        options = {"quality": quality, "blocks": 1}
        known = {"steps": 2, "validation_gain_db": 0.3, "curve": CURVE, "parameters": 333_106}
        card = made_card(
            "hrcnn",
            options,
            **known,
            multiply_adds_per_pixel=248_776,
            training={**training, "run": {"warm_start": ""}},
        )
        write(weights, f"hrcnn-q{quality}", card)
    for seed, name in enumerate(results.PICTURES):
        Image.fromarray(make_photo(136, 144, seed)).save(pictures / f"{name}.png")
    variant = {"gain": 0.5, "gain_projected": 0.625, "steps": 2, "curve": CURVE}
    variant |= {"parameters": 507_157, "multiply_adds_per_pixel": 248_776}
    known = {"hardware": "an abacus", "quality": 10, "variants": {"base": variant}}
    (measured / "ablations.json").write_text(json.dumps(known))
    monkeypatch.setattr(cards, "WEIGHTS", weights)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "MEASURED", measured)
    monkeypatch.setattr(results, "CROPS", 3)
    return tmp_path


def test_the_page_twice(folder: Path) -> None:
    """Figures are scikit-image's of Pillow's JPEG; a second run changes nothing but the time."""
    live1 = str(folder / "live1")
    flags = ["--live1", live1, "--crops-of", live1, "--output-dir", str(folder / "out")]
    assert results.main([*flags, "--times"]) == 0
    page = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert results.main(flags) == 0
    assert (folder / "RESULTS.md").read_text(encoding="utf-8") == page

    for quality in (10, 30, 50):
        scores = []
        for name in results.PICTURES:
            green = np.asarray(Image.open(folder / "live1" / f"{name}.png"))[..., 1]
            (folder / "plane.jpg").write_bytes(jpeg_bytes(green, quality=quality))
            plain = np.asarray(Image.open(folder / "plane.jpg"))
            scores.append(peak_signal_noise_ratio(green, plain))
        line = rf"\| Q = {quality}, JPEG \| {paper.TABLE_2[quality].jpeg_psnr:.2f} \| ([\d.]+) \|"
        (found,) = re.findall(line, page)
        assert float(found) == pytest.approx(np.mean(scores), abs=0.03)
    assert "| *gain* | +1.45 | **+0.00** |" in page, "an untrained network is the plain decoder"
    assert "| image B, the paper's | 30 | 27.39 | 30.41 | +3.02 | 94.60 | 97.14 | +2.54 |" in page
    (row,) = re.findall(rf"\| {results.PICTURES[-1]}, ours \| 50 \| ([\d.]+) \|", page)
    assert float(row) == pytest.approx(scores[-1], abs=0.03), "of the last picture"
    assert "| HR-CNN, the paper's | SGD | – | < 12 h | NVIDIA 2080 | – | – |" in page
    assert "| base | +0.50 | +0.62 | 507,157 | 248,776 |" in page
    assert "an abacus" in page
    assert not re.search(r"[{}]", page)
    assert live1 not in page, "where pictures lie is nobody's business"
    for name in ("stages", "training", "ablations", *results.PICTURES):
        with Image.open(folder / "docs" / f"{name}.png") as picture:
            assert picture.width == figures.WIDTH * figures.DPI


def test_the_page_of_the_compact_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained, they are the plain decoder; its scores are scikit-image's of Pillow's JPEG."""
    like = cards.read(folder / "weights" / "hrcnn-q10.json")
    kinds = (
        ("fast", "compact", 4),
        ("small", "compact", 4),
        ("large", "compact", 8),
        ("chroma", "chroma", 4),
        ("chroma-fast", "chroma", 4),
        ("chroma-large", "chroma", 8),
    )
    for name, kind, width in kinds:
        options = {"width": width, "blocks": 1}
        architecture = registry.get(kind)
        cost = architecture.multiply_adds(architecture.build(options))
        card = made_card(kind, options, training=like.training, curve=CURVE)
        write(folder / "weights", name, replace(card, multiply_adds_per_pixel=cost))
    monkeypatch.setattr(compact, "ROOT", folder)
    monkeypatch.setattr(compact, "QUALITIES", (10, 95))
    monkeypatch.setattr(compact, "SHOWN", (10, 95))
    monkeypatch.setattr(compact, "FILES", (("green", "luminance"), ("cb", "chrominance")))
    live1 = str(folder / "live1")
    assert compact.main(["--live1", live1]) == 0

    page = (folder / "docs" / "compact.md").read_text(encoding="utf-8")
    assert re.search(r"\| `large`: green, luminance( \| \+0\.00){2} \| \+0\.000 at 10 \|", page)
    assert re.search(r"\| `small`: cb, chrominance( \| [+-]0\.0\d){2} \|", page)
    files = [np.asarray(Image.open(path)) for path in sorted(Path(live1).glob("*.png"))]
    psnr = []
    for picture in files:
        coded = Image.open(io.BytesIO(jpeg_bytes(picture, quality=20, subsampling="4:2:0")))
        psnr.append(peak_signal_noise_ratio(picture, np.asarray(coded)))
    (cells,) = (row.split("|") for row in re.findall(r"\*\*`small`, plane by plane\*\*.*", page))
    # By how chroma is enlarged the untrained network differs from Pillow.
    assert float(cells[3].strip(" *")) == pytest.approx(np.mean(psnr), abs=0.3)
    assert not re.search(r"[{}]", page)
    assert live1 not in page, "where pictures lie is nobody's business"
    with Image.open(folder / "docs" / "cost.png") as picture:
        assert picture.width == figures.WIDTH * figures.DPI

    monkeypatch.setattr(compact.evaluate, "main", lambda command: pytest.fail("measured again"))
    assert compact.main(["--live1", live1, "--resume"]) == 0
    assert (folder / "docs" / "compact.md").read_text(encoding="utf-8") == page


def test_the_page_of_speeds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "ROOT", folder)
    rates = {"megapixels_per_second": 2.5, "share": 0.5, "computed_share": 0.25}
    found = {
        "hardware": "an abacus",
        "date": "2026-11-23",
        "jax": "0.1",
        "yardstick": {"float32": 80e9},
        "alone": [
            {"network": "hrcnn-q10", "threads": 2, "first_seconds": 1.5, **rates},
            {"network": "DnCNN-3's layers", "threads": 1, **rates},
        ],
        "files": [
            {
                "network": "hrcnn-q10",
                "megapixels": 12,
                "colour": "gray",
                "times_pillow": 33.3,
                "cpu_seconds": 9.25,
                "times_jpegqs": 3.7,
                "first_seconds": 2.5,
                **rates,
            },
            {
                "network": "jpeg-quantsmooth",
                "megapixels": 12,
                "colour": "gray",
                "megapixels_per_second": 8.0,
                "cpu_seconds": 2.5,
                "times_pillow": 9.7,
            },
        ],
    }
    (folder / "measured" / "speed.json").write_text(json.dumps(found))
    row = {"preset": "small", "dtype": "bfloat16", "batch": 16, "patch": 96}
    row |= {"patches_per_second": 40.04}
    trained = {"date": "2026-11-23", "rows": [row | {"share": 0.6, "computed_share": 0.3}]}
    (folder / "measured" / "training.json").write_text(json.dumps(trained))
    started = {"date": "2026-11-23", "megapixels": 0.1, "first_seconds": 9.04, "seconds": 2.96}
    (folder / "measured" / "start.json").write_text(json.dumps(started))
    used = {"seconds": 30.25, "cpu_seconds": 41.0, "peak_bytes": 600 * 2**20}
    many = {"pictures": 50, "maps": 1400, "peak_mib": 512.5}
    unlike = {"files": 30, "megapixels": 22.4, "rows": {"cold": used}, "held": [many]}
    about = {"date": "2026-11-23", **unlike}
    (folder / "measured" / "folder.json").write_text(json.dumps(about))
    size = {"megapixels": 4, "compressed": "twice", "seconds": 2.0}
    sizes = [size | {"cpu_seconds": 2.5, "peak_bytes": 3 * 2**20}]
    held = {"date": "2026-11-23", "rows": sizes}
    (folder / "measured" / "memory.json").write_text(json.dumps(held))
    performance.main([])
    page = (folder / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "| `hrcnn-q10` | 2 | 2.50 | 50% | 25% | 1.5 |" in page
    assert "| DnCNN-3's layers | 1 | 2.50 | 50% | 25% | – |" in page
    assert "| `hrcnn-q10` | 12 | gray | 2.50 | 9.2 | 50% | 33 | 3.7 | 2.5 |" in page
    assert "| jpeg-quantsmooth | 12 | gray | 8.00 | 2.5 | – | 10 | – | – |" in page
    assert "| `small` | bfloat16 | 16 of 96² | 40.0 | 60% | 30% |" in page
    assert "0.1 megapixels" in page
    assert "9.0 s the first time on a machine, 3.0 s" in page
    assert "80 in float32" in page
    assert "30 JPEG files" in page
    assert "22 megapixels together" in page
    assert "| cold | 30.2 | 41.0 | 600 |" in page
    assert "| 50 | 1,400 | 512 |" in page
    assert "| 4 | twice | 2.0 | 2.5 | 2.00 | 3 |" in page
    assert not re.search(r"[{}]", page)
    with Image.open(folder / "docs" / "speed.png") as picture:
        assert picture.width == figures.WIDTH * figures.DPI


def test_published_scores_are_of_the_same_plain_decoder() -> None:
    """Every network's gain over it is positive, and grows less than the picture's quality."""
    for other in compact.PUBLISHED:
        for ours, plain in ((other.luma, compact.PLAIN.luma), (other.rgb, compact.PLAIN.rgb)):
            gains = [a - b for a, b in zip(ours, plain, strict=False) if a is not None]
            assert all(1.0 < gain < 2.5 for gain in gains)


def test_a_missing_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--live1", "nowhere", "--crops-of", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (folder / "RESULTS.md").exists()


def test_printed_gains_agree_with_the_printed_scores() -> None:
    """The paper's own text against its tables; it prints 1.45 and 1.44 dB for the same figure."""
    for quality, gain in ((10, 1.66), (30, 1.41), (50, 1.13)):
        row = paper.TABLE_1[quality]
        assert row.psnr - row.jpeg_psnr == pytest.approx(gain, abs=0.005)
    for quality, gain, ssim in ((10, 1.45, 2.50), (30, 1.41, 1.16), (50, 1.28, 0.79)):
        row = paper.TABLE_2[quality]
        assert row.psnr - row.jpeg_psnr == pytest.approx(gain, abs=0.005)
        assert row.ssim - row.jpeg_ssim == pytest.approx(ssim, abs=0.005)


def test_ablations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standard_promotion: None
) -> None:
    """Variants differ from the base in one thing; what is measured is kept, and added to."""
    monkeypatch.setattr(ablations, "MEASURED", tmp_path)
    for seed, name in enumerate(("train", "val")):
        (tmp_path / name).mkdir()
        Image.fromarray(make_photo(136, 144, seed)).save(tmp_path / name / "photo.png")
    small = {"crops": 4, "validation_crops": 2, "batch": 2, "patch": 16, "scales": (1.0,)}
    monkeypatch.setattr(ablations, "BASE", {**ablations.BASE, **small})
    flags = ["--data", str(tmp_path / "train"), "--validation", str(tmp_path / "val")]
    flags += ["--steps", "2", "--workdir", str(tmp_path / "runs"), "--variants"]
    assert ablations.main([*flags, "no block"]) == 0
    assert ablations.main([*flags, "1 block"]) == 0
    known = json.loads((tmp_path / "ablations.json").read_text(encoding="utf-8"))
    assert list(known["variants"]) == ["no block", "1 block"]
    none, one = known["variants"].values()
    assert none["parameters"] == 275_089
    assert one["parameters"] == 275_089 + 58_017
    for found in (none, one):
        assert found["curve"][-1]["step"] == found["steps"] == 2
        assert found["gain_projected"] >= found["gain"], "projection brings it nearer the truth"


def test_the_model_card_is_of_the_released_networks() -> None:
    kept = (cards.WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert kept == model_card.text(), "python -m reproduce.model_card writes it anew"
    _, front, _ = kept.split("---\n", 2)
    told = yaml.safe_load(front)
    found = {name: cards.released(name) for name in cards.names()}
    assert told == model_card.metadata(found)
    small = next(each for each in told["model-index"] if each["name"] == "small")
    psnr = {each["name"]: each["value"] for each in small["results"][0]["metrics"]}
    green = next(each for each in found["small"].scores if each["protocol"]["planes"] == "green")
    assert psnr["PSNR at quality 10"] == green["means"]["10"]["psnr"]
