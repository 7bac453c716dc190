"""The command on a real Ray cluster of two workers: killed, finished, and with nothing to do."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import obstore
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image
from serving import gray_jpeg, served_bucket, tiny_network
from watchdog.events import FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from hrcnn_jax.fleet import manifest
from hrcnn_jax.restoration.restorer import Restorer

FILES, FOLDERS = 300, 5
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_network(tmp_path_factory.mktemp("network"))


@contextlib.contextmanager
def fleet(*arguments: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process of its own; in the end nothing is left of it."""
    command = [sys.executable, "-m", "hrcnn_jax", "fleet", *arguments]
    command += ["--workers", "2", "--history", "off"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **environment}
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Its processes that restore."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.cmdline()[:1] and child.cmdline()[0].startswith("ray::MapWorker"):
                found.append(child)
    return found


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not true():
        assert process.poll() is None, "it ended too early"
        time.sleep(0.1)


class Renamed(FileSystemEventHandler):
    """Counts how often each picture got its name, as the kernel tells it."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def on_moved(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileMovedEvent) and str(event.dest_path).endswith(".png"):
            self.times[str(event.dest_path)] += 1


def test_a_signal_while_ray_waits(tmp_path: Path) -> None:
    """Its native code ends the wait with a SystemError of what the signal raised."""
    program = """
import os, signal, sys, threading, time
import ray
from hrcnn_jax.fleet import job
from hrcnn_jax.signals import Ended, raised_signals

job.start(address=None, workers=1)
some_seconds = ray.remote(lambda: time.sleep(3)).remote()
threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
try:
    with raised_signals():
        ray.get(some_seconds)
except Ended as ended:
    ray.shutdown()
    sys.exit(128 + ended.signal)
"""
    log = tmp_path / "log"
    with log.open("wb") as file:
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=file, timeout=300)
    assert ended.returncode == 128 + signal.SIGTERM, log.read_text()


def test_killed_and_finished(network: str, tmp_path: Path) -> None:
    source, target, log = tmp_path / "in", tmp_path / "out", tmp_path / "log"
    for seed in range(FILES):
        path = source / f"{seed % FOLDERS}" / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gray_jpeg(seed))
    broken = [source / "0" / f"broken {index}.jpg" for index in range(5)]
    for path in broken:
        path.write_bytes(gray_jpeg(0)[:-90])
    for folder in range(FOLDERS):  # which are watched from now on
        (target / f"{folder}").mkdir(parents=True)
    arguments = [str(source), str(target), "--model", network]
    renamed, observer = Renamed(), Observer()
    observer.schedule(renamed, str(target), recursive=True)
    observer.start()

    def pictures() -> list[Path]:
        return list(target.rglob("*.png"))

    with fleet(*arguments, log=log) as process:
        wait_until(lambda: len(pictures()) > 0.2 * FILES, process)
        workers_of(process)[0].kill()
        wait_until(lambda: len(pictures()) > 0.4 * FILES, process)
        left = workers_of(process)
        process.kill()
        assert len(pictures()) < FILES, "it was killed in the middle"
        _, alive = psutil.wait_procs(left, timeout=60)
        assert not alive, "its workers end with it"

    with fleet(*arguments, log=log) as process:
        wait_until(lambda: len(pictures()) > 0.6 * FILES, process)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM, log.read_text()
    assert log.read_text().splitlines()[-1].startswith("hrcnn-jax: interrupted; files that are")

    with fleet(*arguments, log=log) as process:
        assert process.wait() == 0, log.read_text()
    *problems, last = log.read_text().splitlines()
    assert all("broken" in line for line in problems), "nothing else is told"
    assert " were done before" in last

    with fleet(*arguments, log=log) as process:
        assert process.wait() == 0
    assert (
        f"0 of {FILES + 5} files restored, 0 failed, {FILES + 5} were done before, 5 of which had "
        "failed (--retry-failed does them again): "
    ) in log.read_text()

    observer.stop()
    observer.join()
    expected = {
        target / path.relative_to(source).with_suffix(".png") for path in source.rglob("*.jpg")
    }
    expected -= {target / path.relative_to(source).with_suffix(".png") for path in broken}
    assert set(pictures()) == expected, "nothing is lost"
    assert renamed.times == Counter(map(str, expected)), "nothing is done twice"
    assert not list(target.rglob("*.partial"))

    rows = {row["path"]: row for row in pq.read_table(target / "manifest").to_pylist()}
    assert len(rows) == pq.read_table(target / "manifest").num_rows == FILES + 5
    failed = {path for path, row in rows.items() if row["error"] is not None}
    assert failed == {path.relative_to(source).as_posix() for path in broken}
    assert {row["codes_share"] for path, row in rows.items() if path not in failed} == {1.0}
    restorer = Restorer(network)
    for seed in (0, 1, FILES - 1):
        name = f"{seed % FOLDERS}/{seed}"
        with Image.open(target / f"{name}.png") as picture:
            expected_picture = restorer.restore(source / f"{name}.jpg")
            np.testing.assert_array_equal(np.asarray(picture), expected_picture)


def test_from_bucket_to_bucket(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_bucket() as (bucket, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        store = obstore.store.from_url(bucket)
        for seed in range(12):
            obstore.put(store, f"in/a b/{seed}.jpg", gray_jpeg(seed))
        obstore.put(store, "in/broken.jpg", b"")
        log = tmp_path / "log"
        # The results lie below the source, and are no input.
        arguments = [f"{bucket}/in", f"{bucket}/in/out", "--model", network, "--format", "jpg"]
        for done in (12, 0):
            with fleet(*arguments, log=log) as process:
                assert process.wait() == 0, log.read_text()
            assert f"{done} of 13 files restored" in log.read_text()
        rows = manifest.read(f"{bucket}/in/out").to_pylist()
        assert [row["path"] for row in rows if row["error"]] == ["broken.jpg"]
        for row in rows[:-1]:
            picture = bytes(obstore.get(store, f"in/out/{row['target']}").bytes())
            assert picture.startswith(b"\xff\xd8\xff")
        assert len(rows) == 13


def test_another_run_takes_over(network: str, tmp_path: Path) -> None:
    """What a worker finds is told in a line, as if it had been found here."""
    source, target, log = tmp_path / "in", tmp_path / "out", tmp_path / "log"
    source.mkdir()
    for seed in range(FILES):
        (source / f"{seed}.jpg").write_bytes(gray_jpeg(seed))
    with fleet(str(source), str(target), "--model", network, log=log) as process:
        wait_until(lambda: any(target.glob("*.png")), process)
        other = tmp_path / "other.json"
        other.write_text(json.dumps({"run": "another", "settings": {}}))
        other.replace(target / manifest.FOLDER / "_run.json")  # at once, as runs do it
        assert process.wait() == 1, log.read_text()
    told = f"hrcnn-jax: {target}: another run has taken over; this one ends"
    assert log.read_text().splitlines() == [told]
    assert len(list(target.glob("*.png"))) < FILES
