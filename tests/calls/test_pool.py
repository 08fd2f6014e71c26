"""The connections of a client that brings none: which of them are used, and how long they are kept."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from support.virtual_time import virtual_time

from clanforge_async._http.connection_pool import NEW_CONNECTION, ConnectionPool

REQUEST = httpx.Request("GET", "https://api.multiplay.co.uk/")


class Connection(httpx.AsyncBaseTransport):
    """Answers after a second, or fails, and remembers how often it was used and whether it was closed."""

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


class Opened:
    """Opens connections and remembers them."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []

    def __call__(self) -> Connection:
        self.connections.append(Connection())
        return self.connections[-1]


async def exchange(pool: ConnectionPool) -> None:
    response = await pool.handle_async_request(REQUEST)
    await response.aclose()


@virtual_time
async def test_the_connection_that_was_used_last_is_used_first() -> None:
    """One request after another goes over one connection, however many there are."""
    opened = Opened()
    pool = ConnectionPool(opened)
    await asyncio.gather(*(exchange(pool) for _ in range(3)))
    for _ in range(5):
        await exchange(pool)
    assert sorted(connection.used for connection in opened.connections) == [1, 1, 6]


@virtual_time
async def test_a_fresh_connection_takes_the_place_of_an_idle_one() -> None:
    """A request that asks for it goes over a connection of its own, without there being more of them than before."""
    opened = Opened()
    pool = ConnectionPool(opened)
    fresh = httpx.Request("GET", "https://api.example", extensions={NEW_CONNECTION: True})
    await (await pool.handle_async_request(fresh)).aclose()
    await asyncio.gather(*(exchange(pool) for _ in range(2)))
    await (await pool.handle_async_request(fresh)).aclose()
    await exchange(pool)
    assert [(connection.used, connection.closed) for connection in opened.connections] == [
        (2, True),
        (1, False),
        (2, False),
    ]
    assert len(pool.connections) == 2


@virtual_time
async def test_a_connection_is_busy_until_its_answer_is_closed() -> None:
    """Whoever has yet to read an answer shares its connection with nobody."""
    opened = Opened()
    pool = ConnectionPool(opened)
    unread = await pool.handle_async_request(REQUEST)
    await exchange(pool)
    await unread.aclose()
    assert [connection.used for connection in opened.connections] == [1, 1]


@virtual_time
async def test_a_connection_whose_request_failed_is_used_again() -> None:
    """What becomes of a broken connection is for its transport to know: it opens another in its place."""
    opened = Opened()
    pool = ConnectionPool(opened)
    await exchange(pool)
    opened.connections[0].fails = True
    with pytest.raises(httpx.ReadError):
        await exchange(pool)
    opened.connections[0].fails = False
    await exchange(pool)
    assert [connection.used for connection in opened.connections] == [3]


@virtual_time
async def test_connections_that_nobody_uses_are_closed() -> None:
    """Connections that have been idle for 55 seconds are closed when the next request comes, the others are kept."""
    opened = Opened()
    pool = ConnectionPool(opened)
    await asyncio.gather(*(exchange(pool) for _ in range(4)))
    await asyncio.sleep(40)
    await asyncio.gather(*(exchange(pool) for _ in range(2)))
    await asyncio.sleep(20)
    await exchange(pool)
    assert [connection.closed for connection in opened.connections].count(True) == 2
    assert not any(connection.closed for connection in pool.connections if isinstance(connection, Connection))
    assert len(pool.connections) == 2


@virtual_time
async def test_all_are_closed_with_the_pool() -> None:
    """Closing the pool closes every connection, the busy ones too."""
    opened = Opened()
    pool = ConnectionPool(opened)
    busy = await pool.handle_async_request(REQUEST)
    await exchange(pool)
    await pool.aclose()
    await busy.aclose()
    assert [connection.closed for connection in opened.connections] == [True, True]
