"""Wait for thousands of jobs at once over aiohttp: a poll takes a third of the CPU.

    python aiohttp_transport.py image-version/9002 image-diff/5002

Credentials come from the environment, see `ClanforgeClient.from_env`. Needs the extra `aiohttp`.
"""

import asyncio
import sys

import httpx
from httpx_aiohttp import AiohttpTransport

from clanforge_async import ClanforgeClient, JobRef, JobWatcher

AT_A_TIME = 100
PER_SECOND = 500  # agree on this with the operator of the API


async def main(targets: list[JobRef]) -> None:
    # The client closes the transport. Common gateways close idle connections after 60 seconds.
    transport = AiohttpTransport(limits=httpx.Limits(max_connections=AT_A_TIME, keepalive_expiry=55))
    client = ClanforgeClient.from_env(transport=transport, max_concurrency=AT_A_TIME, max_rate=PER_SECOND)
    async with client, JobWatcher(client) as watcher:
        results = await watcher.wait_all(targets)
    print(f"{sum(result.ok for result in results)} of {len(results)} jobs have completed")


if __name__ == "__main__":
    asyncio.run(main([JobRef.parse(text) for text in sys.argv[1:]]))
