"""A Temporal client whose calls fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, Interceptor, OutboundInterceptor
from temporalio.service import RPCError, RPCStatusCode


class Faults(Interceptor):
    """Faults of a Temporal client's calls.

    Attributes:
        fetches: The fault of each fetch of a history, raised after two events, until the list is empty.
        descriptions: The fault of each description of a workflow, until the list is empty.
        terminations: The fault of each termination, until the list is empty.
        snapshot: Set when a description shows the states of two watches. It is returned after `release`.
    """

    def __init__(self) -> None:
        self.fetches: list[RPCStatusCode] = []
        self.descriptions: list[RPCStatusCode] = []
        self.terminations: list[RPCStatusCode] = []
        self.snapshot = asyncio.Event()
        self.release = asyncio.Event()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        return _FaultyCalls(next, self)

    def client_of(self, temporal: Client) -> Client:
        """Return a client with these faults."""
        config: dict[str, Any] = {**temporal.config(), "interceptors": [self]}
        return Client(**config)


class _FaultyCalls(OutboundInterceptor):
    def __init__(self, inner: OutboundInterceptor, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    def fetch_workflow_history_events(self, input: Any) -> Any:  # noqa: A002 - as above
        return self._fetch(super().fetch_workflow_history_events(input))

    async def _fetch(self, events: AsyncIterator[HistoryEvent]) -> AsyncIterator[HistoryEvent]:
        async for event in events:
            if event.event_id == 3:
                fail_if_any(self._faults.fetches)
            yield event

    async def describe_workflow(self, input: Any) -> Any:  # noqa: A002 - as above
        fail_if_any(self._faults.descriptions)
        description = await super().describe_workflow(input)
        pending = description.raw_description.pending_activities
        if sum(each.HasField("heartbeat_details") for each in pending) == 2:
            self._faults.snapshot.set()
            await self._faults.release.wait()
        return description

    async def terminate_workflow(self, input: Any) -> None:  # noqa: A002 - as above
        fail_if_any(self._faults.terminations)
        await super().terminate_workflow(input)


def fail_if_any(faults: list[RPCStatusCode]) -> None:
    if faults:
        msg = "a fault"
        raise RPCError(msg, faults.pop(0), b"")
