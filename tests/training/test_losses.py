"""Losses against NumPy's formulas, and how they are found by name."""

import sys
import types

import jax
import numpy as np
import pytest
from conftest import make_photo
from skimage.metrics import structural_similarity

from hrcnn_jax.training import losses

TARGET = np.stack([make_photo(16, 24, seed)[..., 1] for seed in range(3)]).astype(np.float32) / 255
RESTORED = (TARGET + np.random.default_rng(0).normal(scale=0.1, size=TARGET.shape)).astype(
    np.float32
)


def numpy_mse(restored: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((restored - target) ** 2))


def numpy_charbonnier(restored: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean(np.hypot(restored - target, 1e-3)))


def numpy_ssim_mixed(restored: np.ndarray, target: np.ndarray) -> float:
    similarity = structural_similarity(restored, target, data_range=1)
    return 0.9 * numpy_mse(restored, target) + 0.001 * (1 - similarity)


FORMULAS = {"mse": numpy_mse, "charbonnier": numpy_charbonnier, "ssim": numpy_ssim_mixed}


def test_every_loss_has_a_formula_here() -> None:
    assert FORMULAS.keys() == losses.LOSSES.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_values_picture_by_picture(name: str) -> None:
    values = jax.jit(losses.get(name))(RESTORED, TARGET)
    pictures = zip(RESTORED.astype(float), TARGET.astype(float), strict=True)
    expected = [FORMULAS[name](restored, target) for restored, target in pictures]
    np.testing.assert_allclose(values, expected, rtol=1e-4)  # float32, and SSIM's differences


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_leads_to_the_target(name: str) -> None:
    loss = losses.get(name)
    gradient = jax.jit(jax.grad(lambda restored: loss(restored, TARGET).sum()))
    towards = gradient(RESTORED)
    assert np.isfinite(towards).all()
    stepped = RESTORED - 0.001 * np.asarray(towards) / np.abs(towards).max()
    assert (loss(stepped, TARGET) < loss(RESTORED, TARGET)).all()

    at_target = np.asarray(gradient(TARGET))
    assert np.isfinite(at_target).all(), "a perfect picture must not stop the training"
    assert np.abs(at_target).max() < 1e-2 * np.abs(towards).max()


def test_a_loss_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("elsewhere")
    package.worst = lambda restored, target: abs(restored - target).max((-2, -1))
    monkeypatch.setitem(sys.modules, "elsewhere", package)
    assert losses.get("elsewhere:worst") is package.worst


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("l1", r"no loss 'l1': choose from mse, charbonnier, ssim, or give package"),
        ("", "no loss ''"),
        ("math:", "no loss 'math:'"),
        ("not_a_module_:loss", "cannot load the loss .*No module named 'not_a_module_'"),
        ("math:not_there", "cannot load the loss .*not_there"),
        ("math:pi", "cannot load the loss 'math:pi': it is not a function"),
        (":loss", "cannot load the loss ':loss'"),
        (".relative:loss", "cannot load the loss '.relative:loss'"),
        ("jax.numpy:add", r"gives an array of shape \(2, 64, 64\) for two planes"),
        ("jax.numpy:vdot", r"gives an array of shape \(\) .* one value a picture, \(B,\)"),
        ("jax.numpy:matmul", r"gives an array of shape|does not take planes"),
        ("math:hypot", "does not take planes"),
    ],
)
def test_losses_that_cannot_be_had(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.get(name)
