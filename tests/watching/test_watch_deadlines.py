"""A watch's timeout: always kept, and never the reason to miss an end that came in time."""

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
    """Return the script of a job that completes at a moment; each answer shows the job as it is when it is sent."""

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
async def test_the_watchers_timeout_holds_for_each_watch() -> None:
    """A watcher's ``timeout`` ends each of its watches so many seconds after that watch began."""
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
async def test_a_calls_own_timeout_goes_first() -> None:
    """What a call says holds instead of what the watcher says, in either direction."""
    server = server_with(ends_at(100))
    watcher = JobWatcher(server.client(), interval=7, timeout=60)
    with pytest.raises(WatchTimeoutError):
        await watcher.wait(REF, timeout=20)
    assert now() == 20
    assert (await watcher.wait(REF, timeout=200)).is_completed


@pytest.mark.parametrize("unlimited", [None, math.inf])
@virtual_time
async def test_none_lifts_the_watchers_timeout(unlimited: float | None) -> None:
    """``timeout=None`` on a call means no limit, whatever the watcher's own is."""
    server = server_with(ends_at(5000))
    assert (await JobWatcher(server.client(), timeout=60).wait(REF, timeout=unlimited)).is_completed
    assert now() >= 5000


@virtual_time
async def test_every_way_of_waiting_takes_a_timeout() -> None:
    """`updates`, `wait_all` and `as_completed` keep to the watcher's timeout and to their own, as `wait` does."""
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
async def test_a_timeout_ends_a_request_in_flight() -> None:
    """A request that hangs does not hold up the deadline: it is cancelled at that moment."""
    server = server_with(hang)
    with pytest.raises(WatchTimeoutError) as caught:
        await JobWatcher(server.client(timeout=600), timeout=45.5).wait(REF)
    assert now() == 45.5
    assert caught.value.last_job is None
    assert (server.in_flight, server.polls(9012)) == (0, [0])


@virtual_time
async def test_a_timeout_ends_the_wait_for_a_client_that_cools_down() -> None:
    """A watch whose poll waits in front of the client, because the server asked for it, ends on time too."""
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
    """A sleep is cut short for one last poll just before the deadline, so an end just before that is still seen."""
    server = server_with(ends_at(end))
    job = await JobWatcher(server.client(), interval=interval, timeout=30).wait(REF)
    assert job.is_completed
    assert end <= now() < 30


@virtual_time
async def test_there_is_one_last_poll() -> None:
    """Just before the deadline is polled once, not again and again."""
    server = server_with(lambda: RUNNING)
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=20, timeout=30).wait(REF)
    assert server.polls(9012) == [0, 20, 29.95]
    assert now() == 30


@virtual_time
async def test_the_last_poll_leaves_time_for_its_answer() -> None:
    """The slower the server, the earlier the last poll: twice the time that it takes to answer before the deadline."""
    server = server_with(ends_at(25, takes=lambda _: 2.0))
    assert (await JobWatcher(server.client(), interval=100, timeout=30).wait(REF)).is_completed
    assert server.polls(9012) == [0, 26]


@pytest.mark.parametrize("interval", [1.0, 1000.0])
@pytest.mark.parametrize("seconds", [12.0, 20.0, 29.0])
@virtual_time
async def test_one_slow_answer_does_not_stop_the_polls(seconds: float, interval: float) -> None:
    """After a poll that took most of the timeout the watch polls on, its last poll included: the end may be in time."""
    server = server_with(ends_at(39, takes=lambda at: 0.0 if at else seconds))
    assert (await JobWatcher(server.client(timeout=600), interval=interval, timeout=40).wait(REF)).is_completed


@virtual_time
async def test_after_a_slow_answer_half_of_what_remains_must_do() -> None:
    """Where twice the time of a poll is more than what remains, the next one has half of that to be answered in."""
    server = server_with(ends_at(39, takes=lambda at: 0.0 if at else 20.0))
    await JobWatcher(server.client(timeout=600), interval=1000, timeout=40).wait(REF)
    assert server.polls(9012) == [0, 30, 39.95]


@pytest.mark.parametrize("interval", [10.0, 1000.0])
@virtual_time
async def test_a_poll_that_waited_for_the_client_does_not_stop_the_polls(interval: float) -> None:
    """Time that a poll spends waiting because the whole client cools down says nothing of how slow the server is."""
    server = server_with(ends_at(400))
    server.version(1, httpx.Response(429, headers={"Retry-After": "300"}), wire(1, JobState.COMPLETED))
    watcher = JobWatcher(server.client(max_concurrency=1), interval=interval, timeout=500)
    cooling, waiting = await watcher.wait_all([JobRef.image_version(1), REF])
    assert cooling.ok
    assert waiting.error is None


@virtual_time
async def test_the_interval_holds_up_to_the_deadline() -> None:
    """A watch whose timeout is no longer than the margin of its last poll still polls as its interval says."""
    server = server_with(ends_at(0.03))
    assert (await JobWatcher(server.client(), interval=0.01).wait(REF, timeout=0.05)).is_completed


@pytest.mark.parametrize("interval", [60.0, 1000.0])
@virtual_time
async def test_many_jobs_with_one_deadline_have_a_last_poll_each(interval: float) -> None:
    """However many watches end at one moment, and however few polls fit into the last second, no end is missed."""
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
def test_last_polls_begin_no_earlier_than_all_of_them_take(rate: float | None, last: float) -> None:
    """Eleven jobs with one deadline are polled for the last time a second earlier where a second takes ten of them."""

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
async def test_a_failure_just_before_the_deadline_is_waited_out_up_to_it() -> None:
    """A job whose last poll fails is reported as timed out, not as failed."""
    server = server_with(lambda: httpx.Response(500) if now() > 25 else RUNNING)
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=10, timeout=30).wait(REF)
    assert now() == 30


@virtual_time
async def test_the_last_poll_is_not_sent_before_the_server_allows_it() -> None:
    """A deadline is no reason to ask before the time that the server has named."""
    server = server_with(lambda: httpx.Response(500, headers={"Retry-After": "28"}) if now() < 5 else COMPLETED)
    assert (await JobWatcher(server.client(), interval=10, timeout=30).wait(REF)).is_completed
    assert server.polls(9012) == [0, 28]

    server = server_with(lambda: httpx.Response(500, headers={"Retry-After": "100"}))
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=10, timeout=30).wait(REF)
    assert len(server.polls(9012)) == 1


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
@virtual_time
async def test_no_time_is_no_time(seconds: float) -> None:
    """A timeout of 0 or less ends a watch as soon as it has begun, and leaves nothing behind."""
    server = server_with(hang)
    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client()).wait(REF, timeout=seconds)
    assert now() == 0
    await asyncio.sleep(100)
    assert server.in_flight == 0


@pytest.mark.parametrize("wrong", ["60", math.nan, True, object()])
@virtual_time
async def test_what_is_no_timeout_is_refused(wrong: Any) -> None:
    """A timeout is a number of seconds or None, for the watcher and for a call, and is checked before any request."""
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
async def test_a_slow_listener_does_not_outlast_the_deadline() -> None:
    """An ``on_update`` that takes longer than the watch has is cancelled at the deadline."""
    server = server_with(lambda: RUNNING)
    cancelled: list[float] = []

    async def dawdle(_: Job) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(now())
            raise

    with pytest.raises(WatchTimeoutError):
        await JobWatcher(server.client(), interval=5).wait(REF, timeout=30, on_update=dawdle)
    assert now() == 30
    assert cancelled == [30]


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
@virtual_time
async def test_a_listener_that_dawdles_does_not_make_a_job_late(state: JobState) -> None:
    """A job that ended in time has ended, even if the listener is still busy with the news at the deadline."""
    server = server_with(lambda: wire(9012, state) if now() >= 10 else RUNNING)

    async def dawdle(job: Job) -> None:
        if job.is_terminal:
            await asyncio.sleep(1000)

    (result,) = await JobWatcher(server.client(), interval=5).wait_all([REF], timeout=30, on_update=dawdle)
    assert result.job is not None
    assert result.job.state is state
    assert result.ok is (state is JobState.COMPLETED)
    assert state is JobState.COMPLETED or isinstance(result.error, JobFailedError)
    assert result.elapsed == 10
    assert now() == 30


@virtual_time
async def test_a_deadline_around_a_wait_works_too() -> None:
    """`asyncio.timeout` around a wait ends it like any other cancellation, and leaves nothing behind."""
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
    """Whatever the interval and the server's pace, no watch outlasts its deadline, nor misses an early enough end."""

    async def watch() -> None:
        server = server_with(ends_at(end, takes=lambda _: latency))
        (result,) = await JobWatcher(server.client(), interval=max(interval, timeout / 20)).wait_all(
            [REF],
            timeout=timeout,
        )
        assert now() <= timeout + 1e-6
        if isinstance(result.error, WatchTimeoutError):
            assert now() == pytest.approx(timeout)
            # The last poll is made early enough to be answered; what ends later than that cannot be known in time.
            assert end > timeout - max(0.05, 2 * latency) - 1e-6
        else:
            assert result.ok
            assert now() >= end

    run_in_virtual_time(watch())
