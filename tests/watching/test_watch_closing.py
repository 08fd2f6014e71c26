"""Closing a watcher or its client during watches: every watch gets an error, and no task is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from support.scripted_server import Answer, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    ClanforgeError,
    ConfigurationError,
    Job,
    JobKind,
    JobRef,
    JobState,
    JobWatcher,
    WatchClosedError,
    job_from_dict,
)

REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


async def hang() -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


def server_with(script: Callable[[], Answer | Awaitable[Answer]]) -> ScriptedServer:
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script)
    return server


async def outcome_of(waiting: Awaitable[Any]) -> Any:
    try:
        return await waiting
    except ClanforgeError as error:
        return error


@virtual_time
async def test_closing_the_watcher_ends_its_watches() -> None:
    """A watch ends with a `WatchClosedError` that has its reference and last snapshot, and polling stops."""
    server = server_with(lambda: RUNNING)
    watcher = JobWatcher(server.client(), interval=10)
    waiting = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(15)
    await watcher.aclose()
    error = await outcome_of(waiting)
    assert isinstance(error, WatchClosedError)
    assert error.ref == REF
    assert error.last_job == job_from_dict(JobKind.IMAGE_VERSION, RUNNING)
    assert now() == 15
    await asyncio.sleep(10_000)
    assert server.polls(9012) == [0, 10]


@virtual_time
async def test_no_task_outlives_aclose() -> None:
    """When `aclose` returns, requests in flight have ended and the watcher has no task left."""
    server = server_with(hang)
    for job_id in range(1, 21):
        server.on("imageversion/status", job_id, hang)
    watcher = JobWatcher(server.client(timeout=600))
    waits = [asyncio.create_task(watcher.wait(REF)) for _ in range(3)]
    waits += [asyncio.create_task(watcher.wait(JobRef.image_version(job_id))) for job_id in range(1, 21)]
    await asyncio.sleep(5)
    assert server.in_flight == 10
    await watcher.aclose()
    assert server.in_flight == 0
    assert asyncio.all_tasks() - {asyncio.current_task()} <= set(waits)
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {WatchClosedError}
    assert all(outcome.last_job is None for outcome in outcomes if isinstance(outcome, WatchClosedError))


@virtual_time
async def test_leaving_the_context_closes_the_watcher() -> None:
    """``async with`` closes the watcher, even on an error; the client stays open."""
    server = server_with(lambda: RUNNING)
    client = server.client()

    async def leave_with(error: type[Exception]) -> None:
        async with JobWatcher(client, interval=10) as watcher:
            waiting.append(asyncio.create_task(watcher.wait(REF)))
            await asyncio.sleep(15)
            raise error

    waiting: list[asyncio.Task[Job]] = []
    with pytest.raises(LookupError):
        await leave_with(LookupError)
    assert isinstance(await outcome_of(waiting[0]), WatchClosedError)
    assert (await client.image_versions.status(9012)).state is JobState.RUNNING


@virtual_time
async def test_a_closed_watcher_raises() -> None:
    """Every method of a closed watcher raises `WatchClosedError`, without a request."""
    server = server_with(lambda: RUNNING)
    watcher = JobWatcher(server.client())
    await watcher.aclose()
    ended = job_from_dict(JobKind.IMAGE_VERSION, COMPLETED)
    for target, last_job in ((REF, None), (ended, ended)):
        with pytest.raises(WatchClosedError) as caught:
            await watcher.wait(target)
        assert caught.value.ref == REF
        assert caught.value.last_job is last_job
    with pytest.raises(WatchClosedError):
        await anext(watcher.updates(REF))
    with pytest.raises(WatchClosedError):
        await watcher.wait_all([REF])
    with pytest.raises(WatchClosedError):
        await anext(watcher.as_completed([REF]))
    assert not server.requests


@virtual_time
async def test_a_watcher_can_be_closed_twice() -> None:
    """Closing twice, or closing an unused watcher, has no effect."""
    watcher = JobWatcher(server_with(hang).client(timeout=600))
    await watcher.aclose()
    await watcher.aclose()
    watcher = JobWatcher(server_with(hang).client(timeout=600))
    waiting = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(5)
    await asyncio.gather(watcher.aclose(), watcher.aclose())
    assert isinstance(await outcome_of(waiting), WatchClosedError)


@virtual_time
async def test_concurrent_closing_waits_for_the_tasks() -> None:
    """Of two concurrent `aclose` calls neither returns while a request is in flight."""
    server = server_with(hang)

    async def end_slowly() -> Answer:
        try:
            return await hang()
        finally:
            await asyncio.sleep(3)

    server.on("imageversion/status", 9012, end_slowly)
    watcher = JobWatcher(server.client(timeout=600))
    waiting = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(5)

    async def close() -> bool:
        await watcher.aclose()
        return server.in_flight == 0

    assert all(await asyncio.gather(close(), close()))
    assert isinstance(await outcome_of(waiting), WatchClosedError)


@virtual_time
async def test_results_report_the_closing() -> None:
    """`wait_all` and `as_completed` report a closed watcher in their results; `updates` raises."""
    server = server_with(lambda: RUNNING)
    server.version(1, wire(1, JobState.COMPLETED))
    watcher = JobWatcher(server.client(), interval=10)

    async def updates() -> list[Job]:
        return [job async for job in watcher.updates(REF)]

    async def as_completed() -> list[Any]:
        return [result.error async for result in watcher.as_completed([REF, JobRef.image_version(1)])]

    waits: list[asyncio.Task[Any]] = [
        asyncio.create_task(watcher.wait_all([REF, JobRef.image_version(1)])),
        asyncio.create_task(as_completed()),
        asyncio.create_task(updates()),
    ]
    await asyncio.sleep(15)
    await watcher.aclose()
    closed, completed = await waits[0]
    first, second = await waits[1]
    error = await outcome_of(waits[2])
    assert isinstance(closed.error, WatchClosedError)
    assert (closed.polls, closed.elapsed) == (2, 15)
    assert completed.ok
    assert first is None
    assert isinstance(second, WatchClosedError)
    assert isinstance(error, WatchClosedError)


@virtual_time
async def test_earlier_updates_are_yielded_after_closing() -> None:
    """A slow consumer gets the updates from before the closing, and then the error."""
    server = server_with(lambda: wire(9012, jobprogress=int(now())))
    watcher = JobWatcher(server.client(), interval=10)
    updates = watcher.updates(REF)
    seen = [(await anext(updates)).progress]
    await asyncio.sleep(25)
    await watcher.aclose()
    seen += [(await anext(updates)).progress, (await anext(updates)).progress]
    with pytest.raises(WatchClosedError):
        await anext(updates)
    assert seen == [0, 10, 20]


@virtual_time
async def test_on_update_may_close_the_watcher() -> None:
    """`aclose` inside ``on_update`` ends every watch, including its own."""
    server = server_with(lambda: wire(9012, jobprogress=int(now())))
    server.on("imageversion/status", 1, hang)
    watcher = JobWatcher(server.client(timeout=600), interval=10)

    async def close(job: Job) -> None:
        if job.progress == 20:
            await watcher.aclose()

    results = await watcher.wait_all([REF, JobRef.image_version(1), REF], on_update=close)
    assert {type(result.error) for result in results} == {WatchClosedError}
    assert (now(), server.in_flight) == (20, 0)
    gc.collect()  # a coroutine that was never awaited would warn now


@virtual_time
async def test_closing_in_the_last_on_update_keeps_the_result() -> None:
    """If ``on_update`` closes the watcher upon a terminal snapshot, the watch still ends with the job."""
    watcher = JobWatcher(server_with(lambda: COMPLETED if now() >= 20 else RUNNING).client(), interval=10)

    closed: list[float] = []

    async def close(job: Job) -> None:
        if job.is_terminal:
            await watcher.aclose()
            closed.append(now())

    assert (await watcher.wait(REF, on_update=close)).is_completed
    assert closed == [20]
    with pytest.raises(WatchClosedError):
        await watcher.wait(REF)


@virtual_time
async def test_closing_cancels_on_update(caplog: pytest.LogCaptureFixture) -> None:
    """A running ``on_update`` is cancelled, without a log record, and has ended when `aclose` returns."""
    ended: list[float] = []

    async def sleep_long(_: Job) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(now())

    watcher = JobWatcher(server_with(lambda: RUNNING).client(), interval=10)
    waiting = asyncio.create_task(watcher.wait(REF, on_update=sleep_long))
    await asyncio.sleep(15)
    await watcher.aclose()
    assert ended == [15]
    assert isinstance(await outcome_of(waiting), WatchClosedError)
    assert not caplog.records


@pytest.mark.parametrize("script", [pytest.param(lambda: RUNNING, id="between"), pytest.param(hang, id="during")])
@virtual_time
async def test_closing_the_client_ends_its_watches(script: Callable[[], Answer | Awaitable[Answer]]) -> None:
    """If its client is closed, a watch gets the client's `ConfigurationError` with the next poll."""
    server = server_with(script)
    client = server.client(timeout=30)
    watcher = JobWatcher(client, interval=10)
    waiting = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(15)
    await client.aclose()
    error = await outcome_of(waiting)
    assert isinstance(error, ConfigurationError)
    assert "closed" in str(error)
    assert now() < 50
    with pytest.raises(ConfigurationError):
        await watcher.wait(REF)


@virtual_time
async def test_closing_the_client_during_a_cooldown() -> None:
    """A poll that waits for the client's cooldown raises after the client is closed, and sends nothing."""
    server = server_with(lambda: httpx.Response(429, headers={"Retry-After": "100"}))
    client = server.client()
    waiting = asyncio.create_task(JobWatcher(client).wait(REF))
    await asyncio.sleep(15)
    await client.aclose()
    assert isinstance(await outcome_of(waiting), ConfigurationError)
    assert server.polls(9012) == [0]


@pytest.mark.parametrize("turns", range(12))
@virtual_time
async def test_cancelling_the_workers_ends_the_watch(turns: int) -> None:
    """If other code cancels the watcher's tasks at any moment, no watch hangs."""
    watcher = JobWatcher(server_with(hang).client(timeout=600))
    waiting = asyncio.create_task(watcher.wait(REF, timeout=5000))
    for _ in range(turns):
        await asyncio.sleep(0)
    workers = asyncio.all_tasks() - {asyncio.current_task(), waiting}
    for task in workers:
        task.cancel()
    await asyncio.sleep(100)
    if workers:
        assert waiting.done()
        assert isinstance(await outcome_of(waiting), WatchClosedError)
    await watcher.aclose()
    assert isinstance(await outcome_of(waiting), ClanforgeError)
    assert now() == 100


@virtual_time
async def test_cancelling_a_worker_that_polled_other_jobs_before() -> None:
    """If a worker is cancelled, the watch of the job that it polls at that moment ends."""
    server = server_with(hang)
    server.version(1, wire(1, JobState.COMPLETED))
    watcher = JobWatcher(server.client(timeout=600, max_concurrency=1))
    first = asyncio.create_task(watcher.wait(JobRef.image_version(1)))
    last = asyncio.create_task(watcher.wait(REF))
    await first
    await asyncio.sleep(5)
    for task in asyncio.all_tasks() - {asyncio.current_task(), last}:
        task.cancel()
    assert isinstance(await outcome_of(last), WatchClosedError)
    assert now() == 5


@virtual_time
async def test_cancelling_every_task() -> None:
    """If every task is cancelled, as at the end of `asyncio.run`, every watch ends and nothing is left."""
    server = server_with(hang)
    server.version(1, wire(1))
    watcher = JobWatcher(server.client(timeout=600), interval=10)
    waits: list[asyncio.Task[Any]] = [
        asyncio.create_task(watcher.wait(REF)),
        asyncio.create_task(watcher.wait(REF, on_update=lambda _: None)),
        asyncio.create_task(watcher.wait_all([REF, JobRef.image_version(1)])),
    ]
    await asyncio.sleep(5)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {asyncio.CancelledError, WatchClosedError}
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(10_000)
    assert server.polls(9012) == [0]


@virtual_time
async def test_an_unread_iterator_is_closed_too() -> None:
    """The watch of an iterator that is not being read ends with its watcher."""
    server = server_with(lambda: RUNNING)
    watcher = JobWatcher(server.client(), interval=10)
    updates, results = watcher.updates(REF), watcher.as_completed([JobRef.image_version(9012)])
    await anext(updates)
    reading = asyncio.create_task(anext(results))
    await asyncio.sleep(5)
    await watcher.aclose()
    await asyncio.sleep(1000)
    assert server.polls(9012) == [0, 0]
    assert isinstance((await reading).error, WatchClosedError)
    with pytest.raises(WatchClosedError):
        await anext(updates)


@virtual_time
async def test_closing_at_any_moment_leaves_nothing() -> None:
    """A watcher closed in any iteration of the loop leaves neither a task nor a hanging watch."""
    for turns in range(25):
        server = server_with(lambda: RUNNING)
        watcher = JobWatcher(server.client(), interval=10)
        waiting = asyncio.create_task(watcher.wait(REF))
        for _ in range(turns):
            await asyncio.sleep(0)
        await watcher.aclose()
        assert isinstance(await outcome_of(waiting), WatchClosedError)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert server.in_flight == 0
