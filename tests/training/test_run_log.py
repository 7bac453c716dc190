"""The log of a run, written and read back."""

import json
from pathlib import Path

import pytest

from hrcnn_jax.training import run_log
from hrcnn_jax.training.run_log import RunLog


def test_what_is_written_is_a_line_an_entry(tmp_path: Path) -> None:
    for step in (1, 2):  # a run that is resumed goes on in the same file
        with RunLog(tmp_path) as log:
            log.write(step, 10.0 * step, loss=0.5 * step)
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [
        (entry["step"], entry["seconds"], entry["loss"]) for entry in map(json.loads, lines)
    ] == [(1, 10.0, 0.5), (2, 20.0, 1.0)]
    assert list((tmp_path / "events").iterdir())


def test_curve(tmp_path: Path) -> None:
    """By hand: twenty minutes to step 30, and from step 20 on once more."""
    entries = [
        {"step": 10, "seconds": 600, "loss": 1.0},
        {"step": 20, "seconds": 900, "gain": 0.2},
        {"step": 30, "seconds": 1200, "gain": 0.3},
        {"step": 25, "seconds": 1000, "loss": 1.0},
        {"step": 30, "seconds": 1100, "gain": 0.35},
        {"step": 40, "seconds": 1500, "gain": 0.4},
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    points = [(p["step"], p["gain"], p["hours"]) for p in run_log.curve(tmp_path)]
    assert points == [
        (20, 0.2, 0.25),
        (30, 0.35, pytest.approx(1100 / 3600, abs=1e-3)),
        (40, 0.4, pytest.approx(1500 / 3600, abs=1e-3)),
    ]


def test_a_log_of_an_earlier_version_tells_no_hours(tmp_path: Path) -> None:
    """Its run can be released and resumed all the same."""
    entries = [{"step": 10, "time": 1000.0, "gain": 0.1}, {"step": 20, "seconds": 36, "gain": 0.2}]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert run_log.curve(tmp_path) == [{"step": 20, "hours": 0.01, "gain": 0.2}]


def test_no_journal_no_curve(tmp_path: Path) -> None:
    assert run_log.curve(tmp_path) == []


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    """As a full disk leaves one."""
    whole = [{"step": 1, "seconds": 0.0, "gain": 0.1}, {"step": 3, "seconds": 60.0, "gain": 0.3}]
    lines = [json.dumps(whole[0]), '{"step": 2, "se' + json.dumps(whole[1]), json.dumps(whole[1])]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert [point["step"] for point in run_log.curve(tmp_path)] == [1, 3]
