"""Many files through one process, and through one restorer on many threads."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo

from benchmarks import soak
from hrcnn_jax.cli.main import main
from hrcnn_jax.restoration.restorer import Restorer


def held() -> tuple[int, int, int]:
    """File descriptors, threads and memory maps."""
    about = Path("/proc/self")
    maps = len((about / "maps").read_text().splitlines())
    return len(list((about / "fd").iterdir())), len(list((about / "task").iterdir())), maps


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is held")
def test_files_of_unlike_sizes_leave_nothing_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m benchmarks.soak` takes thousands; the first ones here compile programs."""
    (tmp_path / "in").mkdir()
    soak.make(tmp_path / "in", 30)
    holds = []
    for number in range(3):
        out = tmp_path / f"out{number}"
        assert main(["restore", "-r", str(tmp_path / "in"), "-o", str(out)]) == 1, "some are broken"
        assert "reason of our own" not in capsys.readouterr().err
        holds.append(held())
    assert len(list(out.iterdir())) >= 27
    assert holds[2][0] <= holds[1][0]
    assert holds[2][1] <= holds[1][1]
    assert holds[2][2] <= holds[1][2] + 10


def test_a_restorer_on_eight_threads_is_bit_for_bit_as_alone() -> None:
    files = [
        jpeg_bytes(make_photo(40 + 3 * number, 90 - 5 * number, number), quality=10 + number)
        for number in range(8)
    ]
    restorer = Restorer()
    alone = [restorer.restore(file) for file in files]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(restorer.restore, 3 * files))
    for one, other in zip(3 * alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
