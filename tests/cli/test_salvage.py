"""Damaged, endless and finished files at the command line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import jpeg_bytes, make_photo
from PIL import Image

from hrcnn_jax.__main__ import main
from hrcnn_jax.cli import restore

EOI = b"\xff\xd9"


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A file cut in half, its end marker appended."""
    whole = jpeg_bytes(make_photo(64, 80), quality=90)
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: len(whole) // 2] + EOI)
    return path


def test_damaged_files_are_refused_or_salvaged_in_a_line(
    damaged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["restore", str(damaged), "-o", str(tmp_path / "out"), "--strength", "0"]
    assert main(arguments) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == (
        f"hrcnn-jax: {damaged}: is truncated or damaged (premature end of data segment); fetch it "
        "again, or restore what is there (--salvage)\n"
    )
    assert list((tmp_path / "out").iterdir()) == []

    assert main([*arguments, "--salvage"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"{damaged}: is damaged: premature end of data segment; ")
    assert said.out.endswith(" % of it are there, the rest is made up\n")
    with Image.open(tmp_path / "out" / "cut.png") as ours, Image.open(damaged) as pillow:
        difference = np.asarray(ours).astype(int) - np.asarray(pillow)
    assert np.abs(difference).max() <= 3  # libjpeg's integer arithmetic

    assert main(["inspect", str(damaged)]) == 1
    assert "is truncated or damaged" in capfd.readouterr().err
    assert main(["inspect", "--salvage", str(damaged)]) == 0
    said = capfd.readouterr()
    assert "is damaged: premature end of data segment" in said.err
    assert "80×64" in said.out


def test_empty_results_do_not_count_as_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg_bytes(make_photo(16, 16)))
    names = [str(tmp_path / f"{name}.jpg") for name in ("a", "b")]
    arguments = ["restore", *names, "-o", str(tmp_path / "out"), "--strength", "0"]
    assert main(arguments) == 0
    (tmp_path / "out" / "a.png").write_bytes(b"")
    capsys.readouterr()
    assert main([*arguments, "--skip-existing"]) == 0
    assert "1 of 1 files restored, 0 failed, 1 skipped" in capsys.readouterr().err
    assert (tmp_path / "out" / "a.png").stat().st_size > 0


def test_finished_files_are_told_apart_without_comparing_all_with_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for index in range(300):
        (tmp_path / "in" / f"{index}.jpg").touch()
        (tmp_path / "out" / f"{index}.png").write_bytes(b"x")
    compared = 0
    equal = restore.Job.__eq__

    def counted(self: restore.Job, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(self, other)

    monkeypatch.setattr(restore.Job, "__eq__", counted)
    arguments = ["restore", "-r", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--skip-existing"]) == 0
    assert compared <= 300


def test_memory_that_inspect_lacks_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("hrcnn_jax.history.inspection.inspect", fail)
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes(make_photo(16, 16)))
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"hrcnn-jax: {path}: is too large for this machine's memory\n"
    )


@pytest.mark.parametrize("command", ["restore", "inspect"])
def test_a_silent_pipe_lets_itself_be_interrupted(command: str, tmp_path: Path) -> None:
    """Somebody has it open for writing, and writes nothing; the signal comes with the first wait
    for it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = """
import os, signal, sys, time
from hrcnn_jax.__main__ import main

def interrupted(seconds, sleep=time.sleep):
    time.sleep = sleep
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(seconds)

signal.signal(signal.SIGTERM, signal.SIG_DFL)
writer = os.open(sys.argv[2], os.O_RDWR)
time.sleep = interrupted
sys.exit(main(sys.argv[1:]))
"""
    output = ["-o", str(tmp_path / "out"), "--strength", "0"] if command == "restore" else []
    ended = subprocess.run(
        [sys.executable, "-c", program, command, str(pipe), *output],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=50,  # less than the reader's patience
    )
    assert ended.returncode == 128 + signal.SIGTERM
    assert ended.stderr == "hrcnn-jax: interrupted; files that are there are whole\n"
