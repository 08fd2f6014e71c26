"""Asserts that a client can still send as many requests at once as its limit allows."""

from __future__ import annotations

import asyncio

from support.loopback_server import LoopbackServer

from clanforge_async import ClanforgeClient


async def assert_full_concurrency(client: ClanforgeClient, server: LoopbackServer, response: bytes) -> None:
    """Assert that ``max_concurrency`` requests can run at once: the server responds only when all have arrived.

    Args:
        client: The client.
        server: The client's server.
        response: Response about image diff 5.
    """
    all_arrived = asyncio.Barrier(client.max_concurrency)

    async def respond(_head: str) -> bytes:
        await all_arrived.wait()
        return response

    server.answer = respond
    await asyncio.gather(*(client.image_diffs.status(5) for _ in range(client.max_concurrency)))
