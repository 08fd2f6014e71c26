"""`image_diffs.retry` over every kind of transport, with a failure at every point: the server never acts twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx_aiohttp
import pytest
from attrs import field, frozen
from support.faults.faulty_server import Connection, FaultyServer
from support.loopback_server import http_answer
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, ClanforgeError, ImageDiffJob, JobState, RetryOutcomeUnknownError

RETRY = "imagediff/5/retry"
SENT_AGAIN, STATUS_READ, RAISED = "sent again", "status read", "raised"
DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"
TIMEOUT = httpx.Timeout(0.3)


class Diff:
    """The image diff on the server: completed long ago, until a retry is acted upon."""

    def __init__(self) -> None:
        self.runs = 0

    def act(self) -> None:
        """Start a run."""
        self.runs += 1

    def __call__(self, head: str) -> dict[str, Any]:
        """Answer a request that doesn't fail."""
        if "/retry" in head:
            self.act()
        return wire(5) if self.runs else wire(5, JobState.COMPLETED)


Failure = Callable[[Connection, Diff], Awaitable[bool]]
"""Fails; returns whether the connection stays open."""


@frozen
class Point:
    """A point at which the exchange fails.

    Attributes:
        name: As in the documentation.
        handling: What `retry` does over a transport that the client believes.
        failure: How the server handles the first connection or request.
        times: How many connections or requests fail.
        listens: Whether the server accepts connections.
        is_tls: Whether the client speaks TLS to the server, which doesn't.
        acts: Whether the server acts before the failure.
        elsewhere: What `retry` does over another transport; None: the same.
    """

    name: str
    handling: str
    failure: Failure
    times: float = 1
    listens: bool = field(default=True, kw_only=True)
    is_tls: bool = field(default=False, kw_only=True)
    acts: bool = field(default=False, kw_only=True)
    elsewhere: str | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.name


async def close_on_accept(_connection: Connection, _diff: Diff) -> bool:
    return False


async def reject_handshake(connection: Connection, _diff: Diff) -> bool:
    await connection.read_first_bytes()
    await connection.send(b"no TLS here")
    return False


async def ignore_handshake(connection: Connection, _diff: Diff) -> bool:
    await connection.wait_for_close()
    return False


async def drop_request(connection: Connection, _diff: Diff) -> bool:
    await connection.read_request()
    connection.reset()
    return False


def respond(content: bytes, *, acts: bool = False, stays: bool = False, hangs: bool = False) -> Failure:
    """Read the request, and send these bytes.

    Args:
        content: The bytes.
        acts: Act before that.
        stays: Keep the connection open after that.
        hangs: Keep it open and silent until the client closes it.
    """

    async def failure(connection: Connection, diff: Diff) -> bool:
        await connection.read_request()
        if acts:
            diff.act()
        await connection.send(content)
        if hangs:
            await connection.wait_for_close()
        return stays

    return failure


def status(code: int, *, acts: bool = False, **headers: str) -> Failure:
    return respond(http_answer(b"<html>no</html>", f"{code} Whatever", **headers), acts=acts, stays=True)


ANSWER = http_answer(wire(5))
POINTS = [
    Point("connection refused", SENT_AGAIN, close_on_accept, listens=False, elsewhere=STATUS_READ),
    Point("connect timeout", SENT_AGAIN, ignore_handshake, 2**31, is_tls=True, elsewhere=STATUS_READ),
    Point("TLS handshake fails", SENT_AGAIN, reject_handshake, 2**31, is_tls=True, elsewhere=STATUS_READ),
    Point("dropped after accept", STATUS_READ, close_on_accept),
    Point("dropped after the request, before acting", STATUS_READ, drop_request),
    Point("dropped after acting, before the response", STATUS_READ, respond(b"", acts=True), acts=True),
    Point("dropped amid the response", STATUS_READ, respond(ANSWER[:-40], acts=True), acts=True),
    Point("garbage instead of a response", STATUS_READ, respond(b"SSH-2.0\r\n\r\n", acts=True), acts=True),
    Point("HTML instead of JSON", STATUS_READ, status(200, acts=True), acts=True),
    Point("read timeout before acting", STATUS_READ, respond(b"", hangs=True)),
    Point("read timeout after acting", STATUS_READ, respond(b"", acts=True, hangs=True), acts=True),
    Point("read timeout amid the response", STATUS_READ, respond(ANSWER[:-40], acts=True, hangs=True), acts=True),
    Point("408", STATUS_READ, status(408)),
    Point("425", RAISED, status(425)),
    Point("429", SENT_AGAIN, status(429, Retry_After="0")),
    Point("5xx before acting", STATUS_READ, status(502)),
    Point("5xx after acting", STATUS_READ, status(504, acts=True), acts=True),
    Point("503 with `Retry-After`", STATUS_READ, status(503, Retry_After="0")),
]


def pooled() -> None:
    """Use the built-in pool."""


def mock() -> httpx.AsyncBaseTransport:
    wrapped = httpx.AsyncHTTPTransport()
    transport = httpx.MockTransport(wrapped.handle_async_request)
    transport.aclose = wrapped.aclose  # type: ignore[method-assign] # httpx's own does nothing
    return transport


def pyreqwest() -> httpx.AsyncBaseTransport:
    module = pytest.importorskip("pyreqwest.compatibility.httpx")
    transport: httpx.AsyncBaseTransport = module.HttpxTransport()
    return transport


class Wrapper(httpx.AsyncBaseTransport):
    """Somebody's wrapper of httpx's transport, as for caching or metrics."""

    def __init__(self) -> None:
        self._wrapped = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._wrapped.handle_async_request(request)

    async def aclose(self) -> None:
        await self._wrapped.aclose()


MakeTransport = Callable[[], httpx.AsyncBaseTransport | None]
BELIEVED: dict[str, MakeTransport] = {
    "built-in": pooled,
    "httpx": httpx.AsyncHTTPTransport,
    "aiohttp": httpx_aiohttp.AiohttpTransport,
    "mock": mock,
}
OTHERS: dict[str, MakeTransport] = {"pyreqwest": pyreqwest, "wrapper": Wrapper}

each_point = pytest.mark.parametrize("point", POINTS, ids=str)
each_transport = pytest.mark.parametrize("transport", [*BELIEVED, *OTHERS])


@asynccontextmanager
async def failing(
    point: Point, transport: str, **options: Any
) -> AsyncIterator[tuple[ClanforgeClient, FaultyServer, Diff]]:
    """Start a server that fails at a point, and yield it with a client and the diff."""
    diff = Diff()

    async def misbehaviour(connection: Connection) -> bool:
        return await point.failure(connection, diff)

    async with FaultyServer(misbehaviour, point.times, diff) as server:
        if point.listens:
            await server.listen()
        url = f"{'https' if point.is_tls else 'http'}://127.0.0.1:{server.port}"
        made = (BELIEVED | OTHERS)[transport]()
        timeout = TIMEOUT if "timeout" in point.name else 30.0  # a busy machine may be slow at any other point
        arguments: dict[str, Any] = {"base_url": url, "max_rate": None, "timeout": timeout, "transport": made} | options
        async with ClanforgeClient(("key", "secret"), **arguments) as client:
            yield client, server, diff


@each_transport
@each_point
async def test_a_retry_that_fails_acts_once(point: Point, transport: str) -> None:
    """Wherever an exchange fails, the server acts at most once, and the caller learns whether it may have acted."""
    handling = point.handling if transport in BELIEVED else point.elsewhere or point.handling
    result: ImageDiffJob | ClanforgeError
    async with failing(point, transport, max_retries=2) as (client, server, diff):
        try:
            result = await client.image_diffs.retry(5)
        except ClanforgeError as error:
            result = error
    never_connects = not point.listens or point.is_tls
    assert diff.runs == (point.acts or (handling is SENT_AGAIN and not never_connects))
    assert server.paths.count(RETRY) <= (2 if handling is SENT_AGAIN else 1)
    if handling is STATUS_READ and not diff.runs:
        assert isinstance(result, RetryOutcomeUnknownError)
    elif handling is RAISED or never_connects:
        assert isinstance(result, ClanforgeError)
        assert not isinstance(result, RetryOutcomeUnknownError)
    else:
        assert isinstance(result, ImageDiffJob)
        assert result.state is JobState.RUNNING


@each_transport
@pytest.mark.parametrize("acts", [False, True])
async def test_a_cancelled_retry_acts_at_most_once(transport: str, acts: bool) -> None:
    """A retry that is cancelled while the server works isn't sent again."""
    arrived = asyncio.Event()

    async def hang(connection: Connection, diff: Diff) -> bool:
        await connection.read_request()
        if acts:
            diff.act()
        arrived.set()
        await connection.wait_for_close()
        return False

    point = Point("cancelled", RAISED, hang, acts=acts)
    async with failing(point, transport, timeout=10) as (client, server, diff):
        call = asyncio.ensure_future(client.image_diffs.retry(5))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0.05)
    assert server.paths == [RETRY]
    assert diff.runs == acts


def test_the_table_of_the_guide_is_this_matrix() -> None:
    """The guide has one row per point of failure, in this order, with its handling for both kinds of transport."""
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition("### Point by point\n")
    rows = [line for line in section.partition("\n#")[0].splitlines() if line.startswith("|")][2:]
    expected = [f"| {point} | {point.handling} | {point.elsewhere or point.handling} |" for point in POINTS]
    assert rows[:-1] == expected
    assert rows[-1] == "| your task is cancelled | raised | raised |"
