"""How often histories are found of what other tools resized: `python -m benchmarks.resizers`.

Pictures are saved as JPEG by Pillow, resized by each tool that is installed here, and kept as PNG
or saved as JPEG again. Counted is how often the first compression is found with the right size, and
how often its quality is right within one. Tools are Python's (`opencv-python-headless`,
`pyvips[binary]`) and commands (`convert` of ImageMagick, `ffmpeg`); those that are missing are left
out.
"""

import argparse
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks import results
from benchmarks.resized import SIDE
from hrcnn_jax.data.sources import open_source
from hrcnn_jax.files import reader
from hrcnn_jax.history import resized

Pixels = NDArray[np.uint8]
Tool = Callable[[Path, tuple[int, int]], Pixels]
"""Makes a picture of a file, of a height and width."""


def tools() -> dict[str, Tool]:
    """Those that are installed, by name."""
    found: dict[str, Tool] = {"Pillow, thumbnail": _thumbnail}
    if find_spec("cv2"):
        for way in ("AREA", "LINEAR", "CUBIC", "LANCZOS4"):
            found[f"OpenCV, {way}"] = _opencv(way)
    if find_spec("pyvips"):
        found["libvips, thumbnail"] = _vips
    if shutil.which("convert"):
        found["ImageMagick"] = _command("convert", "{file}", "-resize", "{width}x{height}!")
    if shutil.which("ffmpeg"):
        for way in ("bicubic", "lanczos", "bilinear", "area"):
            scale = f"scale={{width}}:{{height}}:flags={way}+accurate_rnd+full_chroma_int"
            ways = ("-loglevel", "error", "-i", "{file}", "-vf", scale, "-pix_fmt", "rgb24")
            found[f"FFmpeg, {way}"] = _command("ffmpeg", *ways)
    return found


def _thumbnail(file: Path, size: tuple[int, int]) -> Pixels:
    image = Image.open(file)
    image.thumbnail(size[::-1])
    return np.asarray(image)


def _opencv(way: str) -> Tool:
    def made(file: Path, size: tuple[int, int]) -> Pixels:
        cv2 = import_module("cv2")
        picture = cv2.imread(str(file))
        by = getattr(cv2, f"INTER_{way}")
        return np.ascontiguousarray(cv2.resize(picture, size[::-1], interpolation=by)[..., ::-1])

    return made


def _vips(file: Path, size: tuple[int, int]) -> Pixels:
    pyvips = import_module("pyvips")
    height, width = size
    image = pyvips.Image.thumbnail(str(file), width, height=height, size="force")
    return np.ascontiguousarray(image.numpy()[..., :3])


def _command(*words: str) -> Tool:
    def made(file: Path, size: tuple[int, int]) -> Pixels:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "resized.png"
            filled = [word.format(file=file, height=size[0], width=size[1]) for word in words]
            subprocess.run([*filled, str(output)], check=True)
            return np.asarray(Image.open(output).convert("RGB"))

    return made


def sources(picture: Pixels, last: int) -> Iterator[tuple[str, Pixels | reader.JpegFile]]:
    """What is kept of a resized picture: its pixels, and a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=last)
    yield "png", picture
    yield str(last), reader.read(buffer.getvalue())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resizers", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="pictures")
    parser.add_argument("--every", type=int, default=45, help="of how many one is taken")
    parser.add_argument("--quality", type=int, default=20, help="of the first compression")
    parser.add_argument("--factor", type=float, default=0.7, help="by which they are resized")
    parser.add_argument("--last", type=int, default=88, help="quality of the last compression")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args(argv)
    source = open_source(given.data)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for place in range(0, len(source.names), given.every):
            files.append(Path(folder) / f"{place}.jpg")
            picture = np.ascontiguousarray(source.load(place)[:SIDE, :SIDE])
            Image.fromarray(picture).save(files[-1], quality=given.quality)
        for name, tool in tqdm(tools().items(), disable=None):
            counted: dict[str, dict[str, int]] = {}
            for file in files:
                with Image.open(file) as image:
                    before = image.height, image.width
                height, width = (round(given.factor * side) for side in before)
                for kept, there in sources(tool(file, (height, width)), given.last):
                    past = resized.find(there)
                    at = counted.setdefault(kept, {"found": 0, "right": 0})
                    if past is None or past.resizing is None or past.resizing.size != before:
                        continue
                    at["found"] += 1
                    at["right"] += abs(past.quality - given.quality) <= 1
            rows.append({"tool": name, "pictures": len(files), **counted})
            told = "; ".join(
                f"{kept}: {at['found']:3} found, {at['right']:3} right"
                for kept, at in counted.items()
            )
            tqdm.write(f"{name:20}{len(files):4} pictures; {told}")
    results.write(given.output, {"rows": rows})


if __name__ == "__main__":
    main()
