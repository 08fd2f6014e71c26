"""The far side of the transport benchmark, run as a program of its own: as little of an HTTP server as will do.

It prints the port it listens on and serves until its standard input ends, which it does at the latest when the
process that started it is gone. An image version completes at the n-th poll, n being told by its id, so that whoever
watches it makes exactly as many polls as a measurement wants. Progress moves with every poll: no two answers are equal.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from email.utils import formatdate

POLLS = 1_000_000
"""What an id is divided by to tell the number of polls at which its job completes."""

_PREFIX = b"GET /cfp/v1/imageversion/"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"
_BODY = (
    b'{"imageversionid": %d, "jobcreated": %d, "joberror": null, "jobeta": %d, "jobfailed": 0, "jobprogress": %d, '
    b'"jobstart": "%d", "jobstateid": %d, "jobstatename": "%b", "jobupdated": %d, "success": true}'
)
_RUNNING, _COMPLETED = (4, b"Running"), (5, b"Completed")


class ImageVersions:
    """The jobs: how often each was polled, and what it answers."""

    def __init__(self) -> None:
        self._polls: dict[int, int] = {}
        self.tick()

    def tick(self) -> None:
        """Look at the clock; once a second is as often as its answers can show."""
        self._now = int(time.time())
        self._date = formatdate(self._now, usegmt=True).encode()
        asyncio.get_running_loop().call_later(1.0, self.tick)

    def answer(self, job_id: int) -> bytes:
        """Return the answer to one more poll of a job, as it stands on the wire."""
        total, polls = job_id // POLLS, self._polls.pop(job_id, 0) + 1
        state = _COMPLETED
        if polls < total:
            state, self._polls[job_id] = _RUNNING, polls
        now, progress = self._now, 100 * polls // total
        body = _BODY % (job_id, now - 60, now + 60, progress, now - 30, *state, now)
        return _HEAD % (self._date, len(body)) + body


class Conversation(asyncio.Protocol):
    """One connection, kept alive; asyncio has set TCP_NODELAY on it."""

    def __init__(self, jobs: ImageVersions) -> None:
        self._jobs = jobs
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        if heads:
            self._transport.write(b"".join(map(self._answer, heads)))

    def _answer(self, head: bytes) -> bytes:
        return self._jobs.answer(int(head.removeprefix(_PREFIX).partition(b"/")[0]))


async def _serve() -> None:
    jobs = ImageVersions()
    server = await asyncio.get_running_loop().create_server(lambda: Conversation(jobs), "127.0.0.1", backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - whoever has started this reads it
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve())
