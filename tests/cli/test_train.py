"""The command line of training, from pictures to checkpoints."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_photo, write_network
from jax import Array
from PIL import Image

from hrcnn_jax.cli import train
from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.training import clock, loop, losses
from hrcnn_jax.training.checkpoints import Checkpoints
from hrcnn_jax.training.settings import Settings
from hrcnn_jax.training.step import create_state

pytestmark = pytest.mark.usefixtures("standard_promotion")

TINY = ["--architecture", "compact", "--width", "8", "--blocks", "0"]
TINY += ["--crops", "12", "--validation-crops", "3", "--crop", "24", "--patch", "16"]
TINY += ["--batch", "4", "--quality", "10", "--steps", "6", "--warmup", "2"]
TINY += ["--log-every", "2", "--eval-every", "3", "--save-every", "2"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        Image.fromarray(make_photo(32, 40, number)).save(folder / f"{number:02}.png")
    return folder


def flags(pictures: Path, workdir: Path, *more: str) -> list[str]:
    return [*TINY, "--data", str(pictures), "--workdir", str(workdir), *more]


def latest(workdir: Path, argv: list[str]) -> dict[str, Any]:
    """The state that a run ended in, as a plain tree."""
    settings, _ = train.parse(argv)
    with Checkpoints(workdir) as checkpoints:
        fresh = create_state(registry.get(settings.architecture), settings)
        state = checkpoints.restore(fresh, settings)
    assert state is not None
    return {"step": state.step, "params": state.params, "opt": state.opt_state, "ema": state.ema}


def assert_equal(first: Any, second: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


def lines(workdir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


# --- a whole run ---------------------------------------------------------------------------------


def test_a_run(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = flags(pictures, tmp_path / "run")
    assert train.main(argv) == 0
    steps = {line["step"]: line for line in lines(tmp_path / "run") if "loss" in line}
    assert list(steps) == [2, 4, 6]
    for line in steps.values():
        assert line["loss"] > 0
        assert line["gradient_norm"] > 0
        assert line["patches_per_second"] > 0
    scores = [line for line in lines(tmp_path / "run") if "gain" in line]
    assert [line["step"] for line in scores] == [3, 6]
    assert all(line["gain@10"] == line["gain"] for line in scores)
    assert all(line["psnr@10"] > 20 for line in scores)
    told = capsys.readouterr()
    assert "step 6  gain in dB at quality 10: " in told.out
    for step in (2, 4, 6):  # where there is no bar, a line
        assert re.search(rf"^step {step} of 6  loss [\d.]+  [\d.]+ patches/s  ", told.err, re.M)

    network = zoo.load(tmp_path / "run")
    assert network.card.validation_gain_db == max(line["gain"] for line in scores)
    assert network.card.steps in (3, 6)
    assert Settings.from_dict(network.card.training, "card").options == dict(network.card.options)
    params = network.params
    assert latest(tmp_path / "run", argv)["step"] == 6
    events = list((tmp_path / "run" / "events").iterdir())
    assert len(events) == 1
    assert b"gradient_norm" in events[0].read_bytes()

    # Once more: nothing is left to do, and nothing changes.
    before = latest(tmp_path / "run", argv)
    (tmp_path / "run" / zoo.BEST).rename(tmp_path / "best")
    assert train.main(argv) == 0
    assert_equal(latest(tmp_path / "run", argv), before)
    assert "run: has come to its end, after step 6; ask for more" in capsys.readouterr().err
    # But that the best is there in any case.
    assert zoo.load(tmp_path / "run").card.steps == 6
    (tmp_path / "best").rename(tmp_path / "run" / zoo.BEST)

    # Its weights start another run, which finds the crops that were cut for it.
    crops = {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").glob("*.npy")}
    assert len(crops) == 2
    warm = flags(pictures, tmp_path / "warm", "--warm-start", str(tmp_path / "run"), "--steps", "1")
    assert train.main([*warm, "--warmup", "0", "--learning-rate", "0"]) == 0
    assert_equal(latest(tmp_path / "warm", warm)["params"], params)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").glob("*.npy")} == crops

    # To go on, what it began with is not needed.
    (tmp_path / "run" / zoo.BEST).unlink()
    assert train.main([*warm, "--steps", "2"]) == 0
    assert latest(tmp_path / "warm", warm)["step"] == 2


def test_without_averaging_the_best_are_the_parameters(pictures: Path, tmp_path: Path) -> None:
    argv = flags(pictures, tmp_path, "--ema", "0", "--steps", "3")
    assert train.main(argv) == 0
    assert_equal(zoo.load(tmp_path).params, latest(tmp_path, argv)["params"])


def test_seeds(pictures: Path, tmp_path: Path) -> None:
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        argv = flags(pictures, tmp_path / name, "--seed", str(seed), "--steps", "2")
        assert train.main(argv) == 0
        results.append(latest(tmp_path / name, argv))
    assert_equal(results[0], results[1])
    for part in ("head", "tail"):
        kernels = [result["params"][part]["kernel"] for result in results]
        assert np.abs(kernels[0] - kernels[2]).max() > 0


# --- interruption --------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", ["device", "host"])
def test_interrupted_and_resumed_is_uninterrupted(
    placement: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: parameters, averages and optimiser; with a teacher, whose card names it."""
    write_network(tmp_path, "tutor", "compact", width=8, blocks=0)
    tutor = tmp_path / "tutor.safetensors"
    options = ("--placement", placement, "--optimiser", "adam", "--quality", "5", "95")
    options += ("--teacher", str(tutor), "--teacher-share", "1", "0.5")
    whole = flags(pictures, tmp_path / "whole", *options)
    assert train.main(whole) == 0
    parted = flags(pictures, tmp_path / "parted", *options)
    with monkeypatch.context() as patch:
        interrupt_after(3, signal.SIGTERM, patch)
        assert train.main(parted) == 128 + signal.SIGTERM
    assert latest(tmp_path / "parted", parted)["step"] == 3
    assert train.main(parted) == 0
    assert_equal(latest(tmp_path / "parted", parted), latest(tmp_path / "whole", whole))
    card = zoo.load(tmp_path / "parted").card
    assert card.teachers == {"tutor.safetensors": hashlib.sha256(tutor.read_bytes()).hexdigest()}
    assert card.training["optimisation"]["teacher"] == ["tutor.safetensors"]


def test_a_run_of_minutes(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a second of this clock; interrupted or not, six of them are a tenth minute."""
    now = [100.0]
    feed = loop.feed

    def ticking(*arguments: Any, **options: Any) -> Iterator[Array]:
        for batch in feed(*arguments, **options):
            now[0] += 1.0
            yield batch

    monkeypatch.setattr(loop, "feed", ticking)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now[0]))
    of_steps = flags(pictures, tmp_path / "steps")
    assert train.main(of_steps) == 0
    whole = flags(pictures, tmp_path / "whole", "--minutes", "0.1", "--steps", "1")
    assert train.main(whole) == 0
    parted = flags(pictures, tmp_path / "parted", "--minutes", "0.1", "--steps", "1")
    with monkeypatch.context() as patch:
        interrupt_after(4, signal.SIGTERM, patch)
        assert train.main(parted) == 128 + signal.SIGTERM
    now[0] += 3600.0
    assert train.main(parted) == 0
    for name, argv in (("whole", whole), ("parted", parted)):
        assert_equal(latest(tmp_path / name, argv), latest(tmp_path / "steps", of_steps))
        assert [line["step"] for line in lines(tmp_path / name) if "gain" in line] == [3, 6]
    assert train.main(whole) == 0  # its time is over
    assert latest(tmp_path / "whole", whole)["step"] == 6


def interrupt_after(steps: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends this process a signal while its training takes that step."""
    feed = loop.feed

    def interrupting(*arguments: Any, **options: Any) -> Iterator[Array]:
        for count, batch in enumerate(feed(*arguments, **options), 1):
            if count == steps:
                os.kill(os.getpid(), number)
            yield batch

    monkeypatch.setattr(loop, "feed", interrupting)


def test_interrupted_by_hand(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    interrupt_after(1, signal.SIGINT, monkeypatch)
    argv = flags(pictures, tmp_path)
    assert train.main(argv) == 130
    *_, line = capsys.readouterr().err.splitlines()
    assert line == f"hrcnn-jax: interrupted; run again to go on from {tmp_path}"
    assert latest(tmp_path, argv)["step"] == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_interrupted_before_the_first_step(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "load_crops", interrupted)
    assert train.main(flags(pictures, tmp_path)) == 130
    assert capsys.readouterr().err == "hrcnn-jax: interrupted\n"


def command(argv: list[str], **environment: str) -> subprocess.Popen[str]:
    quick = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.Popen(
        [sys.executable, "train.py", *argv],
        cwd=ROOT,
        env=os.environ | quick | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def test_killed_and_resumed(pictures: Path, tmp_path: Path) -> None:
    """Without a chance to save: it goes on from the last whole checkpoint, to the bit."""
    rarely = ["--log-every", "1000", "--eval-every", "1000", "--save-every", "1000"]
    whole = flags(pictures, tmp_path / "whole", "--steps", "300")
    assert train.main([*whole, *rarely]) == 0
    parted = flags(pictures, tmp_path / "parted", "--steps", "300")
    killed = command(parted)
    wait_until((tmp_path / "parted" / "latest" / "4").is_dir, killed)
    killed.kill()
    killed.communicate()
    assert 4 <= latest(tmp_path / "parted", parted)["step"] < 300
    assert train.main([*parted, *rarely]) == 0
    assert_equal(latest(tmp_path / "parted", parted), latest(tmp_path / "whole", whole))


# --- what goes wrong -----------------------------------------------------------------------------


def failing(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a run ends with."""
    assert train.main(argv) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("step ")]
    (line,) = errors
    assert line.startswith("hrcnn-jax: ")
    return line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data", "none"], "none: no such folder"),
        (["--data", "tfds:div2k@none"], "tfds:div2k: split 'train' is not prepared here"),
        (["--validation", "none"], "none: no such folder"),
        (["--crop", "64"], "40x32 pixels is smaller than the 64x64 crop"),
        (["--patch", "20"], "--patch 20 must be a multiple of 8"),
        (["--patch", "32"], "at most --crop 24"),
        (["--planes", "any"], "--crop must be at least twice --patch"),
        (["--batch", "0"], "--batch must be 1 or more"),
        (["--validation-crops", "0"], "--validation-crops must be 1 or more"),
        (["--quality", "0"], "--quality takes one or two values from 1 to 100"),
        (["--quality", "90", "10"], "--quality takes the lowest first"),
        (["--batch", "6", "--parallel", "sharded"], "--batch 6 must be a multiple of the 4"),
        (["--loss", "l7"], "no loss 'l7'"),
        (["--loss", "none:loss"], "cannot load the loss 'none:loss'"),
        (["--warm-start", "none"], "no network 'none'"),
        (["--teacher", "none"], "no network 'none'"),
        (["--processes", "2"], "--processes and --process: say where process 0 is"),
    ],
)
def test_what_does_not_fit(
    change: list[str],
    message: str,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in failing(flags(pictures, tmp_path / "run", *change), capsys)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").mkdir()
    assert "no pictures" in failing(flags(tmp_path / "pictures", tmp_path / "run"), capsys)


def test_broken_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_text("no picture")
    assert "png: cannot be read" in failing(flags(tmp_path, tmp_path / "run"), capsys)


@pytest.mark.parametrize("argv", [["--depth", "3"], ["--steps", "many"], ["--tables", "cyan"]])
def test_unknown_flags_and_values(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train.main(argv)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert argv[0] in captured.err + captured.out


def test_no_pictures_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "give --data FOLDER or --data tfds:div2k" in failing([], capsys)


def test_checkpoint_of_another_network(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(flags(pictures, tmp_path, "--steps", "1")) == 0
    capsys.readouterr()
    line = failing(flags(pictures, tmp_path, "--width", "12"), capsys)
    assert "another network (" in line
    assert "another --workdir" in line


ADDED = 0.0


def raised(restored: Array, target: Array) -> Array:
    """A loss that may be no number; its gradient is finite, so that the parameters stay so."""
    return losses.mse(restored, target) + ADDED


def test_divergence_stops_the_run(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And nothing that is not finite is saved, even where saving comes before logging."""
    argv = flags(pictures, tmp_path, "--steps", "2", "--clip", "0", "--loss", f"{__name__}:raised")
    assert train.main(argv) == 0
    before, best = latest(tmp_path, argv), zoo.load(tmp_path)
    capsys.readouterr()
    monkeypatch.setattr(f"{__name__}.ADDED", jnp.nan)
    line = failing([*argv, "--steps", "8", "--save-every", "1", "--log-every", "5"], capsys)
    assert "step 3: " in line
    assert "loss nan" in line
    assert "--learning-rate" in line
    assert_equal(latest(tmp_path, argv), before)
    assert_equal(zoo.load(tmp_path).params, best.params)
    lines(tmp_path)  # is still JSON


def test_too_fast_a_rate_stops_the_run(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = flags(pictures, tmp_path, "--clip", "0", "--warmup", "0", "--learning-rate", "1e38")
    assert "training has diverged" in failing(argv, capsys)
    assert not [path for path in tmp_path.glob("*/*") if path.name.isdigit()]


# --- several processes ---------------------------------------------------------------------------


def test_many_processes_end_at_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them a signal came to."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    theirs = np.int32(signal.SIGTERM)
    monkeypatch.setattr(
        loop.multihost_utils, "process_allgather", lambda ours: np.stack([ours, theirs])
    )
    with loop.Interrupt() as interrupt:
        heard = [loop._heard(interrupt, number) for number in range(2 * loop.ASKED_EVERY)]
    assert [number for number, ended_by in enumerate(heard) if ended_by] == [0, loop.ASKED_EVERY]
    assert set(heard) == {0, signal.SIGTERM}


def test_two_processes(pictures: Path, tmp_path: Path) -> None:
    """They share the batch, go on when begun again, and agree with one process."""
    for steps in ("2", "3"):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        argv = flags(pictures, tmp_path / "two", "--parallel", "sharded", "--steps", steps)
        together = ["--distributed", "--coordinator", f"localhost:{port}", "--processes", "2"]
        gloo = {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
        processes = [command([*argv, *together, "--process", str(i)], **gloo) for i in (0, 1)]
        try:
            errors = [process.communicate(timeout=600)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [process.returncode for process in processes] == [0, 0], errors
    for steps in ("2", "3"):  # the rate follows the length of the run
        alone = flags(pictures, tmp_path / "one", "--steps", steps)
        assert train.main(alone) == 0
    two, one = latest(tmp_path / "two", argv), latest(tmp_path / "one", alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), two, one)
