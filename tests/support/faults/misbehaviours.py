"""What a server can do wrong, at the level of bytes."""

from __future__ import annotations

import asyncio
import gzip

from support.faults.faulty_server import Connection, Misbehaviour
from support.loopback_server import http_answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def close_on_accept(_connection: Connection) -> bool:
    """Accept and close."""
    return False


async def reset_on_accept(connection: Connection) -> bool:
    """Accept and reset."""
    connection.reset()
    return False


async def reset_after_request(connection: Connection) -> bool:
    """Read the request and reset."""
    await connection.read_request()
    connection.reset()
    return False


async def never_respond(connection: Connection) -> bool:
    """Accept and stay silent."""
    await connection.wait_for_close()
    return False


def send_and_keep_open(content: bytes) -> Misbehaviour:
    """Answer with these bytes and keep the connection."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(content)
        return True

    return misbehaviour


def send_and_close(content: bytes) -> Misbehaviour:
    """Answer with these bytes and close."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(content)
        return False

    return misbehaviour


def send_and_hang(content: bytes) -> Misbehaviour:
    """Answer with these bytes and then with nothing, for as long as the client stays."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(content)
        await connection.wait_for_close()
        return False

    return misbehaviour


def send_repeatedly(start: bytes, part: bytes, times: int = 2**31, pause: float = 0.0) -> Misbehaviour:
    """Answer with a start and then a part again and again."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(start)
        for _ in range(times):
            await connection.send(part)
            await asyncio.sleep(pause)
        return False

    return misbehaviour


def respond_with(body: bytes, status: str = "200 OK", **headers: str) -> Misbehaviour:
    """Answer well-formed HTTP."""
    return send_and_keep_open(http_answer(body, status, **headers))


def gzip_bomb(megabytes: int) -> bytes:
    """Return blanks, of which gzip makes a thousandth."""
    return gzip.compress(b" " * (megabytes * 2**20))
