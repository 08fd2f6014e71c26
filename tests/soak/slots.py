"""Whether a client can do, after all that it went through, what it could at its beginning."""

from __future__ import annotations

import asyncio

from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import wire

from clanforge_async import ClanforgeClient, JobRef, JobState
from clanforge_async._http.request import ApiResponse

_ROUNDS = 10
"""How often it may be tried: a busy machine can make a client late, but a slot that is lost does not come back."""


async def most_in_flight(client: ClanforgeClient, port: int) -> int:
    """Return how many requests a client can have in flight together; only the most that it may have can be told."""
    most = 0
    for _ in range(_ROUNDS):
        most = max(most, await _answered_together(client, port))
        if most == client.max_concurrency:
            break
    return most


async def _answered_together(client: ClanforgeClient, port: int) -> int:
    number = client.max_concurrency
    all_here = asyncio.Barrier(number)

    async def answer(_head: str) -> bytes:
        await all_here.wait()
        return http_answer(wire(5, JobState.COMPLETED))

    async with LoopbackServer(answer, port):
        # None is answered before all are there, and a poll is never sent again: where a slot is missing, the last one
        # comes only when others have given up.
        polls = [client.observer(JobRef.image_version(5))() for _ in range(number)]
        outcomes = await asyncio.gather(*polls, return_exceptions=True)
    return sum(isinstance(outcome, ApiResponse) for outcome in outcomes)
