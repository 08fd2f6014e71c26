"""Updates of a watch: `updates` and ``on_update``."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
import pytest
from support.scripted_server import Answer, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    Job,
    JobFailedError,
    JobKind,
    JobRef,
    JobState,
    JobWatcher,
    NotFoundError,
    WatchTimeoutError,
    job_from_dict,
)

REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


def status_after_seconds() -> Answer:
    """Return the status of a job that advances by one percent a second."""
    return COMPLETED if now() >= 100 else wire(9012, jobprogress=int(now()))


def server_with(script: Callable[[], Any]) -> ScriptedServer:
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script)
    return server


async def consume(updates: AsyncGenerator[Job, None], seen: list[int], seconds_each: float = 0.0) -> None:
    async for job in updates:
        await asyncio.sleep(seconds_each)
        seen.append(job.progress)


@virtual_time
async def test_updates_yields_each_change_and_the_end_last() -> None:
    """`updates` yields each changed snapshot once, and ends with the terminal one."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.QUEUED), RUNNING, RUNNING, wire(9012, jobprogress=60), RUNNING, COMPLETED)
    watcher = JobWatcher(server.client(), interval=5)
    seen = [(now(), job.state_name, job.progress) async for job in watcher.updates(REF)]
    assert seen == [
        (0, "Queued", 50),
        (5, "Running", 50),
        (15, "Running", 60),
        (20, "Running", 50),
        (25, "Completed", 100),
    ]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.SQUASHED])
@virtual_time
async def test_updates_of_a_failed_job_end_without_an_error(state: JobState) -> None:
    """`updates` yields a failed or squashed job last, and does not raise."""
    server = ScriptedServer()
    server.version(9012, RUNNING, wire(9012, state))
    states = [job.state async for job in JobWatcher(server.client(), interval=5).updates(REF)]
    assert states == [JobState.RUNNING, state]


@virtual_time
async def test_updates_of_a_terminal_job() -> None:
    """`updates` yields a terminal target unchanged, without a poll."""
    server = ScriptedServer()
    job = job_from_dict(JobKind.IMAGE_VERSION, wire(9012, JobState.FAILED))
    assert [update async for update in JobWatcher(server.client()).updates(job)] == [job]
    assert not server.requests


@virtual_time
async def test_updates_raise_errors_of_the_watch() -> None:
    """`updates` raises a timeout after the last snapshot, and a refusal even before the first."""
    server = server_with(status_after_seconds)
    watcher = JobWatcher(server.client(), interval=20)
    seen: list[int] = []
    with pytest.raises(WatchTimeoutError):
        await consume(watcher.updates(REF, timeout=50), seen)
    assert seen == [0, 20, 40, 49]
    server.version(9012, httpx.Response(404))
    with pytest.raises(NotFoundError):
        await anext(watcher.updates(REF))


@virtual_time
async def test_a_slow_consumer_gets_every_update() -> None:
    """Snapshots and the end wait for a slow consumer, in order."""
    watcher = JobWatcher(server_with(status_after_seconds).client(), interval=10)
    seen: list[int] = []
    async for job in watcher.updates(REF, timeout=500):
        await asyncio.sleep(200)
        seen.append(job.progress)
    assert seen == [*range(0, 100, 10), 100]
    assert now() == 200 * 11


@virtual_time
async def test_a_slow_consumer_gets_the_updates_before_a_timeout() -> None:
    """Snapshots from before the timeout are yielded, even if it has expired meanwhile."""
    watcher = JobWatcher(server_with(status_after_seconds).client(), interval=10)
    seen: list[int] = []
    with pytest.raises(WatchTimeoutError):
        await consume(watcher.updates(REF, timeout=25), seen, seconds_each=200)
    assert seen == [0, 10, 20, 24]


async def some_turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@virtual_time
async def test_leaving_the_iteration_stops_the_polls() -> None:
    """A ``break`` without ``aclose`` leaves neither a task nor a poll."""
    server = server_with(status_after_seconds)
    async for _ in JobWatcher(server.client(), interval=10).updates(REF):
        break
    await some_turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(1000)
    assert server.polls(9012) == [0]


@virtual_time
async def test_closing_the_iterator_stops_the_polls_at_once() -> None:
    """`aclose` of an iterator returns when the request in flight has ended."""
    server = server_with(status_after_seconds)
    updates = JobWatcher(server.client(), interval=10).updates(REF)
    await anext(updates)

    async def hang() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    server.on("imageversion/status", 9012, hang)
    await asyncio.sleep(15)
    assert server.in_flight == 1
    await updates.aclose()
    assert server.in_flight == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("started", [False, True])
@virtual_time
async def test_dropping_the_iterator_stops_the_polls(started: bool) -> None:
    """An iterator cleans up when its last reference is dropped, started or not."""
    server = server_with(status_after_seconds)
    updates: AsyncGenerator[Job, None] | None = JobWatcher(server.client(), interval=10).updates(REF)
    assert updates is not None
    if started:
        await anext(updates)
    updates = None
    gc.collect()
    await some_turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(1000)
    assert len(server.polls(9012)) == started


@virtual_time
async def test_cancelling_the_consumer_stops_the_polls() -> None:
    """A consumer cancelled while it waits leaves neither a task nor a poll."""
    server = server_with(status_after_seconds)
    watcher = JobWatcher(server.client(), interval=10)

    async def consume() -> None:
        async for _ in watcher.updates(REF):
            pass

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(35)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(1000)
    assert server.polls(9012) == [0, 10, 20, 30]


@virtual_time
async def test_an_error_in_the_consumer_stops_the_polls() -> None:
    """An error in the loop's body propagates and ends the watch."""
    server = server_with(status_after_seconds)

    async def consume() -> None:
        async for job in JobWatcher(server.client(), interval=10).updates(REF):
            if job.progress == 20:
                raise LookupError

    with pytest.raises(LookupError):
        await consume()
    gc.collect()
    await some_turns()
    await asyncio.sleep(1000)
    assert server.polls(9012) == [0, 10, 20]


@virtual_time
async def test_on_update_gets_each_changed_snapshot() -> None:
    """``on_update`` gets each changed snapshot, including the terminal one, before `wait` returns it."""
    server = ScriptedServer()
    server.version(9012, RUNNING, RUNNING, wire(9012, jobprogress=60), wire(9012, JobState.FAILED))
    received: list[tuple[float, Job]] = []
    job = await JobWatcher(server.client(), interval=5).wait(
        REF,
        check=False,
        on_update=lambda job: received.append((now(), job)),
    )
    assert [(at, told.state_name, told.progress) for at, told in received] == [
        (0, "Running", 50),
        (10, "Running", 60),
        (15, "Failed", 50),
    ]
    assert received[-1][1] is job


@virtual_time
async def test_on_update_may_be_async() -> None:
    """An async ``on_update`` is awaited, one call at a time and in order; the last ends before `wait` returns."""
    received: list[tuple[float, int]] = []

    async def on_update(job: Job) -> None:
        began = now()
        await asyncio.sleep(25)
        received.append((began, job.progress))

    server = server_with(status_after_seconds)
    await JobWatcher(server.client(), interval=10).wait(REF, on_update=on_update)
    assert received == [(25 * n, progress) for n, progress in enumerate([*range(0, 100, 10), 100])]
    assert now() == 25 * 11
    assert server.polls(9012) == [*range(0, 101, 10)], "a slow on_update delayed a poll"


@virtual_time
async def test_on_update_may_return_any_awaitable() -> None:
    """Any awaitable that ``on_update`` returns is awaited; other values are ignored."""
    received: list[str] = []
    server = server_with(status_after_seconds)
    watcher = JobWatcher(server.client(), interval=50)

    def start(job: Job) -> asyncio.Future[None]:
        return asyncio.ensure_future(note(job))

    async def note(job: Job) -> None:
        await asyncio.sleep(1)
        received.append(job.state_name)

    await watcher.wait(REF, on_update=start)
    assert received == ["Running", "Running", "Completed"]
    await watcher.wait(REF, on_update=lambda job: job.state_name)


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_an_on_update_that_raises_is_logged(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    """An error in ``on_update`` is logged with its traceback; later updates are delivered and the watch continues."""
    received: list[int] = []

    def fail(job: Job) -> None:
        received.append(job.progress)
        msg = f"cannot bear {job.progress}"
        raise LookupError(msg)

    async def fail_later(job: Job) -> None:
        await asyncio.sleep(1)
        fail(job)

    server = server_with(status_after_seconds)
    watcher = JobWatcher(server.client(), interval=50)
    with caplog.at_level(logging.ERROR, "clanforge_async"):
        job = await watcher.wait(REF, on_update=fail_later if is_async else fail)
    assert job.is_completed
    assert received == [0, 50, 100]
    assert [record.getMessage() for record in caplog.records] == ["on_update failed for image-version/9012"] * 3
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "cannot bear 0",
        "cannot bear 50",
        "cannot bear 100",
    ]


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_a_cancelled_error_from_on_update_does_not_hang_the_watch(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A `CancelledError` raised by ``on_update`` itself, such as that of a cancelled future, is only logged."""
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    def look(_: Job) -> None:
        cancelled.result()

    async def await_cancelled(_: Job) -> None:
        await cancelled

    watcher = JobWatcher(server_with(status_after_seconds).client(), interval=50)
    job = await watcher.wait(REF, on_update=await_cancelled if is_async else look, timeout=1000)
    assert job.is_completed
    assert now() == 100
    assert [record.getMessage() for record in caplog.records] == ["on_update failed for image-version/9012"] * 3


@virtual_time
async def test_a_pending_update_that_fails_does_not_drop_the_others() -> None:
    """If ``on_update`` raises for one of several pending updates, the others are delivered."""
    received: list[int] = []

    def on_update(job: Job) -> Any:
        received.append(job.progress)
        if job.progress == 50:
            raise LookupError
        return asyncio.sleep(500)

    await JobWatcher(server_with(status_after_seconds).client(), interval=50).wait(REF, on_update=on_update)
    assert received == [0, 50, 100]
    assert now() == 1000


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_on_update_runs_in_a_copy_of_the_callers_context(is_async: bool) -> None:
    """All calls of ``on_update`` of one watch share one copy of the caller's context."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    received: list[str] = []

    def on_update(job: Job) -> None:
        received.append(f"{request_id.get()}: {job.progress}")
        request_id.set(f"{request_id.get()}!")

    async def on_update_later(job: Job) -> None:
        await asyncio.sleep(1)
        on_update(job)

    watcher = JobWatcher(server_with(status_after_seconds).client(), interval=50)
    request_id.set("mine")
    waiting = asyncio.create_task(watcher.wait(REF, on_update=on_update_later if is_async else on_update))
    request_id.set("other")
    await waiting
    assert received == ["mine: 0", "mine!: 50", "mine!!: 100"]
    assert request_id.get() == "other"


@virtual_time
async def test_on_update_may_use_the_watcher() -> None:
    """``on_update`` may watch another job, or the same one, with its own watcher."""
    server = server_with(status_after_seconds)
    server.version(1, wire(1), wire(1, JobState.COMPLETED))
    watcher = JobWatcher(server.client(), interval=10)
    received: list[str] = []

    async def on_update(job: Job) -> None:
        if job.progress == 0:
            other, same = await asyncio.gather(watcher.wait(JobRef.image_version(1)), watcher.wait(REF))
            received.append(f"{other.state_name}, {same.state_name}")

    assert (await watcher.wait(REF, on_update=on_update)).is_completed
    assert received == ["Completed, Completed"]
    assert now() == 100


@virtual_time
async def test_on_update_may_cancel_the_wait() -> None:
    """An ``on_update`` that cancels the waiting task ends the watch cleanly."""
    server = server_with(status_after_seconds)
    watcher = JobWatcher(server.client(), interval=10)
    received: list[int] = []

    def on_update(job: Job) -> None:
        received.append(job.progress)
        if job.progress == 20:
            waiting.cancel()

    waiting = asyncio.create_task(watcher.wait(REF, on_update=on_update))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(1000)
    assert received == [0, 10, 20]
    assert server.polls(9012) == [0, 10, 20]


@virtual_time
async def test_a_cancelled_wait_cancels_on_update() -> None:
    """A running ``on_update`` is cancelled with its watch, and has ended when the cancelled wait returns."""
    watcher = JobWatcher(server_with(status_after_seconds).client(), interval=10)
    ended: list[float] = []

    async def on_update(_: Job) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(now())

    waiting = asyncio.create_task(watcher.wait(REF, on_update=on_update))
    await asyncio.sleep(35)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [35]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_cancelling_on_update_does_not_end_the_watch() -> None:
    """If other code cancels a running ``on_update``, the next update is delivered and the watch continues."""
    received: list[int] = []

    async def on_update(job: Job) -> None:
        received.append(job.progress)
        await asyncio.sleep(5)

    watcher = JobWatcher(server_with(status_after_seconds).client(), interval=50)
    waiting = asyncio.create_task(watcher.wait(REF, on_update=on_update))
    await asyncio.sleep(52)
    for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
        task.cancel()
    assert (await waiting).is_completed
    assert received == [0, 50, 100]


@virtual_time
async def test_every_coroutine_of_on_update_is_awaited_or_closed() -> None:
    """A watch closed at any moment leaves no coroutine that was never awaited."""
    for turns in range(25):
        server = server_with(lambda: RUNNING)
        watcher = JobWatcher(server.client(), interval=10)

        async def on_update(_: Job) -> None:
            await asyncio.sleep(1)

        waiting = asyncio.create_task(watcher.wait(REF, on_update=on_update))
        for _ in range(turns):
            await asyncio.sleep(0)
        await watcher.aclose()
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(outcome, Exception)
    gc.collect()  # a coroutine that was never awaited would warn now


@virtual_time
async def test_on_update_gets_the_failure_before_wait_raises() -> None:
    """``on_update`` gets a failed job before `wait` raises."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.FAILED))
    received: list[str] = []

    async def on_update(job: Job) -> None:
        await asyncio.sleep(1)
        received.append(job.state_name)

    with pytest.raises(JobFailedError):
        await JobWatcher(server.client()).wait(REF, on_update=on_update)
    assert received == ["Failed"]
