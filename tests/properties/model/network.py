"""A transport that logs requests and forwards them to a simulator, which finishes them even if the client cancels.

As a third party's transport it may also lie, or cancel itself.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from contextvars import ContextVar
from typing import assert_never

import httpx
from attrs import define, field
from properties.model.third_parties import TOKEN_PATH
from support.virtual_time import now

from clanforge_async.simulator import Simulator

SENDER: ContextVar[object] = ContextVar("SENDER", default=None)
"""The object for which the current context sends requests."""


class Misbehaviour(enum.Enum):
    """A fault of a third party's transport."""

    CONNECT_ERROR = "says after the response that no connection was made"
    CANCELLED = "raises CancelledError, although nobody cancelled it"
    CANCELLED_AFTER = "the same after the response"


@define(eq=False)
class LoggedRequest:
    """One request, with its progress.

    Attributes:
        path: The path of its URL.
        sent: When the client sent it, by the loop's clock.
        answered: Time at which the client got the response; None: not yet, or never.
        status: Status code of that response.
        arrived: Whether it reached the server.
        served: Whether the server has finished it.
        sender: The object on whose behalf it was sent.
    """

    path: str
    sent: float
    answered: float | None = None
    status: int | None = None
    arrived: bool = False
    served: bool = False
    sender: object = field(factory=SENDER.get)


class Network(httpx.AsyncBaseTransport):
    """Forwards requests to a simulator in this process.

    Args:
        simulator: The server.
        on_served: Called before and after the server handles a request.
        dates: Whether responses keep their ``Date``.

    Attributes:
        log: Every request, in the order of sending.
        in_flight: Number of requests that the client waits for.
        most_in_flight: Maximum of that number so far.
        connections_to_refuse: Number of further connections to refuse.
        misbehaviours: Faults of the transport at its next requests, the last one first.
        token_failures: Failures of the next requests for a token: a status, or None for a refused connection.
        barrier: If set, the next requests wait for each other there.
        times_closed: How often the client closed its transport.
    """

    def __init__(self, simulator: Simulator, on_served: Callable[[], None], *, dates: bool = True) -> None:
        self.log: list[LoggedRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections_to_refuse = 0
        self.misbehaviours: list[Misbehaviour] = []
        self.token_failures: list[int | None] = []
        self.barrier: asyncio.Barrier | None = None
        self.times_closed = 0
        self._on_served = on_served
        self._dates = dates
        self._server = httpx.ASGITransport(app=simulator.app)
        self._serving: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Forward a request to the server, unless its connection is refused."""
        if request.url.path == TOKEN_PATH:
            return await self._issue_token(request)
        logged = LoggedRequest(request.url.path, now())
        self.log.append(logged)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._forward(request, logged)
        finally:
            self.in_flight -= 1

    async def aclose(self) -> None:
        """Count the call."""
        self.times_closed += 1

    async def drain(self) -> None:
        """Wait until the server has finished the requests that the client cancelled."""
        while self._serving:
            await asyncio.wait(self._serving)

    async def _forward(self, request: httpx.Request, logged: LoggedRequest) -> httpx.Response:
        if self.barrier is not None:
            await self.barrier.wait()
            self.barrier = None
        if self.connections_to_refuse:
            self.connections_to_refuse -= 1
            msg = "connection refused"
            raise httpx.ConnectError(msg)
        misbehaviour = self.misbehaviours.pop() if self.misbehaviours else None
        if misbehaviour is Misbehaviour.CANCELLED:
            raise asyncio.CancelledError
        logged.arrived = True
        # In its own task: a real server does not notice that its client has disconnected.
        serving = asyncio.create_task(self._serve(request, logged))
        self._serving.add(serving)
        serving.add_done_callback(self._serving_done)
        response = await asyncio.shield(serving)
        match misbehaviour:
            case None:
                pass
            case Misbehaviour.CONNECT_ERROR:
                msg = "not even connected"
                raise httpx.ConnectError(msg)
            case Misbehaviour.CANCELLED_AFTER:
                raise asyncio.CancelledError
            case _:
                assert_never(misbehaviour)
        if not self._dates:
            response.headers.pop("Date", None)
        logged.answered, logged.status = now(), response.status_code
        return response

    async def _issue_token(self, request: httpx.Request) -> httpx.Response:
        assert request.content == b"grant"
        await asyncio.sleep(0)  # no longer: it would come between the rate limit and the request
        status = self.token_failures.pop() if self.token_failures else 200
        if status is None:
            msg = "connection refused by the token endpoint"
            raise httpx.ConnectError(msg)
        return httpx.Response(status)

    async def _serve(self, request: httpx.Request, logged: LoggedRequest) -> httpx.Response:
        self._on_served()  # an earlier request may have been acted upon already, although its response is delayed
        try:
            return await self._server.handle_async_request(request)
        finally:
            logged.served = True
            self._on_served()

    def _serving_done(self, serving: asyncio.Task[httpx.Response]) -> None:
        self._serving.discard(serving)
        if not serving.cancelled():
            serving.exception()  # retrieved, in case the client has gone
