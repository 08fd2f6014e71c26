"""The API as an httpx transport, with any number of jobs that run for a day."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from email.utils import formatdate

import httpx

from bench.planned import unix
from clanforge_async import JobState

LATENCY = 0.05
"""Seconds from a request to its response."""

_HOURS = 24.0
"""Duration of every job, in hours."""


class EndlessServer(httpx.AsyncBaseTransport):
    """Responds to status calls of image versions.

    Attributes:
        request_times: Times of the requests for each job, by the loop's clock.
        requests: Total number of requests.
    """

    def __init__(self, *, records_times: bool = True) -> None:
        self.requests = 0
        self._waiters: dict[int, asyncio.Event] = {}
        self.request_times: dict[bytes, list[float]] = defaultdict(list)
        self._records_times = records_times

    async def wait_for_requests(self, requests: int) -> None:
        """Wait until this number of further requests has been received."""
        await self._waiters.setdefault(self.requests + requests, asyncio.Event()).wait()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond after the latency."""
        now = asyncio.get_running_loop().time()
        self.requests += 1
        if self.requests in self._waiters:
            self._waiters[self.requests].set()
        job_id = request.url.raw_path.split(b"/")[-2]
        if self._records_times:
            self.request_times[job_id].append(now)
        await asyncio.sleep(LATENCY)
        headers = [(b"Content-Type", b"application/json"), (b"Date", formatdate(unix(now), usegmt=True).encode())]
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(_running(int(job_id), now)))


def _running(job_id: int, now: float) -> bytes:
    end = 3600 * _HOURS + job_id % 600
    job = {
        "imageversionid": job_id,
        "jobcreated": unix(0),
        "joberror": None,
        "jobeta": unix(end),
        "jobfailed": 0,
        "jobprogress": int(100 * now / end),
        "jobstart": str(unix(0)),
        "jobstateid": int(JobState.RUNNING),
        "jobstatename": "Running",
        "jobupdated": unix(now),
        "success": True,
    }
    return json.dumps(job).encode()
