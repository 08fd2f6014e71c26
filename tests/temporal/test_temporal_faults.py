"""Faults of the Temporal server and of workers are retried, or reported to the caller."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from support.scripted_server import Answer, ScriptedServer, wire
from support.temporal.faulty_client import Faults
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from clanforge_async import (
    AuthenticationError,
    ClanforgeError,
    ConfigurationError,
    Job,
    JobRef,
    JobState,
    RateLimitError,
    WatchResult,
    WatchTimeoutError,
)
from clanforge_async.engine import WatchPolicy
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher
from clanforge_async.temporal.activities import Activities
from clanforge_async.temporal.history import History
from clanforge_async.temporal.rate_limit import brake_id, hold_queue
from clanforge_async.temporal.workflows import POLL, WatchWorkflow

REF, OTHER = JobRef.image_version(1), JobRef.image_version(2)


def api_of(*states: JobState) -> ScriptedServer:
    """Return an API whose jobs 1, 2, ... are in these states."""
    api = ScriptedServer()
    for number, state in enumerate(states, 1):
        api.version(number, wire(number, state))
    return api


async def test_a_server_that_is_away_is_waited_for(temporal: Client, queue: str) -> None:
    """Calls that fail while the server is down are made again, and each event is returned once."""
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
    """A permanent error of the server is raised by the call that receives it."""
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
    """If a description arrives after a watch has ended, it gives no update."""
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
    """If a worker of another release refuses a watch permanently, the error has the worker's message."""

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
    """If a worker fails until the watch's timeout, the watch still ends as timed out."""
    monkeypatch.setattr("clanforge_async.temporal.workflows.GRACE", 1.5)
    client = ScriptedServer().client()
    await client.aclose()
    async with Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client)]):
        [result] = await TemporalWatcher(temporal, task_queue=queue, timeout=0.2).wait_all([REF])
    assert isinstance(result.error, WatchTimeoutError)
    assert isinstance(result, WatchResult)


def environment(temporal: Client, queue: str) -> ActivityEnvironment:
    """Return the environment of an activity on the queue."""
    environment = ActivityEnvironment(client=temporal)
    environment.info = replace(ActivityEnvironment.default_info(), task_queue=queue)
    return environment


TASK = {"ref": str(REF), "began": 0.0, "deadline": None, "others": 0}


async def test_a_poll_under_the_brake_is_put_off(temporal: Client, queue: str) -> None:
    """If the server starts a poll although the brake is on, the poll is not made, and its state is kept."""
    await hold_queue(temporal, queue)
    api = api_of(JobState.RUNNING)
    async with api.client() as client:
        with pytest.raises(ApplicationError) as caught:
            await environment(temporal, queue).run(Activities(client, WatchPolicy()).poll, TASK)
    assert caught.value.next_retry_delay == timedelta(seconds=1)
    assert api.requests == []


async def test_a_429_that_ends_a_watch_brakes_too(temporal: Client, queue: str) -> None:
    """All workers are held after a 429, even if the watch that got it tolerates no outage and ends."""
    api = ScriptedServer()
    api.on("imageversion/status", 1, lambda: httpx.Response(429, headers={"Retry-After": "600"}))
    async with api.client() as client:
        policy = WatchPolicy(outage_tolerance=0.0)
        result = await environment(temporal, queue).run(Activities(client, policy).poll, TASK)
    assert isinstance(WatchResult.from_dict(result).error, RateLimitError)
    braking = temporal.get_workflow_handle(brake_id(queue))
    assert (await braking.describe()).status is WorkflowExecutionStatus.RUNNING
    await braking.terminate()


@pytest.mark.parametrize(("left", "tries_again"), [(0.3, False), (30.0, True)])
async def test_a_refusal_near_the_deadline_is_the_end(
    temporal: Client, queue: str, left: float, tries_again: bool
) -> None:
    """If no time is left to repeat the poll after a 401, the watch ends with that error and not with a timeout."""
    api, running = ScriptedServer(), environment(temporal, queue)
    api.on("imageversion/status", 1, lambda: httpx.Response(401, text="wrong keys"))
    task = TASK | {"deadline": running.info.started_time.timestamp() + left}
    async with api.client() as client:
        polling = running.run(Activities(client, WatchPolicy()).poll, task)
        if tries_again:
            with pytest.raises(ApplicationError) as caught:
                await polling
            assert caught.value.next_retry_delay == timedelta(seconds=0.5)
        else:
            assert isinstance(WatchResult.from_dict(await polling).error, AuthenticationError)


async def test_a_strategy_may_never_poll_again(temporal: Client, queue: str) -> None:
    """An infinite pause becomes a year, since Temporal's times are limited."""
    async with api_of(JobState.RUNNING).client() as client:
        policy = WatchPolicy(interval=lambda _: math.inf)
        with pytest.raises(ApplicationError) as caught:
            await environment(temporal, queue).run(Activities(client, policy).poll, TASK)
    assert caught.value.next_retry_delay == timedelta(days=366)


async def test_a_slow_poll_sends_heartbeats(temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a poll waits for the API, the worker sends heartbeats to the Temporal server."""
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
    """If a worker cannot poll, it sends only the class of its error to the Temporal server."""
    client = ScriptedServer().client()
    await client.aclose()
    with pytest.raises(ApplicationError, match="the worker cannot poll: ConfigurationError") as caught:
        await environment(temporal, queue).run(Activities(client, WatchPolicy()).poll, TASK)
    assert not caught.value.non_retryable
    assert not isinstance(caught.value.__cause__, ConfigurationError)
