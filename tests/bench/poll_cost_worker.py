"""Polls jobs on a transport that responds at once, and prints the CPU time: the cost of a poll without a network.

`poll_cost` runs this program with the package of this tree, or of an earlier commit, on its path, so the program uses
only names that exist in both. Each line of its input is a number of polls, for which it prints the microseconds per
poll.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

import httpx

from clanforge_async import ClanforgeClient, JobRef, JobWatcher, until_eta

_START = 1_763_769_600
_JOBS = 10
_STATUSES = 100
"""Statuses that the transport repeats. Progress and update time differ between them."""


class _InstantTransport(httpx.AsyncBaseTransport):
    """Responds at once with prepared responses, so that it takes almost no time itself."""

    def __init__(self) -> None:
        self.requests = 0
        self._responses = {id_: [_response(id_, number) for number in range(_STATUSES)] for id_ in range(1, _JOBS + 1)}
        self._awaited = 0
        self._event = asyncio.Event()

    async def wait_for_requests(self, requests: int) -> None:
        self._awaited = self.requests + requests
        self._event.clear()
        await self._event.wait()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.requests == self._awaited:
            self._event.set()
        job_id = int(request.url.raw_path.split(b"/")[-2])
        return self._responses[job_id][self.requests // _JOBS % _STATUSES]


def _response(job_id: int, number: int) -> httpx.Response:
    job = {
        "imageversionid": job_id,
        "jobcreated": _START,
        "joberror": None,
        "jobeta": _START + 900,
        "jobfailed": 0,
        "jobprogress": number,
        "jobstart": str(_START),
        "jobstateid": 4,
        "jobstatename": "Running",
        "jobupdated": _START + 5 * number,
        "success": True,
    }
    body = json.dumps(job).encode()
    headers = {
        "Content-Type": "application/json",
        "Date": "Sat, 22 Nov 2025 00:09:00 GMT",
        "Content-Length": str(len(body)),
    }
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))


async def _measure(polls: int) -> float:
    transport = _InstantTransport()
    client = ClanforgeClient(
        ("access key", "secret key"), account_service_id=1, max_rate=None, max_concurrency=_JOBS, transport=transport
    )
    # The strategy calculates every pause, although only one value is allowed.
    async with client, JobWatcher(client, interval=until_eta(1e-9, 1e-9)) as watcher:
        watching = asyncio.ensure_future(watcher.wait_all(map(JobRef.image_version, range(1, _JOBS + 1))))
        await transport.wait_for_requests(2 * _JOBS)
        before, began = transport.requests, time.process_time()
        await transport.wait_for_requests(polls)
        seconds, polled = time.process_time() - began, transport.requests - before
        await watcher.aclose()
        await watching
    return 1e6 * seconds / polled


def main() -> None:
    """Measure once for each line of the input."""
    for line in sys.stdin:
        gc.collect()
        print(asyncio.run(_measure(int(line))), flush=True)  # noqa: T201 - the parent process reads it


if __name__ == "__main__":
    main()
