"""Functions compiled once for a machine, and found again without being traced.

JAX keeps what it has compiled on disk, too, but finds it by what a program computes: it has to be
traced and lowered before, which takes as long at every start as all else together. Here a program
is found by what it was made from: the source of this package, the function and its settings, the
arguments' shapes, and all of JAX, of its settings and of the machine that compiling depends on.
"""

import hashlib
import os
import pickle
import threading
import time
import zlib
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import flax
import jax
import jaxlib
from jax.api_util import shaped_abstractify
from jax.experimental import serialize_executable

from hrcnn_jax.compiler import Options, lean
from hrcnn_jax.files.atomic import written_whole
from hrcnn_jax.restoration.compilation import kept_in, machine

SUFFIX = ".program"
"""Of the files of programs, which are native code, pickled and compressed."""

_PACKAGE = Path(__file__).parents[1]

_UNUSED = 60 * 24 * 3600.0
"""Seconds after which a program that nobody has used is removed: those of earlier versions are."""

_COMPRESSION = 1  # zlib's fastest: it takes two thirds off, and its checksum tells damage


class Program:
    """A pure function of arrays that is compiled for each kind of arguments; also a decorator.

    Where the process keeps programs on disk (`compilation.keep_programs`), it looks for them there
    first. Safe to share among threads: what several ask for is compiled once.
    """

    def __init__(
        self, function: Callable[..., Any], options: Callable[[], Options | None] = lean
    ) -> None:
        """Compiles nothing yet, nor starts JAX's back end: the user may yet choose one.

        Args:
          function: to be compiled; or a `functools.partial` of one, for what is no array.
          options: gives the compiler's.
        """
        self._function = function
        self._options = options
        self._made_from = _told(function)
        self._known: dict[Hashable, Future[Callable[..., Any]]] = {}
        self._lock = threading.Lock()
        self._name: str = getattr(function, "func", function).__name__

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the function returns, as JAX's arrays."""
        return self.compiled(*arguments, **named)(*arguments, **named)

    def compiled(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        """What computes the function of such arguments.

        Args:
          arguments: trees of arrays, or of `jax.ShapeDtypeStruct`: only their shapes and dtypes
            matter.
          named: as many, by name.
        """
        leaves, tree = jax.tree.flatten((arguments, named))
        kind = tree, tuple(map(shaped_abstractify, leaves)), _settings()
        with self._lock:
            known = self._known.get(kind)
            found = known or self._known.setdefault(kind, Future())
        if known is None:
            try:
                found.set_result(self._found(str(kind), arguments, named))
            except BaseException as error:
                with self._lock:
                    del self._known[kind]
                found.set_exception(error)
        return found.result()

    def _found(
        self, kind: str, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Callable[..., Any]:
        """The program, from disk or compiled and put there."""
        entry = self._entry(kind)
        if entry is not None:
            with suppress(Exception):  # not there, or damaged in any way: it is made anew
                program = _load(entry, jax.tree.structure((arguments, named)))
                with suppress(OSError):  # another's file, or a disk that cannot be written to
                    os.utime(entry)
                return program
        jitted = jax.jit(self._function, compiler_options=self._options())
        found_before = _found_by_jax()
        compiled = jitted.lower(*arguments, **named).compile()
        if entry is not None and _found_by_jax() == found_before:
            with suppress(OSError):  # a full disk, or a folder that cannot be written to
                _save(entry, compiled)
        return compiled

    def _entry(self, kind: str) -> Path | None:
        """The file of a program; None if it is not kept."""
        folder = kept_in()
        if self._made_from is None or folder is None or not folder.is_dir():
            return None
        if jax.default_backend() != "cpu":  # nothing else has been tried
            return None
        made_from = "\n".join([self._made_from, kind, str(self._options()), _surroundings()])
        digest = hashlib.sha256(made_from.encode()).hexdigest()
        return folder / f"{self._name}-{digest}{SUFFIX}"


_on_this_thread = threading.local()


def _found_by_jax() -> int:
    """How many programs JAX's own cache has given this thread.

    They run, but what is made of them to be kept again lacks functions (jax 0.10.2).
    """
    return getattr(_on_this_thread, "found", 0)


def _note(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _on_this_thread.found = _found_by_jax() + 1


jax.monitoring.register_event_listener(_note)


def _load(entry: Path, of_arguments: jax.tree_util.PyTreeDef) -> Callable[..., Any]:
    content, of_result = pickle.loads(zlib.decompress(entry.read_bytes()))
    devices = jax.devices()[:1]
    return serialize_executable.deserialize_and_load(
        content, of_arguments, of_result, execution_devices=devices
    )


def _save(entry: Path, compiled: jax.stages.Compiled) -> None:
    content, _, of_result = serialize_executable.serialize(compiled)
    with written_whole(entry, permissions=0o600) as partial:
        partial.write_bytes(zlib.compress(pickle.dumps((content, of_result)), _COMPRESSION))
    _remove_unused(entry.parent)


def _remove_unused(folder: Path) -> None:
    """Removes programs that were neither made nor used for long."""
    before = time.time() - _UNUSED
    for entry in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):  # another process has removed it
            if entry.stat().st_mtime < before:
                entry.unlink()


def _told(function: Callable[..., Any]) -> str | None:
    """A function and its settings in words; None if they do not tell all that it depends on.

    They do of what is written in this package, whose source is looked at: a network of somebody
    else's may become another one under the same name.
    """
    if isinstance(function, partial):
        settings = [*function.args, *function.keywords.values()]
        whole = all(map(_tells_itself, settings))
        inner = _told(function.func)
        return f"{inner} of {function.args} {function.keywords}" if whole and inner else None
    ours = function.__module__.partition(".")[0] == _PACKAGE.name
    whole = ours and function.__closure__ is None
    return f"{function.__module__}.{function.__qualname__}" if whole else None


def _tells_itself(setting: Any) -> bool:
    return type(setting).__module__.partition(".")[0] in (_PACKAGE.name, "builtins")


_OF_THREADS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_default_device",
)
"""What of JAX's settings programs depend on and may differ from thread to thread."""


def _settings() -> tuple[Any, ...]:
    return tuple(getattr(jax.config, name) for name in _OF_THREADS)


def _surroundings() -> str:
    """All but a function and its arguments that compiling depends on, as far as can be known."""
    settings = {
        name: value for name, value in jax.config.values.items() if not name.endswith("_dir")
    }
    client = jax.devices()[0].client
    versions = jax.__version__, jaxlib.__version__, flax.__version__, client.platform_version
    flags = os.environ.get("XLA_FLAGS")
    return f"{_source()} {versions} {machine()} {flags} {settings}"


@cache
def _source() -> str:
    """A digest of this package's source: one line changed, and nothing kept before counts."""
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
