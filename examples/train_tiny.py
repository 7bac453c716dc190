"""Trains a tiny network on made-up pictures, and restores a file with it.

python examples/train_tiny.py [FOLDER]

Pictures, the run and the restored file go to FOLDER, tiny/ by default. It takes half a minute of
a CPU and shows the way, not what networks can do: that takes photographs and hours.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import hrcnn_jax

ROOT = Path(__file__).parents[1]
SIDE = 96

# A compact network of 8 channels and one residual block, for quality 10 alone.
FLAGS = shlex.split("""
--architecture compact --width 8 --blocks 1 --quality 10
--crops 64 --validation-crops 8 --crop 48 --patch 32 --batch 8
--optimiser adam --learning-rate 3e-3 --steps 150 --warmup 10
--log-every 50 --eval-every 50 --save-every 50
""")


def made_up(seed: int) -> np.ndarray:
    """A picture of overlapping discs with soft edges on a gradient, `(SIDE, SIDE, 3)` uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.stack([x, y, x + y], axis=-1) / 2 + rng.uniform(40, 120)
    for _ in range(12):
        distance = np.hypot(y - rng.uniform(0, SIDE), x - rng.uniform(0, SIDE))
        inside = np.clip(rng.uniform(5, 25) - distance, 0, 1)[..., None]
        picture = (1 - inside) * picture + inside * rng.uniform(0, 255, 3)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def psnr(picture: np.ndarray, original: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(255**2 / np.mean((picture.astype(float) - original) ** 2)))


def main(folder: Path = Path("tiny")) -> None:
    """Makes pictures, trains, and restores."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for seed in range(12):
        Image.fromarray(made_up(seed)).save(pictures / f"{seed:02}.png")

    run = folder / "run"
    train = [sys.executable, str(ROOT / "train.py"), *FLAGS]
    subprocess.run([*train, "--data", str(pictures), "--workdir", str(run)], check=True)

    # A gray picture that training has not seen, compressed at the quality it was trained for.
    original = np.asarray(Image.fromarray(made_up(100)).convert("L"))
    Image.fromarray(original).save(folder / "unseen.jpg", quality=10)
    restored = hrcnn_jax.Restorer(run).restore(folder / "unseen.jpg")
    Image.fromarray(restored).save(folder / "unseen.png")
    before = psnr(hrcnn_jax.decode(folder / "unseen.jpg"), original)
    print(f"plain JPEG {before:.2f} dB, restored {psnr(restored, original) - before:+.2f} dB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
