"""Reads a workflow's history and its pending activities. No worker has to run for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from attrs import field, frozen
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType, RetryState
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from clanforge_async._watching.decisions import finish, unfinished
from clanforge_async._watching.results import WatchClosedError, WatchResult, WatchTimeoutError
from clanforge_async._watching.state import WatchState
from clanforge_async.errors import ClanforgeError
from clanforge_async.refs import JobRef
from clanforge_async.temporal.workflows import WATCH

_RECONNECT_AFTER = 0.5
"""Seconds before the next attempt if the Temporal server does not respond."""

_UNREACHABLE = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.ABORTED,
}

_COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
_UNSUCCESSFUL = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
}
_CLOSED: dict[int, type[WatchClosedError | WatchTimeoutError]] = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: WatchClosedError,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: WatchClosedError,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: WatchClosedError,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: WatchClosedError,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: WatchTimeoutError,
}
"""The events that end a workflow, and the error with which each ends the workflow's unfinished watches."""


@frozen
class Batch:
    """The input of a workflow.

    Attributes:
        refs: The references, as text.
        parts: Number of workflows over which the call's watches are divided.
        began: When the workflow started, by the Temporal server's clock.
    """

    refs: list[str]
    parts: int
    began: float


@frozen
class History:
    """A workflow's history.

    Attributes:
        temporal: The Temporal client.
        workflow_id: The workflow.
        refs: The references of its watches, as text; empty if they are not known yet.
    """

    temporal: Client
    workflow_id: str
    refs: list[str] = field(factory=list[str])
    _ended: set[int] = field(factory=set[int], init=False)
    _last_seen: dict[int, WatchState] = field(factory=dict[int, WatchState], init=False)

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The handle of the workflow."""
        return self.temporal.get_workflow_handle(self.workflow_id)

    async def batch(self) -> Batch:
        """Return the workflow's input.

        Raises:
            LookupError: The workflow does not exist, or is not a watch.
        """
        async with aclosing(self._events(wait=False)) as events:
            return await self._read_batch(await anext(events))

    async def results(self) -> AsyncGenerator[tuple[int, WatchResult]]:
        """Iterate over the results in order of arrival, each with its reference's number, until all watches have ended.

        Raises:
            LookupError: The workflow does not exist, or is not a watch.
        """
        numbers, batch, at = dict[int, int](), Batch([], 1, 0.0), 0.0
        async for event in self._events(wait=True):
            at = _seconds(event)
            scheduled = event.activity_task_scheduled_event_attributes
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                batch = await self._read_batch(event)
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                numbers[event.event_id] = int(scheduled.activity_id)
            elif event.event_type == _COMPLETED or event.event_type in _UNSUCCESSFUL:
                number = numbers[_scheduled_event(event)]
                self._ended.add(number)
                yield number, await self._read_result(event, batch, number)
            elif event.event_type in _CLOSED:
                for number in self._unfinished(batch):
                    self._ended.add(number)
                    state = self._state(batch, number)
                    yield number, _end(state, event, unfinished(_CLOSED[event.event_type], state))
                return
            if batch.refs and not self._unfinished(batch):
                return
        for number in self._unfinished(batch):  # the workflow and its history were deleted
            self._ended.add(number)
            state = self._state(batch, number)
            yield number, finish(state, at, unfinished(WatchClosedError, state)).result

    @property
    def is_over(self) -> bool:
        """Whether all watches of the workflow have ended, given that its references are known."""
        return len(self._ended) == len(self.refs)

    def last_states(self) -> dict[int, WatchState]:
        """Return the last known state of each watch that has not ended, by the number of its reference."""
        batch = Batch(self.refs, 1, 0.0)
        return {number: self._state(batch, number) for number in self._unfinished(batch)}

    def _unfinished(self, batch: Batch) -> list[int]:
        return [number for number in range(len(batch.refs)) if number not in self._ended]

    async def pending_states(self) -> dict[int, WatchState]:
        """Read the state of each watch that has not ended, by the number of its reference."""
        description = await self.handle.describe()
        states: dict[int, WatchState] = {}
        for pending in description.raw_description.pending_activities:
            if pending.HasField("heartbeat_details"):
                number = int(pending.activity_id)
                states[number] = self._last_seen[number] = await self._read_state(pending.heartbeat_details)
        return states

    async def _events(self, *, wait: bool) -> AsyncGenerator[HistoryEvent]:
        """Iterate over the events, each once, even across restarts of the server."""
        last = 0
        while True:
            try:
                async for event in self.handle.fetch_history_events(wait_new_event=wait):
                    if event.event_id > last:
                        last = event.event_id
                        yield event
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and last:
                    return
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise LookupError(self.workflow_id) from None
                if error.status not in _UNREACHABLE:
                    raise
                await asyncio.sleep(_RECONNECT_AFTER)
            else:
                return

    async def _read_batch(self, event: HistoryEvent) -> Batch:
        started = event.workflow_execution_started_event_attributes
        if started.workflow_type.name != WATCH:
            raise LookupError(self.workflow_id)
        [batch] = await self._decode(started.input)
        return Batch(batch["refs"], batch.get("parts", 1), _seconds(event))

    async def _read_result(self, event: HistoryEvent, batch: Batch, number: int) -> WatchResult:
        if event.event_type == _COMPLETED:
            [plain] = await self._decode(event.activity_task_completed_event_attributes.result)
            return WatchResult.from_dict(plain)
        state, failure, retry_state = self._state(batch, number), Failure(), RetryState.RETRY_STATE_UNSPECIFIED
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
            failure = event.activity_task_timed_out_event_attributes.failure
            retry_state = RetryState.RETRY_STATE_TIMEOUT
        else:
            failure = event.activity_task_failed_event_attributes.failure
            retry_state = event.activity_task_failed_event_attributes.retry_state
        details = failure.timeout_failure_info.last_heartbeat_details
        state = await self._read_state(details) if details.payloads else state
        if retry_state == RetryState.RETRY_STATE_TIMEOUT:
            return _end(state, event, unfinished(WatchTimeoutError, state))
        return _end(state, event, ClanforgeError(failure.message))

    def _state(self, batch: Batch, number: int) -> WatchState:
        """Return the last known state of a watch."""
        ref = JobRef.parse(batch.refs[number])
        return self._last_seen.get(number, WatchState(ref=ref, began=batch.began))

    async def _read_state(self, details: Payloads) -> WatchState:
        [memory] = await self._decode(details)
        return WatchState.from_dict(memory["state"])

    async def _decode(self, payloads: Payloads) -> list[Any]:
        return await self.temporal.data_converter.decode(payloads.payloads)


def _scheduled_event(event: HistoryEvent) -> int:
    attributes = (
        event.activity_task_completed_event_attributes,
        event.activity_task_failed_event_attributes,
        event.activity_task_timed_out_event_attributes,
    )
    return next(each.scheduled_event_id for each in attributes if each.scheduled_event_id)


def _seconds(event: HistoryEvent) -> float:
    return event.event_time.ToNanoseconds() / 1e9


def _end(state: WatchState, event: HistoryEvent, error: ClanforgeError) -> WatchResult:
    return finish(state, _seconds(event), error).result
