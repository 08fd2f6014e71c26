"""Watches of one job: they share its polls, and start and end independently."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from support.scripted_server import START, Answer, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    Job,
    JobFailedError,
    JobKind,
    JobRef,
    JobState,
    JobWatcher,
    StaleJobError,
    WatchTimeoutError,
)

REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


def completing_at(moment: float) -> ScriptedServer:
    server = ScriptedServer()
    server.on("imageversion/status", 9012, lambda: COMPLETED if now() >= moment else RUNNING)
    return server


async def hang() -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


def newer_than(seconds: float) -> JobRef:
    return JobRef.image_diff(5678, newer_than=datetime.fromtimestamp(START + seconds, UTC))


@virtual_time
async def test_watches_of_one_job_share_its_polls() -> None:
    """A job is polled as often for many watches as for one."""
    server = completing_at(30)
    watcher = JobWatcher(server.client(), interval=5)
    jobs = await asyncio.gather(*(watcher.wait(REF) for _ in range(50)))
    assert server.polls(9012) == [0, 5, 10, 15, 20, 25, 30]
    assert len({id(job) for job in jobs}) == 1


@virtual_time
async def test_every_method_shares_the_polls() -> None:
    """`wait`, `updates`, `wait_all` and `as_completed` of one job share its polls."""
    server = completing_at(10)
    watcher = JobWatcher(server.client(), interval=5)

    async def updates() -> list[Job]:
        return [job async for job in watcher.updates(REF)]

    async def as_completed() -> list[Job]:
        return [result.unwrap() async for result in watcher.as_completed([REF])]

    job, seen, (result,), (last,) = await asyncio.gather(
        watcher.wait(REF),
        updates(),
        watcher.wait_all([REF]),
        as_completed(),
    )
    assert job is result.job is last is seen[-1]
    assert server.polls(9012) == [0, 5, 10]


@virtual_time
async def test_watchers_share_nothing() -> None:
    """Polls are shared within one watcher, not between watchers."""
    server = completing_at(10)
    client = server.client()
    await asyncio.gather(*(JobWatcher(client, interval=5).wait(REF) for _ in range(2)))
    assert sorted(server.polls(9012)) == [0, 0, 5, 5, 10, 10]


@virtual_time
async def test_a_diff_and_a_version_of_one_id_are_two_jobs() -> None:
    """Jobs of different kinds with the same id are polled separately."""
    server = ScriptedServer()
    server.version(7, wire(7), wire(7, JobState.COMPLETED))
    server.diff(7, wire(7, JobState.FAILED))
    watcher = JobWatcher(server.client(), interval=5)
    version, diff = await watcher.wait_all([JobRef.image_version(7), JobRef.image_diff(7)])
    assert version.ok
    assert isinstance(diff.error, JobFailedError)
    assert server.polls(7, JobKind.IMAGE_DIFF) == [0]


@virtual_time
async def test_one_status_may_be_stale_for_some_watches_only() -> None:
    """Watches of one job with different ``newer_than`` share polls, and each checks the status against its own."""
    server = ScriptedServer()
    server.on(
        "imagediff/status",
        5678,
        lambda: (
            wire(5678, JobState.FAILED, jobupdated=START - 5)
            if now() < 20
            else wire(5678, JobState.COMPLETED, jobupdated=START + 20)
        ),
    )
    watcher = JobWatcher(server.client(), interval=5, stale_after=60)
    old, new, later, whatever = await watcher.wait_all(
        [newer_than(-10), newer_than(0), newer_than(30), JobRef.image_diff(5678)],
    )
    assert isinstance(old.error, JobFailedError)
    assert isinstance(whatever.error, JobFailedError)
    assert new.ok
    assert isinstance(later.error, StaleJobError)
    assert (old.elapsed, later.elapsed) == (0, 60)
    assert new.elapsed < 30
    assert [old.polls, whatever.polls] == [1, 1]
    assert later.polls == len(server.polls(5678, JobKind.IMAGE_DIFF))


@virtual_time
async def test_each_watch_has_its_own_deadline() -> None:
    """The timeout of one watch neither ends nor extends another watch of the job."""
    server = completing_at(100)
    watcher = JobWatcher(server.client(), interval=10)

    async def until(seconds: float | None) -> tuple[bool, float]:
        try:
            await watcher.wait(REF, timeout=seconds)
        except WatchTimeoutError:
            return False, now()
        return True, now()

    first, second, third, last = await asyncio.gather(*map(until, (15, 42, 200, None)))
    assert (first, second) == ((False, 15), (False, 42))
    assert third == last
    assert last[0]
    assert 100 <= last[1] <= 110


@virtual_time
async def test_a_joining_watch_is_polled_at_once() -> None:
    """A watch that joins triggers a poll at once, for all watches of the job."""
    server = completing_at(1000)
    watcher = JobWatcher(server.client(), interval=300)
    received: list[float] = []
    first = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(100)
    second = asyncio.create_task(watcher.wait(REF, on_update=lambda _: received.append(now())))
    await asyncio.gather(first, second)
    assert server.polls(9012) == [0, 100, 400, 700, 1000]
    assert received[0] == 100


@virtual_time
async def test_a_watch_that_joins_during_a_poll_gets_the_next_result() -> None:
    """The result of a poll that began before the watch does not reach it; the next poll follows at once."""
    server = ScriptedServer()

    async def answer_later() -> Answer:
        await asyncio.sleep(20)
        return COMPLETED

    server.on("imageversion/status", 9012, answer_later)
    watcher = JobWatcher(server.client())
    first = asyncio.create_task(watcher.wait_all([REF]))
    await asyncio.sleep(10)
    seen: list[float] = []
    [later] = await watcher.wait_all([REF], on_update=lambda _: seen.append(now()))
    assert server.polls(9012) == [0, 20]
    assert (later.polls, later.elapsed, seen) == (1, 30, [40])
    assert [(result.polls, result.elapsed) for result in await first] == [(1, 20)]


@pytest.mark.parametrize(
    "response",
    [httpx.Response(404), httpx.Response(500), LookupError("a transport's bug")],
    ids=["end", "outage", "bug"],
)
@virtual_time
async def test_a_watch_that_joins_during_a_failing_poll_ignores_the_failure(
    response: httpx.Response | Exception,
) -> None:
    """The failure of a poll that began before the watch neither ends it nor is reported to it."""
    server = ScriptedServer()

    async def fail_then_complete() -> Answer:
        await asyncio.sleep(5)
        return response if now() < 6 else COMPLETED

    server.on("imageversion/status", 9012, fail_then_complete)
    watcher, failures = JobWatcher(server.client()), list[Exception]()
    first = asyncio.create_task(watcher.wait_all([REF], timeout=5.5))
    await asyncio.sleep(1)
    job = await watcher.wait(REF, on_error=lambda _, error: failures.append(error))
    assert job.is_completed
    assert (now(), failures) == (10, [])
    assert [result.polls for result in await first] == [0 if isinstance(response, LookupError) else 1]


@virtual_time
async def test_a_poll_without_watches_does_not_delay_a_later_watch() -> None:
    """If all watches that began before a poll leave, a watch that joined during the poll is polled next."""
    server = ScriptedServer()

    async def answer_later() -> Answer:
        await asyncio.sleep(20)
        return COMPLETED

    server.on("imageversion/status", 9012, answer_later)
    watcher = JobWatcher(server.client())
    first = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(10)
    second = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(1)
    first.cancel()
    assert (await second).is_completed
    assert server.polls(9012) == [0, 20]


@pytest.mark.parametrize("cancelled", [0, 1, 2])
@virtual_time
async def test_cancelling_one_leaves_the_others(cancelled: int) -> None:
    """A cancelled wait does not affect the others, during a poll or between polls."""
    for moment in (7, 11):
        server = ScriptedServer()
        began = now()

        async def answer_later(began: float = began) -> Answer:
            await asyncio.sleep(2)
            return COMPLETED if now() - began > 20 else RUNNING

        server.on("imageversion/status", 9012, answer_later)
        watcher = JobWatcher(server.client(), interval=8)
        waits = [asyncio.create_task(watcher.wait(REF)) for _ in range(3)]
        await asyncio.sleep(moment)
        waits[cancelled].cancel()
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        assert isinstance(outcomes.pop(cancelled), asyncio.CancelledError)
        assert all(isinstance(job, Job) and job.is_completed for job in outcomes)
        assert [at - began for at in server.polls(9012)] == [0, 10, 20]


@virtual_time
async def test_polling_stops_with_the_last_watch() -> None:
    """When the last watch of a job ends, the job is not polled again."""
    server = completing_at(200_000)
    watcher = JobWatcher(server.client(), interval=10)
    waits = [asyncio.create_task(watcher.wait(REF)) for _ in range(2)]
    await asyncio.sleep(15)
    for wait in waits:
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(100_000)
    assert server.polls(9012) == [0, 10]


@virtual_time
async def test_the_request_in_flight_ends_with_the_last_watch() -> None:
    """A request in flight is cancelled with the last watch, and has ended when the cancelled wait returns."""
    server = ScriptedServer()
    server.on("imageversion/status", 9012, hang)
    watcher = JobWatcher(server.client(timeout=600))
    first, last = (asyncio.create_task(watcher.wait(REF)) for _ in range(2))
    await asyncio.sleep(5)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert server.in_flight == 1
    last.cancel()
    with pytest.raises(asyncio.CancelledError):
        await last
    assert server.in_flight == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(100_000)
    assert server.polls(9012) == [0]


@virtual_time
async def test_a_job_can_be_watched_again() -> None:
    """A job can be watched again while the cancelled poll of an earlier watch still ends."""
    for turns in range(1, 12):
        server = ScriptedServer()
        server.on("imageversion/status", 9012, hang)
        watcher = JobWatcher(server.client(timeout=600))
        wait = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(5)
        server.version(9012, COMPLETED)
        wait.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        assert (await watcher.wait(REF)).is_completed
        await asyncio.gather(wait, return_exceptions=True)
        first, second = server.polls(9012)
        assert second - first == 5


@virtual_time
async def test_a_wait_cancelled_at_its_start_leaves_nothing() -> None:
    """A wait that is cancelled in any iteration of the loop at its start leaves nothing, and can be repeated."""
    for turns in range(15):
        server = ScriptedServer()
        server.on("imageversion/status", 9012, hang)
        watcher = JobWatcher(server.client())
        wait = asyncio.create_task(watcher.wait(REF))
        for _ in range(turns):
            await asyncio.sleep(0)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        assert asyncio.all_tasks() == {asyncio.current_task()}
        asked = len(server.requests)
        await asyncio.sleep(1000)
        assert server.in_flight == 0
        assert len(server.requests) == asked
        server.version(9012, COMPLETED)
        assert (await watcher.wait(REF)).is_completed


@virtual_time
async def test_cancelling_a_wait_during_a_cooldown() -> None:
    """A poll that waits for the client's cooldown is cancelled with its watch."""
    server = ScriptedServer()
    server.version(1, httpx.Response(429, headers={"Retry-After": "600"}))
    server.version(9012, COMPLETED)
    watcher = JobWatcher(server.client())
    waits = [asyncio.create_task(watcher.wait(ref)) for ref in (JobRef.image_version(1), REF)]
    await asyncio.sleep(10)
    later = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(10)
    for wait in (*waits, later):
        wait.cancel()
    await asyncio.gather(*waits, later, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    polled = len(server.requests)
    await asyncio.sleep(10_000)
    assert len(server.requests) == polled


@virtual_time
async def test_each_watch_gets_each_change_once() -> None:
    """Each watch gets each change once, including a watch that joined late."""
    server = ScriptedServer()
    server.on(
        "imageversion/status",
        9012,
        lambda: COMPLETED if now() >= 40 else wire(9012, jobprogress=int(now())),
    )
    watcher = JobWatcher(server.client(), interval=10)
    early: list[Any] = []
    late: list[Any] = []
    first = asyncio.create_task(watcher.wait(REF, on_update=lambda job: early.append(job.progress)))
    await asyncio.sleep(15)
    await asyncio.gather(first, watcher.wait(REF, on_update=lambda job: late.append(job.progress)))
    assert early == [0, 10, 15, 25, 35, 100]
    assert late == [progress for progress in early if progress >= 15]


@virtual_time
async def test_the_end_of_one_watch_delays_no_other() -> None:
    """If one watch ends and another of the same job waits for a later run, polling continues as before."""
    server = ScriptedServer()

    def run() -> Answer:
        return wire(5678, JobState.COMPLETED, jobupdated=START + (0 if now() < 0.6 else 10))

    server.on("imagediff/status", 5678, run)
    results = await JobWatcher(server.client(), interval=0.25).wait_all([JobRef.image_diff(5678), newer_than(5)])
    assert all(result.ok for result in results)
    assert server.polls(5678, JobKind.IMAGE_DIFF) == [0, 0.25, 0.5, 0.75]


@virtual_time
async def test_a_workers_later_poll_ends_with_its_watch() -> None:
    """If one worker polls several jobs in turn, each poll is cancelled with the watch of its job."""
    server = ScriptedServer()
    server.version(1, wire(1, JobState.COMPLETED))
    server.on("imageversion/status", 9012, hang)
    watcher = JobWatcher(server.client(timeout=600, max_concurrency=1))
    first = asyncio.create_task(watcher.wait(JobRef.image_version(1)))
    last = asyncio.create_task(watcher.wait(REF))
    await first
    await asyncio.sleep(5)
    assert server.in_flight == 1
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)
    assert server.in_flight == 0


@virtual_time
async def test_joining_a_queued_job_queues_it_once() -> None:
    """A job that waits for a worker is queued once, however many watches join."""
    server = ScriptedServer()

    async def answer_later() -> Answer:
        await asyncio.sleep(10)
        return wire(1, JobState.COMPLETED)

    server.on("imageversion/status", 1, answer_later)
    server.version(9012, wire(9012), wire(9012, JobState.COMPLETED))
    watcher = JobWatcher(server.client(max_concurrency=1), interval=30)
    watches = [asyncio.create_task(watcher.wait(ref)) for ref in (JobRef.image_version(1), REF)]
    await asyncio.sleep(5)
    await asyncio.gather(*watches, watcher.wait(REF))
    assert server.polls(9012) == [10, 40]


@virtual_time
async def test_a_watch_that_leaves_no_longer_brings_a_poll_forward() -> None:
    """A job is not polled for the deadline of a cancelled watch, and the others are polled on time."""
    server = ScriptedServer()
    server.version(9012, RUNNING, COMPLETED)
    watcher = JobWatcher(server.client(), interval=100)
    leaving = asyncio.create_task(watcher.wait(REF, timeout=50))
    staying = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(20)
    leaving.cancel()
    assert (await staying).is_completed
    assert server.polls(9012) == [0, 100]
