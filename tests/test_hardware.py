"""What is asked of the machine."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from hrcnn_jax import hardware
from hrcnn_jax.networks import zoo


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    hardware.multiplies_bfloat16.cache_clear()
    yield
    hardware.multiplies_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 avx512vbmi\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n", False),
        ("processor\t: 0\nmodel name\t: avx512_bf16\nflags\t\t: fpu avx512_bf16x\n", False),
        (None, False),
    ],
)
def test_products_of_bfloat16(
    told: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux tells; nothing is known where it tells nothing."""
    file = tmp_path / "cpuinfo"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(hardware, "_PROCESSORS", file)
    assert hardware.multiplies_bfloat16() is expected


@pytest.mark.parametrize("can", [False, True])
def test_networks_multiply_what_the_machine_does(
    can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless they would sum in bfloat16, too, or somebody says what, to JAX or to us."""
    monkeypatch.setattr(zoo, "multiplies_bfloat16", lambda: can)
    fast = jnp.bfloat16 if can else jnp.float32
    dtypes = {name: zoo.load(name).module.dtype for name in ("small", "chroma", "hrcnn-q10")}
    assert dtypes == {"small": fast, "chroma": fast, "hrcnn-q10": jnp.float32}
    with jax.default_matmul_precision("float32"):
        assert zoo.load("small").module.dtype == jnp.float32
    assert zoo.load("small", dtype="float32").module.dtype == jnp.float32
    assert zoo.load("small", dtype="bfloat16").module.dtype == jnp.bfloat16
