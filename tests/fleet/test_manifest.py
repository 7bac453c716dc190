"""Manifests that somebody or something has damaged: told in a line that names the file."""

import json
import pickle
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrcnn_jax.fleet import manifest
from hrcnn_jax.fleet.stores import StoreError, open_store

ROWS = [{"path": f"{n}.jpg", "target": None, "error": "no JPEG file"} for n in range(3)]


def rows_file(folder: Path) -> Path:
    """A manifest of one file, below a target."""
    (folder / manifest.FOLDER).mkdir()
    path = folder / manifest.FOLDER / "part-0.parquet"
    pq.write_table(manifest.table(ROWS), path, compression="zstd")
    return path


def test_damaged_rows(tmp_path: Path) -> None:
    """Bytes changed anywhere: rows are read, or a line tells which file to remove."""
    path, refused, drawn = rows_file(tmp_path), [], random.Random(0)
    whole = path.read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(drawn.choice((1, 2, 5))):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        path.write_bytes(data)
        try:
            assert manifest.read(str(tmp_path)).schema == manifest.SCHEMA
            manifest.take_up(open_store(str(tmp_path)), set(), retry_failed=False)
        except StoreError as error:
            refused.append(str(error))
        for each in path.parent.iterdir():  # what was joined
            each.unlink()
    assert len(refused) > 50
    for line in refused:
        assert line.startswith(f"{path}: is damaged (")
        assert "\n" not in line


def test_rows_of_something_else(tmp_path: Path) -> None:
    path = rows_file(tmp_path)
    pq.write_table(pa.table({"width": [1, 2]}), path)
    with pytest.raises(StoreError, match=r"part-0\.parquet: is damaged \(rows without a path\)"):
        manifest.read(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"settings": 3}', "{", "\xff", "[" * 100_000, json.dumps("run")]
)
def test_damaged_run(text: str, tmp_path: Path) -> None:
    rows_file(tmp_path)
    (tmp_path / manifest.FOLDER / "_run.json").write_text(text, encoding="latin-1")
    store = open_store(str(tmp_path))
    for use in (lambda: manifest.begin_run(store, {}), lambda: manifest.run_of(store)):
        with pytest.raises(StoreError, match=r"_run\.json: is damaged \(.*\); remove it"):
            use()


def test_what_a_worker_finds_damaged_can_be_sent(tmp_path: Path) -> None:
    """Between processes errors are pickled."""
    rows_file(tmp_path).write_bytes(b"no rows")
    with pytest.raises(manifest.DamagedError) as raised:
        manifest.read(str(tmp_path))
    sent = pickle.loads(pickle.dumps(raised.value))
    assert (type(sent), str(sent)) == (manifest.DamagedError, str(raised.value))
