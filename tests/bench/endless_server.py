"""The API as an httpx transport, for as many jobs as somebody asks about: they all run, and end when they are told."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from email.utils import formatdate

import httpx

from bench.planned import unix
from clanforge_async import JobState

LATENCY = 0.05
"""Seconds from a request to its answer."""

_HOURS = 24.0
"""How long every job thinks that it takes."""


class EndlessServer(httpx.AsyncBaseTransport):
    """Answers the status calls of image versions.

    Attributes:
        asked_at: By job, when it was asked for, by the loop's clock.
        requests: How many there were in all.
    """

    def __init__(self, *, is_noted: bool = True) -> None:
        self.requests = 0
        self._awaited: dict[int, asyncio.Event] = {}
        self.asked_at: dict[bytes, list[float]] = defaultdict(list)
        self._is_noted = is_noted

    async def asked(self, requests: int) -> None:
        """Wait for so many more requests."""
        await self._awaited.setdefault(self.requests + requests, asyncio.Event()).wait()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request after the latency."""
        now = asyncio.get_running_loop().time()
        self.requests += 1
        if self.requests in self._awaited:
            self._awaited[self.requests].set()
        job_id = request.url.raw_path.split(b"/")[-2]
        if self._is_noted:
            self.asked_at[job_id].append(now)
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
