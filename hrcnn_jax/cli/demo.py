"""`demo`: the bundled photograph restored, and the gain printed."""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrcnn_jax.cli.common import output_folder
from hrcnn_jax.files import reader, writer
from hrcnn_jax.restoration import restorer
from hrcnn_jax.restoration.comparison import side_by_side
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores import metrics

SAMPLE = Path(__file__).parents[1] / "sample"
SAMPLE_DETAIL = slice(140, 340), slice(60, 300)
"""What the demo enlarges of the sample: rows and columns of pixels."""

PNG = writer.FORMATS["png"]


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_argument(
        "-o",
        "--output",
        default="demo",
        metavar="OUT",
        help="folder for the pictures (default: demo)",
    )


def run(flags: argparse.Namespace) -> int:
    """Restores the bundled photograph and compares both pictures with the original."""
    keep_programs()
    folder = output_folder(flags.output)
    file = reader.read(SAMPLE / "parrots.jpg")
    original = np.asarray(Image.open(SAMPLE / "parrots.webp").convert("RGB"))
    network = Restorer()
    plain, restored = restorer.decode(file), network.restore(file)
    writer.write(folder / "parrots.png", restored, PNG)
    writer.write(folder / "parrots.compare.png", side_by_side(plain, restored), PNG)
    details = (_enlarge(picture[SAMPLE_DETAIL]) for picture in (plain, restored))
    writer.write(folder / "parrots.detail.png", side_by_side(*details), PNG)
    before, after = (metrics.psnr_of_samples(each, original) for each in (plain, restored))
    print(f"plain JPEG   {before:.2f} dB")
    print(f"restored     {after:.2f} dB   (network {network.network.name})")
    print(f"gain        {after - before:+.2f} dB   (PSNR over RGB)")
    for kind in ("compare", "detail"):
        print(f"before and after, side by side: {folder / f'parrots.{kind}.png'}")
    return 0


def _enlarge(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture.repeat(3, axis=0).repeat(3, axis=1)
