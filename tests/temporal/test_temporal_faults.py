"""Faults of the Temporal server and of workers: waited out, or told to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.scripted_server import Answer, ScriptedServer, wire
from temporalio import activity
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, Interceptor, OutboundInterceptor
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from clanforge_async import ClanforgeError, ConfigurationError, Job, JobRef, JobState, WatchResult, WatchTimeoutError
from clanforge_async.engine import WatchPolicy
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher
from clanforge_async.temporal.activities import Activities
from clanforge_async.temporal.history import History
from clanforge_async.temporal.rate_limit import hold_queue
from clanforge_async.temporal.workflows import POLL, WatchWorkflow

REF, OTHER = JobRef.image_version(1), JobRef.image_version(2)


class Faults(Interceptor):
    """Faults of a Temporal client's calls.

    Attributes:
        fetches: The fault of each fetch of a history after two of its events, while there are any.
        descriptions: The fault of each description of a workflow, likewise.
        terminations: The fault of each termination.
        snapshot: Set when a description shows the states of two watches. It is given out after `release`.
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


def api_of(*states: JobState) -> ScriptedServer:
    """Return an API whose jobs 1, 2, ... are in these states."""
    api = ScriptedServer()
    for number, state in enumerate(states, 1):
        api.version(number, wire(number, state))
    return api


async def test_a_server_that_is_away_is_waited_for(temporal: Client, queue: str) -> None:
    """Calls that fail while the server is away are made again, and each event is given out once."""
    api, faults, seen = api_of(JobState.RUNNING), Faults(), list[Job]()
    faults.fetches = [RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED]
    faults.descriptions = [RPCStatusCode.UNAVAILABLE]
    watcher, updated = TemporalWatcher(faults.client_of(temporal), task_queue=queue), asyncio.Event()

    def on_update(job: Job) -> None:
        seen.append(job)
        updated.set()

    async with (
        api.client() as client,
        Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client, interval=0.2)]),
        asyncio.timeout(60),
    ):
        waiting = asyncio.create_task(watcher.wait(REF, on_update=on_update, id=queue))
        await updated.wait()
        api.version(1, wire(1, JobState.COMPLETED))
        assert (await waiting).is_completed
    assert [job.state for job in seen] == [JobState.RUNNING, JobState.COMPLETED]
    assert (faults.fetches, faults.descriptions) == ([], [])
    faults.fetches = [RPCStatusCode.UNAVAILABLE]
    events = [event.event_id async for event in History(faults.client_of(temporal), queue)._events(wait=False)]
    assert events == list(range(1, len(events) + 1))


async def test_another_refusal_of_the_server_is_raised(temporal: Client, queue: str) -> None:
    """An error of the server that no waiting ends is raised by the call that meets it."""
    faults = Faults()
    watcher = TemporalWatcher(faults.client_of(temporal), task_queue=queue)
    faults.fetches = [RPCStatusCode.PERMISSION_DENIED]
    async with api_of(JobState.RUNNING).client() as client:
        async with Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client)]), asyncio.timeout(30):
            with pytest.raises(RPCError, match="a fault"):
                await watcher.wait(REF, id=queue)
        faults.terminations = [RPCStatusCode.PERMISSION_DENIED]
        with pytest.raises(RPCError, match="a fault"):
            await watcher.cancel(queue)
        await watcher.cancel(queue)


async def test_a_state_that_comes_after_the_end_is_no_update(temporal: Client, queue: str) -> None:
    """A description that arrives after a watch has ended gives no update of it."""
    api, faults, seen = api_of(JobState.RUNNING, JobState.RUNNING), Faults(), list[Job]()
    watcher = TemporalWatcher(faults.client_of(temporal), task_queue=queue)
    async with (
        api.client() as client,
        Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client, interval=0.2)]),
        asyncio.timeout(60),
    ):
        results = watcher.as_completed([REF, OTHER], on_update=seen.append)
        first = asyncio.ensure_future(anext(results))
        await faults.snapshot.wait()
        api.version(1, wire(1, JobState.COMPLETED))
        assert (await first).ref == REF
        faults.release.set()
        while OTHER not in [job.ref for job in seen]:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.05)
        api.version(2, wire(2, JobState.COMPLETED))
        assert [result.ref async for result in results] == [OTHER]
    assert [job.state for job in seen if job.ref == REF] == [JobState.COMPLETED]


async def test_a_refusal_of_a_later_release_ends_the_watch(temporal: Client, queue: str) -> None:
    """A worker of another release may refuse a watch for good; its message is the error."""

    @activity.defn(name=POLL)
    async def refuse(_: dict[str, Any]) -> None:
        msg = "this release knows no such job"
        raise ApplicationError(msg, non_retryable=True)

    async with Worker(temporal, task_queue=queue, workflows=[WatchWorkflow], activities=[refuse]):
        [result] = await TemporalWatcher(temporal, task_queue=queue).wait_all([REF])
    assert type(result.error) is ClanforgeError
    assert str(result.error) == "this release knows no such job"


async def test_a_worker_that_never_can_poll_lets_the_watch_time_out(
    temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that fails until the end of the watch's time does not hide that the time is up."""
    monkeypatch.setattr("clanforge_async.temporal.workflows.GRACE", 1.5)
    client = ScriptedServer().client()
    await client.aclose()
    async with Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client)]):
        [result] = await TemporalWatcher(temporal, task_queue=queue, timeout=0.2).wait_all([REF])
    assert isinstance(result.error, WatchTimeoutError)
    assert isinstance(result, WatchResult)


def environment(temporal: Client, queue: str) -> ActivityEnvironment:
    """Return the environment of an activity that the queue's worker runs."""
    environment = ActivityEnvironment(client=temporal)
    environment.info = replace(ActivityEnvironment.default_info(), task_queue=queue)
    return environment


TASK = {"ref": str(REF), "began": 0.0, "deadline": None, "others": 0}


async def test_a_poll_under_the_brake_is_put_off(temporal: Client, queue: str) -> None:
    """A poll that the server still hands out under the brake is not made, and keeps its state."""
    await hold_queue(temporal, queue)
    api = api_of(JobState.RUNNING)
    async with api.client() as client:
        with pytest.raises(ApplicationError) as caught:
            await environment(temporal, queue).run(Activities(client, WatchPolicy()).poll, TASK)
    assert caught.value.next_retry_delay == timedelta(seconds=1)
    assert api.requests == []


async def test_a_slow_poll_sends_heartbeats(temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a poll waits for the API, the worker tells the server that it lives."""
    monkeypatch.setattr("clanforge_async.temporal.activities._HEARTBEAT_INTERVAL", 0.01)
    api, beaten, beats = ScriptedServer(), asyncio.Event(), list[Any]()

    async def answer() -> Answer:
        await beaten.wait()
        return wire(1, JobState.COMPLETED)

    def on_heartbeat(*details: Any) -> None:
        beats.extend(details)
        beaten.set()

    api.on("imageversion/status", 1, answer)
    running = environment(temporal, queue)
    running.on_heartbeat = on_heartbeat
    async with api.client() as client, asyncio.timeout(30):
        result = await running.run(Activities(client, WatchPolicy()).poll, TASK)
    assert WatchResult.from_dict(result).ok
    assert beats[0]["state"]["ref"] == str(REF)


async def test_a_closed_client_is_not_the_end_of_a_watch(temporal: Client, queue: str) -> None:
    """A worker that cannot poll tells the server no more than the class of its error."""
    client = ScriptedServer().client()
    await client.aclose()
    with pytest.raises(ApplicationError, match="the worker cannot poll: ConfigurationError") as caught:
        await environment(temporal, queue).run(Activities(client, WatchPolicy()).poll, TASK)
    assert not caught.value.non_retryable
    assert not isinstance(caught.value.__cause__, ConfigurationError)
