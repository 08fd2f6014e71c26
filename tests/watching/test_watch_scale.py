"""Thousands of watches, and watches of hours: fair, bounded and cheap."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import sys
import time
from collections.abc import Callable
from contextlib import aclosing

import httpx
import pytest
from support.scripted_server import START, Answer, ScriptedServer, server_now, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    Job,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobState,
    JobWatcher,
    NotFoundError,
    WatchTimeoutError,
    until_eta,
)

REF = JobRef.image_version(9012)


def refs(count: int) -> list[JobRef]:
    return [JobRef.image_version(job_id) for job_id in range(1, count + 1)]


def server_of(count: int, script: Callable[[int], Callable[[], Answer]], takes: float = 0.0) -> ScriptedServer:
    """Return a server of jobs, with a script and a response time in seconds for each."""
    server = ScriptedServer()
    for job_id in range(1, count + 1):
        show = script(job_id)

        async def answer_later(show: Callable[[], Answer] = show) -> Answer:
            await asyncio.sleep(takes)
            return show()

        server.on("imageversion/status", job_id, answer_later if takes else show)
    return server


def completing_at(moment: Callable[[int], float]) -> Callable[[int], Callable[[], Answer]]:
    def script(job_id: int) -> Callable[[], Answer]:
        return lambda: wire(job_id, JobState.COMPLETED if now() >= moment(job_id) else JobState.RUNNING)

    return script


@pytest.mark.parametrize("capacity", [1, 3, 10])
@virtual_time
async def test_polls_are_limited_to_max_concurrency(capacity: int) -> None:
    """However many jobs are due, no more polls than the client's ``max_concurrency`` are in flight."""
    server = server_of(40, completing_at(lambda _: 30), takes=0.5)
    watcher = JobWatcher(server.client(max_concurrency=capacity), interval=5)
    results = await watcher.wait_all(refs(40))
    assert all(result.ok for result in results)
    assert server.most_in_flight == capacity


@virtual_time
async def test_the_watchers_of_a_client_share_its_limit() -> None:
    """Two watchers of one client share its limit."""
    server = server_of(40, completing_at(lambda _: 20), takes=0.5)
    client = server.client(max_concurrency=4)
    await asyncio.gather(*(JobWatcher(client, interval=5).wait_all(refs(40)) for _ in range(2)))
    assert server.most_in_flight == 4


@virtual_time
async def test_the_most_overdue_job_is_polled_first() -> None:
    """If there are more jobs than can be polled in time, none is polled twice while another waits."""
    server = server_of(10, completing_at(lambda _: 200), takes=2)
    await JobWatcher(server.client(max_concurrency=1), interval=1).wait_all(refs(10))
    order = [int(request.url.path.split("/")[-2]) for request in server.requests]
    assert sorted(order[:10]) == [*range(1, 11)]
    assert order[10:40] == order[:10] * 3
    assert (
        max(len(server.polls(job_id)) for job_id in range(1, 11))
        - min(len(server.polls(job_id)) for job_id in range(1, 11))
        <= 1
    )


@virtual_time
async def test_jobs_are_polled_in_the_order_in_which_they_were_due() -> None:
    """The order depends on when a job was due, not on when it was last polled."""
    server = server_of(3, completing_at(lambda _: 100), takes=10)
    client = server.client(max_concurrency=1)
    watcher = JobWatcher(client, interval=lambda state: state.outcome.result().id * 12.0 if state.outcome else 1.0)
    await watcher.wait_all(refs(3))
    order = [int(request.url.path.split("/")[-2]) for request in server.requests]
    # Polled from 0, 10 and 20 on for 10 s each, they are due again at 22, 44 and 66.
    assert order[:6] == [1, 2, 3, 1, 2, 1]


@virtual_time
async def test_a_hanging_request_takes_one_slot_only() -> None:
    """A request that hangs occupies one slot until it times out; the other slots serve the other jobs."""
    server = server_of(20, completing_at(lambda _: 100))

    async def hang() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    server.on("imageversion/status", 1, hang)
    watcher = JobWatcher(server.client(max_concurrency=2, timeout=60), interval=10, timeout=500)
    first, *others = await watcher.wait_all(refs(20))
    assert isinstance(first.error, TimeoutError)
    assert {result.elapsed for result in others} == {100}


@virtual_time
async def test_the_slot_of_a_cancelled_poll_is_reused() -> None:
    """When a poll is cancelled, the next waiting job is polled at once."""
    server = server_of(4, completing_at(lambda _: 0))

    async def hang() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    for job_id in (1, 2):
        server.on("imageversion/status", job_id, hang)
    watcher = JobWatcher(server.client(max_concurrency=2, timeout=600))
    hanging = [asyncio.create_task(watcher.wait(ref)) for ref in refs(2)]
    await asyncio.sleep(1)
    waiting = [asyncio.create_task(watcher.wait(ref)) for ref in refs(4)[2:]]
    await asyncio.sleep(9)
    assert not waiting[0].done()
    hanging[0].cancel()
    assert [job.is_completed for job in await asyncio.gather(*waiting)] == [True, True]
    assert now() == 10
    hanging[1].cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


FAULTS: list[Callable[[], Answer]] = [
    lambda: httpx.ConnectError("refused"),
    lambda: httpx.ReadTimeout("slow"),
    lambda: httpx.Response(429),
    lambda: httpx.Response(503, headers={"Retry-After": "5"}),
    lambda: httpx.Response(502, html="<html>Bad Gateway</html>"),
    lambda: httpx.Response(200, content=b"{"),
]


@virtual_time
async def test_thousands_of_watches_end_correctly() -> None:
    """2,000 watches of jobs with random durations, outcomes, estimates and failures all end correctly."""
    rng = random.Random(20251122)
    ends: dict[int, tuple[float, JobState]] = {}
    outcomes = [JobState.COMPLETED] * 8 + [JobState.FAILED, JobState.SQUASHED]

    def script(job_id: int) -> Callable[[], Answer]:
        end, state = ends[job_id] = rng.uniform(1, 400), rng.choice(outcomes)

        def show() -> Answer:
            if rng.random() < 0.05:
                return rng.choice(FAULTS)()
            moved = rng.uniform(0.9, 1.1)
            estimates = {"jobeta": int(START + end * moved), "jobprogress": min(int(100 * now() / (end * moved)), 99)}
            over = now() >= end
            return wire(job_id, state if over else JobState.RUNNING, jobstart=str(START), **({} if over else estimates))

        return show

    server = server_of(100, script)
    watcher = JobWatcher(server.client(max_concurrency=32), interval=until_eta(60, 900))
    results = [result async for result in watcher.as_completed(sorted(refs(100) * 20, key=str))]
    assert len(results) == 2000
    errors = {JobState.COMPLETED: type(None), JobState.FAILED: JobFailedError, JobState.SQUASHED: JobSquashedError}
    for result in results:
        end, state = ends[result.ref.id]
        assert result.job is not None
        assert result.job.state is state
        assert type(result.error) is errors[state]
        assert result.elapsed >= end
    late = sorted(result.elapsed - ends[result.ref.id][0] for result in results)
    assert late[1000] < 120
    assert sum(result.polls for result in results) == 20 * len(server.requests)
    assert [result.elapsed for result in results] == sorted(result.elapsed for result in results)


@virtual_time
async def test_random_starts_and_cancellations_leave_nothing() -> None:
    """Of 400 watches started and cancelled at random, the remaining ones end correctly, and nothing is left."""
    rng = random.Random(7)
    server = server_of(50, completing_at(lambda job_id: job_id * 10), takes=0.3)
    watcher = JobWatcher(server.client(max_concurrency=5), interval=25)
    cancelled = 0

    async def watch_briefly(ref: JobRef) -> Job | None:
        nonlocal cancelled
        await asyncio.sleep(rng.uniform(0, 500))
        if rng.random() < 0.5:
            return await watcher.wait(ref)
        try:
            async with asyncio.timeout(rng.uniform(0, 50)):
                return await watcher.wait(ref)
        except TimeoutError:
            cancelled += 1
            return None

    jobs = await asyncio.gather(*(watch_briefly(ref) for ref in refs(50) * 8))
    assert cancelled > 50
    assert all(job is None or (job.is_completed and now() >= job.id * 10) for job in jobs)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    polled = len(server.requests)
    await asyncio.sleep(10_000)
    assert len(server.requests) == polled


@virtual_time
async def test_memory_stays_flat_over_a_long_watch() -> None:
    """1,000 polls of one job leave no more objects than 200 polls."""
    server = ScriptedServer()
    objects: list[int] = []

    def show() -> Answer:
        polled = len(server.polls(9012))
        server.requests.clear()
        if polled in {200, 1000}:
            gc.collect()
            objects.append(len(gc.get_objects()))
        if polled % 3 == 0:
            return httpx.Response(503)
        return wire(9012, JobState.COMPLETED if polled > 1000 else JobState.RUNNING, jobupdated=int(server_now()))

    server.on("imageversion/status", 9012, show)
    received = 0

    async def on_update(_: Job) -> None:
        nonlocal received
        received += 1

    await JobWatcher(server.client(), interval=10).wait(REF, on_update=on_update)
    before, after = objects
    assert received > 600
    assert after - before < 50


@virtual_time
async def test_watches_leave_nothing_in_the_watcher() -> None:
    """A watcher keeps no object of the hundreds of watches that have ended."""
    server = ScriptedServer()
    server.version(9012, wire(9012, JobState.COMPLETED))
    watcher = JobWatcher(server.client())

    async def some(count: int) -> int:
        for _ in range(count):
            await watcher.wait(REF)
            await watcher.wait_all([REF, REF])
        server.requests.clear()
        server.asked.clear()
        gc.collect()
        return len(gc.get_objects())

    await some(20)
    before = await some(50)
    assert await some(150) - before < 50


@virtual_time
async def test_hours_of_watching_run_in_seconds() -> None:
    """Ten hours of watching on a virtual clock take under two seconds, and few polls."""
    hours = 10 * 3600

    def show() -> Answer:
        percent = min(int(100 * now() / hours), 99)
        state = JobState.COMPLETED if now() >= hours else JobState.RUNNING
        return wire(9012, state, jobstart=str(START), jobeta=START + hours, jobprogress=percent)

    server = ScriptedServer()
    server.on("imageversion/status", 9012, show)
    began = time.perf_counter()
    job = await JobWatcher(server.client(), interval=until_eta(1, 3600)).wait(REF)
    assert job.is_completed
    assert hours <= now() < hours + 60
    assert len(server.polls(9012)) < 180
    assert time.perf_counter() - began < 2


@virtual_time
async def test_an_endless_watch_ends_at_its_timeout() -> None:
    """A job in an unknown state for a day: the timeout ends the watch, and ``max`` bounds its pauses."""
    server = ScriptedServer()
    server.version(9012, wire(9012, None, jobstateid=8))
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=until_eta(60, 300)).wait(REF, timeout=86_400)
    assert now() == 86_400
    pauses = [later - earlier for earlier, later in itertools.pairwise(server.polls(9012))]
    assert max(pauses) == pytest.approx(300)
    assert len(pauses) < 600


@virtual_time
async def test_a_refused_job_among_thousands_costs_one_poll() -> None:
    """Each job that the server refuses is polled once."""
    server = server_of(1000, lambda job_id: lambda: httpx.Response(404) if job_id % 2 else wire(job_id, JobState(5)))
    results = await JobWatcher(server.client()).wait_all(refs(1000))
    assert [isinstance(result.error, NotFoundError) for result in results] == [True, False] * 500
    assert len(server.requests) == 1000


def calls_of_sharing(count: int, *, polled: bool) -> tuple[int, int]:
    """Return the number of Python calls in which that many watches of one job start, and in which they end."""
    counts, phase = [0, 0, 0], 0

    def count_call(*_: object) -> None:
        counts[phase] += 1

    @virtual_time
    async def run() -> None:
        nonlocal phase
        server = server_of(50, completing_at(lambda _: 1e9))
        client = server.client(max_rate=1.0, max_concurrency=1)
        async with client, JobWatcher(client, interval=900) as watcher:
            others = asyncio.create_task(watcher.wait_all(reversed(refs(50))))  # the first job is polled last
            await asyncio.sleep(100 if polled else 0)
            sharing = asyncio.create_task(watcher.wait_all(refs(1) * count))
            sys.setprofile(count_call)
            try:
                await asyncio.sleep(0.5)
                phase = 1
                sharing.cancel()
                await asyncio.wait([sharing])
            finally:
                sys.setprofile(None)
            others.cancel()
            await asyncio.wait([others])

    run()
    return counts[0], counts[1]


@pytest.mark.parametrize("polled", [True, False], ids=["later", "before the first poll"])
def test_watches_of_one_job_start_and_end_in_linear_time(polled: bool) -> None:
    """Ten times as many watches of one job take about ten times as long to join its polls, and to leave them."""
    few, many = calls_of_sharing(200, polled=polled), calls_of_sharing(2000, polled=polled)
    assert many[0] < 15 * few[0]
    assert many[1] < 15 * few[1]


@pytest.mark.parametrize("use", ["wait_all", "as_completed"])
def test_many_watches_start_and_stop_in_slices(use: str) -> None:
    """Other tasks of the loop run while many watches start and while they stop."""

    async def first_end(watcher: JobWatcher) -> None:
        async with aclosing(watcher.as_completed(refs(5000))) as results:
            await anext(results)

    @virtual_time
    async def run() -> None:
        server = server_of(5000, completing_at(lambda _: 1e9))
        async with server.client() as client, JobWatcher(client) as watcher:
            task = asyncio.ensure_future(watcher.wait_all(refs(5000)) if use == "wait_all" else first_end(watcher))
            began = [0]
            while began[-1] < 5000:
                await asyncio.sleep(0)
                began.append(len(watcher._watches))
            assert max(later - earlier for earlier, later in itertools.pairwise(began)) <= 500
            task.cancel()
            turns = 0
            while not task.done():
                await asyncio.sleep(0)
                turns += 1
            assert turns >= 10
            assert not watcher._watches

    run()
