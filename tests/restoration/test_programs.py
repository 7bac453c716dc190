"""Functions that are compiled once, and found again on disk."""

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from hrcnn_jax.jpeg import transform
from hrcnn_jax.restoration import programs
from hrcnn_jax.restoration.programs import SUFFIX, Program

FOLDER = "jax_compilation_cache_dir"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where programs are kept, for the while of a test."""
    before = jax.config.values[FOLDER]
    jax.config.update(FOLDER, str(tmp_path))
    yield tmp_path
    jax.config.update(FOLDER, before)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by each function that is traced and compiled."""
    found: list[object] = []
    jit = jax.jit

    def noted(function: Callable[..., Any], **options: Any) -> Any:
        found.append(function)
        return jit(function, **options)

    monkeypatch.setattr(jax, "jit", noted)
    return found


def encoding() -> Program:
    """A new program, as a new process would have it."""
    return Program(transform.pixels_to_coefficients)


PLANE = np.random.default_rng(0).random((16, 24), np.float32)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def test_what_is_on_disk_is_not_traced(folder: Path, made: list[object]) -> None:
    expected = transform.pixels_to_coefficients(jnp.asarray(PLANE))
    made.clear()
    for _ in range(2):
        np.testing.assert_array_equal(encoding()(PLANE), encoding()(PLANE))
        np.testing.assert_allclose(encoding()(PLANE), expected, atol=1e-3)
    assert len(made) == 1
    (entry,) = kept(folder)
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600, "native code: nobody else's business"


def test_other_arguments_and_settings_are_other_programs(folder: Path, made: list[object]) -> None:
    encoding()(PLANE)
    encoding()(PLANE[:8])
    with jax.default_matmul_precision("float32"):
        encoding()(PLANE)
    for clip in (True, False):
        Program(partial(transform.decode, clip=clip))(
            np.ones((1, 1, 8, 8), np.int16), table=np.ones((8, 8), np.int32)
        )
    assert len(made) == len(kept(folder)) == 5


def test_other_source_is_another_program(
    folder: Path, made: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding()(PLANE)
    monkeypatch.setattr(programs, "_source", lambda: "one line changed")
    encoding()(PLANE)
    assert len(made) == len(kept(folder)) == 2


def test_what_nobody_uses_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of earlier versions are, when the next is kept; what was used of late stays."""
    long_ago = time.time() - 61 * 24 * 3600
    encoding()(PLANE)
    (used,) = kept(folder)
    unused, others = folder / f"unused{SUFFIX}", folder / "notes.txt"
    for file in (unused, others):
        file.write_bytes(b"")
    for file in (used, unused, others):
        os.utime(file, (long_ago, long_ago))
    encoding()(PLANE)
    monkeypatch.setattr(programs, "_source", lambda: "one line changed")
    encoding()(PLANE)
    assert used.exists()
    assert others.exists()
    assert not unused.exists()
    assert len(kept(folder)) == 2


def test_what_may_change_unseen_is_not_kept(folder: Path) -> None:
    """Functions of other packages and of no package, and what encloses values."""
    factor = 3.0
    for function in (jnp.sin, lambda x: factor * x, partial(transform.dct, np.zeros(3))):
        assert Program(function)._made_from is None
    np.testing.assert_array_equal(Program(lambda x: factor * x)(PLANE), np.float32(3) * PLANE)
    assert kept(folder) == []


@pytest.mark.parametrize("harm", [lambda whole: whole[:99], lambda _: b"", lambda _: b"no"])
def test_damaged_entries_are_made_anew(
    folder: Path, made: list[object], harm: Callable[[bytes], bytes]
) -> None:
    expected = encoding()(PLANE)
    (entry,) = kept(folder)
    whole = entry.read_bytes()
    entry.write_bytes(harm(whole))
    np.testing.assert_array_equal(encoding()(PLANE), expected)
    assert len(made) == 2
    encoding()(PLANE)
    assert len(made) == 2


def test_a_folder_that_cannot_be_written_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, **_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(programs, "written_whole", full)
    assert encoding()(PLANE).shape == (2, 3, 8, 8)
    jax.config.update(FOLDER, str(folder / "missing"))
    assert encoding()(PLANE).shape == (2, 3, 8, 8)


def test_what_threads_ask_for_at_once_is_compiled_once(made: list[object]) -> None:
    start = threading.Barrier(8)
    program = encoding()

    def call(_: int) -> Array:
        start.wait()
        return program(PLANE[:, :8])

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(call, range(8))
    assert len(made) <= 1
    for each in others:
        np.testing.assert_array_equal(first, each)


def test_who_waits_for_what_fails_is_told_and_may_try_again() -> None:
    program = Program(transform.to_blocks)
    for _ in range(2):
        with pytest.raises(ValueError, match="multiples of 8"):
            program(np.zeros((3, 3), np.float32))
    assert program(np.zeros((8, 8), np.float32)).shape == (1, 1, 8, 8)


CODE = """
import numpy as np
from hrcnn_jax.jpeg import transform
from hrcnn_jax.restoration.programs import Program
found = Program(transform.pixels_to_coefficients)(np.full((8, 8), 0.75, np.float32))
print(float(found[0, 0, 0, 0]))
"""


def run_another(folder: Path) -> None:
    """A process that makes or finds the program, and uses it."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert float(done.stdout) == pytest.approx(8 * (0.75 * 255 - 128), rel=1e-5)


def test_another_process_finds_it(folder: Path) -> None:
    run_another(folder)
    (entry,) = kept(folder)
    made = entry.stat()
    run_another(folder)
    assert entry.stat().st_ino == made.st_ino  # used, and not made again
    assert entry.stat().st_mtime_ns > made.st_mtime_ns


def test_what_jax_has_found_is_not_kept_again(folder: Path) -> None:
    """It would lack functions when it is found the next time (jax 0.10.2)."""
    run_another(folder)
    kept(folder)[0].unlink()
    for _ in range(2):
        run_another(folder)
        assert kept(folder) == []
