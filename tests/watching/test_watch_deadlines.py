"""Timeouts of watches: always exact, with a last poll just before the deadline."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_server import Answer, ScriptedServer, wire
from support.virtual_time import now, run_in_virtual_time, virtual_time

from clanforge_async import (
    ConfigurationError,
    Job,
    JobFailedError,
    JobRef,
    JobState,
    JobWatcher,
    WatchTimeoutError,
    until_eta,
)

REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


def ends_at(moment: float, *, takes: Callable[[float], float] = lambda _: 0.0) -> Callable[[], Awaitable[Answer]]:
    """Return the script of a job that completes at a given time; a response shows the job as it is when sent."""

    async def script() -> Answer:
        await asyncio.sleep(takes(now()))
        return COMPLETED if now() >= moment else RUNNING

    return script


def server_with(script: Callable[[], Answer | Awaitable[Answer]]) -> ScriptedServer:
    server = ScriptedServer()
    server.on("imageversion/status", 9012, script)
    return server


async def hang() -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


@virtual_time
async def test_the_watchers_timeout_applies_to_each_watch() -> None:
    """The watcher's ``timeout`` ends each watch that many seconds after its start."""
    server = server_with(lambda: RUNNING)
    watcher = JobWatcher(server.client(), interval=7, timeout=60)
    for _ in range(3):
        began = now()
        with pytest.raises(WatchTimeoutError):
            await watcher.wait(REF)
        assert now() - began == 60


@virtual_time
async def test_a_timeout_is_a_timeout_error() -> None:
    """`WatchTimeoutError` is a `TimeoutError`, with the reference and the last snapshot."""
    server = server_with(lambda: RUNNING)
    with pytest.raises(TimeoutError, match="timed out: image-version/9012") as caught:
        await JobWatcher(server.client(), timeout=60).wait(REF)
    assert isinstance(caught.value, WatchTimeoutError)
    assert caught.value.ref == REF
    assert caught.value.last_job is not None
    assert caught.value.last_job.state is JobState.RUNNING


@virtual_time
async def test_a_calls_timeout_overrides_the_watchers() -> None:
    """A call's ``timeout`` overrides the watcher's, whether shorter or longer."""
    server = server_with(ends_at(100))
    watcher = JobWatcher(server.client(), interval=7, timeout=60)
    with pytest.raises(WatchTimeoutError):
        await watcher.wait(REF, timeout=20)
    assert now() == 20
    assert (await watcher.wait(REF, timeout=200)).is_completed


@pytest.mark.parametrize("unlimited", [None, math.inf])
@virtual_time
async def test_none_removes_the_watchers_timeout(unlimited: float | None) -> None:
    """``timeout=None`` on a call means no limit."""
    server = server_with(ends_at(5000))
    assert (await JobWatcher(server.client(), timeout=60).wait(REF, timeout=unlimited)).is_completed
    assert now() >= 5000


@virtual_time
async def test_every_method_has_a_timeout() -> None:
    """`updates`, `wait_all` and `as_completed` keep to the watcher's timeout and to their own, like `wait`."""
    server = server_with(lambda: RUNNING)
    watcher = JobWatcher(server.client(), interval=7, timeout=60)
    ways: list[tuple[dict[str, Any], float]] = [({}, 60.0), ({"timeout": 30}, 30.0)]
    for options, seconds in ways:
        began = now()
        with pytest.raises(WatchTimeoutError):
            _ = [job async for job in watcher.updates(REF, **options)]
        assert now() - began == seconds
        (result,) = await watcher.wait_all([REF], **options)
        assert isinstance(result.error, WatchTimeoutError)
        assert result.elapsed == seconds
        (result,) = [result async for result in watcher.as_completed([REF], **options)]
        assert isinstance(result.error, WatchTimeoutError)
        assert result.elapsed == seconds


@virtual_time
async def test_a_timeout_cancels_a_request_in_flight() -> None:
    """A request that hangs is cancelled at the deadline."""
    server = server_with(hang)
    with pytest.raises(WatchTimeoutError) as caught:
        await JobWatcher(server.client(timeout=600), timeout=45.5).wait(REF)
    assert now() == 45.5
    assert caught.value.last_job is None
    assert (server.in_flight, server.polls(9012)) == (0, [0])


@virtual_time
async def test_a_timeout_ends_the_wait_for_a_cooldown() -> None:
    """A watch whose poll waits for the client's cooldown ends on time too."""
    server = server_with(lambda: httpx.Response(429, headers={"Retry-After": "600"}))
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), timeout=30).wait(REF)
    watcher = JobWatcher(server.client(), timeout=30)
    results = await watcher.wait_all([REF, JobRef.image_version(9012)])
    assert [type(result.error) for result in results] == [WatchTimeoutError] * 2
    assert now() == 60
    assert server.polls(9012) == [0, 30]


@pytest.mark.parametrize("interval", [9.0, 60.0, until_eta(1, 3600)])
@pytest.mark.parametrize("end", [0.5, 15, 29.5, 29.94])
@virtual_time
async def test_a_job_that_ended_in_time_is_not_timed_out(interval: Any, end: float) -> None:
    """A pause is shortened for one last poll just before the deadline, so an end shortly before is seen."""
    server = server_with(ends_at(end))
    job = await JobWatcher(server.client(), interval=interval, timeout=30).wait(REF)
    assert job.is_completed
    assert end <= now() < 30


@virtual_time
async def test_there_is_one_last_poll() -> None:
    """The last poll before the deadline is made once."""
    server = server_with(lambda: RUNNING)
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=20, timeout=30).wait(REF)
    assert server.polls(9012) == [0, 20, 29.95]
    assert now() == 30


@virtual_time
async def test_the_last_poll_leaves_time_for_its_response() -> None:
    """The last poll is made twice the duration of a poll before the deadline."""
    server = server_with(ends_at(25, takes=lambda _: 2.0))
    assert (await JobWatcher(server.client(), interval=100, timeout=30).wait(REF)).is_completed
    assert server.polls(9012) == [0, 26]


@pytest.mark.parametrize("interval", [1.0, 1000.0])
@pytest.mark.parametrize("seconds", [12.0, 20.0, 29.0])
@virtual_time
async def test_one_slow_poll_does_not_stop_polling(seconds: float, interval: float) -> None:
    """After a poll that took most of the timeout, polling continues until the last poll."""
    server = server_with(ends_at(39, takes=lambda at: 0.0 if at else seconds))
    assert (await JobWatcher(server.client(timeout=600), interval=interval, timeout=40).wait(REF)).is_completed


@virtual_time
async def test_after_a_slow_poll_the_margin_is_half_of_the_remaining_time() -> None:
    """If twice the duration of a poll exceeds the remaining time, the next poll is due after half of that."""
    server = server_with(ends_at(39, takes=lambda at: 0.0 if at else 20.0))
    await JobWatcher(server.client(timeout=600), interval=1000, timeout=40).wait(REF)
    assert server.polls(9012) == [0, 30, 39.95]


@pytest.mark.parametrize("interval", [10.0, 1000.0])
@virtual_time
async def test_a_poll_delayed_by_a_cooldown_does_not_stop_polling(interval: float) -> None:
    """Time that a poll waits for the client's cooldown does not stop the later polls."""
    server = server_with(ends_at(400))
    server.version(1, httpx.Response(429, headers={"Retry-After": "300"}), wire(1, JobState.COMPLETED))
    watcher = JobWatcher(server.client(max_concurrency=1), interval=interval, timeout=500)
    cooling, waiting = await watcher.wait_all([JobRef.image_version(1), REF])
    assert cooling.ok
    assert waiting.error is None


@virtual_time
async def test_the_interval_applies_until_the_deadline() -> None:
    """A watch with a timeout shorter than the last poll's margin polls by its interval."""
    server = server_with(ends_at(0.03))
    assert (await JobWatcher(server.client(), interval=0.01).wait(REF, timeout=0.05)).is_completed


@pytest.mark.parametrize("interval", [60.0, 1000.0])
@virtual_time
async def test_many_jobs_with_one_deadline_have_a_last_poll_each(interval: float) -> None:
    """If many watches end at once, each has a last poll in time, however few polls fit into a second."""
    server = ScriptedServer()
    for job_id in range(1, 101):

        async def script(job_id: int = job_id) -> Answer:
            await asyncio.sleep(0.1)
            return wire(job_id, JobState.COMPLETED if now() >= 70 else JobState.RUNNING)

        server.on("imageversion/status", job_id, script)
    watcher = JobWatcher(server.client(max_rate=20), interval=interval)
    results = await watcher.wait_all([JobRef.image_version(job_id) for job_id in range(1, 101)], timeout=100)
    late = [result for result in results if not result.ok]
    assert not late, f"{len(late)} jobs completed 30 s before the deadline and are said to have missed it"


@pytest.mark.parametrize(("rate", "last"), [(10.0, 58.95), (None, 59.95)])
def test_last_polls_start_no_earlier_than_needed(rate: float | None, last: float) -> None:
    """Last polls are brought forward by the time that all of them take together."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        for job_id in range(1, 12):
            server.version(job_id, wire(job_id))
        watcher = JobWatcher(server.client(max_rate=rate), interval=1000)
        await watcher.wait_all([JobRef.image_version(job_id) for job_id in range(1, 12)], timeout=60)
        seconds = [server.polls(job_id)[1] for job_id in range(1, 12)]
        assert min(seconds) == pytest.approx(last)

    run()


@virtual_time
async def test_a_failed_last_poll_is_a_timeout() -> None:
    """A watch whose last poll fails ends with a timeout at the deadline."""
    server = server_with(lambda: httpx.Response(500) if now() > 25 else RUNNING)
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=10, timeout=30).wait(REF)
    assert now() == 30


@virtual_time
async def test_the_last_poll_respects_retry_after() -> None:
    """The last poll is not sent before ``Retry-After`` has passed."""
    server = server_with(lambda: httpx.Response(500, headers={"Retry-After": "28"}) if now() < 5 else COMPLETED)
    assert (await JobWatcher(server.client(), interval=10, timeout=30).wait(REF)).is_completed
    assert server.polls(9012) == [0, 28]

    server = server_with(lambda: httpx.Response(500, headers={"Retry-After": "100"}))
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=10, timeout=30).wait(REF)
    assert len(server.polls(9012)) == 1


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
@virtual_time
async def test_a_timeout_of_zero_ends_at_once(seconds: float) -> None:
    """A timeout of 0 or less ends a watch at once, and leaves nothing behind."""
    server = server_with(hang)
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client()).wait(REF, timeout=seconds)
    assert now() == 0
    await asyncio.sleep(100)
    assert server.in_flight == 0


@pytest.mark.parametrize("wrong", ["60", math.nan, True, object()])
@virtual_time
async def test_an_invalid_timeout_raises(wrong: Any) -> None:
    """A timeout, of a watcher or a call, must be a number of seconds or None; it is checked before any request."""
    server = server_with(lambda: RUNNING)
    client = server.client()
    with pytest.raises(ConfigurationError, match="timeout must be"):
        JobWatcher(client, timeout=wrong)
    watcher = JobWatcher(client)
    with pytest.raises(ConfigurationError, match="timeout must be"):
        await watcher.wait(REF, timeout=wrong)
    with pytest.raises(ConfigurationError, match="timeout must be"):
        await watcher.wait_all([REF, REF], timeout=wrong)
    await asyncio.sleep(100)
    assert not server.requests


@virtual_time
async def test_a_slow_on_update_is_cancelled_at_the_deadline() -> None:
    """An ``on_update`` that is still running at the deadline is cancelled."""
    server = server_with(lambda: RUNNING)
    cancelled: list[float] = []

    async def sleep_long(_: Job) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(now())
            raise

    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=5).wait(REF, timeout=30, on_update=sleep_long)
    assert now() == 30
    assert cancelled == [30]


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
@virtual_time
async def test_a_slow_on_update_does_not_turn_an_end_into_a_timeout(state: JobState) -> None:
    """A job that ended in time keeps its result, even if ``on_update`` is still running at the deadline."""
    server = server_with(lambda: wire(9012, state) if now() >= 10 else RUNNING)

    async def sleep_long(job: Job) -> None:
        if job.is_terminal:
            await asyncio.sleep(1000)

    (result,) = await JobWatcher(server.client(), interval=5).wait_all([REF], timeout=30, on_update=sleep_long)
    assert result.job is not None
    assert result.job.state is state
    assert result.ok is (state is JobState.COMPLETED)
    assert state is JobState.COMPLETED or isinstance(result.error, JobFailedError)
    assert result.elapsed == 10
    assert now() == 30


@virtual_time
async def test_asyncio_timeout_works_too() -> None:
    """`asyncio.timeout` around a wait cancels it, and leaves nothing behind."""
    server = server_with(hang)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(12):
            await JobWatcher(server.client()).wait(REF)
    assert not isinstance(caught.value, WatchTimeoutError)
    assert (now(), server.in_flight) == (12, 0)


@settings(max_examples=50, deadline=None)
@given(
    timeout=st.floats(0.01, 500),
    interval=st.floats(0.01, 500),
    latency=st.floats(0, 20),
    end=st.floats(0, 600),
)
def test_a_watch_ends_at_its_deadline_or_with_its_job(
    timeout: float,
    interval: float,
    latency: float,
    end: float,
) -> None:
    """For any interval and latency, no watch exceeds its deadline or misses an end before its last poll."""

    async def watch() -> None:
        server = server_with(ends_at(end, takes=lambda _: latency))
        (result,) = await JobWatcher(server.client(), interval=max(interval, timeout / 20)).wait_all(
            [REF],
            timeout=timeout,
        )
        assert now() <= timeout + 1e-6
        if isinstance(result.error, WatchTimeoutError):
            assert now() == pytest.approx(timeout)
            # The last poll leaves time for its response; a later end cannot be seen before the deadline.
            assert end > timeout - max(0.05, 2 * latency) - 1e-6
        else:
            assert result.ok
            assert now() >= end

    run_in_virtual_time(watch())
