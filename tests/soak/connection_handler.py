"""Connection handler of the soak's server: serves the simulator, injects faults and records retries and faults."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clanforge_async import JobRef
from clanforge_async.simulator import Fault, Route, Simulator
from soak.app_connection import AppConnection
from soak.fault_kinds import FaultKind
from soak.records import FaultRecord, RecordFile, RetryRecord

_WATCHED = (Route.IMAGE_DIFF_RETRY, Route.IMAGE_DIFF_STATUS, Route.IMAGE_VERSION_STATUS)
_ROUTES = {tuple(route.path.split("/")[3::2]): route for route in _WATCHED}


class ConnectionHandler:
    """Handles the connections of clients.

    Args:
        simulator: Makes the responses.
        next_fault: Returns the fault of the next request, or None.
        retries: Receives each retry, before a response shows it.
        faults: Receives each injected fault.
    """

    def __init__(
        self,
        simulator: Simulator,
        next_fault: Callable[[], FaultKind | None],
        retries: RecordFile[RetryRecord],
        faults: RecordFile[FaultRecord],
    ) -> None:
        self._simulator = simulator
        self._next_fault = next_fault
        self._retries = retries
        self._faults = faults
        self._recorded_retries = Counter(retry.diff_id for retry in retries)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side closes it."""
        try:
            while await self._handle_request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            return  # the client has closed the connection
        finally:
            writer.close()

    async def _handle_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        kind = self._next_fault()
        connection = AppConnection(self._simulator.app, self._record_retry, reader, writer)
        if kind is None:
            await connection.send_response()
            return not connection.is_closing
        try:
            return await self._inject(kind, connection)
        finally:
            if not connection.path:
                self._faults.write(FaultRecord(kind=kind.name, path=""))

    async def _inject(self, kind: FaultKind, connection: AppConnection) -> bool:
        connection.on_request = lambda path: self._faults.write(FaultRecord(kind=kind.name, path=path))
        if not isinstance(kind.fault, Fault):
            return await kind.fault(connection)
        head = await connection.read_request()
        with self._simulator_fault(connection.path, kind.fault):
            await connection.send_response_to(head)
        return not connection.is_closing

    @contextmanager
    def _simulator_fault(self, path: str, fault: Fault) -> Iterator[None]:
        route, job_id = _parse_path(path)
        switch = self._simulator.faults.add(fault, route=route, id=job_id, times=1)
        try:
            yield
        finally:
            self._simulator.faults.remove(switch)

    def _record_retry(self, path: str) -> None:
        route, job_id = _parse_path(path)
        if route is Route.IMAGE_VERSION_STATUS:
            return
        ref = JobRef.image_diff(job_id)
        if self._simulator.retries_of(ref) > self._recorded_retries[job_id]:
            self._recorded_retries[job_id] += 1
            self._retries.write(RetryRecord(diff_id=job_id, at=self._simulator.created_at(ref)))


def _parse_path(path: str) -> tuple[Route, int]:
    _, _, _, resource, job_id, action = path.split("/")
    return _ROUTES[resource, action], int(job_id)
