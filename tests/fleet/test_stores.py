"""Folders and buckets, which behave alike."""

import errno
import os
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import served_bucket

from hrcnn_jax.fleet import stores
from hrcnn_jax.fleet.stores import FileError, Folder, StoreError, open_store

NAMES = ["a b/é#1.JPG", "deep/er/c.jpeg", "x.jpg"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served_bucket() as (address, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield address


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "root")
    return f"{request.getfixturevalue('bucket')}/root"


def test_what_is_written_is_found_read_and_removed(address: str) -> None:
    store, results = open_store(address), open_store(f"{address}/out")
    for name in NAMES:
        store.write(name, name.encode())
    store.write("notes.txt", b"")
    results.write("x.jpg", b"a result")
    assert sorted(found[:2] for found in store.find(results)) == [
        (name, len(name.encode())) for name in NAMES
    ]
    assert store.names("deep") == ["deep/er/c.jpeg"]
    assert store.names("nowhere") == []
    assert store.read(NAMES[0]).data == NAMES[0].encode()
    store.write("x.jpg", b"anew")
    assert store.read("x.jpg").data == b"anew"
    store.delete(["x.jpg", "x.jpg", "never"])
    assert store.present(["x.jpg", *NAMES[:2]]) == set(NAMES[:2])


def test_one_file_that_is_not_to_be_had(address: str) -> None:
    store = open_store(address)
    store.write("x.jpg", b"12345")
    with pytest.raises(FileError, match=r"root/missing\.jpg: cannot be read"):
        store.read("missing.jpg")

    def refuse(size: int) -> None:
        raise ValueError(f"{size} are too many")

    with pytest.raises(ValueError, match="5 are too many"):
        store.read("x.jpg", refuse)


def test_permissions_go_along(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.write("a.jpg", b"", permissions=0o600)
    assert stat.S_IMODE((tmp_path / "a.jpg").stat().st_mode) == 0o600
    assert store.read("a.jpg").permissions == 0o600


def test_names_that_there_can_be_no_files_of(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    for name in ("n" * 300, "a/b"):
        with pytest.raises(FileError, match="cannot be written"):
            Folder(tmp_path).write(name, b"")


def test_faults_that_pass_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"whole")
    monkeypatch.setattr(stores, "_PAUSES", (0.0, 0.0))
    faults = [OSError(errno.ESTALE, "stale"), OSError(errno.EIO, "broken")]
    opened = Path.open

    def fail(path: Path, mode: str) -> object:
        if faults:
            raise faults.pop()
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", fail)
    assert Folder(tmp_path).read("a.jpg").data == b"whole"
    faults += [OSError(errno.ESTALE, "stale")] * 3
    with pytest.raises(StoreError, match=r"a\.jpg: cannot be read \(stale\)"):
        Folder(tmp_path).read("a.jpg")


def test_stores_that_do_not_exist(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(StoreError, match="no such kind of store; give a path or s3"):
        open_store("ftp://somewhere")
    with pytest.raises(StoreError, match="is no folder"):
        list(Folder(tmp_path / "none").find(Folder(tmp_path)))
    with pytest.raises(StoreError, match="holds no JPEG or other pictures"):
        list(Folder(tmp_path).find(Folder(tmp_path / "out")))
    with pytest.raises(StoreError, match="s3://nowhere: cannot be listed"):
        list(open_store("s3://nowhere").find(open_store(bucket)))
    with pytest.raises(StoreError, match="s3://nowhere/a: cannot be written"):
        open_store("s3://nowhere").write("a", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="to the administrator nothing is closed")
def test_a_folder_that_cannot_be_written_to_is_the_stores_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError) as caught:
        Folder(tmp_path).write("a", b"")
    assert not isinstance(caught.value, FileError)


def test_a_key_that_cannot_be_listed(bucket: str) -> None:
    """S3 has keys that obstore refuses, with all that stands beside them."""
    put = f"{os.environ['AWS_ENDPOINT_URL']}/pictures/old//b.jpg"
    urllib.request.urlopen(urllib.request.Request(put, data=b"", method="PUT")).close()
    open_store(f"{bucket}/new").write("a.jpg", b"")
    with pytest.raises(StoreError, match=r"old//b\.jpg.*: rename it, or give a prefix"):
        list(open_store(bucket).find(open_store("s3://elsewhere")))
    found = open_store(f"{bucket}/new").find(open_store("s3://elsewhere"))
    assert [each.name for each in found] == ["a.jpg"]
