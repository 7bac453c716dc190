"""Windows that the estimate sees, against what Pillow (libjpeg) decodes."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes, jpeglib_bytes, make_photo
from PIL import Image

from hrcnn_jax.files import pictures, reader
from hrcnn_jax.restoration import windows

PHOTO = make_photo(208, 336)  # whole MCUs, more than one window each way


@pytest.mark.parametrize("kind", ["gray", "4:2:0", "4:2:2", "4:4:4", "4:1:1", "4:4:0", "rgb"])
def test_files_are_seen_as_libjpeg_decodes_them(kind: str, tmp_path: Path) -> None:
    """At borders as well: what is mirrored there begins with the last sample once more."""
    if kind == "gray":
        content = jpeg_bytes(PHOTO[..., 1], quality=30)
    elif kind == "rgb":
        content = jpeg_bytes(PHOTO, quality=30, keep_rgb=True)
    elif kind in ("4:1:1", "4:4:0"):
        luma = (4, 1) if kind == "4:1:1" else (1, 2)
        content = jpeglib_bytes(PHOTO, [luma, (1, 1), (1, 1)], tmp_path)
    else:
        content = jpeg_bytes(PHOTO, quality=30, subsampling=kind)
    seen = windows.of(reader.read(content))
    decoded = pictures.of_image(Image.open(io.BytesIO(content)).copy())
    assert seen.shape == (16, 128, 128, 3)
    np.testing.assert_array_equal(seen, windows.of(decoded))


def test_they_are_spread_over_all_of_a_picture() -> None:
    rows, columns = np.mgrid[:416, :700].astype(np.uint16)
    places = np.dstack([rows // 4, columns // 4, columns * 0]).astype(np.uint8)
    seen = windows.of(pictures.of_array(places))
    corners = seen[:, 0, 0, :2].astype(int) * 4
    assert len({tuple(corner) for corner in corners}) == 16
    assert corners.min() == 0
    lowest, rightmost = 4 * seen[..., :2].max((0, 1, 2)).astype(int)
    assert lowest >= 416 - 4 - 32, "to the last unit of four blocks"
    assert rightmost >= 700 - 4 - 32


@pytest.mark.parametrize("size", [(64, 64), (1, 200), (9, 7)])
def test_what_is_smaller_than_a_window_is_mirrored(size: tuple[int, int]) -> None:
    photo = PHOTO[: size[0], : size[1]]
    expected = np.pad(photo, ((0, 128), (0, 128), (0, 0)), mode="symmetric")[:128, :128]
    seen = windows.of(pictures.of_array(photo))
    assert seen.shape == (16, 128, 128, 3)
    np.testing.assert_array_equal(seen[0], expected)
