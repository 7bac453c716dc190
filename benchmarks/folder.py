"""A folder of pictures of unlike sizes: `python -m benchmarks.folder`.

Thirty JPEG files of 150 to 1,600 pixels a side, of mixed qualities and samplings, are restored by
`hrcnn-jax restore`, first with nothing compiled yet, then with the programs that were kept; and,
if its program is given, by jpeg-quantsmooth. With `--many N` pictures of N sizes are restored by
one process besides, whose memory maps and memory are told as it goes: they should stay as they are.
"""

import argparse
import io
import math
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import pictures, results
from benchmarks.start import with_programs_in
from hrcnn_jax.restoration.restorer import Restorer

SIDES = 150, 1600
SAMPLINGS = "4:2:0", "4:2:0", "4:4:4", "4:2:2", None
"""None for gray."""


def some_files(count: int, sides: tuple[int, int]) -> list[bytes]:
    """JPEG files of as many sizes; the same for the same arguments."""
    random = np.random.default_rng(0)
    photo = pictures.picture(1.5 * sides[1] ** 2 / 1e6)
    files = []
    for number in range(count):
        height, width = random.integers(sides[0], sides[1], 2, endpoint=True)
        image = Image.fromarray(photo[:height, :width])
        sampling = SAMPLINGS[number % len(SAMPLINGS)]
        options = {"quality": int(random.integers(5, 96))}
        buffer = io.BytesIO()
        if sampling is None:
            image.convert("L").save(buffer, "JPEG", **options)
        else:
            image.save(buffer, "JPEG", subsampling=sampling, **options)
        files.append(buffer.getvalue())
    return files


def restore_many(count: int) -> list[dict[str, float]]:
    """Restores pictures of many sizes in this process; tells ten times what it holds."""
    restorer = Restorer()
    held = []
    for number, file in enumerate(some_files(count, (1, 200)), 1):
        restorer.restore(file)
        if number % (count // 10 or 1) == 0:
            maps = len(Path("/proc/self/maps").read_text().splitlines())
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            held.append({"pictures": number, "maps": maps, "peak_mib": peak})
            print(f"{number:6} pictures: {maps:6} memory maps, peak {peak:6.0f} MiB", flush=True)
    return held


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folder", description=__doc__)
    parser.add_argument("--count", type=int, default=30, help="files (default: 30)")
    parser.add_argument("--jpegqs", metavar="PATH", help="the program of jpeg-quantsmooth")
    parser.add_argument("--many", type=int, metavar="N", help="sizes for one process")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    files = some_files(given.count, SIDES)
    rows = {}
    print(f"{'':20}{'seconds':>10}{'CPU-s':>8}{'peak MiB':>11}")
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "in")
        inputs.mkdir()
        for number, file in enumerate(files):
            Path(inputs, f"{number:02}.jpg").write_bytes(file)
        restore = [sys.executable, "-m", "hrcnn_jax", "restore", "-r", str(inputs)]
        for name in ("cold", "warm"):
            used = results.run([*restore, "-o", f"{folder}/{name}"], with_programs_in(folder))
            rows[name] = used._asdict()
        if given.jpegqs:
            each = [
                results.run([given.jpegqs, str(path), f"{folder}/{path.stem}.qs.jpg"])
                for path in sorted(inputs.iterdir())
            ]
            seconds, cpu_seconds, peaks = zip(*each, strict=True)
            used = results.Usage(sum(seconds), sum(cpu_seconds), max(peaks))
            rows["jpeg-quantsmooth"] = used._asdict()
    for name, row in rows.items():
        shown = f"{name:20}{row['seconds']:10.1f}{row['cpu_seconds']:8.1f}"
        print(f"{shown}{row['peak_bytes'] / 2**20:11.0f}")
    held = restore_many(given.many) if given.many else []
    pixels = sum(math.prod(Image.open(io.BytesIO(file)).size) for file in files)
    about = {"files": len(files), "megapixels": pixels / 1e6, "rows": rows, "held": held}
    results.write(given.output, about)


if __name__ == "__main__":
    main()
