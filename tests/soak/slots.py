"""Whether a client can do, after all that it went through, what it could at its beginning."""

from __future__ import annotations

import asyncio

from loopback import LoopbackServer, http_answer
from scripts import wire

from clanforge_async import ClanforgeClient, ClanforgeError, JobState


class Rendezvous:
    """Answers requests only when so many of them are there at a time.

    Attributes:
        most: How many were there at a time.
    """

    def __init__(self, number: int) -> None:
        self.most = 0
        self._present = 0
        self._all_here = asyncio.Barrier(number)

    async def answer(self, _head: str) -> bytes:
        """Answer one of them."""
        self._present += 1
        self.most = max(self.most, self._present)
        try:
            await self._all_here.wait()
        finally:
            self._present -= 1
        return http_answer(wire(5, JobState.COMPLETED))


async def most_in_flight(client: ClanforgeClient, port: int) -> int:
    """Return how many of a client's requests are in flight at a time when more are asked for than may be."""
    rendezvous = Rendezvous(client.max_concurrency)
    async with LoopbackServer(rendezvous.answer, port):
        calls = [client.image_versions.status(5) for _ in range(2 * client.max_concurrency)]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, ClanforgeError):
                raise result
    return rendezvous.most
