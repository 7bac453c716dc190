"""Workers and the manifest, killed at every point; without Ray."""

import contextlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from serving import gray_jpeg

from hrcnn_jax.files import pictures
from hrcnn_jax.files.reader import JpegError, JpegFile
from hrcnn_jax.fleet import job, manifest, worker
from hrcnn_jax.fleet.manifest import Journal, MixedError
from hrcnn_jax.fleet.stores import Folder, Store, StoreError, open_store
from hrcnn_jax.fleet.treatments import Inspection, Restoration, Treated
from hrcnn_jax.fleet.worker import Orders, Task, Worker
from hrcnn_jax.networks import cards


class Sizes:
    """Stands in for a restoration: a picture is a word on its file's size."""

    suffix = ".png"

    def prepare(self) -> None:
        pass

    def compute(self, file: JpegFile) -> Any:
        return file

    def encode(self, computed: JpegFile) -> Treated:
        facts = {"width": computed.width, "height": computed.height}
        return Treated(facts, f"{computed.width}×{computed.height}".encode())


class Ledger:
    def __init__(self) -> None:
        self.times: dict[str, int] = {}

    def begin(self, name: str) -> int:
        self.times[name] = self.times.get(name, 0) + 1
        return self.times[name]


class Killed(BaseException):
    pass


class Mortal(Folder):
    """A folder whose process is killed at one of its changes, before or after it is made."""

    def __init__(self, root: Path, kill_at: int = -1, *, after: bool = False) -> None:
        super().__init__(root)
        self.changes = itertools.count()
        self.kill_at, self.after = kill_at, after
        self.written: list[str] = []

    def write(self, name: str, data: bytes, permissions: int | None = None) -> None:
        now = next(self.changes) >= self.kill_at >= 0
        if now and not self.after:
            raise Killed
        super().write(name, data, permissions)
        self.written.append(name)
        if now:
            raise Killed

    def delete(self, names: Iterable[str]) -> None:
        for name in list(names):
            if next(self.changes) >= self.kill_at >= 0:
                raise Killed
            super().delete([name])


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    """Five pictures, two that have one name, and a broken file."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for seed in range(5):
        (folder / "deep" / f"{seed}.jpg").write_bytes(gray_jpeg(seed))
    (folder / "deep" / "4.jpeg").write_bytes(gray_jpeg(9))
    (folder / "broken.jpg").write_bytes(b"no JPEG")
    return Folder(folder)


def work(
    source: Store, target: Store, *, ledger: Ledger | None = None, retry_failed: bool = False
) -> int:
    """A whole run, two files a batch, as a driver has it done by one worker; how many it did."""
    orders = Orders(manifest.begin_run(target, {"network": "tiny"}), 10_000, False)
    plan = job.plan(job.find(source, target, ".png"), target, retry_failed=retry_failed)
    hand = Worker(source, target, Sizes(), orders, ledger or Ledger())
    journal = Journal(target)
    for first in range(0, len(plan.tasks), 2):
        part, rows = hand.do(plan.tasks[first : first + 2])
        journal.add(rows, {part})
    journal.flush()
    return len(plan.tasks)


def errors(target: Folder) -> dict[str, str | None]:
    rows = manifest.read(target.url).to_pylist()
    return {row["path"]: row["error"] for row in rows}


def test_every_file_has_a_row_and_every_good_one_its_picture(
    source: Folder, tmp_path: Path
) -> None:
    target = Folder(tmp_path / "out")
    assert work(source, target) == 7
    told = errors(target)
    assert len(told) == 7
    assert told.pop("broken.jpg").endswith("BMP (starts with 6e 6f 20 4a); give such a file")
    taken = told.pop("deep/4.jpg")
    assert taken == "deep/4.png is already taken by deep/4.jpeg; rename one of the two"
    assert set(told.values()) == {None}
    pictures = {path.name: path.read_bytes() for path in (target.root / "deep").iterdir()}
    assert pictures == {f"{seed}.png": "32×24".encode() for seed in range(5)}
    plain = pq.read_table(target.root / "manifest")  # as anybody's tools see it
    assert plain.num_rows == 7
    assert work(source, target) == 0


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_change_nothing_is_lost_or_done_twice(
    after: bool, source: Folder, tmp_path: Path
) -> None:
    for kill_at in itertools.count():
        folder = tmp_path / f"{kill_at}"
        killed, finishing = Mortal(folder, kill_at, after=after), Mortal(folder)
        try:
            work(source, killed)
        except Killed:
            pass
        else:
            assert kill_at > 10, "there were changes to be killed at"
            break
        assert work(source, finishing) <= 7
        pictures = [name for name in killed.written + finishing.written if name.endswith(".png")]
        assert sorted(pictures) == [f"deep/{seed}.png" for seed in range(5)], kill_at
        table = pq.read_table(folder / "manifest")
        assert sorted(table["path"].to_pylist()) == sorted(errors(finishing)), kill_at
        assert table.num_rows == 7
        assert work(source, finishing) == 0


def test_a_batch_begun_again_goes_on_where_it_was(source: Folder, tmp_path: Path) -> None:
    """As Ray has it when a worker dies: the same ledger, the same run."""
    killed, ledger = Mortal(tmp_path / "out", 4), Ledger()
    orders = Orders(manifest.begin_run(killed, {}), 10_000, False)
    tasks = job.plan(job.find(source, killed, ".png"), killed, retry_failed=False).tasks
    with pytest.raises(Killed):
        Worker(source, killed, Sizes(), orders, ledger).do(tasks)
    finishing = Mortal(tmp_path / "out")
    _, rows = Worker(source, finishing, Sizes(), orders, ledger).do(tasks)
    assert [row["path"] for row in rows] == [task.path for task in tasks]
    pictures = [name for name in killed.written + finishing.written if name.endswith(".png")]
    assert sorted(pictures) == [f"deep/{seed}.png" for seed in range(5)]


def test_a_file_that_ends_its_process_becomes_a_row(source: Folder, tmp_path: Path) -> None:
    class Deadly(Sizes):
        def compute(self, file: JpegFile) -> Any:
            if file.width == 32 and deadly:
                raise Killed
            return file

    deadly, ledger, target = True, Ledger(), Folder(tmp_path / "out")
    (source.root / "deep" / "other.jpg").write_bytes(gray_jpeg(3))
    orders = Orders(manifest.begin_run(target, {}), 10_000, False)
    tasks = job.plan(job.find(source, target, ".png"), target, retry_failed=False).tasks[1:3]
    for _ in range(2 * worker.TRIES + 1):
        with pytest.raises(Killed):
            Worker(source, target, Deadly(), orders, ledger).do(tasks)
    _, rows = Worker(source, target, Deadly(), orders, ledger).do(tasks)
    assert {row["error"] for row in rows} == {"ended the process that was doing it, 3 times"}


def test_what_failed_is_done_again_when_asked(source: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "out")
    work(source, target)
    (source.root / "broken.jpg").write_bytes(gray_jpeg(0))
    assert work(source, target) == 0
    assert work(source, target, retry_failed=True) == 2
    assert errors(target)["broken.jpg"] is None
    assert pq.read_table(target.root / "manifest").num_rows == 7
    (target.root / "deep" / "0.png").unlink()
    assert work(source, target) == 1, "a picture that is gone"


def test_a_picture_that_cannot_be_written_is_a_row(source: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "out")
    (target.root / "deep" / "0.png").mkdir(parents=True)
    work(source, target)
    assert "deep/0.png: cannot be written" in str(errors(target)["deep/0.jpg"])
    assert pq.read_table(target.root / "manifest").num_rows == 7


def test_a_store_that_fails_ends_the_run(source: Folder, tmp_path: Path) -> None:
    class Full(Folder):
        def write(self, name: str, data: bytes, permissions: int | None = None) -> None:
            if name.endswith(".png"):
                raise StoreError("no space left")
            super().write(name, data, permissions)

    with pytest.raises(StoreError, match="no space left"):
        work(source, Full(tmp_path / "out"))
    assert work(source, Folder(tmp_path / "out")) == 6, "all but the broken one, which has a row"


def test_results_of_two_kinds_are_not_mixed(source: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "out")
    manifest.begin_run(target, {"network": "small", "format": "tiff"})
    manifest.begin_run(target, {"network": "small", "format": "png"})  # nothing is there yet
    manifest.Part(target, ["a.jpg"]).write([{"path": "a.jpg"}])
    with pytest.raises(MixedError, match="holds results made with --format png; give the same"):
        manifest.begin_run(target, {"network": "small", "format": "webp"})
    with pytest.raises(StoreError, match="is the source, too"):
        job.find(source, source, ".png")
    (tmp_path / "link").symlink_to(source.root)
    with pytest.raises(StoreError, match="is the source, too"):
        job.find(source, Folder(tmp_path / "link"), ".png")
    manifest.begin_run(target, {"network": "small", "format": "png", "source": "a", "grid": (3, 5)})
    manifest.begin_run(target, {"network": "small", "format": "png", "source": "a", "grid": (3, 5)})
    with pytest.raises(MixedError, match="holds results made with a as SOURCE; give the same"):
        manifest.begin_run(
            target, {"network": "small", "format": "png", "source": "b", "grid": (3, 5)}
        )


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("faithful", False, "--no-faithful"),
        ("faithful", True, "faithful results"),
        ("pixels_hash", None, "--pixels none"),
        ("model_hash", "12ab", "a --model of other weights"),
        ("format", "none", "--inspect"),
        ("network", "large", "--model large"),
        ("history", {"quality": 20}, "--history {'quality': 20}"),
    ],
)
def test_other_results_are_told_by_flags(name: str, value: Any, told: str, tmp_path: Path) -> None:
    target = Folder(tmp_path)
    manifest.begin_run(target, {name: value})
    manifest.Part(target, ["a.jpg"]).write([{"path": "a.jpg"}])
    with pytest.raises(MixedError) as refused:
        manifest.begin_run(target, {name: "another"})
    assert f"holds results made with {told}; give the same" in str(refused.value)


def test_an_earlier_run_ends_when_another_takes_over(source: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "out")
    orders = Orders(manifest.begin_run(target, {}), 10_000, False)
    tasks = job.plan(job.find(source, target, ".png"), target, retry_failed=False).tasks
    manifest.begin_run(target, {})
    with pytest.raises(StoreError, match="another run has taken over"):
        Worker(source, target, Sizes(), orders, Ledger()).do(tasks)
    assert target.names("deep") == []


def test_commits_are_small(source: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more pictures are held than is meant, however many files a batch has."""
    held: list[int] = []

    class Watched(Worker):
        def _commit(self, part: Any, files: Sequence[Any]) -> None:
            held.append(sum(len(each.picture or b"") for each in files))
            super()._commit(part, files)

    monkeypatch.setattr(worker, "HELD_BYTES", 10)
    target = Folder(tmp_path / "out")
    orders = Orders(manifest.begin_run(target, {}), 10_000, False)
    tasks = job.plan(job.find(source, target, ".png"), target, retry_failed=False).tasks
    Watched(source, target, Sizes(), orders, Ledger()).do(tasks)
    assert len(held) > 2
    assert max(held) <= 10 + len("32×24".encode())


def test_inspection_tells_what_files_are(source: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "out")
    treatment = Inspection(cards.released("small"))
    orders = Orders(manifest.begin_run(target, {}), 10_000, False)
    tasks = job.plan(job.find(source, target, treatment.suffix), target, retry_failed=False).tasks
    assert all(isinstance(task, Task) and task.target is None for task in tasks)
    _, rows = Worker(source, target, treatment, orders, Ledger()).do(tasks)
    facts = {row["path"]: row for row in rows}["deep/4.jpg"]
    assert (facts["width"], facts["height"], facts["colour"]) == (32, 24, "gray")
    assert (facts["quality"], facts["quality_is_exact"]) == (14, True)
    assert facts["expected_gain_db"] == pytest.approx(1.43, abs=0.02)  # of small, at 10 and 15
    assert facts["bytes"] == len(gray_jpeg(4))


def test_damage_that_was_salvaged_is_told(tmp_path: Path) -> None:
    source, target = Folder(tmp_path / "in"), Folder(tmp_path / "out")
    whole = gray_jpeg(4)
    source.write("whole.jpg", whole)
    source.write("cut.jpg", whole[:-30])
    orders = Orders(manifest.begin_run(target, {}), 10_000, True)
    treatment = Inspection(cards.released("small"))
    tasks = job.plan(job.find(source, target, treatment.suffix), target, retry_failed=False).tasks
    _, rows = Worker(source, target, treatment, orders, Ledger()).do(tasks)
    told = {row["path"]: (row.get("error"), row["damage"]) for row in rows}
    assert told["whole.jpg"] == (None, None)
    assert told["cut.jpg"][0] is None
    assert told["cut.jpg"][1].endswith(" % of it are there, the rest is made up")


def test_what_a_format_cannot_hold_is_told() -> None:
    picture = pictures.of_array(np.zeros((8, 8, 4), np.uint8))
    treatment = Restoration("small", "", format="jpeg")
    with pytest.raises(JpegError, match="jpg has no transparency; choose another"):
        treatment.encode((picture, pictures.pixels(picture), {}))


def test_batches_are_many_for_each_worker_and_few_for_the_driver() -> None:
    assert job.batch_size(3, 2) == 1
    assert job.batch_size(300, 2) == 18  # eight for each worker
    assert job.batch_size(100_000, 2) == job.BATCH
    assert job.batch_size(10_000_000, 2) == 500  # no more than 20,000 in all
    assert job.batch_size(10_000_000, 3200) == 390
    assert job.batch_size(100_000_000, 400) == 5000


def test_no_input_is_written_over(tmp_path: Path) -> None:
    """Nor one that a link leads to; other results of the same run are written."""
    inside = tmp_path / "photos" / "2004"
    (inside / "2004").mkdir(parents=True)
    (inside / "x.jpg").write_bytes(gray_jpeg(0))
    (inside / "2004" / "x.jpg").write_bytes(gray_jpeg(1))
    tasks = job.find(Folder(inside), Folder(inside.parent), ".jpg")
    assert {task.path: task.target for task in tasks} == {"x.jpg": "x.jpg", "2004/x.jpg": None}
    (problem,) = (task.problem for task in tasks if task.problem)
    assert problem == "2004/x.jpg, its picture, is one of the inputs; give another target"

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "2004").symlink_to(inside / "2004")
    linked = job.find(Folder(inside), Folder(tmp_path / "out"), ".jpg")
    assert [task.path for task in linked if task.problem] == ["2004/x.jpg"]
    # What is left out of the inputs, as it may be a result, is none of this target's either.
    (inside / "2004" / "x.png").write_bytes(b"an original")
    linked = job.find(Folder(inside), Folder(tmp_path / "out"), ".png")
    assert [task.path for task in linked if task.problem] == ["2004/x.jpg"]
    there = job.find(Folder(inside), Folder(inside / "out"), ".png")
    assert not [task for task in there if task.problem]


def test_names_of_one_bucket() -> None:
    one, other = (open_store(f"{scheme}://pictures/al") for scheme in ("s3", "s3a"))
    assert one.place == other.place
    assert one.place_of("x.jpg") == open_store("s3://pictures").place_of("al/x.jpg")


def test_the_manifest_keeps_its_folder_to_itself(tmp_path: Path) -> None:
    (tmp_path / "in" / "manifest").mkdir(parents=True)
    (tmp_path / "in" / "manifest" / "cover.jpg").write_bytes(gray_jpeg(0))
    (task,) = job.find(Folder(tmp_path / "in"), Folder(tmp_path / "out"), ".png")
    assert task.target is None
    assert task.problem == "manifest/ is where the manifest lies; rename the folder"


@pytest.mark.parametrize("after", [False, True])
def test_older_pictures_are_no_results(source: Folder, tmp_path: Path, after: bool) -> None:
    """Whenever a run is killed, the next does what was not done."""
    for kill_at in range(30):
        root = tmp_path / f"out{kill_at}"
        (root / "deep").mkdir(parents=True)
        for seed in range(5):
            (root / "deep" / f"{seed}.png").write_bytes(b"old")
        with contextlib.suppress(Killed):
            work(source, Mortal(root, kill_at, after=after))
        work(source, Folder(root))
        kept = {path.read_bytes() for path in (root / "deep").iterdir()}
        assert kept == {"32×24".encode()}, kill_at


def test_results_behind_a_link_are_there(source: Folder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "elsewhere")
    target = Folder(tmp_path / "out")
    assert work(source, target) == 7
    assert work(source, target) == 0
