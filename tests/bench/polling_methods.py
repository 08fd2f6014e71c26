"""Methods to poll image versions until they complete, from a simple httpx script to plain aiohttp.

Each method is opened for one round. It polls without pauses, and the number of jobs is that of the requests in flight.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
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
"""Polls image versions concurrently until each completes."""

MakeTransport = Callable[[int], httpx.AsyncBaseTransport | None]
"""Makes the transport for a number of connections."""


@frozen
class PollingMethod:
    """A method to poll.

    Attributes:
        name: Name in tables.
        open: Returns the poll function for a URL and a number of connections.
    """

    name: str
    open: Callable[[str, int], AbstractAsyncContextManager[Poll]]


@asynccontextmanager
async def _httpx(url: str, _concurrency: int) -> AsyncIterator[Poll]:
    # These are httpx's default settings, except the timeout: waiting for a connection would take longer.
    async with httpx.AsyncClient(timeout=None) as client:  # noqa: S113 - see above

        async def poll(job_id: int) -> None:
            address, params = f"{url}/cfp/v1/imageversion/{job_id}/status", {"accountserviceid": _ACCOUNT}
            while (await client.get(address, params=params, auth=_KEYS)).json()["jobstateid"] != JobState.COMPLETED:
                pass

        yield _poll_concurrently(poll)


@asynccontextmanager
async def _plain_aiohttp(url: str, concurrency: int) -> AsyncIterator[Poll]:
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

        yield _poll_concurrently(poll)


def _poll_concurrently(poll: Callable[[int], Awaitable[None]]) -> Poll:
    async def poll_all(job_ids: Iterable[int]) -> None:
        await asyncio.gather(*map(poll, job_ids))

    return poll_all


def _with_watcher(make_transport: MakeTransport) -> Callable[[str, int], AbstractAsyncContextManager[Poll]]:
    @asynccontextmanager
    async def open_method(url: str, concurrency: int) -> AsyncIterator[Poll]:
        async with _client(url, concurrency, make_transport) as client, JobWatcher(client, interval=1e-9) as watcher:

            async def poll(job_ids: Iterable[int]) -> None:
                for result in await watcher.wait_all(map(JobRef.image_version, job_ids)):
                    result.unwrap()

            yield poll

    return open_method


def _with_calls(make_transport: MakeTransport) -> Callable[[str, int], AbstractAsyncContextManager[Poll]]:
    @asynccontextmanager
    async def open_method(url: str, concurrency: int) -> AsyncIterator[Poll]:
        async with _client(url, concurrency, make_transport) as client:

            async def poll(job_id: int) -> None:
                while not (await client.image_versions.status(job_id)).is_terminal:
                    pass

            yield _poll_concurrently(poll)

    return open_method


def _client(url: str, concurrency: int, make_transport: MakeTransport) -> ClanforgeClient:
    return ClanforgeClient(
        _KEYS,
        account_service_id=_ACCOUNT,
        base_url=url,
        max_rate=None,
        max_concurrency=concurrency,
        transport=make_transport(concurrency),
    )


def _default_transport(_concurrency: int) -> None:
    return None


def _aiohttp_transport(concurrency: int) -> httpx.AsyncBaseTransport:
    # A context without trusted certificates: loading them is slow, and the benchmark does not use TLS.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return AiohttpTransport(verify=context, limits=httpx.Limits(max_connections=concurrency))


HTTPX = PollingMethod("httpx.AsyncClient", _httpx)
WATCHER = PollingMethod("JobWatcher", _with_watcher(_default_transport))
WATCHER_ON_AIOHTTP = PollingMethod("JobWatcher, aiohttp transport", _with_watcher(_aiohttp_transport))
CALLS = PollingMethod("status()", _with_calls(_default_transport))
CALLS_ON_AIOHTTP = PollingMethod("status(), aiohttp transport", _with_calls(_aiohttp_transport))
AIOHTTP = PollingMethod("plain aiohttp", _plain_aiohttp)
