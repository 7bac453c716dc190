"""The benchmark of speed: its peers."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import speed, turns


def test_jpegqs_is_run_from_file_to_file(tmp_path: Path) -> None:
    program = tmp_path / "jpegqs"
    code = (
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "flag, level, source, target = sys.argv[1:]\n"
        "assert (flag, level) == ('--info', '0')\n"
        "pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes())\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_bytes(pathlib.Path(source).read_bytes())\n"
    )
    program.write_text(code)
    program.chmod(stat.S_IRWXU)
    used = speed.jpegqs(str(program), b"a file", repeats=2)
    assert (tmp_path / "seen").read_bytes() == b"a file"
    assert used.keys() == {"seconds", "cpu_seconds"}
    assert used["cpu_seconds"] > 0
    program.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
    with pytest.raises(SystemExit, match="failed with status"):
        speed.jpegqs(str(program), b"a file", repeats=1)


def test_what_was_not_measured_is_left_blank(capsys: pytest.CaptureFixture[str]) -> None:
    speed._say("a peer", {"megapixels_per_second": 5.0, "cpu_seconds": 2.25, "times_pillow": 8.0})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split() == ["a", "peer", "5.00", "2.25", "8.0"]
    assert line.index("2.25") == 58 + 9 + 8 + 10 + 9 - 4


def test_contenders_take_turns() -> None:
    told: list[str] = []

    def contender(name: str, seconds: float) -> Callable[[], float]:
        def measure() -> float:
            told.append(name)
            return seconds * told.count(name)

        return measure

    found = turns.in_turn({"a": contender("a", 1.0), "b": contender("b", 10.0)}, 3)
    assert "".join(told) == "ababab"
    assert found == {"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0]}


def test_turns_with_a_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "jpegqs"
    program.write_text(f"#!{sys.executable}\nimport sys\nassert len(sys.argv) == 5\n")
    program.chmod(stat.S_IRWXU)
    turns.main(["fast", "--megapixels", "0.1", "--repeats", "1", "--jpegqs", str(program)])
    lines = capsys.readouterr().out.splitlines()
    names = ["jpeg-quantsmooth", "fast, history auto", "fast, history off"]
    asked = [f"{name}, {colour}" for colour in ("gray", "4:2:0") for name in names]
    assert [line[:30].strip() for line in lines[1:]] == asked
    assert all(float(line.split()[-4]) > 0 for line in lines[1:])
    assert [line.split()[-2:] for line in lines[1::3]] == [["1.00,", "1.00"]] * 2
