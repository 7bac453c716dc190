"""Networks as ONNX programs, run by ONNX Runtime beside JAX."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import fresh_params, jpeg_bytes, made_card, make_photo, random_params

from hrcnn_jax.cli.main import main
from hrcnn_jax.files import reader
from hrcnn_jax.networks import cards, registry, zoo
from hrcnn_jax.restoration import tiles, to_onnx
from hrcnn_jax.restoration.restorer import Restorer

NETWORKS: dict[str, tuple[str, dict[str, int]]] = {
    "compact": ("compact", {"width": 8, "blocks": 1, "kernels": 2, "orientations": 2}),
    "pointwise": ("compact", {"width": 8, "blocks": 1, "pointwise": True}),
    "paper": ("hrcnn", {"quality": 10, "blocks": 1}),
    "chroma": ("chroma", {"width": 8, "blocks": 1}),
}


def weights(name: str, folder: Path) -> Path:
    """A weights file of a small network that changes pictures much."""
    architecture, options = NETWORKS[name]
    module = registry.get(architecture).build(options)
    noise = random_params(module, scale=0.05)
    params = jax.tree.map(jnp.add, fresh_params(module), noise)
    path = folder / f"{name}.safetensors"
    zoo.write_weights(path, params, made_card(architecture, options))
    return path


@pytest.mark.parametrize("name", ["compact", "pointwise", "paper"])
def test_tiles_by_onnx_make_the_plane_that_jax_makes(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = weights(name, tmp_path), tmp_path / "out" / "net.onnx"
    assert main(["export", str(path), str(target), "--side", "4"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{target}: codes (")
    assert "to pixels (32, 32); agrees with JAX to" in told

    model = onnx.load(target)
    known = {each.key: each.value for each in model.metadata_props}
    halo = int(known["halo"])
    assert known["network"] == name
    assert cards.Card.from_json(known["card"], name).architecture == NETWORKS[name][0]
    session = onnxruntime.InferenceSession(target)
    file = reader.read(jpeg_bytes(make_photo(60, 90)[..., 1], quality=10))
    (part,) = file.components
    table = part.table.astype(np.int32)

    def decode(codes: np.ndarray) -> jax.Array:
        given = {"codes": codes.astype(np.int32), "table": table}
        return jnp.asarray(session.run(["pixels"], given)[0])

    ours = np.concatenate(list(tiles.strips(part.codes, decode, halo=halo, side=4)))
    restorer = Restorer(zoo.load(path, dtype="float32"), chroma=None)
    expected = restorer.restore_codes(part.codes, part.table)
    plain = restorer.at(0.0).restore_codes(part.codes, part.table)
    np.testing.assert_allclose(ours, expected, atol=to_onnx.TOLERANCE)
    assert np.abs(expected - plain).max() > 100 * to_onnx.TOLERANCE


def test_what_is_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chroma = str(weights("chroma", tmp_path))
    target = tmp_path / "out.onnx"
    for arguments, sentence in (
        ([chroma], "network 'chroma' is for chroma: only those for planes go to ONNX"),
        (["enormous"], "no network 'enormous'"),
        (["small", "--side", "0"], "--side must be 1 or more, got 0"),
    ):
        assert main(["export", arguments[0], str(target), *arguments[1:]]) == 2
        assert sentence in capsys.readouterr().err
    assert not target.exists()


def test_what_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(to_onnx, "export", lambda *_, **__: onnx.ModelProto())
    monkeypatch.setattr(to_onnx, "difference", lambda *_: 2e-4)
    target = tmp_path / "out.onnx"
    assert main(["export", str(weights("compact", tmp_path)), str(target)]) == 1
    assert "differs from JAX by 2.0e-04: not written" in capsys.readouterr().err
    assert not target.exists()
