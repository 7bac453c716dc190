"""Pictures of any size to measure with: the bundled photograph, repeated."""

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SAMPLE = Path(__file__).parents[1] / "hrcnn_jax" / "sample" / "parrots.webp"


def picture(megapixels: float) -> NDArray[np.uint8]:
    """An RGB picture of 3:2, `(H, W, 3)`."""
    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    width = round(megapixels * 1e6 / height)
    sample = np.asarray(Image.open(SAMPLE).convert("RGB"))
    down, across = -(-height // sample.shape[0]), -(-width // sample.shape[1])
    return np.tile(sample, (down, across, 1))[:height, :width]


def file(
    megapixels: float, *, quality: int, before: int | None = None, gray: bool = False
) -> bytes:
    """The same as a JPEG file, 4:2:0 if not gray, perhaps of another quality before."""
    image = Image.fromarray(picture(megapixels))
    image = image.convert("L") if gray else image
    buffer = io.BytesIO()
    if before is not None:
        image.save(buffer, "JPEG", quality=before, subsampling="4:2:0")
        image, buffer = Image.open(buffer), io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()
