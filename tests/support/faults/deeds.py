"""What a server can do wrong, at the level of bytes."""

from __future__ import annotations

import asyncio
import gzip

from support.faults.faulty_server import Deed, Visit
from support.loopback_server import http_answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def closes_at_once(_visit: Visit) -> bool:
    """Accept and close."""
    return False


async def resets_at_once(visit: Visit) -> bool:
    """Accept and reset."""
    visit.reset()
    return False


async def resets(visit: Visit) -> bool:
    """Read the request and reset."""
    await visit.head()
    visit.reset()
    return False


async def hangs(visit: Visit) -> bool:
    """Accept and stay silent."""
    await visit.hang()
    return False


def says(content: bytes) -> Deed:
    """Answer with these bytes and keep the connection."""

    async def deed(visit: Visit) -> bool:
        await visit.head()
        await visit.say(content)
        return True

    return deed


def breaks_off(content: bytes) -> Deed:
    """Answer with these bytes and close."""

    async def deed(visit: Visit) -> bool:
        await visit.head()
        await visit.say(content)
        return False

    return deed


def stalls(content: bytes) -> Deed:
    """Answer with these bytes and then with nothing, for as long as the client stays."""

    async def deed(visit: Visit) -> bool:
        await visit.head()
        await visit.say(content)
        await visit.hang()
        return False

    return deed


def repeats(start: bytes, part: bytes, times: int = 2**31, pause: float = 0.0) -> Deed:
    """Answer with a start and then a part again and again."""

    async def deed(visit: Visit) -> bool:
        await visit.head()
        await visit.say(start)
        for _ in range(times):
            await visit.say(part)
            await asyncio.sleep(pause)
        return False

    return deed


def answers(body: bytes, status: str = "200 OK", **headers: str) -> Deed:
    """Answer well-formed HTTP."""
    return says(http_answer(body, status, **headers))


def bomb(megabytes: int) -> bytes:
    """Return blanks, of which gzip makes a thousandth."""
    return gzip.compress(b" " * (megabytes * 2**20))
