"""What is sent is small: nothing here uploads files, and it is read before anybody is asked who they are."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2 * 2**20


class SmallBodies:
    """ASGI middleware that reads no more than 2 MiB of a request's body, whatever its headers say.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"")
        read = 0

        async def receive_a_little() -> Message:
            nonlocal read
            if told.isdigit() and int(told[:20]) > MOST_BYTES:
                raise _too_large()
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise _too_large()
            return message

        await self._app(scope, receive_a_little, send)


def _too_large() -> HTTPException:
    return HTTPException(413, f"what was sent is larger than {MOST_BYTES // 2**20} MiB")
