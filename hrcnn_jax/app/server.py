"""What there is to ask for, over HTTP: the page, and the interface that it and programs use."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import PurePosixPath
from urllib.parse import quote

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import hrcnn_jax
from hrcnn_jax.app import openapi
from hrcnn_jax.app.draining import Draining
from hrcnn_jax.app.guard import Guard
from hrcnn_jax.app.wishes import WishError, wish
from hrcnn_jax.app.workshop import BusyError, Job, LeftError, Workshop
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.files.writer import FORMATS
from hrcnn_jax.text import unforeseen

TYPES = {".png": "image/png", ".tiff": "image/tiff", ".webp": "image/webp", ".jpg": "image/jpeg"}
"""Media types by suffix."""

PATIENCE = 120.0
"""Seconds that a file may take to arrive, and its answer to be fetched."""

_PIECE = 1 << 18
"""Bytes of an answer that are sent at once: no more than that waits for who does not fetch it."""

_PAGE = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/zip.js": ("zip.js", "text/javascript"),
    "/docs.js": ("docs.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Files of the page by path, and their media types."""


class TooLargeError(ValueError):
    """A file of more bytes than are taken."""


_STATUS: Mapping[type[Exception], int] = {
    WishError: 400,
    TimeoutError: 408,
    TooLargeError: 413,
    MemoryError: 413,
    JpegError: 422,
    ValueError: 422,
    BusyError: 503,
    LeftError: 503,
}
"""How an error is answered, with its message."""


def build(workshop: Workshop, *, names: Collection[str] = ()) -> ASGIApp:
    """The app.

    Args:
      workshop: what does the work.
      names: of the machine, that it may be asked by beside addresses and `localhost`.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        workshop.close()

    told = dict.fromkeys(_STATUS, _told)
    app = Starlette(
        routes=routes(workshop),
        exception_handlers={**told, HTTPException: _nothing, Exception: _ours},
        lifespan=lifespan,
    )
    return Draining(Guard(app, names))


def routes(workshop: Workshop) -> list[Route]:
    """All that there is to ask for."""
    interface = _Interface(workshop)
    return [
        *(Route(path, _file(*of)) for path, of in _PAGE.items()),
        Route("/openapi.json", interface.description),
        Route("/api", interface.about),
        Route("/api/restore", interface.restore, methods=["POST"]),
        Route("/api/inspect", interface.inspect, methods=["POST"]),
        Route("/api/progress/{ticket}", interface.progress),
    ]


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """What answers with a file of the page."""

    async def answer(request: Request) -> Response:
        del request
        return Response(
            (resources.files(__package__) / "page" / name).read_bytes(), media_type=kind
        )

    return answer


class _Interface:
    """What programs ask for, the page among them."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    async def description(self, request: Request) -> Response:
        del request
        return JSONResponse(openapi.description(self._workshop.models))

    async def about(self, request: Request) -> Response:
        del request
        limits = self._workshop.limits
        return JSONResponse(
            {
                "version": hrcnn_jax.__version__,
                "models": self._workshop.models,
                "formats": {name: kind.suffix for name, kind in FORMATS.items()},
                "megabytes": limits.megabytes,
                "pixels": limits.pixels,
            }
        )

    async def restore(self, request: Request) -> ASGIApp:
        asked = wish(request.query_params, self._workshop.models)
        name = _name(request)

        async def work(job: Job, content: bytes) -> Response:
            picture = await self._workshop.restore(job, content, name, asked)
            suffix = FORMATS[asked.format].suffix
            kept = quote(PurePosixPath(name).stem + suffix)
            told = {
                "content-disposition": f"attachment; filename*=UTF-8''{kept}",
                "content-length": str(len(picture)),
            }
            return StreamingResponse(_pieces(picture), media_type=TYPES[suffix], headers=told)

        return self._with_file(request, work)

    async def inspect(self, request: Request) -> ASGIApp:
        asked = wish(request.query_params, self._workshop.models)
        name = _name(request)

        async def work(job: Job, content: bytes) -> Response:
            return JSONResponse(await self._workshop.inspect(job, content, name, asked))

        return self._with_file(request, work)

    async def progress(self, request: Request) -> Response:
        found = self._workshop.progress(request.path_params["ticket"])
        if found is None:
            return _problem("no such picture is worked on", 404)
        return JSONResponse(found)

    def _with_file(
        self, request: Request, work: Callable[[Job, bytes], Awaitable[Response]]
    ) -> ASGIApp:
        """What has a request's file worked on, and sends the answer; until then it has a place."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async with self._workshop.place(request.query_params.get("ticket", "")) as job:
                content = await _body(request, 1_000_000 * self._workshop.limits.megabytes)
                response = await _while_awaited(request, job, work(job, content))
                with anyio.move_on_after(PATIENCE):
                    await response(scope, receive, send)

        return answer


async def _while_awaited(request: Request, job: Job, work: Awaitable[Response]) -> Response:
    """What comes of a request's work, for as long as somebody waits for it.

    Raises:
      LeftError: if nobody does.
    """
    ended: Response | Exception = LeftError("nobody waits for this picture any more")
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            job.left.set()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            ended = await work
        except Exception as error:  # the group would wrap it
            ended = error
        tasks.cancel_scope.cancel()
    if isinstance(ended, Exception):
        raise ended
    return ended


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    """Bytes as they are sent."""
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]


def _name(request: Request) -> str:
    """What the file is called: the last part of what was given, however paths are written there."""
    given = request.query_params.get("name", "").replace("\\", "/")
    return PurePosixPath(given).name[:200] or "picture.jpg"


async def _body(request: Request, most: int) -> bytes:
    """A request's file.

    Raises:
      TooLargeError: as soon as it is known to be.
      TimeoutError: if it does not come.
      LeftError: if whoever sends it leaves.
    """
    too_large = TooLargeError(f"the file has more than {most // 1_000_000} million bytes")
    if int(request.headers.get("content-length", "0")) > most:
        raise too_large
    content = bytearray()
    try:
        with anyio.fail_after(PATIENCE):
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    raise too_large
    except ClientDisconnect:
        raise LeftError("the file was not sent to its end") from None
    return bytes(content)


async def _told(request: Request, error: Exception) -> Response:
    """An error that says what to do."""
    del request
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if isinstance(error, MemoryError):
        return _problem(f"the picture {unforeseen(error)}", status)
    if isinstance(error, TimeoutError):
        return _problem("the file did not arrive in time", status)
    return _problem(str(error), status)


async def _nothing(request: Request, error: Exception) -> Response:
    """No such path, or not by this method."""
    assert isinstance(error, HTTPException)
    answer = _problem(f"{request.method} {request.url.path}: {error.detail}", error.status_code)
    answer.headers.update(error.headers or {})  # such as the methods that are allowed
    return answer


async def _ours(request: Request, error: Exception) -> Response:
    del request
    return _problem(unforeseen(error), 500)


def _problem(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status, {"retry-after": "10"} if status == 503 else None)
