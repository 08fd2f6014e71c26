"""What the server does: it serves a simulator, breaks what it is told to, and writes down what must not be lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clanforge_async import JobRef
from clanforge_async.simulator import Fault, Route, Simulator
from soak.app_connection import AppConnection
from soak.journal import Breakdown, Journal, Retry
from soak.kinds import Kind

_ROUTES = {(route.kind.replace("-", ""), route.path.rpartition("/")[2]): route for route in Route}


class Service:
    """Converses with clients.

    Args:
        simulator: Answers.
        draw: Returns what is to befall the next request.
        retries: Where retries are written down, before any answer shows them.
        breakdowns: Where faults are.
    """

    def __init__(
        self,
        simulator: Simulator,
        draw: Callable[[], Kind | None],
        retries: Journal[Retry],
        breakdowns: Journal[Breakdown],
    ) -> None:
        self._simulator = simulator
        self._draw = draw
        self._retries = retries
        self._breakdowns = breakdowns
        self._kept = Counter(retry.diff_id for retry in retries)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side has enough."""
        try:
            while await self._attend(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            return  # the client has gone
        finally:
            writer.close()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        kind = self._draw()
        connection = AppConnection(self._simulator.app, self._record_new_retry, reader, writer)
        if kind is None:
            await connection.send_response()
            return not connection.is_over
        try:
            return await self._break(kind, connection)
        finally:
            if not connection.path:
                self._breakdowns.write(Breakdown(kind=kind.name, path=""))

    async def _break(self, kind: Kind, connection: AppConnection) -> bool:
        connection.on_request = lambda path: self._breakdowns.write(Breakdown(kind=kind.name, path=path))
        if not isinstance(kind.way, Fault):
            return await kind.way(connection)
        head = await connection.read_request()
        with self._befalling(connection.path, kind.way):
            await connection.send_response_to(head)
        return not connection.is_over

    @contextmanager
    def _befalling(self, path: str, fault: Fault) -> Iterator[None]:
        route, job_id = _asked_for(path)
        switch = self._simulator.faults.add(fault, route=route, id=job_id, times=1)
        try:
            yield
        finally:
            self._simulator.faults.remove(switch)

    def _record_new_retry(self, path: str) -> None:
        route, job_id = _asked_for(path)
        if route is Route.IMAGE_VERSION_STATUS:
            return
        ref = JobRef.image_diff(job_id)
        if self._simulator.retries_of(ref) > self._kept[job_id]:
            self._kept[job_id] += 1
            self._retries.write(Retry(diff_id=job_id, at=self._simulator.created_at(ref)))


def _asked_for(path: str) -> tuple[Route, int]:
    _, _, _, subject, job_id, verb = path.split("/")
    return _ROUTES[subject, verb], int(job_id)
