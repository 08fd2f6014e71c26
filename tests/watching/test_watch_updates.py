"""What a watch tells while it lasts: `updates`, and ``on_update``."""

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


def by_percents() -> Answer:
    """Show a job that gets on by a percent a second."""
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
    """Each snapshot that differs from the one before is yielded once; the terminal one comes last, and that is all."""
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
    """A job that failed or was squashed is yielded last like any other; it is no error of the iteration."""
    server = ScriptedServer()
    server.version(9012, RUNNING, wire(9012, state))
    states = [job.state async for job in JobWatcher(server.client(), interval=5).updates(REF)]
    assert states == [JobState.RUNNING, state]


@virtual_time
async def test_updates_of_a_job_that_has_ended() -> None:
    """A terminal job as the target is yielded as it is, without a poll."""
    server = ScriptedServer()
    job = job_from_dict(JobKind.IMAGE_VERSION, wire(9012, JobState.FAILED))
    assert [update async for update in JobWatcher(server.client()).updates(job)] == [job]
    assert not server.requests


@virtual_time
async def test_updates_raise_what_is_no_end_of_a_job() -> None:
    """After the last snapshot in time, a timeout is raised; so is a refusal, and there may be no snapshot at all."""
    server = server_with(by_percents)
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
    """Snapshots that come while the consumer is busy wait for it, in their order, and so does the end."""
    watcher = JobWatcher(server_with(by_percents).client(), interval=10)
    seen: list[int] = []
    async for job in watcher.updates(REF, timeout=500):
        await asyncio.sleep(200)
        seen.append(job.progress)
    assert seen == [*range(0, 100, 10), 100]
    assert now() == 200 * 11


@virtual_time
async def test_a_slow_consumer_hears_of_a_timeout_after_the_updates() -> None:
    """What was seen in time is yielded although the time is up by then."""
    watcher = JobWatcher(server_with(by_percents).client(), interval=10)
    seen: list[int] = []
    with pytest.raises(WatchTimeoutError):
        await consume(watcher.updates(REF, timeout=25), seen, seconds_each=200)
    assert seen == [0, 10, 20, 24]


async def some_turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@virtual_time
async def test_leaving_the_iteration_stops_the_polls() -> None:
    """A ``break`` without ``aclose`` leaves neither a task nor a poll behind."""
    server = server_with(by_percents)
    async for _ in JobWatcher(server.client(), interval=10).updates(REF):
        break
    await some_turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(1000)
    assert server.polls(9012) == [0]


@virtual_time
async def test_closing_the_iterator_stops_the_polls_at_once() -> None:
    """`aclose` of an iterator comes back when the request in flight has ended."""
    server = server_with(by_percents)
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
    """An iterator whose last reference is dropped cleans up behind itself, begun or not."""
    server = server_with(by_percents)
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
async def test_cancelling_whoever_iterates() -> None:
    """A consumer cancelled while it waits for the next update leaves nothing behind."""
    server = server_with(by_percents)
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
    """What the loop's body raises passes, and the watch ends with it."""
    server = server_with(by_percents)

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
async def test_a_listener_is_told_what_updates_would_yield() -> None:
    """``on_update`` gets each changed snapshot, the terminal one included, before `wait` returns it."""
    server = ScriptedServer()
    server.version(9012, RUNNING, RUNNING, wire(9012, jobprogress=60), wire(9012, JobState.FAILED))
    heard: list[tuple[float, Job]] = []
    job = await JobWatcher(server.client(), interval=5).wait(
        REF,
        check=False,
        on_update=lambda job: heard.append((now(), job)),
    )
    assert [(at, told.state_name, told.progress) for at, told in heard] == [
        (0, "Running", 50),
        (10, "Running", 60),
        (15, "Failed", 50),
    ]
    assert heard[-1][1] is job


@virtual_time
async def test_a_listener_may_await() -> None:
    """An async ``on_update`` is awaited, one update at a time, in their order, the last before `wait` returns."""
    heard: list[tuple[float, int]] = []

    async def listen(job: Job) -> None:
        began = now()
        await asyncio.sleep(25)
        heard.append((began, job.progress))

    server = server_with(by_percents)
    await JobWatcher(server.client(), interval=10).wait(REF, on_update=listen)
    assert heard == [(25 * n, progress) for n, progress in enumerate([*range(0, 100, 10), 100])]
    assert now() == 25 * 11
    assert server.polls(9012) == [*range(0, 101, 10)], "a slow listener holds up no poll"


@virtual_time
async def test_a_listener_may_return_any_awaitable() -> None:
    """What ``on_update`` returns is awaited if it can be, and ignored otherwise."""
    heard: list[str] = []
    server = server_with(by_percents)
    watcher = JobWatcher(server.client(), interval=50)

    def start(job: Job) -> asyncio.Future[None]:
        return asyncio.ensure_future(note(job))

    async def note(job: Job) -> None:
        await asyncio.sleep(1)
        heard.append(job.state_name)

    await watcher.wait(REF, on_update=start)
    assert heard == ["Running", "Running", "Completed"]
    await watcher.wait(REF, on_update=lambda job: job.state_name)


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_a_listener_that_raises_is_logged(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    """An ``on_update`` that raises is logged with its traceback, is told the next update too, and ends nothing."""
    heard: list[int] = []

    def complain(job: Job) -> None:
        heard.append(job.progress)
        msg = f"cannot bear {job.progress}"
        raise LookupError(msg)

    async def complain_later(job: Job) -> None:
        await asyncio.sleep(1)
        complain(job)

    server = server_with(by_percents)
    watcher = JobWatcher(server.client(), interval=50)
    with caplog.at_level(logging.ERROR, "clanforge_async"):
        job = await watcher.wait(REF, on_update=complain_later if is_async else complain)
    assert job.is_completed
    assert heard == [0, 50, 100]
    assert [record.getMessage() for record in caplog.records] == ["on_update failed for image-version/9012"] * 3
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "cannot bear 0",
        "cannot bear 50",
        "cannot bear 100",
    ]


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_a_listener_that_meets_a_cancellation_does_not_hang_the_watch(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A `CancelledError` that an ``on_update`` lets out, such as that of a future it looked at, is but logged."""
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    def look(_: Job) -> None:
        cancelled.result()

    async def look_later(_: Job) -> None:
        await cancelled

    watcher = JobWatcher(server_with(by_percents).client(), interval=50)
    job = await watcher.wait(REF, on_update=look_later if is_async else look, timeout=1000)
    assert job.is_completed
    assert now() == 100
    assert [record.getMessage() for record in caplog.records] == ["on_update failed for image-version/9012"] * 3


@virtual_time
async def test_a_listener_that_raises_when_it_has_been_busy_hears_the_rest() -> None:
    """Of the updates that came while an ``on_update`` was busy, one that it cannot bear takes no other away."""
    heard: list[int] = []

    def listen(job: Job) -> Any:
        heard.append(job.progress)
        if job.progress == 50:
            raise LookupError
        return asyncio.sleep(500)

    await JobWatcher(server_with(by_percents).client(), interval=50).wait(REF, on_update=listen)
    assert heard == [0, 50, 100]
    assert now() == 1000


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_a_listener_hears_in_the_context_of_whoever_waits(is_async: bool) -> None:
    """``on_update`` runs in a copy of the waiter's context, the same for all of a watch's updates."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    heard: list[str] = []

    def listen(job: Job) -> None:
        heard.append(f"{request_id.get()}: {job.progress}")
        request_id.set(f"{request_id.get()}!")

    async def listen_later(job: Job) -> None:
        await asyncio.sleep(1)
        listen(job)

    watcher = JobWatcher(server_with(by_percents).client(), interval=50)
    request_id.set("mine")
    waiting = asyncio.create_task(watcher.wait(REF, on_update=listen_later if is_async else listen))
    request_id.set("other")
    await waiting
    assert heard == ["mine: 0", "mine!: 50", "mine!!: 100"]
    assert request_id.get() == "other"


@virtual_time
async def test_a_listener_may_wait_itself() -> None:
    """An ``on_update`` may watch another job, or the same one, with the watcher that called it."""
    server = server_with(by_percents)
    server.version(1, wire(1), wire(1, JobState.COMPLETED))
    watcher = JobWatcher(server.client(), interval=10)
    heard: list[str] = []

    async def listen(job: Job) -> None:
        if job.progress == 0:
            other, same = await asyncio.gather(watcher.wait(JobRef.image_version(1)), watcher.wait(REF))
            heard.append(f"{other.state_name}, {same.state_name}")

    assert (await watcher.wait(REF, on_update=listen)).is_completed
    assert heard == ["Completed, Completed"]
    assert now() == 100


@virtual_time
async def test_a_listener_may_cancel_the_wait() -> None:
    """An ``on_update`` that cancels the task that waits ends the watch, cleanly."""
    server = server_with(by_percents)
    watcher = JobWatcher(server.client(), interval=10)
    heard: list[int] = []

    def listen(job: Job) -> None:
        heard.append(job.progress)
        if job.progress == 20:
            waiting.cancel()

    waiting = asyncio.create_task(watcher.wait(REF, on_update=listen))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(1000)
    assert heard == [0, 10, 20]
    assert server.polls(9012) == [0, 10, 20]


@virtual_time
async def test_a_cancelled_wait_cancels_its_listener() -> None:
    """A listener that is still busy is cancelled with its watch, and has ended when the cancelled wait comes back."""
    watcher = JobWatcher(server_with(by_percents).client(), interval=10)
    ended: list[float] = []

    async def listen(_: Job) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(now())

    waiting = asyncio.create_task(watcher.wait(REF, on_update=listen))
    await asyncio.sleep(35)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [35]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_a_listener_that_somebody_cancels_misses_one_update() -> None:
    """Cancelled from outside, the listener is told the next update all the same, and the watch goes on."""
    heard: list[int] = []

    async def listen(job: Job) -> None:
        heard.append(job.progress)
        await asyncio.sleep(5)

    watcher = JobWatcher(server_with(by_percents).client(), interval=50)
    waiting = asyncio.create_task(watcher.wait(REF, on_update=listen))
    await asyncio.sleep(52)
    for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
        task.cancel()
    assert (await waiting).is_completed
    assert heard == [0, 50, 100]


@virtual_time
async def test_no_listener_is_left_unawaited() -> None:
    """A watch that ends in the very moment of an update leaves no coroutine that nobody has awaited."""
    for turns in range(25):
        server = server_with(lambda: RUNNING)
        watcher = JobWatcher(server.client(), interval=10)

        async def listen(_: Job) -> None:
            await asyncio.sleep(1)

        waiting = asyncio.create_task(watcher.wait(REF, on_update=listen))
        for _ in range(turns):
            await asyncio.sleep(0)
        await watcher.aclose()
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(outcome, Exception)
    gc.collect()  # a listener that was never awaited would be heard of now


@virtual_time
async def test_the_end_is_told_before_it_is_raised() -> None:
    """A listener hears of a failure before the waiter does."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.FAILED))
    heard: list[str] = []

    async def listen(job: Job) -> None:
        await asyncio.sleep(1)
        heard.append(job.state_name)

    with pytest.raises(JobFailedError):
        await JobWatcher(server.client()).wait(REF, on_update=listen)
    assert heard == ["Failed"]
