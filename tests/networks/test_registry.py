"""Architectures by name, and their cost counted by hand."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import fresh_params, made_card

from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.networks.cards import ModelError
from hrcnn_jax.networks.chroma import Chroma
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.networks.cost import count_parameters
from hrcnn_jax.networks.hrcnn import HRCNN


def test_cost_of_the_papers_network() -> None:
    """Multiply-adds a pixel, layer by layer; extraction and reconstruction work once a block."""
    by_hand = 8 * 8 * 64 // 64 + 64 * 64 + 5 * 5 * 64 * 8 + 3 * 3 * 8
    by_hand += 4 * (11 * 11 * 64 + 7 * 7 * 64 * 16 + 16)
    assert by_hand == 248_776
    assert registry.get("hrcnn").multiply_adds(HRCNN()) == by_hand
    assert registry.get("hrcnn").multiply_adds(HRCNN(blocks=0), side=8) == 64 + 4096 + 12800 + 72


@pytest.mark.parametrize(("width", "blocks"), [(8, 1), (12, 2), (48, 3)])
def test_cost_of_the_compact_network(width: int, blocks: int) -> None:
    """Convolutions on cells, 36 products for 16 of them; three 8x8 transforms of two products; the
    table once a picture."""
    on_cells = 2.25 * (16 * width + blocks * 2 * width**2 + width * 16)
    table = blocks * 64 * 2 * width / 128**2
    by_hand = on_cells / 16 + 3 * 2 * 8 + table
    module = Compact(width=width, blocks=blocks)
    assert registry.get("compact").multiply_adds(module, side=128) == round(by_hand)


@pytest.mark.parametrize(("width", "blocks"), [(8, 1), (64, 2)])
def test_cost_of_the_chroma_network(width: int, blocks: int) -> None:
    """A cell is 64 pixels: 16 + 16 + 64 samples in, twice 64 out; two planes of a quarter's size
    go through an inverse DCT, a DCT and an inverse DCT; the tables once a picture."""
    on_cells = 2.25 * (96 * width + blocks * 2 * width**2 + width * 128)
    tables = blocks * 128 * 2 * width / 128**2
    by_hand = on_cells / 64 + 3 * 2 * 8 / 2 + tables
    module = Chroma(width=width, blocks=blocks)
    assert registry.get("chroma").multiply_adds(module, side=128) == round(by_hand)


def test_cost_of_pointwise_ends() -> None:
    """The first and the last convolution take one product a cell."""
    compact, chroma = registry.get("compact"), registry.get("chroma")
    module = Compact(width=8, blocks=2, pointwise=True)
    on_cells = 16 * 8 + 2 * 2 * 2.25 * 8**2 + 8 * 16
    by_hand = on_cells / 16 + 3 * 2 * 8 + 2 * 64 * 2 * 8 / 128**2
    assert compact.multiply_adds(module, side=128) == round(by_hand)
    spared = 6.75 * 2 * 2 * 8**2 / 16
    direct = compact.direct_multiply_adds(module)
    assert direct - compact.multiply_adds(module) == pytest.approx(spared, abs=1)
    of_chroma = Chroma(width=8, blocks=1, pointwise=True)
    on_cells = 96 * 8 + 2 * 2.25 * 8**2 + 8 * 128
    by_hand = on_cells / 64 + 3 * 2 * 8 / 2 + 128 * 2 * 8 / 128**2
    assert chroma.multiply_adds(of_chroma, side=128) == round(by_hand)


@pytest.mark.parametrize("orientations", [1, 2])
def test_cost_tap_by_tap(orientations: int) -> None:
    """9 products a cell in place of 36/16, and all else as it is computed."""
    compact, chroma = registry.get("compact"), registry.get("chroma")
    module = Compact(width=8, blocks=2, kernels=2, orientations=orientations)
    spared = 6.75 * (16 * 8 + 2 * 2 * 8**2 + 8 * 16) / 16 * orientations
    direct = compact.direct_multiply_adds(module)
    assert direct - compact.multiply_adds(module) == pytest.approx(spared, abs=1)
    of_chroma = Chroma(width=8, blocks=1)
    spared = 6.75 * (96 * 8 + 2 * 8**2 + 8 * 128) / 64
    direct = chroma.direct_multiply_adds(of_chroma)
    assert direct - chroma.multiply_adds(of_chroma) == pytest.approx(spared, abs=1)
    paper = registry.get("hrcnn")
    assert paper.direct_multiply_adds(HRCNN(blocks=1)) == paper.multiply_adds(HRCNN(blocks=1))


def test_parameters_of_the_compact_network() -> None:
    head, block = 9 * 16 * 8 + 8, 2 * (9 * 8 * 8 + 8) + 64 * 16 + 16
    tail = 9 * 8 * 16 + 16
    params = registry.get("compact").init(Compact(width=8, blocks=2), jax.random.key(0))
    assert count_parameters(params) == head + 2 * block + tail


def test_ends_that_become_pointwise() -> None:
    """They do with every cell what they did with it before, and forget its neighbours."""
    compact = registry.get("compact")
    wide, narrow = (Compact(width=8, blocks=1, pointwise=each) for each in (False, True))
    params = compact.init(wide, jax.random.key(0))
    options = [{"width": 8, "blocks": 1, "pointwise": each} for each in (False, True)]
    found = compact.retarget(params, *options)
    shapes, fresh = (
        jax.tree.map(np.shape, each) for each in (found, compact.init(narrow, jax.random.key(0)))
    )
    assert shapes == fresh
    for end in ("head", "tail"):
        np.testing.assert_array_equal(found[end]["kernel"][0, 0], params[end]["kernel"][1, 1])
    assert compact.retarget(found, options[1], options[1]) is found


def test_options_build_what_they_say() -> None:
    assert registry.get("hrcnn").options == {
        "quality": 10,
        "blocks": 4,
        "hidden_relu": True,
        "decoder_init": True,
    }
    assert registry.get("compact").options == {
        "width": 48,
        "blocks": 3,
        "kernels": 0,
        "orientations": 1,
        "pointwise": False,
        "largest_step": 255,
    }
    built = registry.get("compact").build({"width": 8}, dtype="bfloat16")
    assert built == Compact(width=8, dtype=jnp.dtype("bfloat16"))
    assert registry.get("hrcnn").build() == HRCNN(dtype=jnp.dtype("float32"))


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="no architecture 'dncnn': choose from hrcnn, compact"):
        registry.get("dncnn")
    with pytest.raises(ValueError, match=r"cannot load the architecture 'flax\.linen:Nothing'"):
        registry.get("flax.linen:Nothing")
    with pytest.raises(ValueError, match="neither an Architecture nor a Flax module with a halo"):
        registry.get("flax.linen:Dense")
    for options, message in (
        ({"width": 0}, "--width must be from 1 to 4096, got 0"),
        ({"kernels": -1}, "--kernels must be from 0 to 1024, got -1"),
        ({"orientations": 3}, "--orientations must be from 1 to 2, got 3"),
        ({"blocks": 1.5}, "--blocks must be from 0 to 1024, got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            registry.get("compact").build(options)
    with pytest.raises(ValueError, match="--pointwise needs --blocks 1 or more: no cell would see"):
        registry.get("chroma").build({"pointwise": True, "blocks": 0})
    with pytest.raises(ValueError, match="Compact has no option hidden_relu, quality: it has"):
        registry.get("compact").build({"quality": 10, "hidden_relu": False, "width": 8})


def test_no_card_has_code_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user names its module: here one that leaves a trace when it is imported."""
    trace = tmp_path / "trace"
    source = "from hrcnn_jax.networks.compact import Compact as Found\n"
    source += f"open({str(trace)!r}, 'w').close()\n"
    (tmp_path / "a_strangers_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    card = dataclasses.replace(
        made_card("compact", {"width": 8}), architecture="a_strangers_module:Found"
    )
    params = fresh_params(Compact(width=8))
    zoo.write_weights(tmp_path / "theirs.safetensors", params, card)
    for trusted in ("", "another", "a_strangers_module.inner"):
        monkeypatch.setenv(registry.TRUSTED, trusted)
        with pytest.raises(ModelError, match=r"theirs\.saf.*HRCNN_JAX_TRUST=a_strangers_module$"):
            zoo.load(tmp_path / "theirs.safetensors")
    assert not trace.exists()

    monkeypatch.setenv(registry.TRUSTED, "another,a_strangers_module")
    assert zoo.load(tmp_path / "theirs.safetensors").module == Compact(width=8)
    assert trace.exists()
    monkeypatch.delenv(registry.TRUSTED)
    assert zoo.load(tmp_path / "theirs.safetensors").module == Compact(width=8)  # it is there
    monkeypatch.delitem(sys.modules, "a_strangers_module")


def test_what_is_asked_about_each() -> None:
    hrcnn, compact, chroma = (registry.get(name) for name in ("hrcnn", "compact", "chroma"))
    assert [each.kind for each in (hrcnn, compact, chroma)] == ["planes", "planes", "chroma"]
    assert [each.is_faithful for each in (hrcnn, compact, chroma)] == [False, True, True]
    table = hrcnn.table({"quality": 30})
    assert table is not None
    # Annex K's first step, 16, at quality 30: (16 * 166 + 50) // 100.
    assert table[0, 0] == 27
    assert compact.table({"width": 8}) is None


def test_seeds_of_parameters() -> None:
    module = Compact(width=8, blocks=1)
    first, same, other = (
        registry.get("compact").init(module, jax.random.key(seed)) for seed in (0, 0, 1)
    )
    kernels = [params["head"]["kernel"] for params in (first, same, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0


@pytest.mark.parametrize(
    "name", [name for name, each in registry.ARCHITECTURES.items() if each.kind == "planes"]
)
def test_architectures_of_planes_are_called_alike(name: str) -> None:
    """Codes and tables in, pixels out, and a halo of whole blocks."""
    architecture = registry.get(name)
    smaller = {"width": 8, "blocks": 1, "kernels": 0}
    options = {option: smaller.get(option, v) for option, v in architecture.options.items()}
    module = architecture.build(options)
    params = jax.eval_shape(lambda: architecture.init(module, jax.random.key(0)))
    codes = jnp.zeros((2, 8, 24, 1), jnp.int16)
    table = jnp.ones((2, 8, 8), jnp.int32)
    pixels = jax.eval_shape(module.apply, {"params": params}, codes, table)
    assert (pixels.shape, pixels.dtype) == ((2, 8, 24, 1), jnp.float32)
    assert isinstance(module.halo, int)
    assert module.halo >= 1
