"""Limits of the whole client: requests per second, concurrent requests, and connections."""

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


def assert_within_rate(times: list[float], rate: float) -> None:
    """Assert that no time window has more requests than a burst and the rate allow."""
    burst = max(rate, 1.0)
    for (i, begin), (j, end) in combinations(enumerate(times), 2):
        assert j - i + 1 <= burst + rate * (end - begin) + 1e-3


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 1.5, 7.3, 20.0, 1000.0])
def test_the_rate_is_exact(rate: float) -> None:
    """With many concurrent calls, each second has exactly as many requests as the rate and one burst allow."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, wire(5))
        async with server.client(max_rate=rate, max_concurrency=50) as client:
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(40)))
        times = sent_at(server)
        assert_within_rate(times, rate)
        assert times[0] == 0
        assert times[-1] <= 40 / rate

    run()


@virtual_time
async def test_the_default_rate_is_20_per_second() -> None:
    """By default a client sends a burst of 20 requests, then 20 per second."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    transport = server.client()._session._transport
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(100)))
    times = sent_at(server)
    assert times[:20] == [0.0] * 20
    assert_within_rate(times, 20.0)
    assert now() == pytest.approx(4.0, abs=0.1)


@virtual_time
async def test_an_idle_client_may_send_one_burst() -> None:
    """After an idle hour a client may send one second's worth of requests at once, not more."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    async with server.client(max_rate=5.0, max_concurrency=50) as client:
        for _ in range(3):
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(20)))
            await asyncio.sleep(3600)
    assert_within_rate(sent_at(server), 5.0)


@virtual_time
async def test_every_request_is_rate_limited() -> None:
    """The rate limit counts all calls of a client and all their retries."""
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
    assert_within_rate(sent_at(server), 3.0)


@virtual_time
async def test_max_rate_none_is_unlimited() -> None:
    """``max_rate=None`` means unlimited."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    async with server.client(max_rate=None) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(500)))
    assert now() == 0


@virtual_time
async def test_cancelled_calls_use_no_rate() -> None:
    """Calls that are cancelled while they wait for the rate limit delay no other call, and leave no task."""
    server = ScriptedServer()
    server.diff(5, wire(5))
    async with server.client(max_rate=2.0, max_concurrency=50) as client:
        calls = [asyncio.create_task(client.image_diffs.status(5)) for _ in range(40)]
        await asyncio.sleep(1.2)
        for call in calls[::2]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await client.image_diffs.status(5)
    assert_within_rate(sent_at(server), 2.0)
    assert now() <= 13


@pytest.mark.parametrize("limit", [1, 2, 10, 33])
def test_concurrency_is_limited(limit: int) -> None:
    """Exactly ``max_concurrency`` requests, and never more, are inside the transport."""

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
async def test_a_slot_is_held_until_the_body_is_read() -> None:
    """A slot is held while the response body is being read."""
    under_way = most = 0

    class SlowBody(httpx.AsyncByteStream):
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

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=SlowBody()))
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=transport, max_concurrency=2, max_rate=None
    ) as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(10)))
    assert (most, under_way) == (2, 0)


@virtual_time
async def test_a_failed_request_releases_its_slot() -> None:
    """A request releases its slot whether it succeeds, fails or is cancelled."""
    server = ScriptedServer()
    server.diff(5, httpx.ReadError("x"), OSError("x"), httpx.Response(500), httpx.Response(200, text="<html>"), wire(5))
    server.on("imagediff/status", 6, asyncio.Event().wait)  # type: ignore[arg-type] # never answers
    async with server.client(max_concurrency=1, max_retries=0, timeout=5.0) as client:
        for _ in range(4):
            await asyncio.gather(client.image_diffs.status(5), return_exceptions=True)
        with pytest.raises(RequestTimeoutError):
            await client.image_diffs.status(6)
        assert (await client.image_diffs.status(5)).id == 5


# Real sockets


@pytest.mark.parametrize("limit", [1, 4])
async def test_the_pool_keeps_max_concurrency_connections(limit: int) -> None:
    """Many calls, concurrent and sequential, use ``max_concurrency`` connections that stay open."""
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


async def test_a_closed_connection_is_replaced() -> None:
    """If the server closes its connections after each response, calls use new ones without failing."""
    async with (
        LoopbackServer(lambda _: http_answer(wire(5), Connection="close")) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_concurrency=3, max_rate=None) as client,
    ):
        for _ in range(5):
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(6)))
    assert server.connections == len(server.requests) == 30


async def test_a_custom_transport_never_queues_requests() -> None:
    """No request waits inside a custom transport with ``max_concurrency`` connections."""
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


async def test_aiohttp_respects_max_concurrency() -> None:
    """With aiohttp, no more than ``max_concurrency`` connections are opened, though aiohttp allows more."""
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
