"""The log of a run, written and read back."""

import json
from pathlib import Path

import pytest

from hrcnn_jax.training import run_log
from hrcnn_jax.training.run_log import RunLog


def test_what_is_written_is_a_line_an_entry(tmp_path: Path) -> None:
    for step in (1, 2):  # a run that is resumed goes on in the same file
        with RunLog(tmp_path) as log:
            log.write(step, loss=0.5 * step)
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(entry["step"], entry["loss"]) for entry in map(json.loads, lines)] == [
        (1, 0.5),
        (2, 1.0),
    ]
    assert list((tmp_path / "events").iterdir())


def test_curve(tmp_path: Path) -> None:
    """By hand: half an hour to step 30, a night's pause, and step 20 to 40 once more."""
    entries = [
        {"step": 10, "time": 1000.0, "loss": 1.0},
        {"step": 20, "time": 1000.0 + 600, "gain": 0.2},
        {"step": 30, "time": 1000.0 + 1200, "gain": 0.3},
        {"step": 25, "time": 50_000.0, "loss": 1.0},
        {"step": 30, "time": 50_000.0 + 600, "gain": 0.35},
        {"step": 40, "time": 50_000.0 + 840, "gain": 0.4},
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    points = [(p["step"], p["gain"], p["hours"]) for p in run_log.curve(tmp_path)]
    assert points == [
        (20, 0.2, pytest.approx(600 / 3600, abs=1e-3)),
        (30, 0.35, pytest.approx(1800 / 3600, abs=1e-3)),
        (40, 0.4, pytest.approx(2040 / 3600, abs=1e-3)),
    ]


def test_no_journal_no_curve(tmp_path: Path) -> None:
    assert run_log.curve(tmp_path) == []


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    """As a full disk leaves one."""
    whole = [{"step": 1, "time": 0.0, "gain": 0.1}, {"step": 3, "time": 60.0, "gain": 0.3}]
    lines = [json.dumps(whole[0]), '{"step": 2, "ti' + json.dumps(whole[1]), json.dumps(whole[1])]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert [point["step"] for point in run_log.curve(tmp_path)] == [1, 3]
