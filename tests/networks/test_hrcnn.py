"""HR-CNN against its paper: sizes, masks, equations, and the plain decoder it starts as."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import fresh_params, make_photo, random_params
from flax import linen as nn

from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks import registry
from hrcnn_jax.networks.compact import Compact
from hrcnn_jax.networks.folding import FoldedHRCNN
from hrcnn_jax.networks.hrcnn import (
    HRCNN,
    ChannelExtraction,
    ResidualBlock,
    SpectralReconstruction,
    channel_masks,
    retarget,
)

KEY = jax.random.key(0)


def codes_of(quality: int, *, height: int = 16, width: int = 16) -> tuple[jax.Array, jax.Array]:
    """A photograph's codes as a plane `(1, H, W, 1)`, and its plain decode `(1, H, W, 1)`."""
    plane = make_photo(height, width)[..., 1].astype(np.float32) / 255
    table = transform.quality_table(quality)
    blocks = transform.encode(plane, table)
    plain = transform.decode(blocks, table)
    return transform.from_blocks(blocks)[None, ..., None], plain[None, ..., None]


def run(module: nn.Module, params: dict, codes: jax.Array, **options: Any) -> Any:
    """The compiled network: several times faster than op by op, even counting compilation."""
    return jax.jit(partial(module.apply, **options))({"params": params}, codes)


# --- the paper's sizes ---------------------------------------------------------------------------


def test_parameters_are_the_papers() -> None:
    """Table III."""
    counts = {
        name: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(part))
        for name, part in jax.eval_shape(lambda: registry.get("hrcnn").init(HRCNN(), KEY)).items()
    }
    assert "extraction" not in counts
    assert counts["reconstruction"] + counts["decoding"] == 275_089
    assert sum(counts[f"residual{i}"] for i in range(1, 5)) == 232_068
    assert sum(counts.values()) == 507_157


def test_kernels_are_the_papers() -> None:
    params = jax.eval_shape(lambda: registry.get("hrcnn").init(HRCNN(), KEY))
    assert params["reconstruction"]["kernel"].shape == (8, 8, 64, 64)
    assert params["decoding"]["conv3"]["kernel"].shape == (5, 5, 64, 8)
    assert params["decoding"]["conv4"]["kernel"].shape == (3, 3, 8, 1)
    for index in range(1, 5):
        block = params[f"residual{index}"]
        assert [block[f"conv{i}"]["kernel"].shape for i in (1, 2, 3)] == [
            (11, 11, 1, 64),
            (7, 7, 64, 16),
            (1, 1, 16, 1),
        ]


# --- channel extraction (Eq. 1-4) ----------------------------------------------------------------


def test_masks_are_equation_2() -> None:
    masks = channel_masks()
    assert masks.shape == (8, 8, 1, 64)
    for channel in range(64):
        expected = np.zeros((8, 8))
        expected[channel % 8, channel // 8] = 1
        np.testing.assert_array_equal(masks[:, :, 0, channel], expected)


def test_extraction_picks_one_code_a_channel() -> None:
    codes = np.random.default_rng(0).integers(-900, 900, (2, 16, 24, 1))
    variables = ChannelExtraction().init(KEY, jnp.asarray(codes))
    assert not jax.tree.leaves(variables), "the masks are no parameters"
    snapshots = ChannelExtraction().apply({}, jnp.asarray(codes))
    assert snapshots.shape == (2, 2, 3, 64)
    for channel in range(64):
        expected = codes[:, channel % 8 :: 8, channel // 8 :: 8, 0]
        np.testing.assert_array_equal(snapshots[..., channel], expected)


def test_masks_get_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where something would ask for one; the codes' own gradient is Eq. 3's."""
    codes = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 1)), jnp.float32)
    weights = jnp.arange(1, 65, dtype=jnp.float32)

    def total(masks: jax.Array, codes: jax.Array) -> jax.Array:
        monkeypatch.setattr("hrcnn_jax.networks.hrcnn.channel_masks", lambda: masks)
        return jnp.sum(ChannelExtraction().apply({}, codes).reshape(64) * weights)

    to_masks, to_codes = jax.grad(total, (0, 1))(jnp.asarray(channel_masks()), codes)
    np.testing.assert_array_equal(to_masks, np.zeros((8, 8, 1, 64)))
    np.testing.assert_array_equal(to_codes[0, :, :, 0], weights.reshape(8, 8).T)


# --- spectral reconstruction (Eq. 5) -------------------------------------------------------------


def test_reconstruction_is_a_transposed_convolution() -> None:
    """Flax's own, with the same kernel, stored in other units; 64 float32 products in any order."""
    random = np.random.default_rng(1)
    snapshots = jnp.asarray(random.normal(size=(2, 2, 3, 64)), jnp.float32)
    module = SpectralReconstruction(nn.initializers.he_normal())
    params = {
        "kernel": jnp.asarray(random.normal(size=(8, 8, 64, 64)), jnp.float32),
        "bias": jnp.asarray(random.normal(size=64), jnp.float32),
    }
    stored = {**params, "kernel": 64 * params["kernel"]}
    painted = jax.jit(module.apply)({"params": stored}, snapshots)
    assert painted.shape == (2, 16, 24, 64)
    transposed = nn.ConvTranspose(64, (8, 8), strides=(8, 8), padding="VALID")
    # Flax's walks its kernel from the far end.
    flipped = {**params, "kernel": params["kernel"][::-1, ::-1]}
    expected = jax.jit(transposed.apply)({"params": flipped}, snapshots)
    np.testing.assert_allclose(painted, expected, atol=1e-4)


# --- decoding and enhancement (Eq. 6-8) ----------------------------------------------------------


@pytest.mark.parametrize("quality", [10, 30, 50])
@pytest.mark.parametrize("hidden_relu", [True, False])
def test_starts_as_the_plain_decoder(quality: int, hidden_relu: bool) -> None:
    codes, plain = codes_of(quality)
    module = HRCNN(quality=quality, blocks=0, hidden_relu=hidden_relu)
    pixels = run(module, fresh_params(module), codes)
    assert pixels.dtype == jnp.float32
    # Another order of 64 float32 products; Eq. 8 leaves what is above 1 to the caller.
    np.testing.assert_allclose(np.minimum(pixels, 1), plain, atol=2e-6)


def test_plain_initialisation_does_not() -> None:
    codes, plain = codes_of(10)
    module = HRCNN(blocks=1, decoder_init=False)
    pixels = run(module, fresh_params(module), codes)
    assert np.abs(np.minimum(pixels, 1) - plain).mean() > 0.05


def test_other_qualities_decode_otherwise() -> None:
    codes, plain = codes_of(30)
    module = HRCNN(quality=10, blocks=0)
    pixels = run(module, fresh_params(module), codes)
    assert np.abs(np.minimum(pixels, 1) - plain).max() > 0.05


def deviation_from_linear(*, hidden_relu: bool) -> float:
    """How far `f(a) + f(b)` is from `f(a + b) + f(0)` at layer 4's output, before its ReLU."""
    module = HRCNN(blocks=0, hidden_relu=hidden_relu)
    params = random_params(module)

    def output(codes: np.ndarray) -> np.ndarray:
        _, seen = run(
            module,
            params,
            jnp.asarray(codes, jnp.float32),
            capture_intermediates=lambda part, _: part.name == "conv4",
            mutable="intermediates",
        )
        return np.asarray(seen["intermediates"]["decoding"]["conv4"]["__call__"][0])

    a, b = np.random.default_rng(2).normal(size=(2, 1, 16, 16, 1))
    together, apart = output(a + b) + output(0 * a), output(a) + output(b)
    return float(np.abs(together - apart).max() / np.abs(apart).max())


def test_literal_decoding_is_linear_up_to_its_relu() -> None:
    """The paper prints one ReLU in the segment, after layer 4: its input is affine in the codes."""
    assert deviation_from_linear(hidden_relu=False) < 1e-5  # float32
    assert deviation_from_linear(hidden_relu=True) > 1e-2


def test_hidden_relus_of_residual_blocks() -> None:
    """One block maps a picture to detail; only ReLUs inside keep that from being linear."""
    a, b = np.random.default_rng(3).normal(size=(2, 1, 16, 16, 1)).astype(np.float32)
    params = random_params(HRCNN(blocks=1))["residual1"]
    deviations = []
    for hidden_relu in (False, True):
        block = ResidualBlock(hidden_relu, nn.initializers.zeros)
        f = jax.jit(lambda x, block=block, params=params: block.apply({"params": params}, x) - x)
        together, apart = f(a + b) + f(0 * a), f(a) + f(b)
        deviations.append(np.abs(together - apart).max() / np.abs(apart).max())
    assert deviations[0] < 1e-5  # float32
    assert deviations[1] > 1e-2


def test_output_is_never_negative() -> None:
    """Eq. 8."""
    module = HRCNN(blocks=1)
    params = random_params(module)
    params["residual1"]["conv3"]["bias"] -= 3
    codes, _ = codes_of(10)
    pixels = run(module, params, codes)
    assert pixels.min() == 0


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 40), (24, 16)])
def test_any_multiple_of_8(height: int, width: int) -> None:
    codes, plain = codes_of(10, height=height, width=width)
    module = HRCNN(blocks=1)
    pixels = run(module, fresh_params(module), codes)
    np.testing.assert_allclose(np.minimum(pixels, 1), plain, atol=2e-6)  # as above


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 12, 16, 1), "12x16 .* multiples of 8"),
        ((1, 16, 9, 1), "16x9 .* multiples of 8"),
        ((16, 16, 1), r"\(B, H, W, 1\), got \(16, 16, 1\)"),
        ((1, 16, 16, 3), r"\(B, H, W, 1\), got \(1, 16, 16, 3\)"),
    ],
)
@pytest.mark.parametrize("module", [HRCNN(blocks=0), Compact(width=8, blocks=1)])
def test_codes_of_a_wrong_shape(module: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module.init(KEY, jnp.zeros(shape), jnp.ones((1, 8, 8)))


def test_parameters_of_numpy_stay_as_they_are() -> None:
    params = jax.tree.map(np.array, random_params(HRCNN(blocks=1)))
    before = jax.tree.map(np.copy, params)
    HRCNN(blocks=1).apply({"params": params}, jnp.ones((1, 8, 8, 1)))
    jax.tree.map(np.testing.assert_array_equal, params, before)


def test_codes_may_be_integers() -> None:
    """Files hold int16."""
    codes, _ = codes_of(10)
    module = HRCNN(blocks=0)
    params = fresh_params(module)
    expected = run(module, params, codes)
    restored = run(module, params, codes.astype(jnp.int16))
    np.testing.assert_array_equal(restored, expected)


def test_stages_are_sown() -> None:
    codes, _ = codes_of(10, height=16, width=24)
    module = HRCNN(blocks=1)
    params = random_params(module)
    pixels, sown = run(module, params, codes, mutable="intermediates")
    stages = {name: value[0] for name, value in sown["intermediates"].items()}
    assert {name: value.shape for name, value in stages.items()} == {
        "extracted": (1, 2, 3, 64),
        "reconstructed": (1, 16, 24, 64),
        "decoded": (1, 16, 24, 1),
        "enhanced": (1, 16, 24, 1),
    }
    np.testing.assert_array_equal(stages["enhanced"], pixels)
    assert np.abs(stages["decoded"] - pixels).max() > 0


def test_bfloat16_computes_near_float32() -> None:
    codes, _ = codes_of(10)
    exact, fast = HRCNN(blocks=1), HRCNN(blocks=1, dtype=jnp.bfloat16)
    params = fresh_params(exact)
    for leaf in jax.tree.leaves(jax.eval_shape(lambda: registry.get("hrcnn").init(fast, KEY))):
        assert leaf.dtype == jnp.float32
    detail = random_params(exact, scale=0.02)["residual1"]
    params = {**params, "residual1": {**params["residual1"], "conv3": detail["conv3"]}}
    expected = run(exact, params, codes)
    pixels = run(fast, params, codes)
    assert pixels.dtype == jnp.float32
    error = np.abs(pixels - expected)
    added = np.abs(expected - run(exact, fresh_params(exact), codes)).max()
    assert added > 0.02
    assert 0 < error.max() < 0.02 * added  # bfloat16 keeps 8 bits: 1/256 a rounding, a few of them


@pytest.mark.parametrize("folded", [False, True])
def test_bfloat16_rounds_no_picture(folded: bool) -> None:
    """Fresh, it corrects nothing: what comes out is the plain decode, finer than bfloat16 tells."""
    codes, expected = codes_of(10)
    module: Any = HRCNN(blocks=2, dtype=jnp.bfloat16)
    params = fresh_params(module)
    if folded:
        module, params = registry.get("hrcnn").fold(module, params)
    pixels = np.minimum(run(module, params, codes), 1)
    np.testing.assert_allclose(pixels, expected, atol=2e-6)  # as in float32


def test_bfloat16_reads_pictures_exactly() -> None:
    """What a residual block adds does not change with light that is too faint for bfloat16."""
    block = ResidualBlock(True, nn.initializers.he_normal(), jnp.bfloat16)
    random = np.random.default_rng(0)
    faint = 0.5 + 1e-3 * random.normal(size=(1, 32, 32, 1))  # bfloat16 knows 0.5 and 0.504
    faint = jnp.asarray(faint, jnp.float32)
    params = block.init(KEY, faint)
    half, full = (
        np.asarray(each.apply(params, faint) - faint)[:, 8:-8, 8:-8]
        for each in (block, block.clone(dtype=jnp.float32))
    )
    assert np.std(half - full) < 0.1 * np.std(full)


# --- the receptive field -------------------------------------------------------------------------


MODULES = [
    HRCNN(blocks=0),
    HRCNN(blocks=1),
    HRCNN(blocks=1, hidden_relu=False),
    Compact(width=8, blocks=1),
    Compact(width=8, blocks=2),
    Compact(width=8, blocks=0),
]
FOLDED = [  # random ones see further than those that come of folding
    FoldedHRCNN(blocks=0),
    FoldedHRCNN(blocks=2),
    FoldedHRCNN(blocks=1, hidden_relu=False),
]


def named(module: Any) -> str:
    return f"{type(module).__name__}, blocks={module.blocks}"


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_context_is_the_receptive_field(module: Any) -> None:
    """A block that far away is seen, one further is not; across and down."""
    far = module.halo
    count = 2 * far + 3
    params = random_params(module, seed=5)
    table = jnp.full((1, 8, 8), 20)
    restore = jax.jit(lambda codes: module.apply({"params": params}, codes, table))
    random = np.random.default_rng(6)
    codes = random.integers(-3, 4, (8, 8 * count)).astype(np.float32)
    # Bright enough that no ReLU of the output hides the change.
    codes[0, ::8] = 40
    changed = codes.copy()
    middle = slice(8 * (far + 1), 8 * (far + 2))
    changed[:, middle] += random.integers(1, 9, (8, 8))
    for turn in (np.asarray, np.transpose):
        before, after = (restore(turn(each)[None, :, :, None]) for each in (codes, changed))
        difference = np.abs(turn(np.asarray(after - before)[0, :, :, 0]))
        # Mirrored convolutions add and take away again what lies further off: rounding remains.
        seen = difference.reshape(8, count, 8).max((0, 2)) > 1e-5
        expected = np.abs(np.arange(count) - (far + 1)) <= far
        np.testing.assert_array_equal(seen, expected)


COMPACT = [
    Compact(width=8, blocks=3, orientations=2),
    Compact(width=8, blocks=2, pointwise=True),
]


@pytest.mark.parametrize("module", [*MODULES, *FOLDED, *COMPACT], ids=named)
def test_the_inside_is_the_middle_of_the_whole(module: Any) -> None:
    params = random_params(module, seed=5, scale=0.1)
    codes = np.random.default_rng(6).integers(-3, 4, (1, 8 * 11, 8 * 12, 1)).astype(np.float32)
    codes[0, ::8, ::8] = 40  # bright enough that not all is black
    table = jnp.full((1, 8, 8), 20)
    whole, inside = (
        np.asarray(
            jax.jit(module.apply, static_argnames="inside")(
                {"params": params}, codes, table, inside=each
            )
        )
        for each in (False, True)
    )
    margin = 8 * module.halo
    expected = whole[:, margin:-margin, margin:-margin]
    assert np.ptp(expected) > 0.1
    # float32 sums in another order
    np.testing.assert_allclose(inside, expected, atol=1e-5 * np.abs(expected).max())


def test_retargeted_parameters_read_the_same_coefficients_from_other_codes() -> None:
    module = registry.get("hrcnn").build({"blocks": 1})
    old, new = (np.asarray(transform.quality_table(quality)) for quality in (10, 50))
    coefficients = np.random.default_rng(0).integers(-3, 4, (2, 2, 8, 8)) * old * new
    planes = [transform.from_blocks(coefficients // table)[None, ..., None] for table in (old, new)]
    params = random_params(module)
    expected = module.apply({"params": params}, planes[0])
    ours = module.apply({"params": retarget(params, old, new)}, planes[1])
    # float32; the coefficients are integers up to a hundred thousand
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert np.abs(module.apply({"params": params}, planes[1]) - expected).max() > 1
