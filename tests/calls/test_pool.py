"""The default connection pool: the choice of a connection for a request, and the time for which idle ones are kept."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from support.virtual_time import virtual_time

from clanforge_async._http.connection_pool import NEW_CONNECTION, ConnectionPool

REQUEST = httpx.Request("GET", "https://api.multiplay.co.uk/")


class Connection(httpx.AsyncBaseTransport):
    """Responds after a second, or fails; records its requests and whether it was closed."""

    def __init__(self) -> None:
        self.used = 0
        self.closed = False
        self.fails = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.used += 1
        await asyncio.sleep(1)
        if self.fails:
            message = "broken"
            raise httpx.ReadError(message)
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"), request=request)

    async def aclose(self) -> None:
        self.closed = True


class ConnectionFactory:
    """Opens connections and records them."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []

    def __call__(self) -> Connection:
        self.connections.append(Connection())
        return self.connections[-1]


async def send_request(pool: ConnectionPool) -> None:
    response = await pool.handle_async_request(REQUEST)
    await response.aread()  # which closes it


@virtual_time
async def test_the_last_used_connection_is_reused() -> None:
    """Sequential requests use one connection, even if several are idle."""
    opened = ConnectionFactory()
    pool = ConnectionPool(opened)
    await asyncio.gather(*(send_request(pool) for _ in range(3)))
    for _ in range(5):
        await send_request(pool)
    assert sorted(connection.used for connection in opened.connections) == [1, 1, 6]


@virtual_time
async def test_a_new_connection_replaces_an_idle_one() -> None:
    """A request with `NEW_CONNECTION` opens a connection, and an idle one is closed instead."""
    opened = ConnectionFactory()
    pool = ConnectionPool(opened)
    fresh = httpx.Request("GET", "https://api.example", extensions={NEW_CONNECTION: True})
    await (await pool.handle_async_request(fresh)).aread()
    await asyncio.gather(*(send_request(pool) for _ in range(2)))
    await (await pool.handle_async_request(fresh)).aread()
    await send_request(pool)
    assert [(connection.used, connection.closed) for connection in opened.connections] == [
        (2, True),
        (1, False),
        (2, False),
    ]
    assert len(pool.connections) == 2


@virtual_time
async def test_a_connection_is_busy_until_its_response_is_closed() -> None:
    """A connection whose response is still open serves no other request."""
    opened = ConnectionFactory()
    pool = ConnectionPool(opened)
    unread = await pool.handle_async_request(REQUEST)
    await send_request(pool)
    await unread.aclose()
    assert [connection.used for connection in opened.connections] == [1, 1]


@virtual_time
async def test_a_connection_is_dropped_after_a_failure() -> None:
    """A connection whose request failed is closed, and the next request opens another."""
    opened = ConnectionFactory()
    pool = ConnectionPool(opened)
    await send_request(pool)
    opened.connections[0].fails = True
    with pytest.raises(httpx.ReadError):
        await send_request(pool)
    await send_request(pool)
    assert [(connection.used, connection.closed) for connection in opened.connections] == [(2, True), (1, False)]


@virtual_time
async def test_a_connection_is_dropped_if_its_response_was_not_read() -> None:
    """A connection whose response was not read to its end still contains bytes of it, and is closed."""
    opened = ConnectionFactory()
    pool = ConnectionPool(opened)
    await (await pool.handle_async_request(REQUEST)).aclose()
    await send_request(pool)
    assert [(connection.used, connection.closed) for connection in opened.connections] == [(1, True), (1, False)]


@virtual_time
async def test_idle_connections_are_closed() -> None:
    """Connections that have been idle for 55 seconds are closed at the next request, others are kept."""
    opened = ConnectionFactory()
    pool = ConnectionPool(opened)
    await asyncio.gather(*(send_request(pool) for _ in range(4)))
    await asyncio.sleep(40)
    await asyncio.gather(*(send_request(pool) for _ in range(2)))
    await asyncio.sleep(20)
    await send_request(pool)
    assert [connection.closed for connection in opened.connections].count(True) == 2
    assert not any(connection.closed for connection in pool.connections if isinstance(connection, Connection))
    assert len(pool.connections) == 2


@virtual_time
async def test_closing_the_pool_closes_all_connections() -> None:
    """Closing the pool closes every connection, busy ones too."""
    opened = ConnectionFactory()
    pool = ConnectionPool(opened)
    busy = await pool.handle_async_request(REQUEST)
    await send_request(pool)
    await pool.aclose()
    await busy.aclose()
    assert [connection.closed for connection in opened.connections] == [True, True]
