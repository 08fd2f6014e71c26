"""All forms of the ``Retry-After`` header, in calls and in watches."""

from __future__ import annotations

import pytest
from attrs import evolve
from support.faults.fault import Fault, RetryHandling, api_error, server_error
from support.faults.harness import (
    STATUS_CALLS,
    VERSION,
    AttemptCounter,
    assert_error,
    call_retry,
    completed_job,
    faulty_server,
    running_job,
)
from support.faults.misbehaviours import respond_with
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import JobWatcher, RateLimitError, RetryOutcomeUnknownError, WatchTimeoutError

DATE = "Sat, 22 Nov 2025 00:00:00 GMT"
HEADERS: dict[str, float | None] = {
    "0": 0.0,
    " 0.01 ": 0.01,
    "120": 120.0,
    "86400": 86400.0,
    "Sat, 22 Nov 2025 00:02:00 GMT": 120.0,
    "Saturday, 22-Nov-25 00:02:00 GMT": 120.0,
    "Sat Nov 22 00:02:00 2025": 120.0,
    DATE: 0.0,
    "Thu, 01 Jan 1970 00:00:00 GMT": 0.0,
    "Fri, 31 Dec 9999 23:59:59 GMT": None,
    "1e300": None,
    "9" * 400: None,
    "-5": None,
    "nan": None,
    "inf": None,
    "soon": None,
    "": None,
    "Sat, 99 Foo 2025 99:99:99 XYZ": None,
    "120, 120": 120.0,
}


def retry_after_fault(header: str, status: int) -> Fault:
    misbehaviour = respond_with(b"", f"{status} Later", Date=DATE, Retry_After=header)
    if status == 503:
        return server_error(header, misbehaviour, 503, retry_after=HEADERS[header])
    fault = api_error(header, misbehaviour, RateLimitError, 429, retry_after=HEADERS[header])
    return evolve(fault, is_resent=True, retry_handling=RetryHandling.RESENT, ends_watch=False)


each_status = pytest.mark.parametrize("status", [429, 503])
each_header = pytest.mark.parametrize("header", HEADERS)
each_long_wait = pytest.mark.parametrize(
    "header", [header for header, seconds in HEADERS.items() if (seconds or 0) > 60]
)
each_short_wait = pytest.mark.parametrize(
    "header", [header for header, seconds in HEADERS.items() if (seconds or 0) < 1]
)


@each_header
@each_status
@virtual_time_on_loopback
async def test_an_error_has_the_seconds_to_wait(header: str, status: int) -> None:
    """The error has the seconds to wait, by the server's clock, or None for an invalid header."""
    fault = retry_after_fault(header, status)
    for read in STATUS_CALLS.values():
        async with faulty_server(fault, 1, running_job, max_retries=0) as (_, client):
            with pytest.raises(fault.error) as raised:
                await read(client)
            assert_error(raised.value, fault)


@each_short_wait
@each_status
@virtual_time_on_loopback
async def test_calls_continue_after_a_short_wait(header: str, status: int, attempts: AttemptCounter) -> None:
    """Calls and watches continue after a short wait; a retry is sent again only after 429."""
    fault = retry_after_fault(header, status)
    for read in (*STATUS_CALLS.values(), call_retry):
        attempts.count = 0
        async with faulty_server(fault, 1, running_job) as (server, client):
            await read(client)
        assert attempts.count == 2
    assert [path.rpartition("/")[2] for path in server.paths] == ["retry", "retry" if status == 429 else "status"]
    async with (
        faulty_server(fault, 2, completed_job) as (server, client),
        JobWatcher(client, interval=0.01) as watcher,
    ):
        assert (await watcher.wait(VERSION)).is_completed


@each_long_wait
@each_status
@virtual_time_on_loopback
async def test_no_request_is_sent_during_a_long_wait(header: str, status: int) -> None:
    """For a long wait a call raises and a watch times out; neither sends a request before the time."""
    fault = retry_after_fault(header, status)
    error = RetryOutcomeUnknownError if status == 503 else RateLimitError
    async with (
        faulty_server(fault, 1, running_job) as (server, client),
        JobWatcher(client, interval=0.01) as watcher,
    ):
        with pytest.raises(error) as raised:
            await client.image_diffs.retry(5)
        assert_error(raised.value.__cause__ if status == 503 else raised.value, fault)
        with pytest.raises(fault.error):
            await client.image_versions.status(5)
        with pytest.raises(WatchTimeoutError):
            await watcher.wait(VERSION, timeout=0.05)
        assert len(server.paths) == 1
