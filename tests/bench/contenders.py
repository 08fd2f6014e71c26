"""Who is compared: ways to poll image versions until they are completed, from an everyday script to bare aiohttp.

Each is opened for one round and given jobs, as many as requests may be under way, to poll without a pause.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import httpx
from attrs import frozen
from httpx_aiohttp import AiohttpTransport

from clanforge_async import ClanforgeClient, JobRef, JobState, JobWatcher

_KEYS = ("access-key", "secret-key")
_ACCOUNT = 7

Poll = Callable[[Iterable[int]], Awaitable[None]]
"""Polls image versions, all at a time, until each is completed."""

MakeTransport = Callable[[int], httpx.AsyncBaseTransport | None]
"""Makes the transport for so many connections."""


@frozen
class Contender:
    """One way to poll.

    Attributes:
        name: What it is called in the table.
        opened: Gives a poll at an address, with so many connections.
    """

    name: str
    opened: Callable[[str, int], AbstractAsyncContextManager[Poll]]


@asynccontextmanager
async def _everyday_httpx(url: str, _concurrency: int) -> AsyncIterator[Poll]:
    # The settings are httpx's own. Only the timeout is lifted, or waiting for a connection would exceed it.
    async with httpx.AsyncClient(timeout=None) as client:  # noqa: S113 - see above

        async def poll(job_id: int) -> None:
            address, params = f"{url}/cfp/v1/imageversion/{job_id}/status", {"accountserviceid": _ACCOUNT}
            while (await client.get(address, params=params, auth=_KEYS)).json()["jobstateid"] != JobState.COMPLETED:
                pass

        yield _in_tasks(poll)


@asynccontextmanager
async def _bare_aiohttp(url: str, concurrency: int) -> AsyncIterator[Poll]:
    headers = {
        "Accept": "application/json",
        "Authorization": "Basic " + base64.b64encode(":".join(_KEYS).encode()).decode(),
        "Cache-Control": "no-cache",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency), headers=headers) as session:

        async def poll(job_id: int) -> None:
            address = f"{url}/cfp/v1/imageversion/{job_id}/status?accountserviceid={_ACCOUNT}"
            is_completed = False
            while not is_completed:
                async with session.get(address) as response:
                    is_completed = json.loads(await response.read())["jobstateid"] == JobState.COMPLETED

        yield _in_tasks(poll)


def _in_tasks(poll: Callable[[int], Awaitable[None]]) -> Poll:
    async def poll_all(job_ids: Iterable[int]) -> None:
        await asyncio.gather(*map(poll, job_ids))

    return poll_all


def _watcher(make_transport: MakeTransport) -> Callable[[str, int], AbstractAsyncContextManager[Poll]]:
    @asynccontextmanager
    async def opened(url: str, concurrency: int) -> AsyncIterator[Poll]:
        async with _client(url, concurrency, make_transport) as client, JobWatcher(client, interval=1e-9) as watcher:

            async def poll(job_ids: Iterable[int]) -> None:
                for result in await watcher.wait_all(map(JobRef.image_version, job_ids)):
                    result.unwrap()

            yield poll

    return opened


def _calls(make_transport: MakeTransport) -> Callable[[str, int], AbstractAsyncContextManager[Poll]]:
    @asynccontextmanager
    async def opened(url: str, concurrency: int) -> AsyncIterator[Poll]:
        async with _client(url, concurrency, make_transport) as client:

            async def poll(job_id: int) -> None:
                while not (await client.image_versions.status(job_id)).is_terminal:
                    pass

            yield _in_tasks(poll)

    return opened


def _client(url: str, concurrency: int, make_transport: MakeTransport) -> ClanforgeClient:
    return ClanforgeClient(
        _KEYS,
        account_service_id=_ACCOUNT,
        base_url=url,
        max_rate=None,
        max_concurrency=concurrency,
        transport=make_transport(concurrency),
    )


def _default(_concurrency: int) -> None:
    return None


def _aiohttp(concurrency: int) -> httpx.AsyncBaseTransport:
    return AiohttpTransport(limits=httpx.Limits(max_connections=concurrency))


NAIVE = Contender("httpx.AsyncClient", _everyday_httpx)
WATCHER = Contender("JobWatcher", _watcher(_default))
WATCHER_ON_AIOHTTP = Contender("JobWatcher, aiohttp transport", _watcher(_aiohttp))
CALLS = Contender("status()", _calls(_default))
CALLS_ON_AIOHTTP = Contender("status(), aiohttp transport", _calls(_aiohttp))
BARE = Contender("bare aiohttp", _bare_aiohttp)
