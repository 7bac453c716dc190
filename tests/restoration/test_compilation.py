"""Programs kept on disk between starts."""

import os
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from conftest import jpeg_bytes, make_photo

from hrcnn_jax.restoration import compilation
from hrcnn_jax.restoration.compilation import clear_broken, exposure, keep_programs, kept_in

NAME = "jax_compilation_cache_dir"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `keep_programs` had not been called, nor the environment named a folder."""
    monkeypatch.setattr(compilation, "_kept_in", None)
    jax.config.update(NAME, None)


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As if the environment named no folder."""
    before = jax.config.values[NAME]
    forget(monkeypatch)
    yield monkeypatch
    jax.config.update(NAME, before)


def test_they_are_in_the_users_cache(undecided: pytest.MonkeyPatch, tmp_path: Path) -> None:
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_programs()
    folder = kept_in()
    assert folder is not None
    assert folder.is_dir()
    assert folder.parent == tmp_path / "hrcnn_jax"
    undecided.setenv("XDG_CACHE_HOME", "relative, which the specification says to ignore")
    undecided.setenv("HOME", str(tmp_path / "home"))
    forget(undecided)
    keep_programs()
    folder = kept_in()
    assert folder is not None
    assert folder.parent == tmp_path / "home/.cache/hrcnn_jax"
    assert jax.config.values[NAME] is None, "JAX's own cache is for those who ask for it"
    keep_programs(all_of_jax=True)
    assert jax.config.values[NAME] == str(folder)


def test_a_folder_that_was_chosen_stays(undecided: pytest.MonkeyPatch, tmp_path: Path) -> None:
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update(NAME, str(tmp_path / "chosen"))
    keep_programs()
    assert kept_in() == tmp_path / "chosen"


def test_nowhere_to_write(undecided: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_programs()
    assert kept_in() is None


def test_the_folder_is_closed_to_others(undecided: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever new folders' permissions are; one that others could read is closed."""
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = os.umask(0)
    try:
        keep_programs()
    finally:
        os.umask(before)
    folder = kept_in()
    assert folder is not None
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, folder.parent)] == [0o700] * 2
    folder.chmod(0o755)
    forget(undecided)
    keep_programs()
    assert kept_in() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_may_write_into_is_not_used(
    undecided: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undecided.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_programs()
    folder = kept_in()
    assert folder is not None
    for mode in (0o770, 0o777, 0o1777, 0o702):
        folder.chmod(mode)
        forget(undecided)
        keep_programs()
        assert kept_in() is None
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            "hrcnn-jax: compiled programs are not kept: others may write into "
            f"{folder}; remove it, so that it is made anew"
        )


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[list[Path]]:
    """Folders in each other, each the user's own, none below one that is closed to others."""
    folders = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    for each in folders:
        each.mkdir()
        each.chmod(0o755)
    opened = [each for each in tmp_path.parents if each.stat().st_uid == os.geteuid()]
    opened = [each for each in (tmp_path, *opened) if not each.stat().st_mode & 0o011]
    before = [each.stat().st_mode for each in opened]
    for each in opened:
        each.chmod(0o755)
    yield folders
    for each, mode in zip(opened, before, strict=True):
        each.chmod(stat.S_IMODE(mode))


def test_folders_above_count(chain: list[Path], tmp_path: Path) -> None:
    above, between, folder = chain
    assert exposure(folder) is None
    above.chmod(0o777)
    told = exposure(folder)
    assert told is not None
    assert told.startswith(f"others may write into {above} above {folder}; ")
    above.chmod(0o1777)
    assert exposure(folder) is None, "as in /tmp, others may not rename it"
    above.chmod(0o777)
    tmp_path.chmod(0o700)
    assert exposure(folder) is None, "others cannot get there"
    tmp_path.chmod(0o755)
    above.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(between)
    assert exposure(link / "c") is None
    above.chmod(0o777)
    told = exposure(link / "c")
    assert told is not None, "where the link leads"
    assert f"{above} above" in told


def test_folders_of_others_are_not_used(
    chain: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chain[-1]
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    told = exposure(folder)
    assert told is not None
    assert told.startswith(f"{folder} belongs to somebody else; set XDG_CACHE_HOME")
    monkeypatch.undo()
    if os.geteuid() == 0:  # who alone may give away what is his
        os.chown(chain[0], 12345, -1)
        told = exposure(folder)
        assert told is not None
        assert told.startswith(f"{chain[0]} above {folder} belongs to somebody else")


def test_broken_programs_are_removed_once_they_are_new(tmp_path: Path) -> None:
    whole = zlib.compress(bytes(range(256)) * 1000)
    contents = {
        "whole-cache": whole,
        "empty-cache": b"",
        "cut-cache": whole[:-1],
        "zeros-cache": whole[:50] + bytes(len(whole) - 50),
        "note.txt": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    clear_broken(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"whole-cache", "note.txt", "looked-at"}
    (tmp_path / "new-cache").write_bytes(whole[:9])
    soon = time.time() + 9
    os.utime(tmp_path / "new-cache", (soon, soon))
    clear_broken(tmp_path)
    assert not (tmp_path / "new-cache").exists()


def test_a_broken_program_is_compiled_and_kept_again(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")
    } | {"XDG_CACHE_HOME": str(tmp_path)}
    program = """
import jax, warnings
from hrcnn_jax.restoration.compilation import keep_programs
warnings.simplefilter("error")
keep_programs(all_of_jax=True)
jax.jit(lambda x: x * 2 + 1)(1.0)
"""
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])
    sizes = {path: path.stat().st_size for path in tmp_path.rglob("*-cache")}
    assert sizes
    for path in sizes:
        os.truncate(path, 5)
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])
    again = {path: path.stat().st_size for path in tmp_path.rglob("*-cache")}
    assert again.keys() == sizes.keys()
    assert min(again.values()) > 5


def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg_bytes(make_photo(24, 40), quality=30))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")
    } | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "hrcnn_jax", "restore", str(tmp_path / "photo.jpg"), "-o"]
    kept = []
    for name in ("first", "second"):
        subprocess.run([*command, str(tmp_path / name)], check=True, env=environment)
        files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        # A file made again would be another one: what is used is only touched.
        kept.append({path.name: path.stat().st_ino for path in files})
    assert any(name.startswith("restore_tile-") for name in kept[0])
    assert kept[0] == kept[1]
    pictures = [(tmp_path / name / "photo.png").read_bytes() for name in ("first", "second")]
    assert pictures[0] == pictures[1]
