"""Rows of facts, one a file, to JSON, JSON lines or Parquet by the name's suffix."""

import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hrcnn_jax.files.atomic import is_file, is_folder, written_whole
from hrcnn_jax.files.writer import OutputError
from hrcnn_jax.signals import Ended

SUFFIXES = (".json", ".jsonl", ".parquet")

Add = Callable[[Mapping[str, Any]], None]
"""Writes a row."""

_GROUP = 1000
"""Rows of a Parquet file that are written at once."""


def check(path: Path) -> None:
    """Raises OutputError unless such a report can be written, ValueError if nowhere it can be."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: a report ends with {', '.join(SUFFIXES)}; give it another name")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise OutputError(f"{path}: Parquet needs pyarrow: pip install pyarrow, or name a .jsonl")
    if is_folder(path):
        raise OutputError(f"{path}: is a folder; give the report another name")
    place = next(each for each in path.absolute().parents if is_folder(each) or is_file(each))
    if not is_folder(place):
        raise OutputError(f"{path}: {place} is no folder; give the report another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot write into {place}; give the report another place")


def rows(path: Path) -> list[dict[str, Any]]:
    """What a report holds.

    Raises:
      OutputError: if it is none, or is damaged.
    """
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet  # an extra

            found = parquet.read_table(path).to_pylist()
        elif path.suffix == ".jsonl":
            found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        else:
            found = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(row, dict) for row in found):
            raise ValueError("rows of another kind")
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(
            f"{path}: is no report that could be gone on with ({reason}); give another name"
        ) from error
    return found


@contextmanager
def opened(path: Path, columns: Mapping[str, str]) -> Iterator[Add]:
    """A report that is there once it is written.

    Args:
      path: of one of `SUFFIXES`.
      columns: what rows tell, by Arrow's names of types, such as `list<int32>`; rows may leave
        some out, which then are null.

    Yields:
      What adds a row. A signal that ends the program ends the report, too: with the rows so far.

    Raises:
      OutputError: if it cannot be written.
    """
    check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            write = {".json": _json, ".jsonl": _lines, ".parquet": _parquet}[path.suffix]
            ended: Ended | None = None
            with write(partial, columns) as add:
                try:
                    yield lambda row: add({name: row.get(name) for name in columns})
                except Ended as signal:
                    ended = signal
        if ended is not None:
            raise ended
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def _lines(path: Path, columns: Mapping[str, str]) -> Iterator[Add]:
    del columns
    with path.open("w", encoding="utf-8") as stream:
        yield lambda row: print(json.dumps(row), file=stream)


@contextmanager
def _json(path: Path, columns: Mapping[str, str]) -> Iterator[Add]:
    del columns
    separators = iter(["[\n"])
    with path.open("w", encoding="utf-8") as stream:
        yield lambda row: print(
            next(separators, ",\n"), json.dumps(row, indent=2), sep="", end="", file=stream
        )
        print(next(separators, "") + "\n]", file=stream)


@contextmanager
def _parquet(path: Path, columns: Mapping[str, str]) -> Iterator[Add]:
    import pyarrow  # an extra, large, and needed for this alone
    from pyarrow import parquet

    schema = pyarrow.schema([(name, _arrow(pyarrow, kind)) for name, kind in columns.items()])
    rows: list[Mapping[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def add(row: Mapping[str, Any]) -> None:
            rows.append({name: utf8(value) for name, value in row.items()})
            if len(rows) >= _GROUP:
                flush()

        yield add
        flush()


def utf8(value: Any) -> Any:
    """Text without what names of files may hold and UTF-8 cannot; anything else as it is."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def _arrow(pyarrow: Any, kind: str) -> Any:
    """Arrow's type of a name such as `list<list<int32>>`."""
    if kind.startswith("list<"):
        return pyarrow.list_(_arrow(pyarrow, kind[5:-1]))
    return pyarrow.type_for_alias(kind)
