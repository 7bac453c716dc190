"""The command line, on real files with the released network."""

import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo, random_params, write_network
from PIL import Image, ImageCms, ImageOps

import hrcnn_jax
from hrcnn_jax.cli.common import dashed
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import report
from hrcnn_jax.networks import cards, registry, zoo
from hrcnn_jax.signals import Ended

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg_bytes(make_photo(64, 80), quality=20))
    return path


def test_restore_writes_a_png(photo_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert main(["restore", str(photo_file), "-o", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == ["photo.png"]
    with Image.open(out / "photo.png") as restored, Image.open(photo_file) as plain:
        assert restored.format == "PNG"
        assert (restored.mode, restored.size) == ("RGB", (80, 64))
        difference = np.abs(np.asarray(restored).astype(int) - np.asarray(plain))
    assert 0 < difference.mean() < 10  # restored, and still the same picture
    assert (out / "photo.png").stat().st_mode & stat.S_IRUSR


def test_restoring_brings_the_picture_nearer_the_original(tmp_path: Path) -> None:
    original = make_photo(160, 160, seed=3)
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(original, quality=10))
    assert main(["restore", str(tmp_path / "a.jpg"), "-o", str(tmp_path)]) == 0
    errors = [
        np.mean((np.asarray(Image.open(tmp_path / name)).astype(float) - original) ** 2)
        for name in ("a.png", "a.jpg")
    ]
    assert errors[0] < errors[1]


def test_a_network_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes files and pixels alike, and tells how bad it finds them."""
    options = {"width": 8, "blocks": 0, "kernels": 0, "traits": 2}
    params = random_params(registry.get("wild").build(options))
    write_network(tmp_path, "pixels", "wild", params, **options)
    photo = make_photo(64, 80)
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(photo, quality=20))
    Image.fromarray(photo).save(tmp_path / "b.png")
    flags = ["--model", str(tmp_path / "pixels.safetensors"), "--verify", "--history", "quality=20"]
    files = [str(tmp_path / "a.jpg"), str(tmp_path / "b.png")]
    out, table = tmp_path / "out", tmp_path / "report.json"
    assert main(["restore", *files, "-o", str(out), "--report", str(table), *flags]) == 0
    told = capsys.readouterr().out
    for name in ("a.jpg", "b.png"):
        assert f"{name}: restored as if JPEG of quality 20 had done the damage" in told
    assert "codes that come back: Y 100 %, Cb 100 %, Cr 100 %" in told
    rows = json.loads(table.read_text())
    assert [round(row["estimated_quality"]) for row in rows] == [20, 20]
    with Image.open(out / "b.png") as restored:
        assert (np.asarray(restored) != photo).any()


def test_gray_and_comparison(tmp_path: Path) -> None:
    path = tmp_path / "gray.jpeg"
    path.write_bytes(jpeg_bytes(make_photo(30, 41)[..., 1], quality=20))
    assert main(["restore", str(path), "-o", str(tmp_path), "--compare"]) == 0
    with Image.open(tmp_path / "gray.png") as restored:
        assert (restored.mode, restored.size) == ("L", (41, 30))
        after = np.asarray(restored)
    with Image.open(tmp_path / "gray.compare.png") as both:
        assert both.size[0] > 2 * 41
        np.testing.assert_array_equal(np.asarray(both)[:, -41:], after)


def test_strength_zero_is_pillows_picture(photo_file: Path, tmp_path: Path) -> None:
    assert main(["restore", str(photo_file), "-o", str(tmp_path), "--strength", "0"]) == 0
    with Image.open(tmp_path / "photo.png") as ours, Image.open(photo_file) as pillow:
        difference = np.asarray(ours).astype(int) - np.asarray(pillow)
    assert np.abs(difference).max() <= 3  # libjpeg's integer arithmetic


def test_metadata_goes_along_and_the_picture_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"  # orientation: turn clockwise
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(
        jpeg_bytes(make_photo(48, 64), quality=30, exif=exif.tobytes(), icc_profile=profile)
    )
    assert main(["restore", str(path), "-o", str(tmp_path), "--strength", "0"]) == 0
    with Image.open(tmp_path / "turned.png") as restored, Image.open(path) as plain:
        assert restored.size == (48, 64)
        assert restored.info["icc_profile"] == profile
        assert restored.getexif()[0x010E] == "a description"
        assert restored.getexif()[0x0112] == 1
        upright = np.asarray(plain.transpose(Image.Transpose.ROTATE_270)).astype(int)
        assert np.abs(np.asarray(restored) - upright).max() <= 3


def test_every_bad_file_gets_one_line_and_the_rest_are_done(
    photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = photo_file.read_bytes()
    bad = {
        "missing.jpg": None,
        "empty.jpg": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "text.jpg": b"not a picture",
    }
    for name, content in bad.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    Image.fromarray(make_photo(16, 16)).save(tmp_path / "really.jpg", "GIF")
    (tmp_path / "folder").mkdir()
    names = [*bad, "really.jpg", "folder"]
    out = tmp_path / "out"
    inputs = [str(tmp_path / name) for name in names]
    assert main(["restore", *inputs[:3], str(photo_file), *inputs[3:], "-o", str(out)]) == 1
    assert [path.name for path in out.iterdir()] == ["photo.png"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(names) + 1
    for name, line in zip(names, lines, strict=False):
        assert str(tmp_path / name) in line
    assert "1 of 7 files restored, 6 failed" in lines[-1]
    assert "GIF" in lines[4]


def test_two_files_of_one_name_do_not_overwrite_each_other(
    photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other" / "photo.jpg"
    other.parent.mkdir()
    other.write_bytes(jpeg_bytes(make_photo(16, 16)))
    out = tmp_path / "out"
    assert main(["restore", str(photo_file), str(other), "-o", str(out)]) == 1
    with Image.open(out / "photo.png") as restored:
        assert restored.size == (80, 64)
    assert f"{other}: {out / 'photo.png'} is already taken by" in capsys.readouterr().err


def test_unwritable_output(
    photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("keep me")
    assert main(["restore", str(photo_file), "-o", str(file)]) == 1
    assert f"{file}: is a file, no folder; give another name" in capsys.readouterr().err
    assert file.read_text() == "keep me"
    out = tmp_path / "out"
    (out / "photo.png").mkdir(parents=True)  # a folder stands where the picture should go
    assert main(["restore", str(photo_file), "-o", str(out)]) == 1
    assert f"{out / 'photo.png'}: cannot be written" in capsys.readouterr().err
    assert list(out.iterdir()) == [out / "photo.png"]


def test_too_many_pixels(
    photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["restore", str(photo_file), "-o", str(tmp_path), "--max-pixels", "5000"]
    assert main(arguments) == 1
    assert "5,120 pixels" in capsys.readouterr().err


def test_flags_that_make_no_sense(
    photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["restore", str(photo_file), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--model", "enormous"]) == 2
    assert "no network 'enormous': choose from small" in capsys.readouterr().err
    for flag, value in (("strength", "2"), ("jobs", "0"), ("quality", "101")):
        assert main([*arguments, f"--{flag}", value]) == 2
        assert f"{flag} must be" in capsys.readouterr().err
    assert main([*arguments, "--pixels", "small"]) == 2
    assert "network 'small' is no network of pictures: choose from wild" in capsys.readouterr().err
    assert main([*arguments, "--report", "r.txt"]) == 2
    assert "r.txt: a report ends with .json, .jsonl, .parquet" in capsys.readouterr().err
    for wrong in (["--no-such-flag"], ["--max-pixels", "0"], ["--max-pixels=-5"]):
        with pytest.raises(SystemExit) as caught:
            main([*arguments, *wrong])
        assert caught.value.code == 2
    assert not (tmp_path / "out").exists()


def test_folders_are_done_with_their_structure_and_finished_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, name in enumerate(("in/a.jpg", "in/deep/b.JPG", "in/deep/er/c.jpeg")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg_bytes(make_photo(24, 24, seed=index), quality=20))
    (tmp_path / "in" / "deep" / "broken.jpg").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_bytes(b"")
    out = tmp_path / "out"
    arguments = ["restore", str(tmp_path / "in"), "-r", "-o", str(out), "--jobs", "2"]

    def results() -> dict[str, float]:
        files = (path for path in out.rglob("*") if path.is_file())
        return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in files}

    assert main(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "3 of 4 files restored, 1 failed, 0 skipped" in lines[-1]
    before = results()
    assert before.keys() == {"a.png", "deep/b.png", "deep/er/c.png"}

    (out / "a.png").unlink()
    assert main([*arguments, "--skip-existing"]) == 1
    assert "1 of 2 files restored, 1 failed, 2 skipped" in capsys.readouterr().err
    after = results()
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == ["a.png"]


def test_an_input_is_never_written_over(
    photo_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photo_file.read_bytes()
    arguments = ["restore", str(photo_file), "-o", str(photo_file.parent), "--format", "jpeg"]
    assert main(arguments) == 1
    assert "is one of the inputs" in capsys.readouterr().err
    assert photo_file.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "suffix", "file_format"),
    [
        ("png16", ".png", "PNG"),
        ("tiff", ".tiff", "TIFF"),
        ("webp", ".webp", "WEBP"),
        ("jpeg", ".jpg", "JPEG"),
    ],
)
def test_formats(
    name: str, suffix: str, file_format: str, photo_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["restore", str(photo_file), "-o", str(out), "--strength", "0"]
    assert main([*arguments, "--format", name, "--quality", "95"]) == 0
    assert [path.name for path in out.iterdir()] == [f"photo{suffix}"]
    with Image.open(out / f"photo{suffix}") as written, Image.open(photo_file) as plain:
        assert (written.format, written.size) == (file_format, plain.size)
        error = np.abs(np.asarray(written).astype(int) - np.asarray(plain))
    assert error.mean() < (3 if name in ("webp", "jpeg") else 1)


def test_verify_tells_what_came_back(
    photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", str(photo_file), "-o", str(tmp_path / "a"), "--verify"]) == 0
    told = capsys.readouterr().out
    assert f"{photo_file}: codes that come back: Y 100 %, Cb 100 %, Cr 100 % of the planes" in told
    assert "of the picture in uint8" in told
    arguments = ["restore", str(photo_file), "-o", str(tmp_path / "b"), "--verify", "--no-faithful"]
    assert main(arguments) == 2
    assert "network small is faithful by construction" in capsys.readouterr().err
    gray = tmp_path / "gray.jpg"
    gray.write_bytes(jpeg_bytes(make_photo(24, 24)[..., 1], quality=10))
    arguments[1] = str(gray)
    assert main([*arguments, "--model", "hrcnn-q10"]) == 0, "not promised, so no failure"
    assert "codes that come back: Y" in capsys.readouterr().out


def test_a_picture_that_was_resized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is restored from before, and at next to no strength given back as it was."""
    sample = Path(hrcnn_jax.__file__).parent / "sample" / "parrots.webp"
    photo = Image.open(sample).convert("L").crop((100, 150, 404, 470))
    before = Image.open(io.BytesIO(jpeg_bytes(np.asarray(photo), quality=20)))
    resized = before.resize((228, 240), Image.Resampling.BICUBIC)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = Image.linear_gradient("L").resize(resized.size)
    path = tmp_path / "small.png"
    Image.merge("LA", (resized, alpha)).save(path, dpi=(300, 300), icc_profile=profile)
    flags = ["--verify", "--strength", "0.001", "--model", "fast"]
    assert main(["restore", str(path), "-o", str(tmp_path / "out"), *flags]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    told = f"{path}: compressed before at quality 20, then resized from 304×320 ("
    assert first.startswith(told)
    assert second.startswith(f"{path}: of the earlier compression, codes that come back: Y 100 %")
    assert ", before it is resized; played again, it gives " in second
    with Image.open(tmp_path / "out" / "small.png") as restored:
        assert (restored.mode, restored.size) == ("LA", resized.size)
        assert restored.info["icc_profile"] == profile
        assert restored.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
        gray, opacity = (np.asarray(each).astype(int) for each in restored.split())
    np.testing.assert_array_equal(opacity, np.asarray(alpha))
    error = np.abs(gray - np.asarray(resized))
    assert error.max() <= 3  # Pillow rounds after each axis, and the decoder rounded before
    assert error.mean() < 0.5


def test_verbose_tells_what_a_file_is_and_becomes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "inks.jpg"
    Image.fromarray(make_photo(24, 24)).convert("CMYK").save(path, quality=30)
    assert main(["restore", str(path), "-o", str(tmp_path), "-v", "--compare"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 24×24, cmyk, 4:4:4, sequential, Huffman, quality 30",
        f"{path}: inks become RGB, without colour management",
        f"{path}: restored to {tmp_path / 'inks.png'}",
    ]
    with Image.open(tmp_path / "inks.compare.png") as both:
        assert both.mode == "RGB"


def test_what_fails_in_us_is_one_line_too(
    photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a\nbug")

    monkeypatch.setattr("hrcnn_jax.restoration.restorer.assemble", fail)
    assert main(["restore", str(photo_file), "-o", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("photo.jpg: failed for a reason of our own (RuntimeError: a bug)")


def test_killed_while_writing_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    """The process kills itself, in the worst way, with half of a picture written."""
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(make_photo(24, 24)))
    program = """
import os, signal, sys
from hrcnn_jax.files import writer
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import report

def half(stream, *_):
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)

for name in writer.FORMATS:
    object.__setattr__(writer.FORMATS[name], "save", half)
main(sys.argv[1:])
"""
    arguments = ["restore", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"), "--strength", "0"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=Path(__file__).parents[2]
    )
    assert ended.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "out").iterdir()
    assert left.name.startswith(".")
    assert left.name.endswith(".partial")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_told_to_end_while_writing_leaves_nothing(name: str, tmp_path: Path) -> None:
    """Twice, as impatient people do."""
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(make_photo(24, 24)))
    program = f"""
import os, signal, sys, threading, time
from hrcnn_jax.files import writer
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import report

def half(stream, *_):
    stream.write(b"half")
    for _ in range(2):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.2)
    raise OSError("no more")

object.__setattr__(writer.FORMATS["png"], "save", half)
signal.signal(signal.{name}, signal.SIG_DFL)  # tests may run where it is ignored, as under nohup
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["restore", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"), "--strength", "0"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 128 + getattr(signal, name)
    assert ended.stderr == "hrcnn-jax: interrupted; files that are there are whole\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_nobody_reads_what_is_printed(photo_file: Path) -> None:
    program = "import sys; from hrcnn_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-c", program, "inspect", *100 * [str(photo_file)]],
        cwd=Path(__file__).parents[2],
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_names_that_would_act_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "bad\n\x1b[31m.jpg"
    (tmp_path / name).write_bytes(b"no JPEG")
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(make_photo(16, 16), comment=b"a\x1b[2Jb"))
    assert main(["restore", str(tmp_path / name), "-o", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert r"bad\n\x1b[31m.jpg: is not one of JPEG" in line
    assert main(["inspect", str(tmp_path / "a.jpg")]) == 0
    assert r"a\x1b[2Jb" in capsys.readouterr().out


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/l\xff.jpg"))
    path.write_bytes(jpeg_bytes(make_photo(16, 16)))
    assert main(["restore", "-v", str(path), "-o", str(tmp_path / "out")]) == 0
    assert r"l\udcff.jpg: restored to" in capsys.readouterr().out
    assert main(["inspect", "--json", str(path)]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["name"] == str(path)


def test_existing_results_are_all_of_them(photo_file: Path, tmp_path: Path) -> None:
    command = ["restore", str(photo_file), "-o", str(tmp_path / "out"), "--compare"]
    assert main(command) == 0
    compared = tmp_path / "out" / "photo.compare.png"
    compared.unlink()
    assert main([*command, "--skip-existing"]) == 0
    assert compared.is_file()


def test_an_existing_result_goes_by_the_name_it_was_given(photo_file: Path, tmp_path: Path) -> None:
    """.tif is not .tiff, which may be another picture."""
    named, other = tmp_path / "a.tif", tmp_path / "a.tiff"
    command = ["restore", str(photo_file), "-o", str(named), "--history", "off", "--skip-existing"]
    other.write_bytes(b"another")
    assert main(command) == 0
    written = named.stat().st_mtime_ns
    assert main(command) == 0
    assert named.stat().st_mtime_ns == written
    assert other.read_bytes() == b"another"


def test_pictures_beside_those_of_a_folder_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg_bytes(make_photo(24, 24)[..., 1], quality=20))
    (tmp_path / "a.png").write_bytes(b"an original")
    command = ["restore", "-r", str(tmp_path), "-o", str(tmp_path), "--history", "off"]
    assert main(command) == 1
    assert "a.png is there already, and may be no result" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == b"an original"
    written = (tmp_path / "b.png").stat().st_mtime_ns
    assert main([*command, "--skip-existing"]) == 0
    assert "0 of 0 files restored, 0 failed, 2 skipped" in capsys.readouterr().err
    assert main([*command, "--skip-existing", "--compare"]) == 1  # of which nothing is there
    assert (tmp_path / "a.png").read_bytes() == b"an original"
    assert (tmp_path / "b.png").stat().st_mtime_ns == written
    (tmp_path / "b.png").rename(tmp_path / "b.compare.png")  # as if interrupted between the two
    assert main([*command, "--skip-existing", "--compare"]) == 1
    assert (tmp_path / "a.png").read_bytes() == b"an original"
    assert (tmp_path / "b.png").is_file()


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".jpg")
    path.write_bytes(jpeg_bytes(make_photo(16, 16)))
    assert main(["restore", str(path), "-o", str(tmp_path / "out")]) == 0
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["n" * 250 + ".png"]


def test_inspect(photo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(photo_file)]) == 0
    assert "80×64 pixels" in capsys.readouterr().out
    assert main(["inspect", str(photo_file), str(tmp_path / "missing"), "--json"]) == 1
    told = capsys.readouterr()
    (facts,) = json.loads(told.out)
    assert (facts["width"], facts["quality"]) == (80, 20)
    assert f"{tmp_path / 'missing'}: no such file" in told.err


def test_models_lists_what_is_released(capsys: pytest.CaptureFixture[str]) -> None:
    names = cards.all_names()
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == names
    assert all(
        line.endswith(" at 50 (live1 green, dB)") for line in lines[1:] if " compact " in line
    )
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == names
    for card in found.values():
        assert {"parameters", "multiply_adds_per_pixel", "data", "scores", "date"} <= card.keys()


def test_released_cards_count_right() -> None:
    for name in cards.all_names():
        network = zoo.load(name)
        weights = sum(leaf.size for leaf in jax.tree.leaves(network.params))
        assert network.card.parameters == weights


def test_demo_gains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "parrots.compare.png",
        "parrots.detail.png",
        "parrots.png",
    ]
    gain = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("gain"))
    assert float(gain.split()[1]) >= 0.8


def test_one_input_and_the_name_of_its_output(photo_file: Path, tmp_path: Path) -> None:
    """The suffix says the format; --format may say it closer."""
    assert main(["restore", str(photo_file), "-o", str(tmp_path / "new" / "a.tif")]) == 0
    with Image.open(tmp_path / "new" / "a.tif") as picture:
        assert (picture.format, picture.size) == ("TIFF", (80, 64))
    named = ["-o", str(tmp_path / "b.png"), "--format", "png16"]
    assert main(["restore", str(photo_file), *named]) == 0
    assert (tmp_path / "b.png").read_bytes()[24] == 16  # the bit depth in PNG's header
    assert main(["restore", str(photo_file), "-o", str(tmp_path), "--format", "jpg"]) == 1
    assert main(["restore", str(photo_file), "-o", str(tmp_path / "c"), "--format", "jpg"]) == 0
    assert (tmp_path / "c" / "photo.jpg").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["b.jpg", "-o", "out.png"], "--output out.png is one picture, and there are 2 inputs"),
        (["-o", "out.png", "--format", "webp"], "out.png and --format webp are not the same"),
        (["-o", "-", "--compare"], "--compare and --skip-existing need files"),
        (["-o", "-", "-r"], "--output - takes one file, not the folders of -r"),
        (["-o", "out.jfif"], "--output out.jfif: .jfif cannot be written"),
    ],
)
def test_outputs_that_make_no_sense(
    flags: list[str], message: str, photo_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", str(photo_file), *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_picture_is_not_written_over_itself(
    photo_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photo_file.read_bytes()
    assert main(["restore", str(photo_file), "-o", str(photo_file)]) == 1
    assert "is its own output" in capsys.readouterr().err
    compared = photo_file.with_name("photo.compare.png")
    photo_file.rename(compared)
    output = str(photo_file.with_name("photo.png"))
    assert main(["restore", str(compared), "-o", output, "--compare"]) == 1
    assert "is its own output" in capsys.readouterr().err
    assert compared.read_bytes() == before


def test_standard_input_is_not_written_over_an_input(tmp_path: Path) -> None:
    data = jpeg_bytes(make_photo(24, 24))
    (tmp_path / "stdin.png").write_bytes(data)
    command = [sys.executable, "-m", "hrcnn_jax", "restore", "-", "stdin.png", "-o", "."]
    done = subprocess.run(
        command,
        input=data,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True,
    )
    assert done.returncode == 1
    assert b"stdin.png is one of the inputs" in done.stderr
    assert (tmp_path / "stdin.png").read_bytes() == data


def test_silent_standard_input_is_not_waited_for_after_a_signal(tmp_path: Path) -> None:
    program = """
import sys
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import reader

chunks = reader._chunks

def begun(*given, **options):
    print("begun", flush=True)
    return chunks(*given, **options)

reader._chunks = begun
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, "restore", "-", "-o", str(tmp_path / "out.png")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.terminate()
        assert process.wait(50) == 128 + signal.SIGTERM
    assert not (tmp_path / "out.png").exists()


def test_standard_input_and_output(photo_file: Path, tmp_path: Path) -> None:
    """A pipe gives the very file that a name gives, and what is told goes elsewhere."""
    assert main(["restore", str(photo_file), "-o", str(tmp_path / "a.png")]) == 0
    command = [sys.executable, "-m", "hrcnn_jax", "restore", "-", "-o", "-", "--verify"]
    done = subprocess.run(
        command, input=photo_file.read_bytes(), cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout == (tmp_path / "a.png").read_bytes()
    assert b"codes that come back" in done.stderr


def test_what_a_format_cannot_hold_is_told_of_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGBA", (8, 8)).save(tmp_path / "a.png")
    assert main(["restore", str(tmp_path / "a.png"), "-o", "-", "--format", "jpeg"]) == 1
    told = "-: cannot be written (jpg has no transparency; choose another format)"
    assert f"{tmp_path / 'a.png'}: {told}\n" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"hrcnn-jax {hrcnn_jax.__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", hrcnn_jax.__version__)


def test_flags_in_their_old_spelling() -> None:
    """Only flags: names of files keep theirs."""
    old = ["evaluate", "--output_dir", "a_b", "--figure_pictures=3", "-o", "c_d.jpg", "--x-y"]
    new = ["evaluate", "--output-dir", "a_b", "--figure-pictures=3", "-o", "c_d.jpg", "--x-y"]
    assert dashed(old) == new
    assert dashed(["inspect", "--all_of", "--", "--my_photo.jpg"]) == [
        *["inspect", "--all-of", "--", "--my_photo.jpg"]
    ]


def test_restoring_loads_nothing_of_training() -> None:
    program = """
import sys, hrcnn_jax
assert "jax" not in sys.modules
hrcnn_jax.Restorer
print(*{"tensorboardX", "tensorflow_datasets", "grain", "matplotlib", "tyro"} & sys.modules.keys())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "\n"), ran.stderr


def test_told_to_end_reports_what_was_done(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(jpeg_bytes(make_photo(24, 24)))
    program = """
import os, signal, sys, time
from hrcnn_jax.files import writer
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import report

save = writer.FORMATS["png"].save
count = 0

def second(*given, **options):
    global count
    count += 1
    if count == 2:
        time.sleep(1)  # until the first is told of
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    save(*given, **options)

object.__setattr__(writer.FORMATS["png"], "save", second)
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["restore", *(str(tmp_path / f"{name}.jpg") for name in "abc"), "--jobs", "1"]
    arguments += ["-o", str(tmp_path / "out"), "--strength", "0"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--report", str(tmp_path / "done.jsonl")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 128 + signal.SIGTERM
    rows = [json.loads(line) for line in (tmp_path / "done.jsonl").read_text().splitlines()]
    there = sorted(path.stem for path in (tmp_path / "out").iterdir())
    assert there[0] == "a"
    assert len(there) < 3
    assert [row["path"] for row in rows] == [str(tmp_path / f"{name}.jpg") for name in there]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_reports_tell_of_names_that_are_no_text(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"report.{suffix}"
    with report.opened(path, {"path": "string"}) as add:
        add({"path": os.fsdecode(b"caf\xe9.jpg")})
    if suffix == "parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        assert rows == [{"path": "caf\\udce9.jpg"}]
    else:
        assert b"caf\\udce9.jpg" in path.read_bytes()


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_a_report_that_is_ended_is_whole(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"report.{suffix}"

    def begun() -> None:
        with report.opened(path, {"path": "string"}) as add:
            add({"path": "a"})
            raise Ended(signal.SIGTERM)

    with pytest.raises(Ended):
        begun()
    if suffix == "parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = json.loads(path.read_text())
    assert rows == [{"path": "a"}]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_comparisons_have_the_result_on_the_right(orientation: int, tmp_path: Path) -> None:
    """However the picture is stored: it stands upright, before and after side by side."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    gray = make_photo(40, 64)[..., 1]
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(gray, quality=10, exif=tags.tobytes()))
    flags = ["--compare", "--history", "off", "--pixels", "none"]
    assert main(["restore", str(tmp_path / "a.jpg"), "-o", str(tmp_path), *flags]) == 0
    with Image.open(tmp_path / "a.png") as restored, Image.open(tmp_path / "a.jpg") as file:
        after, before = np.asarray(restored), np.asarray(ImageOps.exif_transpose(file))
    with Image.open(tmp_path / "a.compare.png") as compared:
        assert compared.getexif().get(0x0112, 1) == 1
        pair = np.asarray(compared)
    height, width = after.shape
    assert pair.shape[0] == height
    np.testing.assert_array_equal(pair[:, -width:], after)
    # libjpeg's inverse DCT works in integers, and now and then rounds the other way.
    assert np.abs(pair[:, :width].astype(int) - before).max() <= 1


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_a_report_goes_on_where_files_are_skipped(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate("ab"):
        data = jpeg_bytes(make_photo(24, 24, seed)[..., 1], quality=20)
        (tmp_path / f"{name}.jpg").write_bytes(data)
    table = tmp_path / f"report.{suffix}"
    flags = ["-o", str(tmp_path / "out"), "--history", "off", "--report", str(table)]
    names = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert main(["restore", names[0], *flags]) == 0
    (first,) = report.rows(table)
    assert main(["restore", *names, *flags, "--skip-existing"]) == 0
    assert [row["path"] for row in report.rows(table)] == names
    assert report.rows(table)[0] == first
    names[0] = str(Path(names[0]).rename(tmp_path / os.fsdecode(b"\xe9.jpg")))
    for _ in range(2):
        assert main(["restore", *names, *flags, "--skip-existing"]) == 0
        told = {report.utf8(row["path"]) for row in report.rows(table)}
        assert told == {report.utf8(name) for name in names}
    table.write_bytes(b"{")
    assert main(["restore", *names, *flags, "--skip-existing"]) == 1
    assert "is no report that could be gone on with" in capsys.readouterr().err
    assert table.read_bytes() == b"{"


def test_strength_0_leaves_pixels_as_they_are(tmp_path: Path) -> None:
    """Though an earlier compression could be proved."""
    once = Image.open(io.BytesIO(jpeg_bytes(make_photo(256, 256), quality=20)))
    once.save(tmp_path / "once.png")
    out = tmp_path / "out"
    assert main(["restore", str(tmp_path / "once.png"), "-o", str(out), "--strength", "0"]) == 0
    with Image.open(out / "once.png") as result:
        np.testing.assert_array_equal(np.asarray(result), np.asarray(once))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_standard_streams_that_are_full_or_closed(tmp_path: Path) -> None:
    """Files are restored all the same, and the status tells."""
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(jpeg_bytes(make_photo(24, 24)[..., 1], quality=20))
    program = f"{sys.executable} -m hrcnn_jax"
    restore = f"{program} restore *.jpg --history off --pixels none -v -o"
    told = {}
    for name, command in {
        "full": f"{restore} full > /dev/full",
        "out": f"{restore} out >&-",
        "err": f"{restore} err 2>&-",
        "in": f"{program} restore - -o in <&-",
        "models": f"{program} models --json > /dev/full",
    }.items():
        run = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            check=False,
        )
        told[name] = run.returncode, run.stderr
    for name in ("full", "out", "err"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["a.png", "b.png"]
    assert [told[name][0] for name in ("full", "out", "err", "in", "models")] == [1, 0, 0, 1, 1]
    assert "stdout: cannot be written to (No space left on device)" in told["full"][1]
    assert "2 of 2 files restored, 0 failed" in told["full"][1]
    assert "-: standard input is closed" in told["in"][1]
    for _, errors in told.values():
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["restore", "a.jpg", "-o", "x.bmp"], "--output x.bmp: .bmp cannot be written"),
        (["release", "run", "../outside", "-o", "out"], "NAME must be a network's name"),
        (["release", "run", "", "-o", "out"], "NAME must be a network's name"),
        (["export", "small", ""], "OUT must be the name of a file"),
        (["fleet", "", "out"], "SOURCE or TARGET is empty"),
    ],
)
def test_names_that_make_no_sense(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
