"""`app`: a page on this machine, for pictures that are dropped on it."""

import argparse
import socket
import threading
import webbrowser
from contextlib import suppress
from types import FrameType

import uvicorn

from hrcnn_jax.app import server
from hrcnn_jax.app.workshop import Limits, Workshop
from hrcnn_jax.cli.common import UsageError
from hrcnn_jax.files.writer import OutputError
from hrcnn_jax.networks import cards
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.signals import Ended

_GRACE = 60
"""Seconds that the app, told to end, waits for what is worked on: that stops at the next strip, or
when it is compiled. A second signal does not wait."""

PORT = 8642
"""Where the page is, unless asked for otherwise."""

_LOOPBACK = "127.0.0.1"


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    usual = Limits()
    flags.add_argument(
        "--host",
        default=_LOOPBACK,
        metavar="ADDRESS",
        help="whom to listen to: this machine alone (default), or 0.0.0.0 for its whole network, "
        "without any password",
    )
    flags.add_argument(
        "--port",
        type=int,
        default=PORT,
        metavar="N",
        help="where; 0 takes a free one (default: %(default)s)",
    )
    flags.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that others know this machine by, if not by its address; may be repeated",
    )
    flags.add_argument(
        "--model",
        metavar="NAME",
        help="network to offer first: one of hrcnn-jax models but those of chroma, a weights "
        f"file, or the folder of a training run (default: {cards.DEFAULT})",
    )
    flags.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only print the page's address"
    )
    for name, value, text in (
        ("megabytes", usual.megabytes, "refuse larger files"),
        ("pixels", usual.pixels, "refuse larger pictures"),
        ("at-once", usual.at_once, "pictures that are worked on at a time"),
        ("places", usual.places, "pictures that are worked on or wait; more are sent away"),
    ):
        flag = f"--max-{name}" if name in ("megabytes", "pixels") else f"--{name}"
        flags.add_argument(
            flag,
            dest=name.replace("-", "_"),
            type=int,
            default=value,
            metavar="N",
            help=f"{text} (default: {value:,})",
        )


def run(flags: argparse.Namespace) -> int:
    """Serves the page until a signal ends it."""
    if not flags.host:
        raise UsageError("--host is empty: give an address, such as 127.0.0.1")
    limits = Limits(flags.megabytes, flags.pixels, flags.at_once, flags.places)
    if min(vars(limits).values()) < 1:
        raise UsageError("--max-megabytes, --max-pixels, --at-once and --places must be 1 or more")
    keep_programs()
    workshop = Workshop(_models(flags.model), limits)
    app = server.build(workshop, names=flags.name)
    listening = _listen(flags.host, flags.port)
    address = _address(listening)
    print(f"hrcnn-jax app: {address} (Ctrl-C ends it)", flush=True)
    if flags.browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    with suppress(Ended):  # as it is meant to end
        _Server(config, workshop).run([listening])
    return 0


class _Server(uvicorn.Server):
    """Tells who waits for a picture at once when a signal ends the app."""

    def __init__(self, config: uvicorn.Config, workshop: Workshop) -> None:
        super().__init__(config)
        self._workshop = workshop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._workshop.close()
        super().handle_exit(sig, frame)


def _models(first: str | None) -> list[str | Restorer]:
    """What the page offers: released networks, those that serve every table before others."""
    every = [name for name in cards.names() if len(cards.released(name).qualities) > 1]
    if first is None:
        return list(every)
    restorer = Restorer(first)
    return [restorer, *(name for name in every if name != restorer.network.name)]


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
      OutputError: if nobody may listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # whoever is told the address may come at once
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"--host {host} --port {port}: cannot be listened on ({reason}); --port 0 takes a free "
            "port"
        ) from error
    return listening


def _address(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    host = {"0.0.0.0": _LOOPBACK, "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
