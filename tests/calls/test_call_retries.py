"""Repeating a single call: after which failures, how often, and never sooner than the server allows."""

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

PASSING: dict[str, Answer] = {
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
LASTING: dict[str, Answer] = {
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


# Which failures, how often


@pytest.mark.parametrize("failure", PASSING)
@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_a_failure_that_can_pass_is_repeated(failure: str, max_retries: int) -> None:
    """After a failure that can pass a status read is repeated ``max_retries`` times, then raised as it last was."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, PASSING[failure])
        server.version(9, PASSING[failure])
        async with server.client(max_retries=max_retries) as client:
            for call in (client.image_diffs.status(5), client.image_versions.status(9)):
                with pytest.raises((TransportError, RateLimitError, ServerError)):
                    await call
        assert len(server.asked["imagediff/status", 5]) == 1 + max_retries
        assert len(server.polls(9)) == 1 + max_retries

    run()


@pytest.mark.parametrize("failure", PASSING)
def test_a_failure_that_passes_is_not_noticed(failure: str) -> None:
    """A status read that fails for a while is answered all the same."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, PASSING[failure], PASSING[failure], PASSING[failure], answer(wire(5)))
        async with server.client() as client:
            assert (await client.image_diffs.status(5)).id == 5
        assert len(server.asked["imagediff/status", 5]) == 4

    run()


@pytest.mark.parametrize("failure", LASTING)
def test_a_failure_that_lasts_is_raised_at_once(failure: str) -> None:
    """A status read is not repeated after a refusal, nor after an answer that cannot be read."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, LASTING[failure])
        async with server.client() as client:
            with pytest.raises((APIError, InvalidResponseError)):
                await client.image_diffs.status(5)
        assert server.asked["imagediff/status", 5] == [0.0]

    run()


@virtual_time
async def test_the_last_failure_is_the_one_raised() -> None:
    """Of several failures the last is raised."""
    server = ScriptedServer()
    server.diff(5, httpx.ConnectError("first"), httpx.Response(500), httpx.Response(502), httpx.ReadError("last"))
    async with server.client() as client:
        with pytest.raises(TransportError, match="last"):
            await client.image_diffs.status(5)


@virtual_time
async def test_pauses_are_random_and_grow() -> None:
    """Pauses are drawn from the whole range up to a bound (full jitter) that doubles from one to the next, and ends."""
    server = ScriptedServer()
    async with server.client(max_retries=6, max_concurrency=500) as client:
        gaps = await all_gaps(client, server)
    for attempt, drawn in enumerate(gaps):
        bound = min(0.5 * 2**attempt, 10.0)
        assert all(0 <= gap <= bound + 1e-6 for gap in drawn), attempt
        assert min(drawn) < bound * 0.1, attempt
        assert max(drawn) > bound * 0.9, attempt


async def all_gaps(client: ClanforgeClient, server: ScriptedServer) -> list[list[float]]:
    """Return the pauses before the second, third, ... attempt of a hundred calls."""
    for diff_id in range(1000, 1100):
        server.diff(diff_id, httpx.Response(500))
    calls = (outcome(client.image_diffs.status(diff_id)) for diff_id in range(1000, 1100))
    await asyncio.gather(*calls)
    asked = [server.asked["imagediff/status", diff_id] for diff_id in range(1000, 1100)]
    return [[times[n + 1] - times[n] for times in asked] for n in range(6)]


@virtual_time
async def test_a_call_that_backs_off_holds_no_slot() -> None:
    """While a call waits to be repeated, another takes its place."""
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


# What the server asks for


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("seconds", ["0", "1", "7", "59.5", "60"])
def test_a_wait_that_the_server_asks_for_is_kept(status: int, seconds: str) -> None:
    """After ``Retry-After`` in seconds the call is repeated, not before they have passed, and soon after."""

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
def test_a_moment_that_the_server_names_is_kept(skew: int, seconds: int) -> None:
    """After ``Retry-After`` as a date the call is repeated, not before it is then by the server's own clock."""

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
async def test_a_moment_without_the_servers_time_is_taken_by_ours() -> None:
    """A date in an answer without ``Date`` counts from the local clock, the only one there is."""
    server = ScriptedServer()
    then = datetime.now(UTC) + timedelta(seconds=20)
    server.diff(5, httpx.Response(429, headers={"Retry-After": format_datetime(then, usegmt=True)}), answer(wire(5)))
    async with server.client() as client:
        await client.image_diffs.status(5)
    _, again = server.asked["imagediff/status", 5]
    assert 17 <= again <= 21


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header", ["60.5", "61", "3600", http_date(START + 90)])
def test_a_wait_that_is_too_long_is_raised(status: int, header: str) -> None:
    """More than 60 s are not waited for: the error is raised at once, and its ``retry_after`` holds them."""

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
def test_what_the_server_asks_for_stands_on_the_error(header: str | None, seconds: float | None) -> None:
    """``retry_after`` holds seconds whatever the header's form; a moment in the past is 0, what makes no sense None."""

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
def test_no_header_is_a_trap(retry_after: str, date: str) -> None:
    """Whatever stands in ``Retry-After`` and ``Date``, the answer is a `RateLimitError`."""

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


# One cool-down for the whole client


@pytest.mark.parametrize("status", [429, 503])
def test_all_calls_wait_for_as_long_as_one_was_told_to(status: int) -> None:
    """What one call is told holds for the whole client: another, started meanwhile, is not sent before."""

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
async def test_calls_that_waited_for_a_slot_wait_for_the_cool_down_too() -> None:
    """A call that already stood in line when the server asked for time is not sent before it has passed."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "30"}), answer(wire(5)))
    server.version(9, answer(wire(9)))
    async with server.client(max_concurrency=1) as client:
        await asyncio.gather(client.image_diffs.status(5), *(client.image_versions.status(9) for _ in range(5)))
    assert min(server.polls(9)) >= 30


@virtual_time
async def test_the_longest_wait_holds() -> None:
    """Of several waits that the server asks for, the one that ends last holds."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "40"}), answer(wire(5)))
    server.diff(6, answer({}, 429, **{"Retry-After": "5"}), answer(wire(6)))
    async with server.client() as client:
        await asyncio.gather(client.image_diffs.status(5), client.image_diffs.status(6))
    assert server.asked["imagediff/status", 5][1] >= 40
    assert server.asked["imagediff/status", 6][1] >= 40


@virtual_time
async def test_a_call_in_front_of_a_long_cool_down_is_told_at_once() -> None:
    """Where more than 60 s remain a call is not sent, and raises what the server said, with the seconds that remain."""
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
async def test_a_call_that_backs_off_into_a_long_cool_down_is_told_too() -> None:
    """A call that is to be repeated is not kept waiting for more than 60 s either, should others be told to wait."""
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
async def test_observing_waits_for_any_cool_down() -> None:
    """What a watch polls with waits for as long as the server asks, also beyond 60 s."""
    server = ScriptedServer()
    server.diff(5, answer({}, 429, **{"Retry-After": "300"}))
    server.version(9, answer(wire(9)))
    async with server.client() as client:
        with pytest.raises(RateLimitError):
            await client.observer(JobRef.image_diff(5))()
        await client.observer(JobRef.image_version(9))()
    assert server.polls(9) == [pytest.approx(300)]


@virtual_time
async def test_too_many_requests_slow_all_calls_without_being_told_how_long() -> None:
    """A 429 without ``Retry-After`` holds back the whole client for a while that grows from one to the next."""
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
async def test_requests_that_were_under_way_together_slow_the_client_once() -> None:
    """Ten answers of 429 to requests that were sent together say no more than one does."""
    server = ScriptedServer()

    async def busy() -> httpx.Response:
        await asyncio.sleep(0.1)
        return httpx.Response(429) if now() < 1 else answer(wire(5))

    server.on("imagediff/status", 5, busy)
    async with server.client() as client:
        await asyncio.gather(*(client.image_diffs.status(5) for _ in range(10)))
    assert now() < 5


@virtual_time
async def test_a_good_answer_ends_the_growth() -> None:
    """After a good answer the next 429 without ``Retry-After`` holds back as little as the first did."""
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
def test_a_failure_without_a_wait_slows_nobody_else(failure: str) -> None:
    """A 5xx without ``Retry-After`` and a failure of the network are their own call's matter."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        server.diff(5, PASSING[failure], answer(wire(5)))
        server.version(9, answer(wire(9)))
        async with server.client() as client:
            first = asyncio.create_task(client.image_diffs.status(5))
            await asyncio.sleep(0)
            await client.image_versions.status(9)
            await first
        assert server.polls(9) == [0.0]

    run()


@virtual_time
async def test_500_with_a_wait_is_waited_for_by_its_own_call() -> None:
    """``Retry-After`` on another 5xx holds for the call that met it: never is it sent before the named time."""
    server = ScriptedServer()
    server.diff(5, answer({}, 502, **{"Retry-After": "20"}), answer(wire(5)))
    async with server.client() as client:
        await client.image_diffs.status(5)
    assert server.asked["imagediff/status", 5][1] >= 20


@virtual_time
async def test_a_cancelled_wait_leaves_the_cool_down_in_place() -> None:
    """Who cancels a call that waits for the server changes nothing for the others."""
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
