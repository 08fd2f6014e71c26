"""The first polls of watches: spread out at the start, shared, and fair if the rate is too low."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_right
from collections.abc import AsyncGenerator, Generator

import httpx
import pytest
from support.scripted_server import ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import ClanforgeClient, JobRef, JobState, JobWatcher


def refs(count: int) -> list[JobRef]:
    return [JobRef.image_version(job_id) for job_id in range(1, count + 1)]


def server_of(count: int, *, until: float = 0.0) -> ScriptedServer:
    """Return a server of jobs that run until a given time."""
    server = ScriptedServer()
    for ref in refs(count):

        def show(job_id: int = ref.id) -> dict[str, object]:
            return wire(job_id, JobState.COMPLETED if now() >= until else JobState.RUNNING)

        server.on("imageversion/status", ref.id, show)
    return server


def polled(server: ScriptedServer) -> list[float]:
    return sorted(moment for moments in server.asked.values() for moment in moments)


@pytest.mark.parametrize(("rate", "capacity", "head_start"), [(10.0, 3, 3), (10.0, 100, 5), (0.5, 10, 1)])
def test_first_polls_are_spread(rate: float, capacity: int, head_start: int) -> None:
    """The first few jobs are polled at once, the others one by one at the client's rate."""

    @virtual_time
    async def run() -> None:
        server = server_of(60)
        async with JobWatcher(server.client(max_rate=rate, max_concurrency=capacity)) as watcher:
            await watcher.wait_all(refs(60))
        moments = polled(server)
        assert moments[:head_start] == [0.0] * head_start
        within_a_second = max(bisect_right(moments, moment + 0.999) - i for i, moment in enumerate(moments))
        assert within_a_second <= head_start + rate
        assert moments[-1] == pytest.approx((60 - head_start) / rate, rel=0.02)

    run()


@virtual_time
async def test_a_watch_that_begins_later_is_polled_at_once() -> None:
    """A watch that starts after the initial burst is polled at once."""
    server = server_of(20)
    async with JobWatcher(server.client(max_rate=10.0)) as watcher:
        await watcher.wait_all(refs(20))
        await asyncio.sleep(10)
        began = now()
        await watcher.wait(JobRef.image_version(1))
        assert now() == began


@pytest.mark.parametrize("rate", [20.0, 1.0, 0.1])
@pytest.mark.parametrize("moment", [0.0, 1.0, 25.0])
def test_cancelled_watches_keep_no_place_in_the_queue(rate: float, moment: float) -> None:
    """After a cancelled `wait_all` the next job is polled as soon as the rate allows after the polls that were made."""

    @virtual_time
    async def run() -> None:
        server = server_of(1001, until=0)
        async with JobWatcher(server.client(max_rate=rate)) as watcher:
            waiting = asyncio.create_task(watcher.wait_all(refs(1000)))
            await asyncio.sleep(moment)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            began, made = now(), len(server.requests)
            await watcher.wait(JobRef.image_version(1001))
        assert now() - began <= (1.05 / rate if made else 0.0)
        assert made <= 1 + rate * (moment + 0.5)

    run()


@virtual_time
async def test_timed_out_watches_keep_no_place_in_the_queue() -> None:
    """After several groups that timed out, each with a last poll before its deadline, a new watch is polled at once."""
    server = server_of(1001, until=60)
    async with JobWatcher(server.client(max_rate=20.0)) as watcher:
        for _ in range(3):
            await watcher.wait_all(refs(1000), timeout=5)
        began = now()
        [result] = await watcher.wait_all([JobRef.image_version(1001)], timeout=1)
        assert result.polls > 0
        assert now() - began <= 1.0


@virtual_time
async def test_those_that_still_wait_move_up_in_the_queue() -> None:
    """If other jobs leave the queue unpolled, a waiting job is polled as if they had never been in it, and in order."""
    server = server_of(220)
    async with JobWatcher(server.client(max_rate=1.0, max_concurrency=1)) as watcher:
        leaving = [asyncio.create_task(watcher.wait(ref)) for ref in refs(200)]
        staying = [asyncio.create_task(watcher.wait(JobRef.image_version(job_id))) for job_id in range(201, 221)]
        await asyncio.sleep(4.5)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*staying)
    assert [server.polls(job_id) for job_id in range(1, 6)] == [[float(moment)] for moment in range(5)]
    assert [server.polls(job_id)[0] for job_id in range(201, 221)] == pytest.approx(range(5, 25))
    assert len(server.requests) == 25


@virtual_time
async def test_a_later_watch_queues_behind_those_that_wait() -> None:
    """If the rate makes new jobs wait, they are polled in the order in which they were added."""
    server = server_of(12)
    async with JobWatcher(server.client(max_rate=1.0, max_concurrency=1)) as watcher:
        first = asyncio.create_task(watcher.wait_all(refs(10)))
        await asyncio.sleep(2.5)
        await watcher.wait_all(refs(12)[10:])
        await first
    assert [server.polls(job_id) for job_id in range(1, 13)] == [[float(moment)] for moment in range(12)]


@virtual_time
async def test_a_watch_that_joins_before_the_first_poll_shares_it() -> None:
    """A second watch of a job that waits for its first poll does not bring that poll forward."""
    server = server_of(40)
    async with JobWatcher(server.client(max_rate=10.0, max_concurrency=1)) as watcher:
        results = await watcher.wait_all(refs(40) * 2)
    assert len(server.requests) == 40
    assert [result.polls for result in results] == [1] * 80
    assert polled(server)[-1] == pytest.approx(3.9)


@virtual_time
async def test_a_deadline_brings_the_first_poll_forward() -> None:
    """A watch whose deadline is before its first slot is polled just before the deadline."""
    server = server_of(8)
    async with JobWatcher(server.client(max_rate=10.0, max_concurrency=1)) as watcher:
        results = await watcher.wait_all(refs(8), timeout=0.4)
    assert all(result.ok for result in results)
    assert now() <= 0.4


@virtual_time
async def test_each_job_gets_its_turn_under_a_rate_limit() -> None:
    """If ten times as many polls are due as the rate allows, no job waits longer than one round of all jobs."""
    server = server_of(30, until=200)
    async with JobWatcher(server.client(max_rate=3.0), interval=1.0) as watcher:
        await watcher.wait_all(refs(30))
    for moments in server.asked.values():
        pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert max(pauses) <= 30 / 3 + 0.5
    counts = [len(moments) for moments in server.asked.values()]
    assert max(counts) - min(counts) <= 4


class RecordingTransport(httpx.AsyncBaseTransport):
    """Forwards requests, and records each with its URL and signature."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.requests: list[httpx.Request] = []
        self.sent: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.sent.append((str(request.url), request.headers["Authorization"]))
        return await self.inner.handle_async_request(request)


class NumberedAuth(httpx.Auth):
    """Signs each request differently, in a header and in the URL."""

    def __init__(self) -> None:
        self.signatures = 0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self.signatures += 1
        request.headers["Authorization"] = f"Number {self.signatures}"
        request.url = request.url.copy_merge_params({"signature": str(self.signatures)})
        yield request


@virtual_time
async def test_a_watch_builds_its_request_once() -> None:
    """All polls of a watch send the same request object."""
    server = server_of(2, until=100)
    recorder = RecordingTransport(httpx.MockTransport(server._handle))
    async with JobWatcher(server.client(transport=recorder), interval=10) as watcher:
        await watcher.wait_all(refs(2))
    assert len(recorder.requests) > 20
    assert len({id(request) for request in recorder.requests}) == 2
    assert not any(request.extensions for request in recorder.requests), "what is kept holds on to what is over"


@virtual_time
async def test_each_poll_is_signed_again() -> None:
    """An auth that signs each request differently signs each poll, starting from the unsigned request."""
    server = server_of(1, until=50)
    recorder = RecordingTransport(httpx.MockTransport(server._handle))
    client = ClanforgeClient(NumberedAuth(), account_service_id=7, transport=recorder)
    async with client, JobWatcher(client, interval=10) as watcher:
        await watcher.wait(JobRef.image_version(1))
    address = "https://api.multiplay.co.uk/cfp/v1/imageversion/1/status?accountserviceid=7"
    assert recorder.sent == [(f"{address}&signature={number}", f"Number {number}") for number in range(1, 7)]


@virtual_time
async def test_a_transport_that_never_waits_does_not_block_the_loop() -> None:
    """A worker yields to the loop even if every poll returns without waiting."""
    server = server_of(3, until=10)

    class NoWait(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            ref = int(request.url.path.split("/")[-2])
            return httpx.Response(200, json=wire(ref, JobState.RUNNING))

    turns = 0

    async def count_turns() -> AsyncGenerator[None, None]:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1
            yield

    async with JobWatcher(server.client(transport=NoWait(), max_concurrency=1), interval=lambda _: 0.0) as watcher:
        watches = [asyncio.create_task(watcher.wait(ref)) for ref in refs(3)]
        counting = count_turns()
        for _ in range(100):
            await anext(counting)
        await counting.aclose()
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
    assert turns == 100
