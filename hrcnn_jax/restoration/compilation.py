"""Where compiled programs are kept on disk: once for a machine, not every time a tool starts."""

import hashlib
import importlib
import os
import platform
import stat
import sys
import time
import zlib
from pathlib import Path

import jax

FOLDER = "hrcnn_jax"

_LOOKED = "looked-at"  # its time is when programs were last looked at
_ZSTD = b"\x28\xb5\x2f\xfd"  # the first bytes of Zstandard's frames (RFC 8878, 3.1.1)
_CHUNK = 1 << 16

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


_kept_in: Path | None = None


def kept_in() -> Path | None:
    """Where programs are kept: where `keep_programs` had them kept, or as the environment says."""
    named = jax.config.values["jax_compilation_cache_dir"]
    return _kept_in if named is None else Path(named)


def keep_programs(*, all_of_jax: bool = False) -> None:
    """Has compiled programs kept in the user's cache folder, from one start to the next.

    Where the environment names a folder (`JAX_COMPILATION_CACHE_DIR`) it is that, as it is:
    whoever names it answers for it. Where none can be written to, nothing is kept, nor where others
    could have put programs, which is said in a line.

    Args:
      all_of_jax: whatever JAX compiles, not only each `hrcnn_jax.restoration.programs.Program`.
    """
    global _kept_in
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    if _kept_in is None:
        _kept_in = _private_folder()
    if all_of_jax and _kept_in is not None:
        clear_broken(_kept_in)
        jax.config.update("jax_compilation_cache_dir", str(_kept_in))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _private_folder() -> Path | None:
    """The user's folder for programs, if nobody else could have put something there."""
    try:
        folder = user_cache() / FOLDER / f"xla-{machine()}"
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        problem = exposure(folder)
    except (OSError, RuntimeError):  # no home, or not ours
        return None
    if problem is not None:
        sys.stderr.write(f"hrcnn-jax: compiled programs are not kept: {problem}\n")
        return None
    return Path(os.path.realpath(folder)) if os.access(folder, os.W_OK) else None


def exposure(folder: Path) -> str | None:
    """Why others may have put something into a folder; None if they cannot have.

    Programs are native code: whoever can exchange one has it run. So the folder has to be the
    user's own, written to by nobody else, and so has every folder above it, but for those of the
    administrator and those where only owners may rename (such as `/tmp`), up to one that nobody
    else may enter. A folder that others can only read is closed to them.

    Raises:
      OSError: if one of them cannot be looked at.
    """
    if not hasattr(os, "geteuid"):  # Windows has lists of rights, and closes profiles by itself
        return None
    own = folder.stat()
    if own.st_uid != os.geteuid():
        return f"{folder} belongs to somebody else; set XDG_CACHE_HOME to a folder of your own"
    if own.st_mode & _OTHERS_WRITE:
        return f"others may write into {folder}; remove it, so that it is made anew"
    if own.st_mode & _OTHERS:
        folder.chmod(stat.S_IMODE(own.st_mode) & ~_OTHERS)
    # As it was named and as links lead: both could be led elsewhere.
    for named in {Path(os.path.abspath(folder)), Path(os.path.realpath(folder))}:  # noqa: PTH100
        problem = _exposure_of_parents(named)
        if problem is not None:
            return problem
    return None


def _exposure_of_parents(folder: Path) -> str | None:
    problem = None
    for parent in folder.parents:
        known = parent.stat()
        if known.st_uid not in (0, os.geteuid()):
            return (
                f"{parent} above {folder} belongs to somebody else; set XDG_CACHE_HOME to a "
                "folder of your own"
            )
        if not known.st_mode & _OTHERS_ENTER:
            return None  # whatever others may do below it, they cannot get there
        if problem is None and known.st_mode & _OTHERS_WRITE and not known.st_mode & stat.S_ISVTX:
            problem = (
                f"others may write into {parent} above {folder}; close it to them (chmod go-w)"
            )
    return problem


def clear_broken(folder: Path) -> None:
    """Removes programs that are empty or cut off, as full disks leave them.

    JAX would neither use nor replace them. Each is looked at once after it was written; the time of
    the last look is that of a file beside them.
    """
    looked = folder / _LOOKED
    try:
        before = looked.stat().st_mtime if looked.exists() else 0.0
        now = time.time()
        for entry in folder.glob("*-cache"):
            known = entry.lstat()
            if known.st_mtime >= before and not _is_whole(entry):
                entry.unlink(missing_ok=True)
        looked.touch()
        os.utime(looked, (now, now))
    except OSError:  # others may do the same at this time, or the disk is full
        return


def _is_whole(entry: Path) -> bool:
    """Whether an entry is compressed data with an end, by one of the two ways that JAX has."""
    content = entry.read_bytes()
    if content.startswith(_ZSTD):
        return _is_whole_zstd(content)
    unpacking = zlib.decompressobj()
    try:
        for start in range(0, len(content), _CHUNK):
            unpacking.decompress(content[start : start + _CHUNK])
    except zlib.error:
        return False
    return unpacking.eof


def _is_whole_zstd(content: bytes) -> bool:
    for name in ("compression.zstd", "zstandard"):  # of which JAX takes the first that is there
        try:
            zstd = importlib.import_module(name)
        except ImportError:
            continue
        try:
            zstd.decompress(content)
        except zstd.ZstdError:
            return False
        return True
    return True  # and without them, JAX does not look for such an entry


def user_cache() -> Path:
    """Where programs keep what can be made again (XDG Base Directory Specification)."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def machine() -> str:
    """Tells machines apart that share a home folder: programs use what their processor can do."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        told = []
    abilities = [line for line in told if line.startswith(("model name", "flags", "Features"))]
    known = [platform.node(), platform.machine(), platform.processor(), *sorted(set(abilities))]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
