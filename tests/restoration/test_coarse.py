"""Files whose steps are beyond baseline's 255, as Pillow writes them: restored, and not harmed."""

import io

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from benchmarks import coarse
from hrcnn_jax.restoration.restorer import Restorer

GRAY = make_photo(120, 136)[..., 1]


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer("fast")


@pytest.mark.parametrize("name", ["quality 2", "flat 512", "flat 65535", "16 to 4000"])
def test_no_harm_is_done(name: str, restorer: Restorer) -> None:
    table = coarse.TABLES[name]
    file = jpeg_bytes(GRAY, qtables=[[int(step) for step in table.ravel()]])
    assert bytes([0xFF, 0xDB, 0, 131, 0x10]) in file  # DQT of 16-bit steps, T.81 B.2.4.1
    plain = np.asarray(Image.open(io.BytesIO(file)))
    restored = restorer.restore(file)
    before, after = (peak_signal_noise_ratio(GRAY, each) for each in (plain, restored))
    assert after >= before - 0.01  # where nothing is left, Pillow rounds otherwise
