"""A terminal job in a response about a retry is the new run's only if the server's clock proves it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from support.scripted_server import START, wire
from support.virtual_time import now, virtual_time

from clanforge_async import ClanforgeClient, ImageDiffJob, JobState, RetryOutcomeUnknownError, StaleJobError
from clanforge_async.watcher import JobWatcher


class SlowBody(httpx.AsyncByteStream):
    """Arrives some time after the headers, like a long listing."""

    def __init__(self, content: bytes, seconds: float) -> None:
        self.content = content
        self.seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(self.seconds)
        yield self.content


class DiffServer:
    """Shows the previous run for 20 s after the retry; can drop the response to the retry.

    Args:
        ended_at: Time at which the previous run ended, by the loop's clock.
        drops: Whether the retry gets no response.
        seconds: Seconds that a body takes to arrive.
        dated: Whether responses have a `Date`.
        connecting: Seconds before a request is sent.
    """

    def __init__(
        self, ended_at: float, *, drops: bool, seconds: float = 0.0, dated: bool = True, connecting: float = 0.0
    ) -> None:
        self.ended_at = ended_at
        self.drops = drops
        self.seconds = seconds
        self.dated = dated
        self.connecting = connecting
        self.retried_at = 0.0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/retry"):
            self.retried_at = now()
            if self.drops:
                message = "dropped"
                raise httpx.ReadError(message)
        job = wire(5, JobState.FAILED, jobupdated=START + int(self.ended_at), joberror="old")
        if now() >= self.retried_at + 20:
            job = wire(5, JobState.COMPLETED, jobupdated=START + int(self.retried_at + 20))
        return self.response(job)

    def response(self, job: dict[str, Any]) -> httpx.Response:
        date = format_datetime(datetime.fromtimestamp(START + int(now()), UTC), usegmt=True)
        body = SlowBody(json.dumps(job).encode(), self.seconds)
        return httpx.Response(200, stream=body, headers={"Date": date} if self.dated else {})

    def client(self) -> ClanforgeClient:
        server = self

        class Connecting(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                await asyncio.sleep(server.connecting)
                async for _ in request.stream:  # type: ignore[union-attr] # as a transport sends it
                    pass
                return await server.handle(request)

        return ClanforgeClient(("k", "s"), account_service_id=7, transport=Connecting(), timeout=600.0)


@pytest.mark.parametrize("drops", [False, True], ids=["answered", "dropped"])
@pytest.mark.parametrize("seconds", [0, 1, 5, 20, 300])
@pytest.mark.parametrize("ago", [0, 1, 3, 15, 250])
@pytest.mark.parametrize("connecting", [0, 10])
def test_a_slow_response_does_not_make_an_old_run_new(
    drops: bool, seconds: float, ago: float, connecting: float
) -> None:
    """However long a request or response takes, an old failure is never mistaken for the new run's end."""

    @virtual_time
    async def run() -> None:
        await asyncio.sleep(400)
        server = DiffServer(400 + connecting - ago, drops=drops, seconds=seconds, connecting=connecting)
        async with server.client() as client, JobWatcher(client, stale_after=30) as watcher:
            try:
                job = await client.image_diffs.retry(5)
            except RetryOutcomeUnknownError:
                return
            assert job.newer_than is not None
            if job.is_terminal and job.error == "old":
                assert job.newer_than > job.updated_at
            try:
                assert (await watcher.wait(job)).is_completed
            except StaleJobError:
                assert seconds + connecting > 20

    run()


@virtual_time
async def test_an_end_that_is_certainly_later_is_the_result() -> None:
    """If the status is read later, and the job was updated since the retry was sent, that run is returned."""

    class Later(DiffServer):
        async def handle(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/retry"):
                self.retried_at = now()
                await asyncio.sleep(15)
                message = "dropped"
                raise httpx.ReadError(message)
            return self.response(wire(5, JobState.COMPLETED, jobupdated=START + int(self.retried_at) + 10))

    server = Later(0, drops=True)
    async with server.client() as client:
        job: ImageDiffJob = await client.image_diffs.retry(5)
    assert job.is_completed


@pytest.mark.parametrize("behind", [0, 60, 86400])
@pytest.mark.parametrize("drops", [False, True], ids=["answered", "dropped"])
def test_without_a_date_nothing_is_certain(behind: int, drops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `Date`, a terminal job is never returned as the new run, whatever the local clock shows."""
    monkeypatch.setattr(time, "time", lambda: START - behind)

    @virtual_time
    async def run() -> None:
        server = DiffServer(-20, drops=drops, dated=False)
        async with server.client() as client:
            if drops:
                with pytest.raises(RetryOutcomeUnknownError):
                    await client.image_diffs.retry(5)
            else:
                job = await client.image_diffs.retry(5)
                assert job.newer_than is not None
                assert job.newer_than > job.updated_at

    run()


@virtual_time
async def test_without_a_date_a_running_job_is_still_the_result() -> None:
    """A job that is not terminal can only be the new run."""

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/retry"):
            message = "dropped"
            raise httpx.ReadError(message)
        return httpx.Response(200, json=wire(5, JobState.RUNNING))

    transport = httpx.MockTransport(server)
    async with ClanforgeClient(("k", "s"), account_service_id=7, transport=transport) as client:
        assert (await client.image_diffs.retry(5)).state is JobState.RUNNING
