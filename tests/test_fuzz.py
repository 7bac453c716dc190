"""What fuzzing begins with is taken as a whole; what it looks for is noticed."""

import numpy as np
import pytest
from PIL import UnidentifiedImageError

from fuzz import targets
from fuzz.targets import TARGETS
from hrcnn_jax.data.sources import FolderSource
from hrcnn_jax.files import exif, reader
from hrcnn_jax.fleet import manifest as fleet


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert len({*seeds}) == len(seeds) > 5
    for seed in seeds:
        TARGETS[name].run(seed)
        TARGETS[name].run(seed[: len(seed) // 2])
    TARGETS[name].run(b"")


def test_seeds_are_valid() -> None:
    for seed in TARGETS["jpeg"].seeds():
        assert reader.read(seed).damage is None
    assert {exif.orientation(seed) for seed in TARGETS["exif"].seeds()} == {1, 3, 6, 8}


def test_bugs_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = {name: next(target.seeds()) for name, target in TARGETS.items()}
    with monkeypatch.context() as patch:
        patch.setattr(exif, "upright", lambda block: block[:-1])
        with pytest.raises(AssertionError, match="another length"):
            targets.exif_block(seeds["exif"])
    with monkeypatch.context() as patch:
        patch.setattr("hrcnn_jax.files.tiff._PHOTOMETRIC", {1: 9, 3: 9})
        with pytest.raises(UnidentifiedImageError):
            targets.metadata(seeds["metadata"])
    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "load", lambda self, index: np.zeros((2, 3)))
        with pytest.raises(AssertionError, match="no RGB"):
            targets.lossless(seeds["lossless"])
    with monkeypatch.context() as patch:
        patch.setattr(fleet, "take_up", lambda store, there, retry_failed: {"nobody.jpg": False})
        with pytest.raises(AssertionError, match="more done than told"):
            targets.manifest(seeds["manifest"])
    with monkeypatch.context() as patch:
        patch.setattr(reader, "_damage_of_layout", lambda layout: "all wrong")
        patch.setattr(reader, "_refused", lambda *_: reader.JpegError("two\nlines"))
        with pytest.raises(AssertionError, match="one line"):
            targets.jpeg(seeds["jpeg"])
