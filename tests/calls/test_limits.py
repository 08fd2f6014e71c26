"""Limits over the whole client: how fast, how many at a time, and over how many connections."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import Any

import httpx
import httpx_aiohttp
import pytest
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import ClanforgeClient, JobRef, RequestTimeoutError


def sent_at(server: ScriptedServer) -> list[float]:
    return sorted(time for times in server.asked.values() for time in times)


def assert_within(times: list[float], rate: float) -> None:
    """Hold that in no window there are more requests than a burst and what the rate allows for its length."""
    burst = max(rate, 1.0)
    for (i, begin), (j, end) in combinations(enumerate(times), 2):
        assert j - i + 1 <= burst + rate * (end - begin) + 1e-3


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 1.5, 7.3, 20.0, 1000.0])
def test_no_window_holds_more_than_the_rate_allows(rate: float) -> None:
    """Of many calls at once no more are sent than a burst of one second's worth and the rate; and no fewer."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, wire(5))
        async with server.client(max_rate=rate, max_concurrency=50) as client:
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(40)))
        times = sent_at(server)
        assert_within(times, rate)
        assert times[0] == 0
        assert times[-1] <= 40 / rate

    run()


@virtual_time
async def test_the_default_is_twenty_a_second() -> None:
    """Unless told otherwise a client sends a burst of 20 requests, and 20 more a second."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    transport = server.client()._session._transport
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(100)))
    times = sent_at(server)
    assert times[:20] == [0.0] * 20
    assert_within(times, 20.0)
    assert now() == pytest.approx(4.0, abs=0.1)


@virtual_time
async def test_a_pause_earns_one_burst_and_no_more() -> None:
    """After an idle hour a client may send a burst of one second's worth, not of an hour's."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    async with server.client(max_rate=5.0, max_concurrency=50) as client:
        for _ in range(3):
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(20)))
            await asyncio.sleep(3600)
    assert_within(sent_at(server), 5.0)


@virtual_time
async def test_every_call_counts_and_every_repetition() -> None:
    """The rate holds over all calls of a client together, and over what it sends again."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(500))
    server.retry(5, httpx.ConnectError("x"))
    server.version(9, wire(9))
    async with server.client(max_rate=3.0, max_retries=5) as client:
        calls: list[Any] = [client.image_diffs.status(5), client.image_diffs.retry(5)]
        calls += [client.image_versions.status(9), client.observer(JobRef.image_diff(5))()]
        calls += [client.image_versions.status(9) for _ in range(5)]
        await asyncio.gather(*calls, return_exceptions=True)
    assert len(server.requests) == 6 + 6 + 1 + 1 + 5
    assert_within(sent_at(server), 3.0)


@virtual_time
async def test_without_a_rate_nothing_waits() -> None:
    """``max_rate=None`` is unlimited."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    async with server.client(max_rate=None) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(500)))
    assert now() == 0


@virtual_time
async def test_cancelled_waiting_leaves_the_rate_as_it_was() -> None:
    """Calls that are cancelled in front of the rate limit take nothing from the others, and leave nothing behind."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    async with server.client(max_rate=2.0, max_concurrency=50) as client:
        calls = [asyncio.create_task(client.image_diffs.status(5)) for _ in range(40)]
        await asyncio.sleep(1.2)
        for call in calls[::2]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await client.image_diffs.status(5)
    assert_within(sent_at(server), 2.0)
    assert now() <= 13


@pytest.mark.parametrize("limit", [1, 2, 10, 33])
def test_no_more_requests_are_under_way_than_allowed(limit: int) -> None:
    """No more than ``max_concurrency`` requests are ever inside the transport, and that many are."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()

        async def slow() -> dict[str, Any]:
            await asyncio.sleep(1)
            return wire(5)

        server.on("imagediff/status", 5, slow)
        async with server.client(max_concurrency=limit) as client:
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(100)))
        assert server.most_in_flight == limit
        assert now() == pytest.approx(-(-100 // limit))

    run()


@virtual_time
async def test_a_request_is_under_way_until_its_body_is_read() -> None:
    """A slot is held for as long as the answer's body comes in."""
    under_way = most = 0

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(1)
            yield httpx.Response(200, json=wire(5)).content
            await asyncio.sleep(1)

        async def aclose(self) -> None:
            nonlocal under_way
            under_way -= 1

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=transport, max_concurrency=2, max_rate=None
    ) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(10)))
    assert (most, under_way) == (2, 0)


@virtual_time
async def test_a_request_that_fails_gives_its_slot_back() -> None:
    """However a request ends, its slot is free again."""
    server = ScriptedServer()
    server.diff(5, httpx.ReadError("x"), OSError("x"), httpx.Response(500), httpx.Response(200, text="<html>"), wire(5))
    server.on("imagediff/status", 6, asyncio.Event().wait)  # type: ignore[arg-type] # never answers
    async with server.client(max_concurrency=1, max_retries=0, timeout=5.0) as client:
        for _ in range(4):
            await asyncio.gather(client.image_diffs.status(5), return_exceptions=True)
        with pytest.raises(RequestTimeoutError):
            await client.image_diffs.status(6)
        assert (await client.image_diffs.status(5)).id == 5


# On real sockets


@pytest.mark.parametrize("limit", [1, 4])
async def test_the_pool_opens_no_more_connections_than_allowed_and_keeps_them(limit: int) -> None:
    """Many calls, at once and one after another, go over ``max_concurrency`` connections that stay open."""
    async with (
        LoopbackServer(lambda _: http_answer(wire(5))) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_concurrency=limit, max_rate=None) as client,
    ):
        for _ in range(4):
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(20)))
        for _ in range(20):
            await client.image_diffs.status(5)
        assert len(server.requests) == 100
        assert server.connections == limit


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    """A server that closes its connections after each answer is served over new ones, without a failed call."""
    async with (
        LoopbackServer(lambda _: http_answer(wire(5), Connection="close")) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_concurrency=3, max_rate=None) as client,
    ):
        for _ in range(5):
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(6)))
    assert server.connections == len(server.requests) == 30


async def test_a_small_pool_of_ones_own_is_never_asked_for_more() -> None:
    """A transport of exactly ``max_concurrency`` connections never has a request wait inside it."""
    limits = httpx.Limits(max_connections=2, max_keepalive_connections=2)
    async with (
        LoopbackServer(lambda _: http_answer(wire(5))) as server,
        ClanforgeClient(
            ("key", "secret"),
            base_url=server.url,
            transport=httpx.AsyncHTTPTransport(verify=False, limits=limits),
            max_concurrency=2,
            max_rate=None,
            max_retries=0,
            timeout=httpx.Timeout(5.0, pool=0.000001),
        ) as client,
    ):
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(50)))
    assert server.connections == 2


async def test_aiohttp_keeps_to_the_limit_too() -> None:
    """Over aiohttp no more connections are opened than ``max_concurrency``, though its own limit is wider."""
    async with (
        LoopbackServer(lambda _: http_answer(wire(5))) as server,
        ClanforgeClient(
            ("key", "secret"),
            base_url=server.url,
            transport=httpx_aiohttp.AiohttpTransport(verify=False),
            max_concurrency=2,
            max_rate=None,
        ) as client,
    ):
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(50)))
    assert server.connections == 2
