"""Calls that are cancelled at any moment lose no connection and no slot, and leave no task."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
import httpx_aiohttp
import pytest
from support.concurrency import assert_full_concurrency
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import ClanforgeClient, ClanforgeError, RequestTimeoutError
from clanforge_async._http.connection_pool import ConnectionPool

SLOTS = 4
LIMITS = httpx.Limits(max_connections=SLOTS, max_keepalive_connections=SLOTS)
TRANSPORTS: dict[str, Callable[[], httpx.AsyncBaseTransport | None]] = {
    "default": lambda: None,
    "own pool": lambda: httpx.AsyncHTTPTransport(verify=False, limits=LIMITS),
    "aiohttp": lambda: httpx_aiohttp.AiohttpTransport(verify=False, limits=LIMITS),
}
RESPONSE = http_answer(wire(5))
CLOSING_RESPONSE = http_answer(wire(5), Connection="close")


async def turns(count: int) -> None:
    """Run the event loop for some iterations, waiting only for the network."""
    for _ in range(count):
        await asyncio.sleep(0)


class RandomServer:
    """Responds at once, a little later, or by closing the connection, chosen by a seeded generator."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    async def __call__(self, _head: str) -> bytes:
        await turns(self.rng.choice([0, 0, 1, 3, 10, 30]))
        return CLOSING_RESPONSE if self.rng.random() < 0.3 else RESPONSE


async def churn(client: ClanforgeClient, rng: random.Random, rounds: int) -> int:
    """Repeatedly start more calls than there are slots, and cancel most at random moments."""
    cancelled = 0
    for _ in range(rounds):
        calls = [asyncio.create_task(client.image_diffs.status(5)) for _ in range(3 * SLOTS)]
        for call in rng.sample(calls, 2 * SLOTS):
            await turns(rng.randrange(12))
            cancelled += call.cancel()
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
    return cancelled


def assert_no_lost_connection(transport: httpx.AsyncBaseTransport | None) -> None:
    """Assert that every connection of an httpx pool is idle or closed."""
    pools = transport.connections if isinstance(transport, ConnectionPool) else [transport]
    for pool in pools:
        if isinstance(pool, httpx.AsyncHTTPTransport):
            # No public attribute distinguishes a lost connection from a busy one; a lost one blocks its slot forever.
            lost = [each for each in pool._pool.connections if not (each.is_idle() or each.is_closed())]
            assert lost == []


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("seed", range(2))
async def test_cancelled_calls_lose_no_capacity(name: str, seed: int) -> None:
    """After a hundred calls cancelled at random under contention, the client has its full concurrency."""
    rng = random.Random(seed)
    before = asyncio.all_tasks()
    async with LoopbackServer(RandomServer(rng)) as server:
        transport = TRANSPORTS[name]()
        async with ClanforgeClient(
            ("key", "secret"),
            base_url=server.url,
            transport=transport,
            max_concurrency=SLOTS,
            max_rate=None,
            max_retries=0,
            timeout=10.0,
        ) as client:
            cancelled = await churn(client, rng, rounds=15)
            assert cancelled > 40
            await assert_full_concurrency(client, server, RESPONSE)
            server.answer = lambda _: RESPONSE
            opened = server.connections
            await asyncio.gather(*(client.image_diffs.status(5) for _ in range(10 * SLOTS)))
            assert server.connections - opened <= SLOTS
            assert_no_lost_connection(client._session._transport)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_a_call_can_be_cancelled_at_every_turn(name: str) -> None:
    """After a call is cancelled in the 1st, 2nd, 3rd, ... iteration of the event loop, all slots are free."""
    async with LoopbackServer(lambda _: CLOSING_RESPONSE) as server:
        transport = TRANSPORTS[name]()
        async with ClanforgeClient(
            ("key", "secret"), base_url=server.url, transport=transport, max_concurrency=1, max_rate=None, timeout=10.0
        ) as client:
            for moment in range(45):
                call = asyncio.create_task(client.image_diffs.status(5))
                await turns(moment)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                assert (await client.image_diffs.status(5)).id == 5
            assert_no_lost_connection(client._session._transport)


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_a_call_can_be_cancelled_twice_at_every_turn(name: str) -> None:
    """A second cancellation during the first one has no further effect."""
    before = asyncio.all_tasks()
    async with LoopbackServer(lambda _: CLOSING_RESPONSE) as server:
        transport = TRANSPORTS[name]()
        async with ClanforgeClient(
            ("key", "secret"), base_url=server.url, transport=transport, max_concurrency=1, max_rate=None, timeout=10.0
        ) as client:
            for moment in range(0, 40, 2):
                for pause in (0, 1, 3):
                    call = asyncio.create_task(client.image_diffs.status(5))
                    await turns(moment)
                    call.cancel()
                    await turns(pause)
                    call.cancel()
                    await asyncio.gather(call, return_exceptions=True)
            await assert_still_works(client)
            assert_no_lost_connection(client._session._transport)
    assert asyncio.all_tasks() == before


async def assert_still_works(client: ClanforgeClient) -> None:
    for _ in range(3):
        assert (await client.image_diffs.status(5)).id == 5


class SlowToCancel(httpx.AsyncBaseTransport):
    """Takes some seconds to react to a cancellation."""

    def __init__(self) -> None:
        self.inside = 0
        self.most_inside = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            try:
                await asyncio.sleep(100 if "/5/" in request.url.path else 0)
            finally:
                await asyncio.sleep(5)
        finally:
            self.inside -= 1
        return httpx.Response(200, json=wire(9))


def slow_to_cancel_client(transport: SlowToCancel, **options: Any) -> ClanforgeClient:
    return ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=transport, max_concurrency=1, max_rate=None, **options
    )


@virtual_time
async def test_a_cancelled_call_ends_with_its_request() -> None:
    """A cancelled call raises, and releases its slot, only when the transport has ended the request."""
    transport = SlowToCancel()
    async with slow_to_cancel_client(transport) as client:
        call = asyncio.create_task(client.image_diffs.status(5))
        await asyncio.sleep(1)
        call.cancel()
        await client.image_versions.status(9)
        assert call.cancelled()
        assert now() == pytest.approx(1 + 5 + 5)
    assert transport.most_inside == 1


@virtual_time
async def test_a_second_cancellation_ends_the_clean_up() -> None:
    """A second cancellation reaches a transport that is still cleaning up; it leaves no task and exceeds no limit."""
    transport = SlowToCancel()
    async with slow_to_cancel_client(transport) as client:
        call = asyncio.create_task(client.image_diffs.status(5))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        assert now() == pytest.approx(2)
        await client.image_versions.status(9)
    assert transport.most_inside == 1


@virtual_time
async def test_a_timeout_releases_the_slot_with_its_request() -> None:
    """After a timeout the slot is released when the transport has ended the request, and the timeout is raised."""
    transport = SlowToCancel()
    async with slow_to_cancel_client(transport, timeout=10.0, max_retries=0) as client:
        outcomes = await asyncio.gather(
            client.image_diffs.status(5), client.image_versions.status(9), return_exceptions=True
        )
    assert isinstance(outcomes[0], TimeoutError)
    assert isinstance(outcomes[0], ClanforgeError)
    assert not isinstance(outcomes[1], Exception)
    assert transport.most_inside == 1


@virtual_time
async def test_an_error_after_a_cancellation_is_ignored() -> None:
    """An exception of the transport after a cancellation is ignored, and the slot is released."""

    class TooLateError(httpx.CloseError):
        def __init__(self) -> None:
            super().__init__("too late")

    class FailingTransport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            try:
                await asyncio.sleep(50)
            except asyncio.CancelledError as cancelled:
                raise TooLateError from cancelled
            raise AssertionError

    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=FailingTransport()) as client:
        call = asyncio.create_task(client.image_diffs.status(5))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@virtual_time
async def test_a_response_after_a_cancellation_is_ignored() -> None:
    """A response that arrives despite a cancellation is ignored, and the slot is released."""
    closed = []

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{}"

        async def aclose(self) -> None:
            closed.append(self)

    class IgnoresCancellation(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(50)
            return httpx.Response(200, stream=Body())

    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=IgnoresCancellation(), max_concurrency=1
    ) as client:
        call = asyncio.create_task(client.image_diffs.status(5))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert len(closed) == 1


class TimesOutInternally(httpx.AsyncBaseTransport):
    """Has two internal timeouts, which cancel and uncancel its task: one succeeds, one fails."""

    def __init__(self, timeout: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        self.timeout = timeout

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with suppress(TimeoutError):
            async with self.timeout():
                await asyncio.sleep(100)
        if "/5/" in request.url.path:
            message = "too slow"
            raise httpx.ReadTimeout(message)
        await asyncio.sleep(1)
        return httpx.Response(200, json=wire(9))


@asynccontextmanager
async def anyio_timeout() -> AsyncIterator[None]:
    with anyio.fail_after(2):
        yield


@pytest.mark.parametrize("timeout", [lambda: asyncio.timeout(2), anyio_timeout], ids=["asyncio", "anyio"])
def test_a_timeout_inside_the_transport_is_not_a_cancellation(
    timeout: Callable[[], AbstractAsyncContextManager[object]],
) -> None:
    """A transport may cancel its own task for a timeout: the call ends as the transport decides."""

    @virtual_time
    async def run() -> None:
        async with ClanforgeClient(
            ("key", "secret"), account_service_id=7, transport=TimesOutInternally(timeout), max_retries=0
        ) as client:
            with pytest.raises(RequestTimeoutError, match="no response in time"):
                await client.image_diffs.status(5)
            assert (await client.image_versions.status(9)).id == 9
            assert now() == pytest.approx(2 + 2 + 1)
            call = asyncio.create_task(client.image_versions.status(9))
            await asyncio.sleep(2.5)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    run()


@virtual_time
async def test_a_transport_that_ignores_a_cancellation_gets_another() -> None:
    """If a transport ignores a cancellation, the next one reaches it at once."""

    class IgnoresCancellation(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await asyncio.sleep(1000)
            raise AssertionError

    async with ClanforgeClient(
        ("key", "secret"), account_service_id=7, transport=IgnoresCancellation(), timeout=5000.0
    ) as client:
        call = asyncio.create_task(client.image_diffs.status(5))
        for pause in (1, 5):
            await asyncio.sleep(pause)
            assert not call.done()
            call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        assert now() == pytest.approx(1 + 5)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 10])
def test_a_waiting_call_can_be_cancelled(after: int) -> None:
    """Calls that wait for a slot, the rate limit or a retry are cancelled at once, and block no other call."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()

        async def slow() -> dict[str, Any]:
            await asyncio.sleep(1)
            return wire(5)

        server.on("imagediff/status", 5, slow)
        server.diff(6, httpx.Response(500))
        async with server.client(max_concurrency=2, max_rate=2.0) as client:
            calls = [asyncio.create_task(client.image_diffs.status(5)) for _ in range(10)]
            calls += [asyncio.create_task(client.image_diffs.status(6)) for _ in range(2)]
            await asyncio.sleep(after / 2)
            for call in calls[1:]:
                call.cancel()
            began = now()
            await asyncio.gather(*calls[1:], return_exceptions=True)
            assert now() == began
            await asyncio.gather(calls[0], client.image_diffs.status(5))
        assert server.in_flight == 0
        assert server.most_in_flight <= 2

    run()
