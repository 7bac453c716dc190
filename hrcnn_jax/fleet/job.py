"""A whole collection on Ray Data: planned here, done by workers, its rows joined to a manifest."""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data

from hrcnn_jax.fleet import manifest
from hrcnn_jax.fleet.manifest import Journal, Row
from hrcnn_jax.fleet.stores import Bucket, Found, Store, StoreError, open_store
from hrcnn_jax.fleet.treatments import Treatment
from hrcnn_jax.fleet.worker import Ledger, Orders, Task, Worker
from hrcnn_jax.signals import SIGNALS

BATCH = 32
"""Files that a worker takes at a time, if neither workers nor files are very many."""

_OBJECT_STORE = 128 << 20  # bytes: names and rows go through it
_PART = "part"  # the column that tells the driver which part the rows are in
_TASKS = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("target", pa.string()),
        ("problem", pa.string()),
        ("replaces", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
      tasks: files that are left.
      done: how many others there are.
      failed: how many of these failed, and are not tried again.
    """

    tasks: list[Task]
    done: int
    failed: int


def find(source: Store, target: Store, suffix: str | None) -> list[Task]:
    """Finds all that there is to do; changes nothing.

    Args:
      source: of the JPEG files.
      target: of the results.
      suffix: of pictures; None if none are written.

    Raises:
      StoreError: if one of them cannot be used, or there are no pictures.
    """
    if source.place == target.place:
        raise StoreError(f"{target.url}: is the source, too; give another target")
    files = list(source.find(target))
    inputs = set() if suffix is None else _originals(source, target)
    tasks = list(_tasks(files, suffix, lambda name: target.place_of(name) in inputs))
    if not tasks:
        raise StoreError(f"{source.url}: holds no JPEG or other pictures; check the name")
    return tasks


def _originals(source: Store, target: Store) -> set[str]:
    """Places of all that a source holds, if names in a target can lead there.

    Also of what is no input, such as the PNG beside a JPEG file of the same name; but not of
    results that lie in the source.
    """
    if isinstance(source, Bucket) and not f"{source.place}/".startswith(f"{target.place}/"):
        return set()
    places = set(map(source.place_of, source.names("")))
    if not target.place.startswith(f"{source.place}/"):
        return places
    return {place for place in places if not place.startswith(f"{target.place}/")}


def plan(tasks: Sequence[Task], target: Store, *, retry_failed: bool) -> Plan:
    """Tells what is left to be done, after putting the target's manifest in order.

    Args:
      tasks: all that there is to do.
      target: of the results, which this run has taken over.
      retry_failed: whether what failed before is left to be done, too.

    Raises:
      StoreError: if the target cannot be used.
    """
    there = set(target.names(""))
    done = manifest.take_up(target, there, retry_failed=retry_failed)
    left = [task._replace(replaces=task.target in there) for task in tasks if task.path not in done]
    failed = sum(done.get(task.path, False) for task in tasks)
    return Plan(left, len(tasks) - len(left), failed)


def _tasks(
    files: Iterable[Found], suffix: str | None, is_input: Callable[[str], bool]
) -> Iterator[Task]:
    """Gives every file its picture's name, the first if several would have the same."""
    taken: dict[str, str] = {}
    for name, size, problem in files:
        path = name.encode("utf-8", "backslashreplace").decode()
        if path != name:
            problem = "its name is no text in UTF-8; rename it"
        if suffix is None or problem is not None:
            yield Task(path, size, None, problem)
            continue
        target = os.path.splitext(name)[0] + suffix  # noqa: PTH122 (keys are no paths)
        first = taken.setdefault(target, name)
        if first != name:
            problem = f"{target} is already taken by {first}; rename one of the two"
        elif is_input(target):
            problem = f"{target}, its picture, is one of the inputs; give another target"
        elif target.startswith(f"{manifest.FOLDER}/"):
            problem = f"{manifest.FOLDER}/ is where the manifest lies; rename the folder"
        yield Task(path, size, target if problem is None else None, problem)


class _Ledger:
    """Counts what is begun, in a process of its own that does nothing dangerous."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def begin(self, name: str) -> int:
        self._times[name] = self._times.get(name, 0) + 1
        return self._times[name]


class _SharedLedger:
    """One ledger for all workers; takes no core of theirs."""

    def __init__(self) -> None:
        self._actor: Any = ray.remote(_Ledger).options(num_cpus=0).remote()

    def begin(self, name: str) -> int:
        times: int = ray.get(self._actor.begin.remote(name))
        return times


class _Actor:
    """A worker as Ray Data has it: tables of tasks in, tables of rows out."""

    def __init__(
        self, source: str, target: str, treatment: Treatment, orders: Orders, ledger: Ledger
    ) -> None:
        self._worker = Worker(open_store(source), open_store(target), treatment, orders, ledger)

    def __call__(self, tasks: pa.Table) -> pa.Table:
        part, rows = self._worker.do([Task(**row) for row in tasks.to_pylist()])
        return manifest.table(rows).append_column(_PART, pa.array([part] * len(rows)))


def start(*, address: str | None, workers: int | None) -> int:
    """Joins a Ray cluster, or starts one on this machine.

    Returns:
      How many workers there will be: as asked for, else one for each GPU if there are any, else
      one for each core.

    Raises:
      ConnectionError: if there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what ends a job is raised, too
    local: dict[str, Any] = {
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE,
    }
    with warnings.catch_warnings(), _standard_error_closed(), _signals_kept():
        # Ray's processes are forked and run another program at once, which harms no threads.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        ray.init(
            address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else local),
        )
    resources = ray.cluster_resources()
    return workers or int(resources.get("GPU", 0) or resources.get("CPU", 1))


def batch_size(files: int, workers: int) -> int:
    """How many files a worker takes at a time.

    A batch costs the driver some hundredths of a second: with many workers, or for millions of
    files, batches are larger. Yet each worker is to have some eight of them, so that all end at
    about the same time.
    """
    wanted = max(BATCH, workers // 4, files // 20_000)
    return max(1, min(wanted, files // (8 * workers)))


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Puts back what signals do: Ray's native code has SIGTERM abort the process."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # as it is for those that no Python has set
                signal.signal(number, handler)


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Keeps Ray's native code from telling how much it will tell; what goes wrong is raised."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def run(
    source: Store,
    target: Store,
    tasks: Sequence[Task],
    treatment: Treatment,
    orders: Orders,
    *,
    workers: int,
) -> Iterator[list[Row]]:
    """Has tasks done by workers of the Ray cluster that `start` joined.

    Ray Data hands a worker the next batch when it has room, begins a batch anew whose worker died,
    and keeps no more than a few batches of names and rows in memory.

    Yields:
      The rows of one batch after another, as they are finished.

    Raises:
      StoreError: if a store fails.
      ValueError: if a worker cannot treat files as it was told.
    """
    _quieten()
    size = batch_size(len(tasks), workers)
    batches = [
        pa.Table.from_pylist([task._asdict() for task in tasks[first : first + size]], _TASKS)
        for first in range(0, len(tasks), size)
    ]
    journal = Journal(target)
    gpus = min(1.0, ray.cluster_resources().get("GPU", 0) / workers)
    rows = ray.data.from_arrow(batches).map_batches(
        _Actor,
        fn_constructor_args=(source.url, target.url, treatment, orders, _SharedLedger()),
        batch_format="pyarrow",
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(batches))),
        num_cpus=1,
        num_gpus=gpus or None,
        # Each worker has one core, and is to make no more threads than that.
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "NPROC": "1"}},
    )
    try:
        table: Any  # pyarrow's, which Ray's types do not tell
        for table in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            parts = set(table.column(_PART).to_pylist())
            done = table.drop_columns([_PART]).to_pylist()
            journal.add(done, parts)
            yield done
    except ray.exceptions.RayTaskError as error:
        told = str(error.cause).partition("\n")[0]  # Ray adds where it was raised
        for kind in (StoreError, ValueError):
            if isinstance(error.cause, kind):
                raise kind(told) from error
        raise
    journal.flush()  # of a run that ends before, the next one joins the parts


def _quieten() -> None:
    """Ray Data tells of progress, which we do, and of errors, which it raises as well."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
