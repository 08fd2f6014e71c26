"""Retries of a single call: the failures that allow them, their number, and the pauses before them."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_server import START, Answer, ScriptedServer, answer, envelope, server_now, wire
from support.virtual_time import now, run_in_virtual_time, virtual_time

from clanforge_async import (
    APIError,
    ClanforgeClient,
    ClanforgeError,
    InvalidResponseError,
    JobRef,
    RateLimitError,
    ServerError,
    TransportError,
)

TRANSIENT: dict[str, Answer] = {
    "connect error": httpx.ConnectError("x"),
    "connect timeout": httpx.ConnectTimeout("x"),
    "read error": httpx.ReadError("x"),
    "read timeout": httpx.ReadTimeout("x"),
    "dropped": httpx.RemoteProtocolError("x"),
    "write error": httpx.WriteError("x"),
    "system": OSError("x"),
    **{str(status): httpx.Response(status) for status in (429, 500, 502, 503, 504)},
    "500 envelope": httpx.Response(500, json=envelope("internal")),
}
PERMANENT: dict[str, Answer] = {
    **{str(status): httpx.Response(status) for status in (301, 400, 401, 403, 404, 409, 418, 501, 505, 599)},
    "envelope": httpx.Response(200, json=envelope("no")),
    "locked": httpx.Response(500, json=envelope("image locked by diffid: 3")),
    "forbidden": httpx.Response(502, json=envelope("forbidden")),
    "unreadable": httpx.Response(200, text="<html>"),
    "no job": httpx.Response(200, json={}),
}


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


async def outcome(call: Any) -> Any:
    try:
        return await call
    except ClanforgeError as error:
        return error


# Which failures, and how often


@pytest.mark.parametrize("failure", TRANSIENT)
@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_a_transient_failure_is_retried(failure: str, max_retries: int) -> None:
    """After a transient failure a status read is retried ``max_retries`` times; then the last error is raised."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, TRANSIENT[failure])
        server.version(9, TRANSIENT[failure])
        async with server.client(max_retries=max_retries) as client:
            for call in (client.image_diffs.status(5), client.image_versions.status(9)):
                with pytest.raises((TransportError, RateLimitError, ServerError)):
                    await call
        assert len(server.asked["imagediff/status", 5]) == 1 + max_retries
        assert len(server.polls(9)) == 1 + max_retries

    run()


@pytest.mark.parametrize("failure", TRANSIENT)
def test_a_call_succeeds_after_transient_failures(failure: str) -> None:
    """A status read returns its job after a few transient failures."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, TRANSIENT[failure], TRANSIENT[failure], TRANSIENT[failure], answer(wire(5)))
        async with server.client() as client:
            assert (await client.image_diffs.status(5)).id == 5
        assert len(server.asked["imagediff/status", 5]) == 4

    run()


@pytest.mark.parametrize("failure", PERMANENT)
def test_a_permanent_failure_is_raised_at_once(failure: str) -> None:
    """A status read is not retried after a 4xx, an error envelope or an invalid response."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, PERMANENT[failure])
        async with server.client() as client:
            with pytest.raises((APIError, InvalidResponseError)):
                await client.image_diffs.status(5)
        assert server.asked["imagediff/status", 5] == [0.0]

    run()


@virtual_time
async def test_the_last_failure_is_raised() -> None:
    """If every attempt fails differently, the last error is raised."""
    server = ScriptedServer()
    server.diff(5, httpx.ConnectError("first"), httpx.Response(500), httpx.Response(502), httpx.ReadError("last"))
    async with server.client() as client:
        with pytest.raises(TransportError, match="last"):
            await client.image_diffs.status(5)


@virtual_time
async def test_backoff_is_exponential_with_full_jitter() -> None:
    """Pauses are random between 0 and a bound that doubles with each attempt, up to a maximum."""
    server = ScriptedServer()
    async with server.client(max_retries=6, max_concurrency=500) as client:
        gaps = await all_pauses(client, server)
    for attempt, drawn in enumerate(gaps):
        bound = min(0.5 * 2**attempt, 10.0)
        assert all(0 <= gap <= bound + 1e-6 for gap in drawn), attempt
        assert min(drawn) < bound * 0.1, attempt
        assert max(drawn) > bound * 0.9, attempt


async def all_pauses(client: ClanforgeClient, server: ScriptedServer) -> list[list[float]]:
    """Return the pauses before the second, third, ... attempt of a hundred calls."""
    for diff_id in range(1000, 1100):
        server.diff(diff_id, httpx.Response(500))
    calls = (outcome(client.image_diffs.status(diff_id)) for diff_id in range(1000, 1100))
    await asyncio.gather(*calls)
    asked = [server.asked["imagediff/status", diff_id] for diff_id in range(1000, 1100)]
    return [[times[n + 1] - times[n] for times in asked] for n in range(6)]


@virtual_time
async def test_a_call_that_backs_off_holds_no_slot() -> None:
    """While a call waits for its retry, another call takes its slot."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(500), answer(wire(5)))
    server.version(9, answer(wire(9)))
    async with server.client(max_concurrency=1) as client:
        first = asyncio.create_task(client.image_diffs.status(5))
        await client.image_versions.status(9)
        assert now() == 0
        assert not first.done()
        await first
    assert server.polls(9) == [0.0]


# Retry-After


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("seconds", ["0", "1", "7", "59.5", "60"])
def test_retry_after_in_seconds_is_respected(status: int, seconds: str) -> None:
    """The retry is sent after ``Retry-After`` seconds, not earlier and not much later."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, answer({}, status, **{"Retry-After": seconds}), answer(wire(5)))
        async with server.client() as client:
            await client.image_diffs.status(5)
        _, again = server.asked["imagediff/status", 5]
        assert float(seconds) <= again <= float(seconds) + 0.5

    run()


@pytest.mark.parametrize("skew", [-86400, 0, 86400])
@pytest.mark.parametrize("seconds", [1, 30, 60])
def test_retry_after_as_a_date_is_respected(skew: int, seconds: int) -> None:
    """The retry is sent at the date in ``Retry-After`` by the server's clock, not earlier."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()

        def busy() -> httpx.Response:
            then = server_now() + skew
            headers = {"Date": http_date(math.floor(then)), "Retry-After": http_date(math.floor(then) + seconds)}
            return httpx.Response(429, headers=headers)

        server.on("imagediff/status", 5, lambda: answer(wire(5)) if server.asked["imagediff/status", 5][1:] else busy())
        async with server.client() as client:
            await client.image_diffs.status(5)
        _, again = server.asked["imagediff/status", 5]
        assert seconds <= again <= seconds + 1.5

    run()


@virtual_time
async def test_retry_after_as_a_date_uses_the_local_clock_without_a_server_time() -> None:
    """Without a ``Date`` header, a date in ``Retry-After`` is compared to the local clock."""
    server = ScriptedServer()
    then = datetime.now(UTC) + timedelta(seconds=20)
    server.diff(5, httpx.Response(429, headers={"Retry-After": format_datetime(then, usegmt=True)}), answer(wire(5)))
    async with server.client() as client:
        await client.image_diffs.status(5)
    _, again = server.asked["imagediff/status", 5]
    assert 17 <= again <= 21


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header", ["60.5", "61", "3600", http_date(START + 90)])
def test_a_long_retry_after_is_raised(status: int, header: str) -> None:
    """``Retry-After`` beyond 60 s is not waited for: the error is raised at once, with the time in ``retry_after``."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, answer({}, status, **{"Retry-After": header}))
        async with server.client() as client:
            with pytest.raises(RateLimitError if status == 429 else ServerError) as raised:
                await client.image_diffs.status(5)
        assert now() == 0
        assert raised.value.retry_after == (90.0 if "GMT" in header else float(header))

    run()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("31622400", 366 * 86400.0),
        ("31622401", None),
        (http_date(START - 3600), 0.0),
        (http_date(START), 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("99999999999", None),
        ("Sat, 99 Nov 2025 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        (None, None),
    ],
)
def test_an_error_has_the_seconds_of_retry_after(header: str | None, seconds: float | None) -> None:
    """``retry_after`` is in seconds for both formats; a date in the past is 0, an invalid value is None."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, answer({}, 429, **({} if header is None else {"Retry-After": header})))
        async with server.client(max_retries=0) as client:
            with pytest.raises(RateLimitError) as raised:
                await client.image_diffs.status(5)
        assert raised.value.retry_after == seconds

    run()


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)
def test_any_header_value_is_accepted(retry_after: str, date: str) -> None:
    """Any value of ``Retry-After`` and ``Date`` leaves a 429 a `RateLimitError`."""

    async def run() -> None:
        busy = httpx.Response(429, headers={"Retry-After": retry_after, "Date": date})
        server = ScriptedServer()
        server.diff(5, busy)
        async with server.client(max_retries=0) as client:
            with pytest.raises(RateLimitError) as raised:
                await client.image_diffs.status(5)
        asked_for = raised.value.retry_after
        assert asked_for is None or 0 <= asked_for < math.inf

    run_in_virtual_time(run())


# Cooldown of the whole client


@pytest.mark.parametrize("status", [429, 503])
def test_a_cooldown_holds_all_calls(status: int) -> None:
    """A 429 to one call delays the whole client: a call that starts during the cooldown is sent after it."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, answer({}, status, **{"Retry-After": "30"}), answer(wire(5)))
        server.version(9, answer(wire(9)))
        server.retry(6, answer(wire(6)))
        async with server.client() as client:
            first = asyncio.create_task(client.image_diffs.status(5))
            await asyncio.sleep(10)
            await asyncio.gather(
                first,
                client.image_versions.status(9),
                client.image_diffs.retry(6),
                client.observer(JobRef.image_diff(5))(),
            )
        assert all(time >= 30 for times in server.asked.values() for time in times if time > 0)
        assert server.polls(9) == [30.0]
        assert server.asked["imagediff/retry", 6] == [30.0]

    run()


@virtual_time
async def test_calls_waiting_for_a_slot_wait_for_the_cooldown() -> None:
    """A call that waits for a slot when a cooldown starts is sent after the cooldown."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "30"}), answer(wire(5)))
    server.version(9, answer(wire(9)))
    async with server.client(max_concurrency=1) as client:
        await asyncio.gather(client.image_diffs.status(5), *(client.image_versions.status(9) for _ in range(5)))
    assert min(server.polls(9)) >= 30


@virtual_time
async def test_the_latest_cooldown_wins() -> None:
    """Of several cooldowns, the one that ends last applies."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "40"}), answer(wire(5)))
    server.diff(6, answer({}, 429, **{"Retry-After": "5"}), answer(wire(6)))
    async with server.client() as client:
        await asyncio.gather(client.image_diffs.status(5), client.image_diffs.status(6))
    assert server.asked["imagediff/status", 5][1] >= 40
    assert server.asked["imagediff/status", 6][1] >= 40


@virtual_time
async def test_a_call_does_not_wait_for_a_long_cooldown() -> None:
    """If over 60 s of a cooldown remain, a call raises the server's error at once, with the remaining seconds."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "300"}))
    server.version(9, answer(wire(9)))
    async with server.client() as client:
        with pytest.raises(RateLimitError) as first:
            await client.image_diffs.status(5)
        await asyncio.sleep(100)
        with pytest.raises(RateLimitError) as second:
            await client.image_versions.status(9)
        assert now() == 100
        await asyncio.sleep(150)
        await client.image_versions.status(9)
    assert first.value.retry_after == 300
    assert second.value.retry_after == pytest.approx(200)
    assert second.value is not first.value
    assert server.polls(9) == [pytest.approx(300)]


@virtual_time
async def test_a_retry_does_not_wait_for_a_long_cooldown() -> None:
    """A call that backs off while another call starts a cooldown of more than 60 s raises as well."""
    server = ScriptedServer()
    server.diff(5, answer({}, 502, **{"Retry-After": "20"}))
    server.version(9, answer({}, 429, **{"Retry-After": "300"}))
    async with server.client() as client:
        backing_off = asyncio.create_task(client.image_diffs.status(5))
        await asyncio.sleep(9)
        with pytest.raises(RateLimitError):
            await client.image_versions.status(9)
        with pytest.raises(RateLimitError) as raised:
            await backing_off
    assert now() < 21
    assert raised.value.retry_after == pytest.approx(309 - now())


@virtual_time
async def test_an_observer_waits_for_any_cooldown() -> None:
    """An `observer` waits for the whole cooldown, even beyond 60 s."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "300"}))
    server.version(9, answer(wire(9)))
    async with server.client() as client:
        with pytest.raises(RateLimitError):
            await client.observer(JobRef.image_diff(5))()
        await client.observer(JobRef.image_version(9))()
    assert server.polls(9) == [pytest.approx(300)]


@virtual_time
async def test_a_429_without_retry_after_starts_a_growing_cooldown() -> None:
    """A 429 without ``Retry-After`` pauses the whole client, each time for longer."""
    server = ScriptedServer()
    server.diff(5, *[httpx.Response(429)] * 4, answer(wire(5)))
    server.version(9, answer(wire(9)))
    async with server.client(max_retries=9) as client:
        first = asyncio.create_task(client.image_diffs.status(5))
        await asyncio.sleep(0.01)
        await client.image_versions.status(9)
        await first
    asked = server.asked["imagediff/status", 5]
    gaps = [after - before for before, after in pairwise(asked)]
    assert server.polls(9)[0] >= 0.5
    assert gaps[0] >= 0.5
    assert gaps[3] > gaps[0]


@virtual_time
async def test_concurrent_429s_start_one_cooldown() -> None:
    """Ten 429s to concurrent requests have the effect of one."""
    server = ScriptedServer()

    async def busy() -> httpx.Response:
        await asyncio.sleep(0.1)
        return httpx.Response(429) if now() < 1 else answer(wire(5))

    server.on("imagediff/status", 5, busy)
    async with server.client() as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(10)))
    assert now() < 5


@virtual_time
async def test_a_success_resets_the_cooldown_backoff() -> None:
    """After a success, the next 429 without ``Retry-After`` pauses the client as briefly as the first."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(429), httpx.Response(429), httpx.Response(429), answer(wire(5)))
    server.diff(6, httpx.Response(429), answer(wire(6)))
    async with server.client() as client:
        await client.image_diffs.status(5)
        began = now()
        await client.image_diffs.status(6)
    first = server.asked["imagediff/status", 5]
    assert now() - began <= first[1] - first[0] + 1.0


@pytest.mark.parametrize("failure", ["500", "502", "503", "504", "read error"])
def test_a_failure_without_retry_after_delays_no_other_call(failure: str) -> None:
    """A network failure, or a 5xx without ``Retry-After``, delays only its own call."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, TRANSIENT[failure], answer(wire(5)))
        server.version(9, answer(wire(9)))
        async with server.client() as client:
            first = asyncio.create_task(client.image_diffs.status(5))
            await asyncio.sleep(0)
            await client.image_versions.status(9)
            await first
        assert server.polls(9) == [0.0]

    run()


@virtual_time
async def test_a_500_with_retry_after_delays_its_own_call() -> None:
    """``Retry-After`` of a 5xx other than 503 delays only the call that received it."""
    server = ScriptedServer()
    server.diff(5, answer({}, 502, **{"Retry-After": "20"}), answer(wire(5)))
    async with server.client() as client:
        await client.image_diffs.status(5)
    assert server.asked["imagediff/status", 5][1] >= 20


@virtual_time
async def test_cancelling_a_waiting_call_keeps_the_cooldown() -> None:
    """Cancelling a call that waits for a cooldown changes nothing for other calls."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "30"}))
    server.version(9, answer(wire(9)))
    async with server.client() as client:
        first = asyncio.create_task(client.image_diffs.status(5))
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await client.image_versions.status(9)
    assert server.polls(9) == [30.0]
    assert len(server.asked["imagediff/status", 5]) == 1
