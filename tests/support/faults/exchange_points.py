"""Points at which a call with a side effect fails, and the transports with which it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import httpx
import httpx_aiohttp
import pytest
from attrs import field, frozen
from support.faults.faulty_server import Connection
from support.loopback_server import http_answer
from support.scripted_server import wire

SENT_AGAIN, LOOKED_UP, RAISED = "sent again", "looked up", "raised"


class Account(Protocol):
    """The state on the server."""

    def act(self) -> None:
        """Process the call."""


Failure = Callable[[Connection, Account], Awaitable[bool]]
"""Fails; returns whether the connection stays open."""


@frozen
class Point:
    """A point at which a call fails.

    Attributes:
        name: As in the documentation.
        handling: Handling by the call with a trusted transport.
        failure: How the server handles the first connection or request.
        times: How many connections or requests fail.
        listens: Whether the server accepts connections.
        is_tls: Whether the client speaks TLS to the server, which doesn't.
        acts: Whether the server acts before the failure.
        elsewhere: Handling with any other transport; None: the same.
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


async def close_on_accept(_connection: Connection, _account: Account) -> bool:
    return False


async def reject_handshake(connection: Connection, _account: Account) -> bool:
    await connection.read_first_bytes()
    await connection.send(b"no TLS here")
    return False


async def ignore_handshake(connection: Connection, _account: Account) -> bool:
    await connection.wait_for_close()
    return False


async def drop_request(connection: Connection, _account: Account) -> bool:
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

    async def failure(connection: Connection, account: Account) -> bool:
        await connection.read_request()
        if acts:
            account.act()
        await connection.send(content)
        if hangs:
            await connection.wait_for_close()
        return stays

    return failure


def status(code: int, *, acts: bool = False, **headers: str) -> Failure:
    return respond(http_answer(b"<html>no</html>", f"{code} Whatever", **headers), acts=acts, stays=True)


ANSWER = http_answer(wire(5))
POINTS = [
    Point("connection refused", SENT_AGAIN, close_on_accept, listens=False, elsewhere=LOOKED_UP),
    Point("connect timeout", SENT_AGAIN, ignore_handshake, 2**31, is_tls=True, elsewhere=LOOKED_UP),
    Point("TLS handshake fails", SENT_AGAIN, reject_handshake, 2**31, is_tls=True, elsewhere=LOOKED_UP),
    Point("dropped after accept", LOOKED_UP, close_on_accept),
    Point("dropped after the request, before acting", LOOKED_UP, drop_request),
    Point("dropped after acting, before the response", LOOKED_UP, respond(b"", acts=True), acts=True),
    Point("dropped amid the response", LOOKED_UP, respond(ANSWER[:-40], acts=True), acts=True),
    Point("garbage instead of a response", LOOKED_UP, respond(b"SSH-2.0\r\n\r\n", acts=True), acts=True),
    Point("HTML instead of JSON", LOOKED_UP, status(200, acts=True), acts=True),
    Point("read timeout before acting", LOOKED_UP, respond(b"", hangs=True)),
    Point("read timeout after acting", LOOKED_UP, respond(b"", acts=True, hangs=True), acts=True),
    Point("read timeout amid the response", LOOKED_UP, respond(ANSWER[:-40], acts=True, hangs=True), acts=True),
    Point("408", LOOKED_UP, status(408)),
    Point("425", RAISED, status(425)),
    Point("429", SENT_AGAIN, status(429, Retry_After="0")),
    Point("5xx before acting", LOOKED_UP, status(502)),
    Point("5xx after acting", LOOKED_UP, status(504, acts=True), acts=True),
    Point("503 with `Retry-After`", LOOKED_UP, status(503, Retry_After="0")),
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
    """A third party's wrapper of httpx's transport, for example for caching or metrics."""

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
