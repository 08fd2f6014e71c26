"""Faults: what can go wrong with a request. They are switched on through ``simulator.faults``.

Where it matters whether the server acted before things went wrong (a retry starts a run, and no answer tells of it),
a fault says so by ``after_acting``.
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


@frozen(kw_only=True)
class SimulatedRequest:
    """A request to one of the calls.

    Attributes:
        route: The call.
        id: The id that it names; None where no id has that form.
        clock: Tells the server's time.
        since_retry: Seconds since the job was last retried; None where it never was, or does not exist.
        disconnected: Returns once the client has gone.
    """

    route: Route
    id: int | None
    clock: Callable[[], float]
    since_retry: float | None
    disconnected: Callable[[], Awaitable[object]]


DISCONNECT = "clanforge.disconnect"
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
        _disconnect_of(scope, "Server disconnected without sending a response.")()


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
        disconnect = _disconnect_of(
            scope, f"peer closed connection after {len(half)} of {len(self.body)} bytes of the body"
        )
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        disconnect()


def _disconnect_of(scope: Scope, message: str) -> Callable[[], Any]:
    state = scope.get("state", {})
    if DISCONNECT not in state:
        raise httpx.RemoteProtocolError(message)
    disconnect: Callable[[], Any] = state[DISCONNECT]
    return disconnect


Handler: TypeAlias = Callable[[], Awaitable[Response]]
"""Does what was asked for, and gives the answer."""


class Fault(ABC):
    """Something that goes wrong with a request; subclass it for one that is not here.

    Attributes:
        conclusive: Whether no other fault can befall a request after this one.
        shows_earlier_run: Whether the answer shows the run before the latest.
    """

    __slots__ = ()

    conclusive: ClassVar[bool] = True
    shows_earlier_run: ClassVar[bool] = False

    def applies_to(self, request: SimulatedRequest) -> bool:  # noqa: ARG002 - for subclasses to look at
        """Return whether it can befall this request at all; one that it cannot is not counted."""
        return True

    @abstractmethod
    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        """Answer the request, doing what it asks for or not."""


@frozen
class Latency(Fault):
    """The answer takes its time, by the event loop's clock.

    A client that leaves meanwhile does not undo its request. In process, where the request is a part of the client's
    own task, cancelling that task does.

    Attributes:
        seconds: How long.
        after_acting: Whether the server acts first and is slow to answer; else it is slow to act.
    """

    conclusive = False

    seconds: float = field(validator=ge(0))
    after_acting: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        """Wait before or after acting."""
        answer = await handler() if self.after_acting else None
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await request.disconnected()
        return await handler() if answer is None else answer


@frozen
class GatewayError(Fault):
    """A gateway in front of the server answers, with an HTML page.

    Attributes:
        status: 429, or any of 5xx.
        retry_after: The seconds that a ``Retry-After`` header asks to wait; None: no such header.
        as_date: The header names the moment instead, by the server's clock and rounded up to a whole second.
        after_acting: Whether the server has acted all the same.
    """

    status: int = field(validator=in_((429, *range(500, 512))))
    retry_after: int | None = field(default=None, kw_only=True)
    as_date: bool = field(default=False, kw_only=True)
    after_acting: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:
        """Answer with a page."""
        if self.after_acting:
            await handler()
        return page(self.status, self._headers(request.clock()))

    def _headers(self, now: float) -> dict[str, str]:
        if self.retry_after is None:
            return {}
        until = formatdate(math.ceil(now + self.retry_after), usegmt=True)
        return {"Retry-After": until if self.as_date else str(self.retry_after)}


@frozen
class Drop(Fault):
    """The connection is closed without an answer.

    Attributes:
        after_acting: Whether the server has acted; else it has seen the request and done nothing.
    """

    after_acting: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Answer nothing."""
        if self.after_acting:
            await handler()
        return Dropped()


@frozen
class Truncate(Fault):
    """The server acts, but the connection is closed in the middle of the answer's body."""

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Answer by half."""
        return Truncated(await handler())


@frozen
class Unreadable(Fault):
    """The server acts, and what arrives with its status is no JSON.

    Attributes:
        html: It is an HTML page; else it is JSON that breaks off, in a body that is whole by its length.
    """

    html: bool = field(default=False, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Answer with something unreadable."""
        answer = await handler()
        if self.html:
            return HTMLResponse("<html><body>Please stand by.</body></html>\n", answer.status_code)
        half = bytes(answer.body[: len(answer.body) // 2])
        return Response(half, answer.status_code, media_type="application/json")


@frozen
class Envelope(Fault):
    """The server does nothing and says so in an error envelope.

    Attributes:
        message: The envelope's ``error_message``.
        code: Its ``error_code``.
        status: The HTTP status: 200, as has been seen of this API, or any other.
    """

    message: str
    code: int = field(default=1, kw_only=True)
    status: int = field(default=200, kw_only=True)

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Answer with an envelope."""
        return JSONResponse(envelope(self.code, self.message), self.status)


@frozen
class Stale(Fault):
    """A retried diff still shows the run before the retry, with its end and its older ``jobupdated``.

    Attributes:
        seconds: For how long after the retry, by the server's clock; None: as long as it is switched on.
        retry_answer: Whether the answer to the retry itself shows the earlier run too.
    """

    conclusive = False
    shows_earlier_run = True

    seconds: float | None = None
    retry_answer: bool = field(default=False, kw_only=True)

    def applies_to(self, request: SimulatedRequest) -> bool:
        """Return whether there is an earlier run to show."""
        if request.route is Route.IMAGE_DIFF_RETRY:
            return self.retry_answer
        if request.since_retry is None:
            return False
        return self.seconds is None or request.since_retry < self.seconds

    async def apply(self, request: SimulatedRequest, handler: Handler) -> Response:  # noqa: ARG002
        """Answer; which run it shows is settled before."""
        return await handler()
