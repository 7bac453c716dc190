"""Crashes of native code take one file along; who is killed leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import jpeg_bytes, make_photo

from hrcnn_jax.cli import supervision
from hrcnn_jax.cli.supervision import Journal, Known

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not supervision.possible(), reason="only Linux has what it takes")


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # no threads before it forks
    return subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)


def supervised(work: str) -> subprocess.CompletedProcess[str]:
    """Runs the body of a function that is given a journal, in a supervised process."""
    body = "\n".join(f"    {line}" for line in work.strip().splitlines())
    return run(
        "import os, signal, sys, time\nfrom hrcnn_jax.cli.supervision import supervised\n"
        f"def work(journal):\n{body}\nsys.exit(supervised(work))"
    )


def test_a_crash_takes_one_picture_along(tmp_path: Path) -> None:
    """The reader crashes on one of five files, while others are at hand on other threads."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        photo = make_photo(16, 16 + number)
        (tmp_path / "in" / f"{number}.jpg").write_bytes(jpeg_bytes(photo, quality=20))
    program = """
import os, signal, sys
from hrcnn_jax.files import libjpeg
from hrcnn_jax.__main__ import program

read = libjpeg.read

def crashing(data):
    if (18).to_bytes(2) + b"\\x03\\x01" in data:  # the width, in the header of the frame
        os.kill(os.getpid(), signal.SIGSEGV)
    return read(data)

libjpeg.read = crashing
sys.exit(program(sys.argv[1:]))
"""
    out = tmp_path / "out"
    ended = run(program, "restore", "-r", tmp_path / "in", "-o", out, "--strength", "0")
    assert ended.returncode == 1
    lost, summary = ended.stderr.splitlines()
    assert lost == (
        f"hrcnn-jax: {tmp_path / 'in' / '2.jpg'}: the process that restored it died of SIGSEGV; "
        "left out"
    )
    assert "4 of 5 files restored, 1 failed, 0 skipped" in summary
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "3.png", "4.png"]


def test_the_status_is_that_of_the_work() -> None:
    assert supervised("print('done'); return 3").stdout == "done\n"
    assert supervised("return 3").returncode == 3
    assert supervised("sys.exit(2)").returncode == 2
    failed = supervised("raise ZeroDivisionError")
    assert failed.returncode == 1
    assert failed.stderr.endswith("ZeroDivisionError\n")


def test_who_dies_before_any_file_is_not_begun_again() -> None:
    ended = supervised("os.kill(os.getpid(), signal.SIGABRT)")
    assert ended.returncode == 128 + signal.SIGABRT
    assert ended.stderr == "hrcnn-jax: ended by SIGABRT\n"


def test_who_dies_between_files_goes_on_for_as_long_as_there_is_progress() -> None:
    ended = supervised(
        """
done = len(journal.read().ended)
if done < 3:
    journal.begin((str(done), ""))
    journal.end((str(done), ""), failed=False)
print(done, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert ended.stdout.split() == ["0", "1", "2", "3"]
    assert ended.returncode == 128 + signal.SIGKILL
    assert ended.stderr == "hrcnn-jax: ended by SIGKILL, perhaps for want of memory\n"


def test_signals_that_ask_to_end_are_handed_on_to_the_child() -> None:
    ended = supervised(
        """
def told(number, frame):
    print("the child was told")
    sys.exit(7)
signal.signal(signal.SIGTERM, told)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    )
    assert (ended.returncode, ended.stdout) == (7, "the child was told\n")


def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    told = tmp_path / "told"
    ended = supervised(
        f"""
from pathlib import Path
def end(number, frame):
    Path({str(told)!r}).touch()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(60)
"""
    )
    assert ended.returncode == -signal.SIGKILL
    for _ in range(500):
        if told.exists():
            return
        time.sleep(0.02)
    raise AssertionError("the child lives on")


def test_who_was_alone_is_guilty() -> None:
    known = Known()
    one, two, three = ((name, "") for name in "123")
    known.begin(one)
    known.begin(two)
    known.begin(three)
    known.end(three, False, 100)
    known.die()
    assert (known.suspects, known.lost, known.progress) == ({one, two}, set(), False)
    known.begin(one)
    known.end(one, True, 0)
    known.begin(two)
    known.die()
    assert (known.suspects, known.lost) == (set(), {two})
    assert (known.failures, known.pixels) == (2, 100)


def test_a_journal_outlives_who_writes_it() -> None:
    descriptor = os.memfd_create("journal")
    one, other = ("\udcff\n.jpg", "out"), ("b.jpg", "out")
    Journal(descriptor).begin(one)
    Journal(descriptor).begin(other)
    Journal(descriptor).end(other, failed=False, pixels=12)
    known = Journal(descriptor).read()
    assert (known.open, known.ended, known.pixels) == ({one}, {other: False}, 12)
    os.close(descriptor)
