"""How many watches begin, and who is polled first when not all can be: spread out, in turn, nobody forgotten."""

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
    """Return a server of so many jobs, all of which run until a moment."""
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
    """A few jobs are polled at once, the others one by one at the client's rate, though it would allow a burst."""

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
    """The spread is for those that begin together: whoever comes when they are through does not wait."""
    server = server_of(20)
    async with JobWatcher(server.client(max_rate=10.0)) as watcher:
        await watcher.wait_all(refs(20))
        await asyncio.sleep(10)
        began = now()
        await watcher.wait(JobRef.image_version(1))
        assert now() == began


@virtual_time
async def test_whoever_joins_before_the_first_poll_shares_it() -> None:
    """A second watch of a job that waits for its first poll has it made no sooner."""
    server = server_of(40)
    async with JobWatcher(server.client(max_rate=10.0, max_concurrency=1)) as watcher:
        results = await watcher.wait_all(refs(40) * 2)
    assert len(server.requests) == 40
    assert [result.polls for result in results] == [1] * 80
    assert polled(server)[-1] == pytest.approx(3.9)


@virtual_time
async def test_a_deadline_comes_before_the_turn() -> None:
    """A watch that would end before its turn for the first poll has it just before its deadline."""
    server = server_of(8)
    async with JobWatcher(server.client(max_rate=10.0, max_concurrency=1)) as watcher:
        results = await watcher.wait_all(refs(8), timeout=0.4)
    assert all(result.ok for result in results)
    assert now() <= 0.4


@virtual_time
async def test_under_a_rate_limit_each_gets_its_turn() -> None:
    """With polls due ten times as fast as the rate allows, no job waits longer than a full round of all the others."""
    server = server_of(30, until=200)
    async with JobWatcher(server.client(max_rate=3.0), interval=1.0) as watcher:
        await watcher.wait_all(refs(30))
    for moments in server.asked.values():
        pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert max(pauses) <= 30 / 3 + 0.5
    counts = [len(moments) for moments in server.asked.values()]
    assert max(counts) - min(counts) <= 4


class Recorder(httpx.AsyncBaseTransport):
    """Passes requests on, and remembers them and their headers as they were."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.requests: list[httpx.Request] = []
        self.sent: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.sent.append((str(request.url), request.headers["Authorization"]))
        return await self.inner.handle_async_request(request)


class Numbered(httpx.Auth):
    """Signs each request differently, in a header and in the address."""

    def __init__(self) -> None:
        self.signatures = 0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self.signatures += 1
        request.headers["Authorization"] = f"Number {self.signatures}"
        request.url = request.url.copy_merge_params({"signature": str(self.signatures)})
        yield request


@virtual_time
async def test_a_watch_builds_its_request_once() -> None:
    """All polls of a watch send the very same request."""
    server = server_of(2, until=100)
    recorder = Recorder(httpx.MockTransport(server._handle))
    async with JobWatcher(server.client(transport=recorder), interval=10) as watcher:
        await watcher.wait_all(refs(2))
    assert len(recorder.requests) > 20
    assert len({id(request) for request in recorder.requests}) == 2
    assert not any(request.extensions for request in recorder.requests), "what is kept holds on to what is over"


@virtual_time
async def test_each_poll_is_signed_anew_where_the_auth_needs_it() -> None:
    """Credentials that sign each request differently sign each poll, and see it as it was before they did."""
    server = server_of(1, until=50)
    recorder = Recorder(httpx.MockTransport(server._handle))
    client = ClanforgeClient(Numbered(), account_service_id=7, transport=recorder)
    async with client, JobWatcher(client, interval=10) as watcher:
        await watcher.wait(JobRef.image_version(1))
    address = "https://api.multiplay.co.uk/cfp/v1/imageversion/1/status?accountserviceid=7"
    assert recorder.sent == [(f"{address}&signature={number}", f"Number {number}") for number in range(1, 7)]


@virtual_time
async def test_a_transport_that_never_waits_holds_up_nobody() -> None:
    """Polls that are answered without a turn of the loop leave the loop its turns."""
    server = server_of(3, until=10)

    class Instant(httpx.AsyncBaseTransport):
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

    async with JobWatcher(server.client(transport=Instant(), max_concurrency=1), interval=lambda _: 0.0) as watcher:
        watches = [asyncio.create_task(watcher.wait(ref)) for ref in refs(3)]
        counting = count_turns()
        for _ in range(100):
            await anext(counting)
        await counting.aclose()
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
    assert turns == 100
