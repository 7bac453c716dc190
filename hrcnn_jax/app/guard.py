"""Who may ask: the page itself, and programs; not other pages that the same browser shows.

A page of a stranger can have the browser send requests here. Two checks keep it out. The name that
a request was sent to (`Host`) must be an address or a name of this machine: a stranger's name
that is made to point here (DNS rebinding) is neither. And what is sent with an `Origin` must come
from this page; under a name that was given also from the encrypted one, as a proxy that encrypts
may stand before it. Programs send no `Origin`.
"""

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load (Content Security Policy): nothing from elsewhere."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer."""


class Guard:
    """An ASGI application that passes on to another what it may be asked."""

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        """Before `app`; `names` are the machine's, beside addresses and `localhost`."""
        self._app = app
        self._given = {_name(name) for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers by itself what is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        problem = self._problem(scope)
        if problem is None:
            await self._app(scope, receive, guarded)
        else:
            await JSONResponse({"error": problem}, 403)(scope, receive, guarded)

    def _problem(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return (
                f"this app is not known as {host[:80]!r}: open it by its address, or start it with "
                "--name"
            )
        origin = headers.get("origin")
        schemes = {scope["scheme"], "https"} if _name(host) in self._given else {scope["scheme"]}
        if origin is not None and origin not in {f"{scheme}://{host}" for scheme in schemes}:
            return "another page asked for this; only the app's own page may"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a `Host` header, with or without a port, is an address or one of the names."""
        name = _name(host)
        if name == "localhost" or name in self._given:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


def _name(host: str) -> str:
    """The name or address in a `Host` header, which may tell a port, too."""
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() else host).lower()
