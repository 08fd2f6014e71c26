"""Responses that request a pause: `Retry-After` in every form, and its effect on other calls."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import httpx
import pytest
from support.scripted_server import ScriptedServer, answer, envelope, wire
from support.virtual_time import now, virtual_time

from clanforge_async import (
    APIError,
    ClanforgeClient,
    ImageLockedError,
    JobRef,
    JobWatcher,
    RateLimitError,
    ServerError,
    WatchTimeoutError,
)

DATE = ("Date", "Thu, 26 Nov 2026 08:00:00 GMT")
IN_30 = "Thu, 26 Nov 2026 08:00:30 GMT"
IN_10 = "Thu, 26 Nov 2026 08:00:10 GMT"
LATEST_IS_30 = [
    [("Retry-After", "30")],
    [("Retry-After", " 30 ")],
    [("Retry-After", "30.0")],
    [("Retry-After", "30"), ("Retry-After", "30")],
    [("Retry-After", "30"), ("Retry-After", "10")],
    [("Retry-After", "10"), ("Retry-After", "30")],
    [("retry-after", "10"), ("RETRY-AFTER", "30")],
    [("Retry-After", "10, 30")],
    [("Retry-After", "30,10")],
    [("Retry-After", "30"), ("Retry-After", "soon")],
    [("Retry-After", "30"), ("Retry-After", "")],
    [DATE, ("Retry-After", IN_30)],
    [DATE, ("Retry-After", IN_30), ("Retry-After", IN_10)],
    [DATE, ("Retry-After", "10"), ("Retry-After", IN_30)],
    [DATE, ("Retry-After", f"{IN_10}, {IN_30}")],
    [DATE, ("Retry-After", f"10, {IN_30}")],
    [DATE, ("Retry-After", "Thursday, 26-Nov-26 08:00:30 GMT")],
    [DATE, ("Retry-After", "Thu Nov 26 08:00:30 2026")],
]


@pytest.mark.parametrize("headers", LATEST_IS_30)
@pytest.mark.parametrize("status", [429, 503])
def test_nothing_is_sent_before_the_latest_time_that_was_named(headers: list[tuple[str, str]], status: int) -> None:
    """Of several `Retry-After`, from the server and a gateway, the latest time applies to calls and watches."""
    sent: list[float] = []

    def server(_request: httpx.Request) -> httpx.Response:
        sent.append(now())
        return httpx.Response(status, headers=headers) if len(sent) == 1 else httpx.Response(200, json=wire(9))

    @virtual_time
    async def run() -> None:
        async with ClanforgeClient(("k", "s"), account_service_id=7, transport=httpx.MockTransport(server)) as client:
            await client.image_versions.status(9)
            assert 30 <= sent[1] < 41  # with the jitter of a retry
            sent.clear()
            async with JobWatcher(client, interval=1) as watcher:
                with pytest.raises(WatchTimeoutError):
                    await watcher.wait(JobRef.image_version(9), timeout=40)
            assert sent[1] - sent[0] == pytest.approx(30)

    run()


class Caller:
    """Stands for a caller's large local variable."""


async def status_of(client: ClanforgeClient, image_version_id: int, callers: list[weakref.ref[Caller]]) -> None:
    caller = Caller()
    callers.append(weakref.ref(caller))
    with pytest.raises(APIError):
        await client.image_versions.status(image_version_id)


@pytest.mark.parametrize(("status", "cls"), [(429, RateLimitError), (503, ServerError)])
async def test_a_refused_call_has_its_own_error(status: int, cls: type[APIError]) -> None:
    """A call that is not sent during a long pause raises its own error, with the remaining time."""
    lock = envelope("image locked by diffid: 218595")

    def server(request: httpx.Request) -> httpx.Response:
        assert "/1/" in request.url.path
        return httpx.Response(status, headers={"Retry-After": "100"}, json=lock)

    transport = httpx.MockTransport(server)
    async with ClanforgeClient(("k", "s"), account_service_id=7, transport=transport) as client:
        with pytest.raises(ImageLockedError):
            await client.image_versions.status(1)
        refusals = await asyncio.gather(*(client.image_versions.status(n) for n in (2, 3)), return_exceptions=True)
    first, second = refusals
    assert isinstance(first, cls)
    assert isinstance(second, cls)
    assert type(first) is cls
    assert first is not second
    assert first.url.endswith("/imageversion/2/status")
    assert second.url.endswith("/imageversion/3/status")
    assert (first.status_code, first.body, first.error_code) == (status, "", None)
    assert first.retry_after == pytest.approx(100, abs=1)
    assert "218595" not in str(first)


async def test_a_pause_keeps_nothing_of_the_call_that_started_it() -> None:
    """The client stores the pause and not the error, which would keep the caller's variables alive."""
    transport = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "100"}))
    callers: list[weakref.ref[Caller]] = []
    async with ClanforgeClient(("k", "s"), account_service_id=7, transport=transport, max_retries=0) as client:
        await status_of(client, 1, callers)
        await status_of(client, 2, callers)
        gc.collect()
        assert [caller() for caller in callers] == [None, None]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_read_is_repeated(status: int) -> None:
    """A read is repeated after every transient status, including a load balancer's 408 and a 425."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, httpx.Response(status), answer(wire(5)))
        async with server.client() as client:
            assert (await client.image_diffs.status(5)).id == 5

    run()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 421, 499, 501, 505])
async def test_other_statuses_are_raised_at_once(status: int) -> None:
    """A read that failed permanently is not repeated."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(status))
    async with server.client() as client:
        with pytest.raises(APIError) as raised:
            await client.image_diffs.status(5)
    assert raised.value.status_code == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 520])
def test_no_transient_status_ends_a_watch(status: int) -> None:
    """One 408 among thousands of polls ends no watch, and neither does any 5xx."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        polls: list[Any] = [
            answer(wire(9)),
            httpx.Response(status),
            answer(wire(9)),
            answer(wire(9) | {"jobstateid": 5}),
        ]
        server.version(9, *polls)
        async with server.client() as client, JobWatcher(client, interval=1) as watcher:
            assert (await watcher.wait(JobRef.image_version(9))).is_completed

    run()


async def test_a_failed_job_whose_status_says_success_false_shows_its_error() -> None:
    """If a status wraps a failed job in an error envelope, the error contains the job's error message."""
    server = ScriptedServer()
    fields = {"joberror": "checksum mismatch", "success": False, "error_message": "", "messages": []}
    server.diff(5, httpx.Response(200, json=wire(5) | {"jobstateid": 6, "jobstatename": "Failed"} | fields))
    async with server.client() as client:
        with pytest.raises(APIError, match="checksum mismatch"):
            await client.image_diffs.status(5)
