"""Peak memory and time of ``restore`` by picture size: ``python benchmarks/memory.py``.

Makes colour 4:2:0 files out of the bundled photograph, restores each in a process of its own, and
prints what the operating system says of that process (Linux and macOS).
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "hrcnn_jax" / "sample" / "parrots.webp"
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "megapixels", nargs="*", type=float, default=[1, 4, 16, 50, 100], metavar="MP"
    )
    parser.add_argument("--make", help=argparse.SUPPRESS)
    given, flags = parser.parse_known_args()  # the rest goes to restore: --format tiff16
    if given.make:
        make(Path(given.make), given.megapixels[0])
        return
    print(" megapixels        picture   seconds    MP/s   peak MiB")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in given.megapixels:
            file = Path(folder, f"{megapixels:g}.jpg")
            # In another process: what the parent holds is counted as its child's peak.
            script = [sys.executable, __file__, f"{megapixels}", "--make", str(file)]
            size = subprocess.run(script, check=True, capture_output=True, text=True).stdout
            seconds, peak = measure(file, folder, flags)
            rate = megapixels / seconds
            print(
                f"{megapixels:11g}{size.strip():>15}{seconds:10.1f}{rate:8.2f}{peak / 2**20:11.0f}",
                flush=True,
            )


def make(file: Path, megapixels: float) -> None:
    """Writes a picture of 3:2 and prints its size."""
    import numpy as np
    from PIL import Image

    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    width = round(megapixels * 1e6 / height)
    sample = np.asarray(Image.open(SAMPLE).convert("RGB"))
    down, across = -(-height // sample.shape[0]), -(-width // sample.shape[1])
    picture = np.tile(sample, (down, across, 1))[:height, :width]
    Image.fromarray(picture).save(file, quality=75, subsampling="4:2:0")
    print(f"{width}×{height}")


def measure(file: Path, folder: str, flags: list[str]) -> tuple[float, int]:
    """Restores a file; returns seconds, start of the program included, and peak bytes."""
    command = [sys.executable, "-m", "hrcnn_jax", "restore", str(file), "-o", folder, *flags]
    start = time.monotonic()
    process = os.posix_spawn(sys.executable, command, os.environ | {"PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - start
    if status:
        raise SystemExit(f"restoring {file.name} failed with status {status}")
    return seconds, usage.ru_maxrss * MAXRSS_UNIT


if __name__ == "__main__":
    main()
