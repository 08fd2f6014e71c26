"""Measurement of a client's concurrency after a soak: a lost slot would lower it."""

from __future__ import annotations

import asyncio

from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, JobRef, JobState
from clanforge_async._http.request import ApiResponse

_ATTEMPTS = 10
"""Number of measurements: a busy machine can delay a request, but a lost slot never comes back."""


async def measure_concurrency(client: ClanforgeClient, port: int) -> int:
    """Return the number of requests that a client has in flight at once; exact only if it is the maximum."""
    highest = 0
    for _ in range(_ATTEMPTS):
        highest = max(highest, await _concurrent_requests(client, port))
        if highest == client.max_concurrency:
            break
    return highest


async def _concurrent_requests(client: ClanforgeClient, port: int) -> int:
    number = client.max_concurrency
    all_arrived = asyncio.Barrier(number)

    async def respond(_head: str) -> bytes:
        await all_arrived.wait()
        return http_answer(wire(5, JobState.COMPLETED))

    async with LoopbackServer(respond, port):
        # No request is answered before all have arrived, and a poll is never sent again: if a slot is missing, the
        # last request arrives only after the others have timed out.
        polls = [client.observer(JobRef.image_version(5))() for _ in range(number)]
        outcomes = await asyncio.gather(*polls, return_exceptions=True)
    return sum(isinstance(outcome, ApiResponse) for outcome in outcomes)
