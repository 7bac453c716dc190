"""Programs kept on disk between starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from conftest import jpeg_bytes, make_photo

from hrcnn_jax.restoration.compilation import keep_programs

NAME = "jax_compilation_cache_dir"


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As if the environment named no folder."""
    before = jax.config.values[NAME]
    jax.config.update(NAME, None)
    yield monkeypatch
    jax.config.update(NAME, before)


def test_they_are_in_the_users_cache(undecided: pytest.MonkeyPatch, tmp_path: Path) -> None:
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_programs()
    folder = Path(jax.config.values[NAME])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "hrcnn_jax"
    undecided.setenv("XDG_CACHE_HOME", "relative, which the specification says to ignore")
    undecided.setenv("HOME", str(tmp_path / "home"))
    jax.config.update(NAME, None)
    keep_programs()
    assert Path(jax.config.values[NAME]).parent == tmp_path / "home/.cache/hrcnn_jax"


def test_a_folder_that_was_chosen_stays(undecided: pytest.MonkeyPatch, tmp_path: Path) -> None:
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update(NAME, str(tmp_path / "chosen"))
    keep_programs()
    assert jax.config.values[NAME] == str(tmp_path / "chosen")


def test_nowhere_to_write(undecided: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_programs()
    assert jax.config.values[NAME] is None


def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg_bytes(make_photo(24, 40), quality=30))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")
    } | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "hrcnn_jax", "restore", str(tmp_path / "photo.jpg"), "-o"]
    kept = []
    for name in ("first", "second"):
        subprocess.run([*command, str(tmp_path / name)], check=True, env=environment)
        files = (tmp_path / "cache").rglob("*-cache")
        kept.append({path.name for path in files})
    assert any(name.startswith("jit_restore_tile") for name in kept[0])
    assert kept[0] == kept[1]
    pictures = [(tmp_path / name / "photo.png").read_bytes() for name in ("first", "second")]
    assert pictures[0] == pictures[1]
