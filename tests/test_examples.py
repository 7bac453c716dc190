"""The scripts of `examples/`, each in a process of its own, as a reader runs them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import jpeg_bytes, make_photo
from PIL import Image

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: str | Path, folder: Path) -> str:
    """What a script prints."""
    command = [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_restoring_in_python(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg_bytes(make_photo(64, 64), quality=30))
    told = run("restore_in_python.py", Path("photo.jpg"), Path("out"), folder=tmp_path)
    assert "codes that come back: 100.000%" in told
    assert "restored 2 corners of 64×64 pixels" in told
    half, whole = map(float, re.findall(r"^  [\d.]+: ([\d.]+)$", told, re.MULTILINE))
    assert 0 < half < whole
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"restored.png", "restored.tiff"}


def test_training_a_tiny_network(tmp_path: Path) -> None:
    told = run("train_tiny.py", Path("tiny"), folder=tmp_path)
    gain = re.search(r"restored ([+-][\d.]+) dB$", told.strip())
    assert gain is not None
    assert float(gain[1]) > 0
    assert (tmp_path / "tiny" / "unseen.png").is_file()


def test_training_on_ray(tmp_path: Path) -> None:
    """Two processes, which find one another, and of which one writes for both."""
    (tmp_path / "pictures").mkdir()
    for seed in range(3):
        picture = Image.fromarray(make_photo(64, 64, seed=seed))
        picture.save(tmp_path / "pictures" / f"{seed}.png")
    flags = """
    --architecture compact --width 4 --blocks 1 --quality 10 --parallel sharded
    --crops 8 --validation-crops 2 --crop 48 --patch 32 --batch 4 --optimiser adam
    --steps 2 --warmup 1 --log-every 1 --eval-every 2 --save-every 2 --data pictures --workdir run
    """
    told = run("train_on_ray.py", "--processes", "2", "--", *flags.split(), folder=tmp_path)
    assert told.count("step 2  gain in dB at quality 10") == 1
    assert (tmp_path / "run" / "best.safetensors").is_file()
    log = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log if "loss" in line] == [1, 2]
