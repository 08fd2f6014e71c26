"""The transport benchmark's HTTP server, as small as possible; it runs as a separate program.

The server prints its port and runs until its standard input is closed, at the latest when its parent process ends. An
image version completes at its n-th poll, and its id encodes n, so that every client makes exactly as many polls as the
measurement needs. Progress changes with every poll, so that no two responses are equal.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from email.utils import formatdate

POLLS_FACTOR = 1_000_000
"""Divisor: an id divided by this is the number of polls until its job completes."""

_PREFIX = b"GET /cfp/v1/imageversion/"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"
_BODY = (
    b'{"imageversionid": %d, "jobcreated": %d, "joberror": null, "jobeta": %d, "jobfailed": 0, "jobprogress": %d, '
    b'"jobstart": "%d", "jobstateid": %d, "jobstatename": "%b", "jobupdated": %d, "success": true}'
)
_RUNNING, _COMPLETED = (4, b"Running"), (5, b"Completed")


class ImageVersions:
    """Number of polls of each job so far."""

    def __init__(self) -> None:
        self._polls: dict[int, int] = {}
        self.tick()

    def tick(self) -> None:
        """Read the clock once per second, which is the resolution of the times in responses."""
        self._now = int(time.time())
        self._date = formatdate(self._now, usegmt=True).encode()
        asyncio.get_running_loop().call_later(1.0, self.tick)

    def respond(self, job_id: int) -> bytes:
        """Return the HTTP response to a poll of a job."""
        total, polls = job_id // POLLS_FACTOR, self._polls.pop(job_id, 0) + 1
        state = _COMPLETED
        if polls < total:
            state, self._polls[job_id] = _RUNNING, polls
        now, progress = self._now, 100 * polls // total
        body = _BODY % (job_id, now - 60, now + 60, progress, now - 30, *state, now)
        return _HEAD % (self._date, len(body)) + body


class HTTPProtocol(asyncio.Protocol):
    """A persistent connection. asyncio sets TCP_NODELAY."""

    def __init__(self, jobs: ImageVersions) -> None:
        self._jobs = jobs
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        if heads:
            self._transport.write(b"".join(map(self._respond, heads)))

    def _respond(self, head: bytes) -> bytes:
        return self._jobs.respond(int(head.removeprefix(_PREFIX).partition(b"/")[0]))


async def _serve() -> None:
    jobs = ImageVersions()
    server = await asyncio.get_running_loop().create_server(lambda: HTTPProtocol(jobs), "127.0.0.1", backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the parent process reads it
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve())
