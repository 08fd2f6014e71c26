"""Misbehaviours of a server, byte by byte."""

from __future__ import annotations

import asyncio
import gzip

from support.faults.faulty_server import Connection, Misbehaviour
from support.loopback_server import http_answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def close_on_accept(_connection: Connection) -> bool:
    """Accept the connection and close it."""
    return False


async def reset_on_accept(connection: Connection) -> bool:
    """Accept the connection and reset it."""
    connection.reset()
    return False


async def reset_after_request(connection: Connection) -> bool:
    """Read the request and reset the connection."""
    await connection.read_request()
    connection.reset()
    return False


async def never_respond(connection: Connection) -> bool:
    """Accept the connection and send nothing."""
    await connection.wait_for_close()
    return False


def send_and_keep_open(content: bytes) -> Misbehaviour:
    """Send these bytes and keep the connection open."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(content)
        return True

    return misbehaviour


def send_and_close(content: bytes) -> Misbehaviour:
    """Send these bytes and close the connection."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(content)
        return False

    return misbehaviour


def send_and_hang(content: bytes) -> Misbehaviour:
    """Send these bytes, then nothing until the client disconnects."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(content)
        await connection.wait_for_close()
        return False

    return misbehaviour


def send_repeatedly(start: bytes, part: bytes, times: int = 2**31, pause: float = 0.0) -> Misbehaviour:
    """Send `start`, then `part` again and again, with a pause of some seconds after each."""

    async def misbehaviour(connection: Connection) -> bool:
        await connection.read_request()
        await connection.send(start)
        for _ in range(times):
            await connection.send(part)
            await asyncio.sleep(pause)
        return False

    return misbehaviour


def respond_with(body: bytes, status: str = "200 OK", **headers: str) -> Misbehaviour:
    """Send a well-formed HTTP response."""
    return send_and_keep_open(http_answer(body, status, **headers))


def gzip_bomb(megabytes: int) -> bytes:
    """Return this many megabytes of blanks, gzipped to a thousandth of that."""
    return gzip.compress(b" " * (megabytes * 2**20))
