"""Faults that the simulator can inject, and the request as they see it. Add them with ``simulator.faults.add``.

A retry that fails for the caller may still have started a run. If a fault allows both, ``after_acting`` says whether
the server processes the request before the fault.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import httpx
from attrs import field, frozen
from attrs.validators import ge, in_
from starlette.responses import HTMLResponse, JSONResponse, Response

from clanforge_async.simulator.errors import envelope
from clanforge_async.simulator.requests import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

DISCONNECT = "clanforge.disconnect"
"""Key of the ASGI scope's ``state`` for a callable that closes the connection once all data is sent."""

Handler: TypeAlias = Callable[[], Awaitable[Response]]
"""Processes the request and returns the response."""


@frozen(kw_only=True)
class SimulatedRequest:
    """A request, as passed to a fault.

    Attributes:
        route: The call.
        id: The id that it is about: of a job or, to create an update or diff, of an image; None if it has none.
        clock: Returns the server's time in Unix seconds.
        since_retry: Seconds since the job's latest retry; None if there was none, or no such job.
        disconnected: Returns once the client has disconnected.
    """

    route: Route
    id: int | None
    clock: Callable[[], float]
    since_retry: float | None
    disconnected: Callable[[], Awaitable[object]]


class Fault(ABC):
    """A fault that can be applied to requests. Subclass it for a custom one.

    Attributes:
        conclusive: Whether no other fault is applied to a request after this one.
        shows_earlier_run: Whether the response shows the run before the latest.
    """

    __slots__ = ()

    conclusive: ClassVar[bool] = True
    shows_earlier_run: ClassVar[bool] = False

    def applies_to(self, request: SimulatedRequest) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether the fault can be applied to a request. If not, ``times`` does not count the request."""
        return True

    @abstractmethod
    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        """Return the response to a request, with or without calling its handler."""


@frozen
class Latency(Fault):
    """Delays the response, by the event loop's clock.

    If the client disconnects meanwhile, the request is processed nevertheless. In process, the request is part of the
    client's task, so cancelling that task cancels the request.

    Attributes:
        seconds: The delay.
        after_acting: Whether the delay comes after the server has processed the request, instead of before.
    """

    conclusive = False

    seconds: float = field(validator=ge(0))
    after_acting: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        """Wait before or after the request is processed."""
        response = await handler() if self.after_acting else None
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await request.disconnected()
        return await handler() if response is None else response


@frozen
class GatewayError(Fault):
    """Responds with the HTML error page of a gateway in front of the server.

    Attributes:
        status: 429, or any 5xx.
        retry_after: The seconds in the ``Retry-After`` header; None: no such header.
        as_date: Whether the header is a date instead, by the server's clock and rounded up to a whole second.
        after_acting: Whether the server has processed the request nevertheless.
    """

    status: int = field(validator=in_((429, *range(500, 512))))
    retry_after: int | None = field(default=None, kw_only=True)
    as_date: bool = field(default=False, kw_only=True)
    after_acting: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        """Respond with an error page."""
        if self.after_acting:
            await handler()
        title = f"{self.status} {HTTPStatus(self.status).phrase}"
        return HTMLResponse(
            f"<html>\n<head><title>{title}</title></head>\n<body><center><h1>{title}</h1></center></body>\n</html>\n",
            self.status,
            self._headers(request.clock()),
        )

    def _headers(self, now: float) -> Mapping[str, str]:
        if self.retry_after is None:
            return {}
        date = formatdate(math.ceil(now + self.retry_after), usegmt=True)
        return {"Retry-After": date if self.as_date else str(self.retry_after)}


@frozen
class Drop(Fault):
    """Closes the connection without a response.

    Attributes:
        after_acting: Whether the server processes the request before; otherwise it only reads it.
    """

    after_acting: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Close the connection."""
        if self.after_acting:
            await handler()
        return Dropped()


@frozen
class Truncate(Fault):
    """Processes the request, then closes the connection in the middle of the response's body."""

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Send half of the body."""
        return _Truncated(await handler())


@frozen
class Unreadable(Fault):
    """Processes the request, then responds with the usual status and a body that is not JSON.

    Attributes:
        html: Whether the body is an HTML page; otherwise it is incomplete JSON with a matching ``Content-Length``.
    """

    html: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Respond with an unreadable body."""
        response = await handler()
        if self.html:
            return HTMLResponse("<html><body>Please stand by.</body></html>\n", response.status_code)
        half = bytes(response.body[: len(response.body) // 2])
        return Response(half, response.status_code, media_type="application/json")


@frozen
class Envelope(Fault):
    """Responds with an error envelope, and does not process the request.

    Attributes:
        message: The envelope's ``error_message``.
        code: The envelope's ``error_code``.
        status: The HTTP status: 200, as observed of this API, or any other.
    """

    message: str
    code: int = field(default=1, kw_only=True)
    status: int = field(default=200, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Respond with an envelope."""
        return JSONResponse(envelope(self.code, self.message), self.status)


@frozen
class Stale(Fault):
    """Shows the run before the latest retry, with its terminal state and its older ``jobupdated``.

    Attributes:
        seconds: Seconds after the retry for which the fault is applied, by the server's clock; None: no limit.
        retry_answer: Whether the response to the retry itself also shows the earlier run.
    """

    conclusive = False
    shows_earlier_run = True

    seconds: float | None = None
    retry_answer: bool = field(default=False, kw_only=True)

    def applies_to(self, request: SimulatedRequest) -> bool:
        """Return whether there is an earlier run to show."""
        if request.route in (Route.IMAGE_DIFF_RETRY, Route.IMAGE_UPDATE_RETRY):
            return self.retry_answer
        if request.since_retry is None:
            return False
        return self.seconds is None or request.since_retry < self.seconds

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Respond as usual: the handler shows the earlier run because of ``shows_earlier_run``."""
        return await handler()


class Dropped(Response):
    """Closes the connection instead of sending a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Close the connection.

        Raises:
            httpx.RemoteProtocolError: There is no connection to close, as under ``httpx.ASGITransport``. A real
                transport would raise the same error.
        """
        _disconnect_of(scope, "Server disconnected without sending a response.")()


class _Truncated(Response):
    """Sends the headers and the first half of the body of a response, then closes the connection."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.body, response.status_code, dict(response.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        half = bytes(self.body[: len(self.body) // 2])
        message = f"peer closed connection after {len(half)} of {len(self.body)} bytes of the body"
        disconnect = _disconnect_of(scope, message)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        disconnect()


def _disconnect_of(scope: Scope, error_message: str) -> Callable[[], Any]:
    state = scope.get("state", {})
    if DISCONNECT not in state:
        raise httpx.RemoteProtocolError(error_message)
    disconnect: Callable[[], Any] = state[DISCONNECT]
    return disconnect
