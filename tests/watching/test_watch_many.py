"""Watches of many jobs: `wait_all` and `as_completed`."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
from collections.abc import Iterator
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
    JobSquashedError,
    JobState,
    JobWatcher,
    NotFoundError,
    TransportError,
    WatchResult,
    WatchTimeoutError,
    job_from_dict,
)


def ref(job_id: int) -> JobRef:
    return JobRef.image_version(job_id)


def server_of(**ends: tuple[float, JobState]) -> ScriptedServer:
    """Return a server of the jobs ``job_1``, ``job_2``, ..., each with the time and state of its end."""
    server = ScriptedServer()
    for name, (at, state) in ends.items():
        job_id = int(name.removeprefix("job_"))

        def script(job_id: int = job_id, at: float = at, state: JobState = state) -> Answer:
            return wire(job_id, state if now() >= at else JobState.RUNNING)

        server.on("imageversion/status", job_id, script)
    return server


THREE: dict[str, tuple[float, JobState]] = {
    "job_1": (30, JobState.COMPLETED),
    "job_2": (10, JobState.FAILED),
    "job_3": (20, JobState.SQUASHED),
}


@virtual_time
async def test_wait_all_returns_the_results_in_the_targets_order() -> None:
    """`wait_all` returns one result per target, in order, after all jobs have ended; a failed job raises nothing."""
    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    results = await watcher.wait_all([ref(1), ref(2), ref(3)])
    assert [result.ref for result in results] == [ref(1), ref(2), ref(3)]
    assert [result.elapsed for result in results] == [30, 10, 20]
    assert [type(result.error) for result in results] == [type(None), JobFailedError, JobSquashedError]
    assert now() == 30


@virtual_time
async def test_the_first_polls_are_made_in_the_targets_order() -> None:
    """With one poll at a time, jobs are first polled in the targets' order."""
    order = [5, 3, 9, 1, 7, 2, 8]
    server = ScriptedServer()
    for job_id in order:

        async def answer_later(job_id: int = job_id) -> Answer:
            await asyncio.sleep(2)
            return wire(job_id, JobState.COMPLETED)

        server.on("imageversion/status", job_id, answer_later)
    results = await JobWatcher(server.client(max_concurrency=1)).wait_all([ref(job_id) for job_id in order])
    assert [result.elapsed for result in results] == [2, 4, 6, 8, 10, 12, 14]
    assert [int(request.url.path.split("/")[-2]) for request in server.requests] == order


@virtual_time
async def test_as_completed_yields_each_result_at_its_end() -> None:
    """`as_completed` yields each result when its job ends."""
    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    assert [(now(), result.ref.id) async for result in watcher.as_completed([ref(1), ref(2), ref(3)])] == [
        (10, 2),
        (20, 3),
        (30, 1),
    ]


@virtual_time
async def test_no_targets_give_no_results() -> None:
    """No targets give no results, without a request."""
    server = ScriptedServer()
    watcher = JobWatcher(server.client())
    assert await watcher.wait_all([]) == []
    assert [result async for result in watcher.as_completed(iter(()))] == []
    assert not server.requests


@virtual_time
async def test_targets_may_come_from_a_generator() -> None:
    """Targets may be any iterable; it is read once."""

    def targets() -> Iterator[JobRef | Job]:
        yield ref(1)
        yield job_from_dict(JobKind.IMAGE_VERSION, wire(2))

    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    assert [result.ref.id for result in await watcher.wait_all(targets())] == [1, 2]
    assert [result.ref.id async for result in watcher.as_completed(targets())] == [1, 2]


@virtual_time
async def test_the_same_job_twice_has_two_results() -> None:
    """Duplicate targets share their polls and get a result each."""
    server = server_of(**THREE)
    watcher = JobWatcher(server.client(), interval=5)
    first, second, other, third = await watcher.wait_all([ref(2), ref(2), ref(1), ref(2)])
    assert first.job is second.job is third.job
    assert first.polls == second.polls == third.polls == 3
    assert other.ref == ref(1)
    assert server.polls(2) == [0, 5, 10]
    assert len([result async for result in watcher.as_completed([ref(2)] * 4)]) == 4


@virtual_time
async def test_every_kind_of_end_is_a_result() -> None:
    """Completed, failed, refused, unreachable, timed out: each is a result, and does not affect the others."""
    server = server_of(**THREE)
    server.version(4, httpx.Response(404))
    server.version(5, httpx.ReadError("reset"))
    server.version(6, wire(6))
    terminal = job_from_dict(JobKind.IMAGE_VERSION, wire(7, JobState.COMPLETED))
    watcher = JobWatcher(server.client(), interval=5, timeout=100, outage_tolerance=60)
    expected: list[tuple[float, type[BaseException] | None, str | None, int]] = [
        (30, None, "Completed", 7),
        (10, JobFailedError, "Failed", 3),
        (20, JobSquashedError, "Squashed", 5),
        (0, NotFoundError, None, 1),
        (60, TransportError, None, 15),
        (100, WatchTimeoutError, "Running", 21),
        (0, None, "Completed", 0),
    ]
    results = await watcher.wait_all([*map(ref, range(1, 7)), terminal])
    assert [
        (
            result.elapsed,
            None if result.error is None else type(result.error),
            None if result.job is None else result.job.state_name,
            result.polls,
        )
        for result in results
    ] == expected


@virtual_time
async def test_the_timeout_applies_to_each_watch() -> None:
    """The timeout applies to each watch: a job that ended before it is reported with its own outcome."""
    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    results = [result async for result in watcher.as_completed([ref(1), ref(2), ref(3)], timeout=25)]
    assert [(result.ref.id, result.elapsed) for result in results] == [(2, 10), (3, 20), (1, 25)]
    assert isinstance(results[-1].error, WatchTimeoutError)


@pytest.mark.parametrize("is_async", [False, True])
@virtual_time
async def test_on_update_gets_the_changes_of_every_job(is_async: bool) -> None:
    """``on_update``, plain or async, gets the changes of every job."""
    received: list[tuple[int, str]] = []

    def note(job: Job) -> None:
        received.append((job.id, job.state_name))

    async def note_later(job: Job) -> None:
        await asyncio.sleep(1)
        note(job)

    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    on_update = note_later if is_async else note
    await watcher.wait_all([ref(1), ref(2), ref(3)], on_update=on_update)
    expected = [(1, "Running"), (2, "Running"), (3, "Running"), (2, "Failed"), (3, "Squashed"), (1, "Completed")]
    assert received == expected
    received.clear()
    async for _ in watcher.as_completed([ref(1), ref(2), ref(3)], on_update=on_update):
        pass
    assert sorted(received) == [(1, "Completed"), (2, "Failed"), (3, "Squashed")]


@virtual_time
async def test_an_on_update_that_raises_ends_no_watch(caplog: pytest.LogCaptureFixture) -> None:
    """A failing ``on_update`` is logged for each job, and every job gets its result."""

    def fail(_: Job) -> None:
        raise LookupError

    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    with caplog.at_level(logging.ERROR):
        results = await watcher.wait_all([ref(1), ref(2), ref(3)], on_update=fail)
    assert [result.job is not None and result.job.is_terminal for result in results] == [True] * 3
    assert {record.getMessage() for record in caplog.records} == {
        f"on_update failed for image-version/{job_id}" for job_id in (1, 2, 3)
    }


@virtual_time
async def test_a_slow_on_update_delays_no_other_job() -> None:
    """While ``on_update`` handles one job, the results of the others arrive on time."""

    async def on_update(job: Job) -> None:
        if job.id == 1:
            await asyncio.sleep(500)

    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    seen = [
        (now(), result.ref.id) async for result in watcher.as_completed([ref(1), ref(2), ref(3)], on_update=on_update)
    ]
    assert seen == [(10, 2), (20, 3), (1000, 1)]


@virtual_time
async def test_on_update_runs_in_the_callers_context() -> None:
    """``on_update`` sees the context variables of the caller of `wait_all`."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")
    received: set[str] = set()
    watcher = JobWatcher(server_of(**THREE).client(), interval=5)

    async def wait(name: str) -> None:
        request_id.set(name)
        await watcher.wait_all([ref(1), ref(2)], on_update=lambda _: received.add(request_id.get()))

    await asyncio.gather(wait("red"), wait("blue"))
    assert received == {"red", "blue"}


async def some_turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@virtual_time
async def test_leaving_as_completed_stops_the_polls() -> None:
    """An iterator that is left early, closed or dropped stops polling."""
    server = server_of(**THREE)
    watcher = JobWatcher(server.client(), interval=5)
    async for result in watcher.as_completed([ref(1), ref(2), ref(3)]):
        assert result.ref == ref(2)
        break
    await some_turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(1000)
    assert server.polls(1) == server.polls(2) == server.polls(3) == [0, 5, 10]

    closed = watcher.as_completed([ref(1)])
    await anext(closed)
    await closed.aclose()
    dropped = watcher.as_completed([ref(1)])
    await anext(dropped)
    del dropped
    gc.collect()
    await some_turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_a_slow_consumer_of_as_completed_gets_every_result() -> None:
    """Results wait for a slow consumer, and have the time of their job's end."""
    watcher = JobWatcher(server_of(**THREE).client(), interval=5)
    seen: list[WatchResult] = []
    async for result in watcher.as_completed([ref(1), ref(2), ref(3)]):
        await asyncio.sleep(100)
        seen.append(result)
    assert [(result.ref.id, result.elapsed) for result in seen] == [(2, 10), (3, 20), (1, 30)]


@virtual_time
async def test_cancelling_wait_all_stops_every_poll() -> None:
    """A cancelled `wait_all` returns after its requests in flight are cancelled, and stops polling."""
    server = ScriptedServer()

    async def hang() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    for job_id in range(1, 31):
        server.on("imageversion/status", job_id, hang)
    watcher = JobWatcher(server.client(timeout=600))
    waiting = asyncio.create_task(watcher.wait_all(map(ref, range(1, 31))))
    await asyncio.sleep(5)
    assert server.in_flight == 10
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert server.in_flight == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(10_000)
    assert len(server.requests) == 10


@virtual_time
async def test_cancelling_a_consumer_of_as_completed() -> None:
    """A consumer of `as_completed` that is cancelled leaves neither a task nor a poll."""
    server = server_of(**THREE)
    watcher = JobWatcher(server.client(), interval=5)
    seen: list[int] = []

    async def consume() -> None:
        async for result in watcher.as_completed([ref(1), ref(2), ref(3)]):
            seen.append(result.ref.id)  # noqa: PERF401 - what was seen before the cancellation counts

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(12)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert seen == [2]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(1000)
    assert server.polls(1) == server.polls(3) == [0, 5, 10]


@virtual_time
async def test_an_invalid_timeout_starts_no_watch() -> None:
    """An invalid argument raises before any watch starts."""
    server = server_of(**THREE)
    watcher = JobWatcher(server.client())
    wrong: Any = "soon"
    with pytest.raises(ValueError, match="timeout"):
        await anext(watcher.as_completed([ref(1)], timeout=wrong))
    await asyncio.sleep(100)
    assert not server.requests
