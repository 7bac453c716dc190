"""Where collections lie: a folder, or a prefix of a bucket; files in both have names with slashes.

Whatever is written is there whole or not at all: in a folder it is renamed when it is complete, in
an object store it is put by one request. Faults that pass are waited for: those of networks and of
file systems on networks, in a store by obstore itself.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, InvalidPathError, NotFoundError, PermissionDeniedError

from hrcnn_jax.files.atomic import written_whole
from hrcnn_jax.restoration.batch import found_in_folder, of_pictures

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
"""Of the addresses of buckets, as obstore knows them."""

_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNRESET,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""What a file system on a network may answer now and not in a moment."""

_OF_THE_NAME = {
    errno.ENOENT,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ELOOP,
}
_PAUSES = (0.1, 0.4, 1.6, 6.4)  # seconds between tries
_TOLD = 300  # characters of what a store says
_SAME = {"s3a": "s3", "azure": "az", "abfs": "az", "abfss": "az"}
"""Schemes that stand for others."""
_ODD_KEY = "; such a key cannot be listed: rename it, or give a prefix that it is not below"

_Result = TypeVar("_Result")


class StoreError(OSError):
    """A store that cannot be used; one line says which and why."""


class FileError(StoreError):
    """One file that cannot be read or written, in a store that is well."""


class Found(NamedTuple):
    """A file of a collection.

    Attributes:
      name: below the store's root, with slashes.
      size: in bytes.
      problem: why it cannot be taken, if that is known already.
    """

    name: str
    size: int
    problem: str | None = None


class Content(NamedTuple):
    """What a file holds, and who may read it, as `os.chmod` has it; None if not told."""

    data: bytes
    permissions: int | None


class Store(Protocol):
    """A folder or a bucket's prefix.

    Attributes:
      url: its address.
      place: the same for all addresses of one place, as far as can be told.
    """

    url: str
    place: str

    def place_of(self, name: str) -> str:
        """The same for all names of one file, in all stores of this kind, as far as can be told."""

    def find(self, results: "Store") -> Iterator[Found]:
        """The JPEG files, but for what lies in `results` if that is a part of this store."""

    def names(self, under: str) -> list[str]:
        """All that lies directly or deeper below a name, sorted."""

    def present(self, names: Collection[str]) -> set[str]:
        """Those of the names that exist, each being looked for."""

    def read(self, name: str, check: Callable[[int], None] = ...) -> Content:
        """A file's content.

        Args:
          name: of the file.
          check: is called with its size in bytes, and raises if that is too much to be read.

        Raises:
          FileError: if there is no such file, or it is not to be read.
          StoreError: if the store fails.
        """

    def write(self, name: str, data: bytes, permissions: int | None = None) -> None:
        """Writes a file, whole or not at all, in place of any other of that name.

        Raises:
          FileError: if there can be no such file.
          StoreError: if the store fails.
        """

    def delete(self, names: Iterable[str]) -> None:
        """Removes files; those that are not there are none to remove."""


def open_store(address: str) -> Store:
    """The store behind a path, or an address such as `s3://bucket/prefix`.

    Raises:
      StoreError: if there is no such kind of store, or its settings are wrong.
    """
    scheme = urlsplit(address).scheme if "://" in address else ""
    if not scheme:
        return Folder(Path(address))
    if scheme in SCHEMES:
        return Bucket(address.rstrip("/"))
    raise StoreError(f"{address}: no such kind of store; give a path or {', '.join(SCHEMES)}://")


class Folder:
    """A folder and all that is below it."""

    def __init__(self, root: Path) -> None:
        """Of a path, which need not exist before something is written."""
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 (links stay as they were named)
        self.url, self.place = str(self.root), os.path.realpath(root)
        self._real = cache(os.path.realpath)  # of folders, which hold many files

    def place_of(self, name: str) -> str:  # noqa: D102 (as Store says)
        path = self.root / name
        if path.is_symlink():
            return os.path.realpath(path)
        return f"{self._real(path.parent)}/{path.name}"

    def find(self, results: Store) -> Iterator[Found]:  # noqa: D102 (as Store says)
        if not self.root.is_dir():
            raise StoreError(f"{self.root}: is no folder; give the folder that holds the pictures")
        skipped = results.root if isinstance(results, Folder) else self.root / os.devnull
        for job in found_in_folder(self.root, skipped, recursive=True):
            if job.source == self.root:
                raise StoreError(job.problem)
            name = job.source.relative_to(self.root).as_posix()
            yield Found(name, _size(job.source), job.problem)

    def names(self, under: str) -> list[str]:  # noqa: D102
        return sorted(path.relative_to(self.root).as_posix() for path in _files(self.root / under))

    def present(self, names: Collection[str]) -> set[str]:  # noqa: D102
        return {name for name in names if (self.root / name).is_file()}

    def read(  # noqa: D102
        self, name: str, check: Callable[[int], None] = lambda size: None
    ) -> Content:
        def whole() -> Content:
            with (self.root / name).open("rb") as file:
                known = os.fstat(file.fileno())
                check(known.st_size)
                return Content(file.read(), stat.S_IMODE(known.st_mode) & 0o777)

        return self._tried(name, "read", whole)

    def write(self, name: str, data: bytes, permissions: int | None = None) -> None:  # noqa: D102
        def whole() -> None:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path, permissions=permissions) as partial:
                partial.write_bytes(data)

        self._tried(name, "written", whole)

    def delete(self, names: Iterable[str]) -> None:  # noqa: D102
        for name in names:
            self._tried(name, "removed", partial((self.root / name).unlink, missing_ok=True))

    def _tried(self, name: str, done: str, action: Callable[[], _Result]) -> _Result:
        for pause in (*_PAUSES, None):
            try:
                return action()
            except OSError as error:
                if pause is not None and error.errno in _PASSING:
                    time.sleep(pause)
                    continue
                text = f"{self.root / name}: cannot be {done} ({error.strerror or error})"
                refused = error.errno in (errno.EACCES, errno.EPERM) and done == "read"
                kind = FileError if refused or error.errno in _OF_THE_NAME else StoreError
                raise kind(text) from error
        raise AssertionError


class Bucket:
    """A bucket, or what lies in it below a prefix, by obstore.

    Keys, region and endpoint come from the environment, as each provider's own tools have them
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`,
    `AZURE_STORAGE_ACCOUNT_KEY` and so on), or from the machine's role.
    """

    def __init__(self, url: str) -> None:
        """Of an address such as `s3://bucket/prefix`."""
        self.url = url
        scheme, bucket, prefix, *_ = urlsplit(url)
        self.place = unquote(f"{_SAME.get(scheme, scheme)}://{bucket}{prefix}")
        try:
            self._store: Any = obstore.store.from_url(url)
        except (BaseError, ValueError) as error:
            raise StoreError(f"{url}: cannot be used ({_told(error)})") from error

    def place_of(self, name: str) -> str:  # noqa: D102 (as Store says)
        return f"{self.place}/{name}"

    def find(self, results: Store) -> Iterator[Found]:  # noqa: D102
        inside = results.place.startswith(f"{self.place}/")
        skipped = f"{results.place[len(self.place) + 1 :]}/" if inside else None
        listed = dict(self._listed(""))
        chosen = set(of_pictures([Path(name) for name in listed]))
        for name, size in listed.items():
            if Path(name) in chosen and not (skipped and name.startswith(skipped)):
                yield Found(name, size)

    def names(self, under: str) -> list[str]:  # noqa: D102
        return sorted(name for name, _ in self._listed(under))

    def present(self, names: Collection[str]) -> set[str]:  # noqa: D102
        return {name for name in names if self._exists(name)}

    def read(  # noqa: D102
        self, name: str, check: Callable[[int], None] = lambda size: None
    ) -> Content:
        def whole() -> Content:
            found = obstore.get(self._store, name)
            check(found.meta["size"])
            return Content(bytes(found.bytes()), None)

        return self._tried(name, "read", whole)

    def write(self, name: str, data: bytes, permissions: int | None = None) -> None:  # noqa: D102
        del permissions  # a bucket has its own
        # By one request: what is uploaded in several may be left unfinished, and paid for.
        self._tried(
            name, "written", lambda: obstore.put(self._store, name, data, use_multipart=False)
        )

    def delete(self, names: Iterable[str]) -> None:  # noqa: D102
        for name in names:
            if self._exists(name):
                self._tried(name, "removed", partial(obstore.delete, self._store, name))

    def _exists(self, name: str) -> bool:
        try:
            self._tried(name, "looked at", lambda: obstore.head(self._store, name))
        except FileError:
            return False
        return True

    def _listed(self, under: str) -> Iterator[tuple[str, int]]:
        try:
            for chunk in obstore.list(self._store, under or None):
                yield from ((each["path"], each["size"]) for each in chunk)
        except BaseError as error:
            told = _told(error)
            why = _ODD_KEY if "path segment" in told else ""
            raise StoreError(f"{self.url}: cannot be listed ({told}){why}") from error

    def _tried(self, name: str, done: str, action: Callable[[], _Result]) -> _Result:
        try:
            return action()
        except (BaseError, FileNotFoundError) as error:
            text = f"{self.url}/{name}: cannot be {done} ({_told(error)})"
            refused = isinstance(error, PermissionDeniedError) and done == "read"
            missing = isinstance(error, NotFoundError | FileNotFoundError) and done != "written"
            kind = FileError if refused or missing or isinstance(error, InvalidPathError) else None
            raise (kind or StoreError)(text) from error


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, and below those that links in it lead to, each place once."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (path for path in map(Path(place).joinpath, names) if path.is_file())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _told(error: Exception) -> str:
    """What a store says, in a line; obstore adds the whole chain of causes below it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_TOLD]
