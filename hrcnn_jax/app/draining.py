"""Answers that come before a request's body has arrived, such as that it is too large.

A server that answers and closes while a client still sends resets the connection: most clients then
tell of a broken pipe, and never read why. So what still comes is read and dropped first.
"""

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE = 10.0
"""Seconds that the rest of a body may take to arrive before it is answered all the same."""


class Draining:
    """An ASGI application that hears requests out before another's answers are sent."""

    def __init__(self, app: ASGIApp) -> None:
        """Before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what `app` receives and sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Nothing comes from who asks first whether to send a body, and is best answered without it.
        ended = Headers(scope=scope).get("expect", "").lower() == "100-continue"

        async def heard() -> Message:
            nonlocal ended
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                with anyio.move_on_after(PATIENCE):
                    while not ended:
                        await heard()
            await send(message)

        await self._app(scope, heard, answered)
