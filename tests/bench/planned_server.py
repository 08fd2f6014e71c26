"""The API as an httpx transport: it answers from planned jobs at the loop's time, and counts what it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from email.utils import formatdate

import httpx

from bench.planned import PlannedJob, unix

LATENCY = 0.05
"""Seconds from a request to its answer; the answer shows the job as it was halfway."""


class PlannedServer(httpx.AsyncBaseTransport):
    """Answers the status calls of image versions.

    Attributes:
        requests: How many it has been sent.
    """

    def __init__(self, jobs: Iterable[PlannedJob]) -> None:
        self.requests = 0
        self._jobs = {f"/cfp/v1/imageversion/{job.id}/status".encode(): job for job in jobs}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request after the latency."""
        self.requests += 1
        seen = asyncio.get_running_loop().time() + LATENCY / 2
        await asyncio.sleep(LATENCY)
        path, _, _ = request.url.raw_path.partition(b"?")
        return _answer(json.dumps(self._jobs[path].wire(seen)).encode(), formatdate(unix(seen), usegmt=True))


def _answer(body: bytes, date: str) -> httpx.Response:
    # From bytes, and with its headers complete, an answer is made in less than half the time.
    headers = [
        (b"Content-Length", str(len(body)).encode()),
        (b"Content-Type", b"application/json"),
        (b"Date", date.encode()),
    ]
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))
