"""Cancelling calls with asyncio's and anyio's means, over every transport, on every kind of event loop."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import httpx
import httpx_aiohttp
import pytest
import uvloop
from support.concurrency import assert_full_concurrency
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire
from support.virtual_time import now, virtual_time

from clanforge_async import ClanforgeClient, JobRef, JobWatcher, RetryOutcomeUnknownError, TransportError

SLOTS = 4
LIMITS = httpx.Limits(max_connections=SLOTS, max_keepalive_connections=SLOTS)
JOB = http_answer(wire(5))


class Wrapped(httpx.AsyncBaseTransport):
    """A third party's transport that wraps httpx's own, for example to trace or cache."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport(verify=False, limits=LIMITS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


TRANSPORTS: dict[str, Callable[[], httpx.AsyncBaseTransport | None]] = {
    "default": lambda: None,
    "httpx": lambda: httpx.AsyncHTTPTransport(verify=False, limits=LIMITS),
    "wrapped httpx": Wrapped,
    "aiohttp": lambda: httpx_aiohttp.AiohttpTransport(verify=False, limits=LIMITS),
}

Call = Callable[[], Awaitable[object]]


async def by_asyncio_timeout(call: Call, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            await call()
    except TimeoutError:
        return "cancelled"
    return "answered"


async def by_wait_for(call: Call, seconds: float) -> str:
    try:
        await asyncio.wait_for(asyncio.ensure_future(call()), seconds)
    except TimeoutError:
        return "cancelled"
    return "answered"


async def by_task_group(call: Call, seconds: float) -> str:
    class LeaveError(Exception):
        pass

    answered: list[object] = []

    async def run() -> None:
        answered.append(await call())

    async def leave() -> None:
        await asyncio.sleep(seconds)
        if not answered:
            raise LeaveError

    with suppress(BaseExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(run())
            group.create_task(leave())
    return "answered" if answered else "cancelled"


async def by_anyio_scope(call: Call, seconds: float) -> str:
    with anyio.move_on_after(seconds) as scope:
        await call()
    return "cancelled" if scope.cancelled_caught else "answered"


async def by_anyio_task_group(call: Call, seconds: float) -> str:
    outcome = "lost"

    async def child() -> None:
        nonlocal outcome
        outcome = await by_anyio_scope(call, seconds)

    async with anyio.create_task_group() as group:
        group.start_soon(child)
    return outcome


CANCELLERS = [by_asyncio_timeout, by_wait_for, by_task_group, by_anyio_scope, by_anyio_task_group]


LOOPS: dict[str, Callable[[Coroutine[Any, Any, None]], None]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}
if sys.version_info >= (3, 12):

    def run_eagerly(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner() as runner:
            runner.get_loop().set_task_factory(asyncio.eager_task_factory)
            runner.run(main)

    LOOPS["eager tasks"] = run_eagerly


async def churn(name: str, cancel: Callable[[Call, float], Awaitable[str]]) -> None:
    rng = random.Random(name)
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def serve(_head: str) -> bytes:
        await asyncio.sleep(rng.random() * 0.002)
        return JOB

    async with LoopbackServer(serve) as server:
        async with ClanforgeClient(
            ("k", "s"),
            base_url=server.url,
            transport=TRANSPORTS[name](),
            max_concurrency=SLOTS,
            max_rate=None,
            max_retries=0,
        ) as client:
            outcomes: Counter[str] = Counter()
            for _ in range(8):
                calls = [cancel(lambda: client.image_diffs.status(5), rng.random() * 0.012) for _ in range(3 * SLOTS)]
                for outcome in await asyncio.gather(*calls):
                    outcomes[outcome] += 1
            assert outcomes.keys() <= {"answered", "cancelled"}
            assert outcomes.total() == 8 * 3 * SLOTS
            await assert_full_concurrency(client, server, JOB)
        assert asyncio.all_tasks() - {asyncio.current_task()} <= server._serving
    gc.collect()
    assert reported == []


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("cancel", CANCELLERS)
@pytest.mark.parametrize("name", TRANSPORTS)
def test_no_call_vanishes_and_no_connection_is_lost(
    name: str, cancel: Callable[[Call, float], Awaitable[str]], loop: str
) -> None:
    """The canceller sees that each cancelled call ended, and afterwards all connections can be used at once."""
    LOOPS[loop](churn(name, cancel))


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_a_cancelled_connection_attempt_is_not_reported(name: str) -> None:
    """Calls that are cancelled in each iteration while they connect leave nothing that asyncio reports."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with (
        LoopbackServer(lambda _: JOB) as server,
        ClanforgeClient(("k", "s"), base_url=server.url, transport=TRANSPORTS[name](), max_rate=None) as client,
    ):
        for turns in range(25):
            for _ in range(3):
                call = asyncio.create_task(client.image_diffs.status(5))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
    gc.collect()
    assert reported == []


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("cancel", [by_asyncio_timeout, by_anyio_scope])
async def test_a_busy_loop_delays_a_cancellation_by_a_moment_only(
    name: str, cancel: Callable[[Call, float], Awaitable[str]]
) -> None:
    """A timeout takes effect within 0.2 s plus some iterations of the event loop, even if these are slow."""

    async def never(_head: str) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async def busy() -> None:
        while True:
            time.sleep(0.02)  # noqa: ASYNC251 - a turn that takes long is the point
            await asyncio.sleep(0)

    async with (
        LoopbackServer(never) as server,
        ClanforgeClient(("k", "s"), base_url=server.url, transport=TRANSPORTS[name](), max_rate=None) as client,
        JobWatcher(client) as watcher,
    ):
        load = asyncio.create_task(busy())
        started = time.monotonic()
        assert await cancel(lambda: client.image_versions.status(1), 0.3) == "cancelled"
        assert time.monotonic() - started < 0.3 + 0.2 + 0.2
        started = time.monotonic()
        assert await cancel(lambda: watcher.wait(JobRef.image_version(1)), 0.3) == "cancelled"
        assert time.monotonic() - started < 0.3 + 0.2 + 0.2
        load.cancel()


class SlowCleanUp(httpx.AsyncBaseTransport):
    """Takes three seconds to clean up after a cancellation."""

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3)
        raise AssertionError


@virtual_time
async def test_a_scope_does_not_spin_while_a_transport_cleans_up() -> None:
    """anyio repeats a cancellation, so it also reaches the transport's clean-up, and the call ends at once."""
    async with ClanforgeClient(("k", "s"), account_service_id=7, transport=SlowCleanUp()) as client:
        with anyio.move_on_after(1) as scope:
            await client.image_versions.status(1)
        assert scope.cancelled_caught
        assert now() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("call", ["status", "retry"])
async def test_a_stray_cancellation_is_a_transport_error(call: str) -> None:
    """If a transport raises `CancelledError` but the call was not cancelled, the call raises a `TransportError`."""
    requests: list[str] = []

    async def cancels_itself(request: httpx.Request) -> httpx.Response:
        requests.append(request.url.path)
        helper = asyncio.ensure_future(asyncio.sleep(9))
        asyncio.get_running_loop().call_soon(helper.cancel)
        await helper
        raise AssertionError

    transport = httpx.MockTransport(cancels_itself)
    async with ClanforgeClient(("k", "s"), account_service_id=7, transport=transport, max_retries=0) as client:
        expected = TransportError if call == "status" else RetryOutcomeUnknownError
        with pytest.raises(expected):
            await getattr(client.image_diffs, call)(5)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert len(requests) == (1 if call == "status" else 2)


@virtual_time
async def test_a_stray_cancellation_does_not_end_a_watch() -> None:
    """A watch treats it as a failed poll and continues."""
    polls = 0

    async def cancels_itself_once(_request: httpx.Request) -> httpx.Response:
        nonlocal polls
        polls += 1
        if polls == 1:
            raise asyncio.CancelledError
        return httpx.Response(200, json=wire(9) | {"jobstateid": 5})

    transport = httpx.MockTransport(cancels_itself_once)
    async with (
        ClanforgeClient(("k", "s"), account_service_id=7, transport=transport) as client,
        JobWatcher(client) as watcher,
    ):
        assert (await watcher.wait(JobRef.image_version(9))).is_completed
    assert polls == 2


class SwallowsCancellation(httpx.AsyncBaseTransport):
    """Turns a cancellation into another error or into a response."""

    def __init__(self, turned_into: str) -> None:
        self.turned_into = turned_into

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        message = "closed"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as cancellation:
            if self.turned_into == "chained error":
                raise httpx.ReadError(message) from cancellation
        if self.turned_into == "error":
            raise httpx.ReadError(message)
        return httpx.Response(200, json=wire(9))


@pytest.mark.parametrize("turned_into", ["chained error", "error", "response"])
@pytest.mark.parametrize("is_mocked", [False, True], ids=["third party", "mock"])
def test_a_call_is_cancelled_though_its_transport_swallows_that(turned_into: str, is_mocked: bool) -> None:
    """A call is cancelled even if its transport turns the cancellation into an error or a response."""

    @virtual_time
    async def run() -> None:
        swallowing = SwallowsCancellation(turned_into)
        transport = httpx.MockTransport(swallowing.handle_async_request) if is_mocked else swallowing
        async with ClanforgeClient(("k", "s"), account_service_id=7, transport=transport) as client:
            call = asyncio.create_task(client.image_versions.status(9))
            await asyncio.sleep(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert now() == 1
            if turned_into != "error":
                assert await by_anyio_scope(lambda: client.image_versions.status(9), 1) == "cancelled"

    run()


@virtual_time
async def test_a_response_that_swallows_the_timeout_is_late_but_valid() -> None:
    """If a transport ignores the call's timeout and responds, the call returns the response and is not cancelled."""
    transport = httpx.MockTransport(SwallowsCancellation("response").handle_async_request)
    async with ClanforgeClient(("k", "s"), account_service_id=7, transport=transport, timeout=10.0) as client:
        assert (await client.image_versions.status(9)).id == 9
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert now() == 10
