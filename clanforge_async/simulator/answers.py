"""Answers that go wrong, as Starlette responses."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

HANG_UP = "clanforge.hang_up"
"""Where in the ASGI scope's ``state`` a server puts a callable that closes the connection, once all is sent."""


def page(status: int, headers: Mapping[str, str]) -> Response:
    """Return the HTML page with which gateways report an error."""
    title = f"{status} {HTTPStatus(status).phrase}"
    return HTMLResponse(
        f"<html>\n<head><title>{title}</title></head>\n<body><center><h1>{title}</h1></center></body>\n</html>\n",
        status,
        dict(headers),
    )


class Dropped(Response):
    """No answer: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Close the connection.

        Raises:
            httpx.RemoteProtocolError: There is none, as under ``httpx.ASGITransport``; a real transport raises this.
        """
        _hang_up(scope, "Server disconnected without sending a response.")()


class Truncated(Response):
    """The headers of an answer and the first half of its body, then the connection is closed."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, whole.status_code, dict(whole.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send what is to arrive, and close the connection.

        Raises:
            httpx.RemoteProtocolError: There is none, as under ``httpx.ASGITransport``; a real transport raises this.
        """
        half = bytes(self.body[: len(self.body) // 2])
        hang_up = _hang_up(scope, f"peer closed connection after {len(half)} of {len(self.body)} bytes of the body")
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        hang_up()


def _hang_up(scope: Scope, message: str) -> Callable[[], Any]:
    state = scope.get("state", {})
    if HANG_UP not in state:
        raise httpx.RemoteProtocolError(message)
    hang_up: Callable[[], Any] = state[HANG_UP]
    return hang_up
