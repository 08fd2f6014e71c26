"""A network between client and simulator that keeps a log, and whose server goes on when the client has left."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import httpx
from attrs import define, field
from support.virtual_time import now

from clanforge_async.simulator import Simulator

SENDER: ContextVar[object] = ContextVar("SENDER", default=None)
"""On whose behalf requests are sent, for whoever wants to tell theirs from others."""


@define(eq=False)
class Passage:
    """One request on its way.

    Attributes:
        path: The path that it asks for.
        sent: When the client sent it, by the loop's clock.
        answered: When the client had its answer; None: not yet, or never.
        status: The status of that answer.
        arrived: Whether it has reached the server.
        served: Whether the server is done with it.
        sender: On whose behalf it was sent.
    """

    path: str
    sent: float
    answered: float | None = None
    status: int | None = None
    arrived: bool = False
    served: bool = False
    sender: object = field(factory=SENDER.get)


class Network(httpx.AsyncBaseTransport):
    """Carries requests to a simulator in this process.

    Attributes:
        log: Every request, in the order in which they were sent.
        in_flight: How many requests the client waits for now.
        most_in_flight: The most that it ever waited for at a time.
        refusing: How many connections more are refused.
        barrier: Where set, the next requests wait there for each other before they are carried on.
        times_closed: How often the client has closed its transport.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.log: list[Passage] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.refusing = 0
        self.barrier: asyncio.Barrier | None = None
        self.times_closed = 0
        self._server = httpx.ASGITransport(app=simulator.app)
        self._serving: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request to the server, unless its connection is refused."""
        passage = Passage(request.url.path, now())
        self.log.append(passage)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._carried(request, passage)
        finally:
            self.in_flight -= 1

    async def aclose(self) -> None:
        """Count how often this is done."""
        self.times_closed += 1

    async def drain(self) -> None:
        """Wait until the server is done with the requests of clients that have left."""
        while self._serving:
            await asyncio.wait(self._serving)

    async def _carried(self, request: httpx.Request, passage: Passage) -> httpx.Response:
        if self.barrier is not None:
            await self.barrier.wait()
            self.barrier = None
        if self.refusing:
            self.refusing -= 1
            msg = "connection refused"
            raise httpx.ConnectError(msg)
        passage.arrived = True
        # In a task of its own, for a real server does not notice that its client has left.
        serving = asyncio.create_task(self._served(request, passage))
        self._serving.add(serving)
        serving.add_done_callback(self._over)
        response = await asyncio.shield(serving)
        passage.answered, passage.status = now(), response.status_code
        return response

    async def _served(self, request: httpx.Request, passage: Passage) -> httpx.Response:
        try:
            return await self._server.handle_async_request(request)
        finally:
            passage.served = True

    def _over(self, serving: asyncio.Task[httpx.Response]) -> None:
        self._serving.discard(serving)
        if not serving.cancelled():
            serving.exception()  # seen, also where no client is left to see it
