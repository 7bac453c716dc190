"""Files that are there whole or not at all, in folders that strangers write into too."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import jpeg_bytes, make_photo

from hrcnn_jax.files import atomic, reader, writer
from hrcnn_jax.files.atomic import holds_something, written_whole
from hrcnn_jax.files.writer import FORMATS


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """Folders are cleared of what was left as if the program had just started."""
    atomic.clear.cache_clear()
    yield
    atomic.clear.cache_clear()


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_content_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with written_whole(path) as partial:
        partial.write_bytes(b"one")
        assert not path.exists()
        assert partial.parent == tmp_path
    assert path.read_bytes() == b"one"

    def fail() -> None:
        with written_whole(path) as partial:
            partial.write_bytes(b"two")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"one")]


def test_names_cannot_be_known_beforehand(tmp_path: Path) -> None:
    names = set()
    for _ in range(5):
        with written_whole(tmp_path / "file") as partial:
            names.add(partial.name)
    assert len(names) == 5


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even of somebody who has guessed the name."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep me")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0" * 16)
    link = tmp_path / f".hrcnn-jax-{'0' * 16}.partial"
    link.symlink_to(precious)
    with pytest.raises(FileExistsError), written_whole(tmp_path / "file"):
        raise AssertionError("never begun")
    assert precious.read_bytes() == b"keep me"
    assert link.is_symlink()


def test_data_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "file", []
    fsync = os.fsync

    def watched(number: int) -> None:
        flushed.append((os.fstat(number).st_size, path.exists()))
        fsync(number)

    monkeypatch.setattr(os, "fsync", watched)
    with written_whole(path) as partial:
        partial.write_bytes(b"whole")
    assert flushed == [(5, False)]


def test_permissions_are_any_new_files_or_those_asked_for(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with written_whole(tmp_path / "a") as partial:
        partial.touch()
    assert permissions(tmp_path / "a") == permissions(ordinary)
    with written_whole(tmp_path / "b", permissions=0o440) as partial:
        assert permissions(partial) == 0o600, "nobody else may look while it is written"
    assert permissions(tmp_path / "b") == 0o440


@pytest.mark.parametrize("asked", [0o600, 0o444, 0o664])
def test_pictures_keep_their_files_permissions(asked: int, tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(jpeg_bytes(make_photo(8, 8)))
    source.chmod(asked)
    file = reader.read(source)
    writer.write(tmp_path / "a.png", make_photo(8, 8), FORMATS["png"], file=file)
    assert permissions(tmp_path / "a.png") == asked
    assert reader.read(source.read_bytes()).permissions is None


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from hrcnn_jax.files.atomic import written_whole
with written_whole(Path(sys.argv[1], "file")) as partial:
    partial.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2]).returncode < 0
    (left,) = tmp_path.iterdir()
    with written_whole(tmp_path / "a") as partial:
        partial.touch()
    assert left.exists(), "so fresh that it may have been begun just now"
    long_ago = time.time() - 2 * atomic.LEFT_AFTER
    os.utime(left, (long_ago, long_ago))
    atomic.clear.cache_clear()
    with written_whole(tmp_path / "a") as partial:
        partial.touch()
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_what_others_write_or_own_is_left_alone(tmp_path: Path) -> None:
    long_ago = time.time() - 2 * atomic.LEFT_AFTER
    kept = [
        tmp_path / name for name in (".123-0a1b2c3d.partial", "a.partial", ".hrcnn-jax-x.partial")
    ]
    for each in kept:
        each.touch()
    link = tmp_path / f".hrcnn-jax-{'1' * 16}.partial"
    link.symlink_to(kept[0])
    os.mkfifo(tmp_path / f".hrcnn-jax-{'2' * 16}.partial")
    with written_whole(tmp_path / "a") as partial:
        partial.touch()
        for each in (*kept, partial):
            os.utime(each, (long_ago, long_ago))
        atomic.clear.cache_clear()
        with written_whole(tmp_path / "b") as other:
            other.touch()
        assert partial.exists(), "its process lives"
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"a", "b", link.name, f".hrcnn-jax-{'2' * 16}.partial"} | {
        each.name for each in kept
    }


def test_empty_files_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_bytes(b"x")
    told = [holds_something(tmp_path / name) for name in ("empty", "full", "none", "full/none")]
    assert told == [False, True, False, False]
    assert not holds_something(tmp_path)
