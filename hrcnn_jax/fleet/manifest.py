"""The manifest: a Parquet data set with a row for every file that was done, or that cannot be.

It lies below the results, in `manifest/`, and grows as they do: whoever works on a batch of files
keeps a *part* of it, the batch's rows; whoever leads joins parts to larger *files of rows*. A row
is written before its picture is, so that there is no picture without a row; a row whose picture is
not there counts for nothing. Killed in between, no file is lost and none is done twice.
"""

import hashlib
import io
import json
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hrcnn_jax.fleet.stores import FileError, Store, StoreError, open_store

FOLDER = "manifest"
_RUN = f"{FOLDER}/_run.json"  # which readers of data sets pass over, by its first letter
_PART, _ROWS, _SUFFIX = f"{FOLDER}/part-", f"{FOLDER}/rows-", ".parquet"

ROWS_IN_FILE = 50_000
"""Rows that are joined to one file, a few megabytes."""

PARTS_AT_ONCE = 1000
"""Parts of a run that was killed, that are joined to one file."""

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("target", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("colour", pa.string()),
        ("sampling", pa.string()),
        ("coding", pa.string()),
        ("damage", pa.string()),
        ("quality", pa.int16()),
        ("quality_is_exact", pa.bool_()),
        ("history", pa.string()),
        ("network", pa.string()),
        ("network_hash", pa.string()),
        ("expected_gain_db", pa.float32()),
        ("codes_share", pa.float64()),
        ("seconds", pa.float32()),
        ("finished", pa.timestamp("ms", tz="UTC")),
        ("error", pa.string()),
    ]
)
"""Columns: the file's name and its picture's, both below their roots; what the file is, and what is
wrong with it if it was salvaged; the compression before its last as JSON, if one was found; network
and its weights' SHA-256; mean gain that was measured at this quality; share of the file's codes
that the restored planes give back, from 0 to 1; seconds that it took; and why it failed, if it did.
"""

Row = Mapping[str, Any]
"""Values by column; those that are not told are null."""


def read(address: str) -> pa.Table:
    """The manifest below a target, one row a file, in the order of their paths.

    Args:
      address: of the target, a path or such as `s3://bucket/prefix`.

    Raises:
      StoreError: if the store fails, or a file of the manifest is damaged.
    """
    store = open_store(address)
    rows = {row["path"]: row for row in _all_rows(store)}
    return table([rows[path] for path in sorted(rows)])


class DamagedError(StoreError):
    """A file of the manifest that cannot be understood; the message says which, and what to do."""


def _damaged(store: Store, name: str, reason: object) -> DamagedError:
    told = str(reason).strip().partition("\n")[0][:200]
    return DamagedError(
        f"{store.url}/{name}: is damaged ({told}); remove it, and what it tells of is done anew"
    )


def table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist([dict(row) for row in rows], SCHEMA)


class MixedError(ValueError):
    """A target that holds results made in another way."""


def begin_run(store: Store, settings: Mapping[str, Any]) -> str:
    """Takes a target over, for results made in one way.

    Args:
      store: of the results.
      settings: what results depend on, as JSON can hold it.

    Returns:
      A name for this run: workers of an earlier one, if any is left, find another name and end.

    Raises:
      MixedError: if other results are there.
    """
    settings = json.loads(json.dumps(settings))  # as they are read again
    known = settings | _run(store).get("settings", {})  # earlier versions told fewer
    if known != settings and any(name.endswith(_SUFFIX) for name in store.names(FOLDER)):
        differing = sorted(key for key in known if known[key] != settings.get(key))
        there = ", ".join(_as_flag(key, known[key]) for key in differing)
        raise MixedError(
            f"{store.url}: holds results made with {there}; give the same, or another target"
        )
    run = secrets.token_hex(8)
    text = json.dumps({"run": run, "settings": settings}, indent=2)
    store.write(_RUN, text.encode())
    return run


def _as_flag(key: str, value: Any) -> str:
    """A setting as it is asked for."""
    if key == "faithful":
        return "faithful results" if value else "--no-faithful"
    if key.endswith("_hash"):
        flag = f"--{key.removesuffix('_hash')}"
        return f"{flag} none" if value is None else f"a {flag} of other weights"
    told = {"source": f"{value} as SOURCE", "network": f"--model {value}"}
    if value == "none":
        told["format"] = "--inspect"
    return told.get(key, f"--{key} {value}")


def run_of(store: Store) -> str | None:
    """The name of the run that holds a target."""
    name: str | None = _run(store).get("run")
    return name


def _run(store: Store) -> dict[str, Any]:
    try:
        known = json.loads(store.read(_RUN).data)
    except FileError:
        return {}
    except (ValueError, RecursionError) as error:
        raise _damaged(store, _RUN, error) from error
    if not isinstance(known, dict) or not isinstance(known.get("settings", {}), dict):
        raise _damaged(store, _RUN, "it tells of no run")
    return known


class Part:
    """What is known of a batch of files; written anew whenever more is known."""

    def __init__(self, store: Store, paths: Sequence[str]) -> None:
        """Of the batch of these files; takes up what an earlier try of the same batch left."""
        self._store = store
        self.name = f"{_PART}{_hash(paths)}{_SUFFIX}"
        self.rows: dict[str, Row] = {}
        try:
            left = _rows_in(store, self.name)
        except FileError:
            return
        there = store.present([row["target"] for row in left if row["target"] is not None])
        self.rows = {row["path"]: row for row in _standing(left, there)}

    def write(self, rows: Iterable[Row]) -> None:
        """Adds rows, in place of earlier ones of the same files."""
        self.rows |= {row["path"]: row for row in rows}
        _write(self._store, self.name, list(self.rows.values()))


class Journal:
    """Joins the parts of finished batches to files of rows."""

    def __init__(self, store: Store) -> None:
        """Of the manifest in a store of results."""
        self._store = store
        self._rows: list[Row] = []
        self._parts: list[str] = []

    def add(self, rows: Sequence[Row], parts: Iterable[str]) -> None:
        """Takes the rows of whole batches, and the parts that they are in."""
        self._rows += rows
        self._parts += parts
        if len(self._rows) >= ROWS_IN_FILE:
            self.flush()

    def flush(self) -> None:
        """Writes the rows taken so far as one file, and removes their parts."""
        _join(self._store, self._rows, self._parts)
        self._rows, self._parts = [], []


def take_up(store: Store, there: Collection[str], *, retry_failed: bool) -> dict[str, bool]:
    """Puts a manifest in order before work goes on; parts of a run that was killed are joined.

    Rows that count for nothing are taken out: those whose pictures are not there, of files named
    twice, and with `retry_failed` those of files that failed.

    Args:
      store: of the results.
      there: all that it holds.
      retry_failed: whether what failed is to be done again.

    Returns:
      The files that are done, and whether they failed.
    """
    known = [name for name in store.names(FOLDER) if name.endswith(_SUFFIX)]
    parts = [name for name in known if name.startswith(_PART)]
    joined = [[name] for name in known if name.startswith(_ROWS)]
    done: dict[str, bool] = {}
    for names in [*joined, *_chunks(parts, PARTS_AT_ONCE)]:
        rows = [row for name in names for row in _rows_in(store, name)]
        once = {row["path"]: row for row in rows if row["path"] not in done}
        kept = [
            row
            for row in _standing(list(once.values()), there)
            if not (retry_failed and row["error"])
        ]
        done |= {row["path"]: row["error"] is not None for row in kept}
        if len(kept) < len(rows) or names[0] in parts:
            _join(store, kept, names)
    return done


def _standing(rows: Sequence[Row], there: Collection[str]) -> list[Row]:
    """Those of the rows whose pictures are there, or that have none."""
    return [row for row in rows if row["target"] is None or row["target"] in there]


def _chunks(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _join(store: Store, rows: Sequence[Row], replaced: Sequence[str]) -> None:
    """Writes rows as a file, before what held them is removed."""
    written = None
    if rows:
        written = f"{_ROWS}{_hash([row['path'] for row in rows])}{_SUFFIX}"
        _write(store, written, rows)
    store.delete(name for name in replaced if name != written)


def _all_rows(store: Store) -> Iterator[Row]:
    for name in store.names(FOLDER):
        if name.endswith(_SUFFIX):
            yield from _rows_in(store, name)


def _rows_in(store: Store, name: str) -> list[Row]:
    data = store.read(name).data
    try:
        rows: list[Row] = pq.read_table(io.BytesIO(data), schema=SCHEMA).to_pylist()
    # Arrow raises several kinds of its own, and plain ones at what only turns up with the values.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _damaged(store, name, error) from error
    if any(row["path"] is None for row in rows):
        raise _damaged(store, name, "rows without a path")
    return rows


def _write(store: Store, name: str, rows: Sequence[Row]) -> None:
    stream = io.BytesIO()
    pq.write_table(table(rows), stream, compression="zstd")
    store.write(name, stream.getvalue())


def _hash(paths: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(sorted(paths)).encode()).hexdigest()[:16]
