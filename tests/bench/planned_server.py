"""The API as an httpx transport, whose jobs are planned by the event loop's clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from email.utils import formatdate

import httpx

from bench.planned import PlannedJob, unix

LATENCY = 0.05
"""Seconds from a request to its response, which shows the job's state halfway between the two."""


class PlannedServer(httpx.AsyncBaseTransport):
    """Responds to status calls of image versions.

    Attributes:
        requests: Number of requests.
    """

    def __init__(self, jobs: Iterable[PlannedJob]) -> None:
        self.requests = 0
        self._jobs = {f"/cfp/v1/imageversion/{job.id}/status".encode(): job for job in jobs}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond after the latency."""
        self.requests += 1
        moment = asyncio.get_running_loop().time() + LATENCY / 2
        await asyncio.sleep(LATENCY)
        path, _, _ = request.url.raw_path.partition(b"?")
        return _response(json.dumps(self._jobs[path].wire(moment)).encode(), formatdate(unix(moment), usegmt=True))


def _response(body: bytes, date: str) -> httpx.Response:
    # A response from bytes with complete headers takes less than half the time.
    headers = [
        (b"Content-Length", str(len(body)).encode()),
        (b"Content-Type", b"application/json"),
        (b"Date", date.encode()),
    ]
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))
