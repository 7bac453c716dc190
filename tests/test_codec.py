"""The codec against jpeglib's coefficients, Pillow's tables and Pillow's decoded pictures."""

import io
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import jpegio
import jpeglib
import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image
from scipy.fft import idctn

from hrcnn_jax import codec
from hrcnn_jax.codec import JpegError, JpegFile
from hrcnn_jax.color import upsample, ycbcr_to_rgb

SOS, SOF, DQT, EOI = b"\xff\xda", b"\xff\xc0", b"\xff\xdb", b"\xff\xd9"

PHOTO = make_photo(61, 83)
SAMPLINGS = {
    "4:4:4": [(1, 1), (1, 1), (1, 1)],
    "4:2:2": [(2, 1), (1, 1), (1, 1)],
    "4:2:0": [(2, 2), (1, 1), (1, 1)],
    "4:4:0": [(1, 2), (1, 1), (1, 1)],
    "4:1:1": [(4, 1), (1, 1), (1, 1)],
}


def patched(data: bytes, offset: int, *values: int) -> bytes:
    """The file with some of its bytes replaced."""
    return data[:offset] + bytes(values) + data[offset + len(values) :]


def with_ycck_marker(data: bytes) -> bytes:
    return patched(data, data.index(b"Adobe") + 11, 2)


def from_jpeglib(folder: Path, sampling: str, *, version: str = "6b", flags: tuple = ()) -> bytes:
    """A file with what Pillow does not write: any sampling, arithmetic coding."""
    path = folder / "jpeglib.jpg"
    with jpeglib.version(version):
        picture = jpeglib.from_spatial(PHOTO)
        picture.samp_factor = tuple((v, h) for h, v in SAMPLINGS[sampling])
        picture.write_spatial(str(path), qt=60, flags=list(flags))
    return path.read_bytes()


def cmyk() -> np.ndarray:
    return np.dstack([PHOTO, PHOTO[::-1, :, 0]])


