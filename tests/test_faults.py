"""Faults on purpose, a few of each; `python -m benchmarks.faults` tries more."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.faults import Batch, Tally

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="faults are those of Linux")


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return Batch.of(tmp_path_factory.mktemp("faults"), 4)


@pytest.mark.parametrize(
    "name", ["full disk", "permission lost midway", "two processes, one folder"]
)
def test_nothing_is_lost_partial_or_left_over(name: str, batch: Batch) -> None:
    if faults.by_disks() is None and name == "permission lost midway":
        pytest.skip("nothing stops this user from writing")
    tally = Tally()
    faults.FAULTS[name](batch, tally)
    assert tally == Tally(tried=1)


def test_killed_at_random_moments(batch: Batch) -> None:
    tally = Tally()
    faults.kills(batch, tally, 3)
    assert tally == Tally(tried=3)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda out: (out / "00.png").write_bytes(b"half"), Tally(partial=1)),
        (lambda out: (out / ".hrcnn-jax-0.partial").touch(), Tally(left=1)),
        (lambda out: (out.parent / "in" / "00.jpg").write_bytes(b"changed"), Tally(lost=1)),
    ],
)
def test_losses_are_noticed(
    spoil: Callable[[Path], object],
    expected: Tally,
    batch: Batch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = faults.contents(batch.source)
    out = batch.root / "reference"
    spoil(out)
    monkeypatch.setattr(faults.Running, "__init__", lambda *_: None)
    monkeypatch.setattr(faults.Running, "end", lambda _: 0)
    tally = Tally()
    batch.finish(out, tally)
    assert tally == expected
    for folder, files in ((batch.source, before), (out, batch.reference)):
        for name, data in files.items():
            (folder / name).write_bytes(data)
    for each in faults.hidden(out):
        each.unlink()
