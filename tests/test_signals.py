"""Ctrl-C while nothing has begun yet: a line, never a traceback."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

INTERRUPTED_IMPORT = """
import os, signal, sys

class Interrupting:
    '''Sends Ctrl-C when a module is looked for, from within the import of others.'''
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where it is ignored
sys.meta_path.insert(0, Interrupting())
from hrcnn_jax.__main__ import program
sys.exit(program(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("argparse", ["models"]),
        ("numpy", ["inspect", "a.jpg"]),
        ("jax", ["restore", "a.jpg", "-o", "out"]),
        ("jax._src.core", ["restore", "a.jpg", "-o", "out"]),
        ("orbax", ["train", "--preset", "small"]),
    ],
)
def test_ctrl_c_during_imports_is_a_line(module: str, command: list[str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, module, *command],
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.stderr == "hrcnn-jax: interrupted\n"
    assert ended.returncode == 128 + signal.SIGINT
    assert list(tmp_path.iterdir()) == []


def test_who_ignores_signals_goes_on_doing_so() -> None:
    program = """
import os, signal
from hrcnn_jax.signals import end_at_once, raised_signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
end_at_once()
with raised_signals():
    os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGHUP)
print("still here")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "still here\n"


@pytest.mark.parametrize("wait", ["time.sleep(60)", "threading.Event().wait()"])
def test_no_callback_swallows_ctrl_c(wait: str) -> None:
    """Nor does what another thread is waited for for ever, once it comes again."""
    program = f"""
import gc, os, signal, sys, threading, time
from hrcnn_jax.signals import Ended, raised_signals

def interrupting(phase, _):
    gc.callbacks.remove(interrupting)
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):  # here the signal is noticed, and what it raises let go
        pass

signal.signal(signal.SIGINT, signal.default_int_handler)
gc.callbacks.append(interrupting)
try:
    with raised_signals():
        gc.collect()
        {wait}
except Ended as ended:
    sys.exit(128 + ended.signal)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, timeout=50
    )
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGINT, b"")


@pytest.mark.parametrize(("sent", "status"), [("SIGTERM", 128 + signal.SIGTERM), (None, 7)])
def test_what_native_code_makes_of_a_signal_is_the_signal(sent: str | None, status: int) -> None:
    """And other errors stay what they are."""
    program = f"""
import signal, sys
from hrcnn_jax.signals import Ended, raised_signals

try:
    with raised_signals():
        try:
            if {sent!r}:
                signal.raise_signal(signal.{sent or "SIGTERM"})
        except Ended as error:
            raise SystemError("returned a result with an exception set") from error
        raise SystemError("of its own")
except Ended as ended:
    sys.exit(128 + ended.signal)
except SystemError:
    sys.exit(7)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (status, b"")
