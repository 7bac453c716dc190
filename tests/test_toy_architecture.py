"""An architecture of one's own: trained, evaluated, restored with and released by its name alone.

Nothing of the package knows it: it is a Flax module with a halo, found by `package.module:NAME`.
"""

import io
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike
from PIL import Image

import hrcnn_jax
from hrcnn_jax.cli.main import main
from hrcnn_jax.jpeg import transform

TOY = f"{__name__}:Brightened"

pytestmark = pytest.mark.usefixtures("standard_promotion")


class Brightened(nn.Module):
    """The plain decode, times a gain and plus a shift that are learnt.

    Attributes:
      start: the shift to begin with, in levels.
    """

    start: int = 8
    dtype: DTypeLike = jnp.float32

    @property
    def halo(self) -> int:
        """A block at least, though nothing here looks beyond its own."""
        return 1

    @nn.compact
    def __call__(self, codes: Array, table: Array, *, inside: bool = False) -> Array:
        blocks = transform.to_blocks(codes[..., 0].astype(jnp.float32))
        plain = transform.decode(blocks, table, clip=False)
        if inside:
            plain = transform.without_border(plain, 8)
        # Called as parameters of ours once were.
        gain = self.param("table", nn.initializers.ones, (), jnp.float32)
        begin = nn.initializers.constant(self.start / 255)
        return (gain * plain + self.param("shift", begin, (), jnp.float32))[..., None]


def test_from_training_to_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.fromarray(make_photo(40, 48, number)).save(f"photos/{number}.png")
    flags = [
        "--architecture",
        TOY,
        "--start",
        "4",
        "--data",
        "photos",
        "--validation",
        "photos/3.png",
    ]
    flags[5:6] = ["photos/0.png", "photos/1.png", "photos/2.png"]
    flags += ["--crops", "6", "--validation-crops", "2", "--crop", "32", "--patch", "16"]
    flags += ["--batch", "2", "--steps", "3", "--eval-every", "3", "--learning-rate", "1e-6"]
    assert main(["train", *flags, "--workdir", "run", "--warmup", "0"]) == 0
    assert hrcnn_jax.load("run").card.options == {"start": 4}
    warm = [*flags, "--steps", "1", "--warm-start", "run", "--workdir", "warm", "--warmup", "0"]
    assert main(["train", *warm]) == 0
    assert hrcnn_jax.load("warm").params["shift"] == pytest.approx(4 / 255, abs=1e-3)

    release = ["release", "run", "toy", "-o", "weights"]
    assert main([*release, "--chroma", "small"]) == 1
    assert "no network of chroma 'small': choose from chroma" in capsys.readouterr().err
    assert not (tmp_path / "weights" / "toy.json").exists()
    assert main(release) == 0
    network = hrcnn_jax.load("weights/toy.safetensors")
    assert network.params["shift"] == pytest.approx(4 / 255, abs=1e-3)
    assert (network.card.architecture, network.card.parameters) == (TOY, 2)

    evaluated = ["evaluate", "--model", "weights/toy.safetensors", "run", "--data", "photos"]
    assert main([*evaluated, "--quality", "30", "--no-faithful", "--output-dir", "out"]) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert [result["model"] for result in found["results"]] == ["toy", "run"]
    assert found["results"][0]["mean"]["gain"] < -0.01, "brighter pictures are no better ones"

    gray = make_photo(40, 48, 7)[..., 1]
    (tmp_path / "gray.jpg").write_bytes(jpeg_bytes(gray, quality=90))
    capsys.readouterr()
    restore = ["restore", "gray.jpg", "-o", "out", "--model", "run", "--no-faithful"]
    assert main(restore) == 0
    plain = np.asarray(Image.open(io.BytesIO((tmp_path / "gray.jpg").read_bytes())), int)
    brighter = np.asarray(Image.open(tmp_path / "out" / "gray.png"), int) - plain
    assert np.median(brighter[plain < 250]) == 4
