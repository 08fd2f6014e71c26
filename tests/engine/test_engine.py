"""`poll_once`: one poll of a watch as a step, driven as a workflow engine would drive it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from attrs import evolve, frozen
from support.scripted_server import START, Answer, Script, ScriptedServer, wire
from support.virtual_time import now, run_in_virtual_time, virtual_time

from clanforge_async import (
    ClanforgeClient,
    ConfigurationError,
    ImageDiffJob,
    Job,
    JobFailedError,
    JobKind,
    JobRef,
    JobState,
    JobWatcher,
    RateLimitError,
    WatchResult,
    WatchTimeoutError,
    job_from_dict,
)
from clanforge_async.engine import Finished, PollAgain, WatchPolicy, WatchState, poll_once

REF = JobRef.image_version(9012)
DIFF = JobRef.image_diff(5678)


def through_json(state: WatchState) -> WatchState:
    return WatchState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False)))


async def drive(
    client: ClanforgeClient,
    target: JobRef | Job,
    policy: WatchPolicy,
    timeout: float | None = None,  # noqa: ASYNC109 - a watch's deadline
    least: float = 1.0,
) -> tuple[WatchResult, list[Job]]:
    """Drive a watch to its end; return the result and the updates."""
    at = now()
    state, news = through_json(WatchState.start(target, at)), list[Job]()
    deadline = None if timeout is None else at + timeout
    while True:
        step = await poll_once(client, state, policy, at=at, clock=now, deadline=deadline, least=least)
        if step.news is not None:
            news.append(step.news)
        if isinstance(step, Finished):
            return step.result, news
        state, at = through_json(step.state), now() + step.after
        await asyncio.sleep(step.after)


def running_job(ends_at: float = 600.0, *, date: bool = True) -> Callable[[], Awaitable[Answer]]:
    """Return the script of a job that shows progress and ETAs until it completes at a given time."""

    async def script() -> Answer:
        await asyncio.sleep(0.25)
        done = now() >= ends_at
        body = wire(
            9012,
            JobState.COMPLETED if done else JobState.RUNNING,
            jobcreated=START,
            jobstart=str(START),
            jobeta=START + int(ends_at) + 30,
            jobprogress=min(int(now() / ends_at * 100), 100),
            jobupdated=START + int(now()),
        )
        headers = {} if date else {"X-Cache": "none"}
        return body if date else httpx.Response(200, json=body, headers=headers)

    return script


def outage() -> Callable[[], Answer]:
    """Return the script of a job whose server is broken for a while."""

    def script() -> Answer:
        if 100 <= now() < 180:
            return httpx.Response(503, text="no upstream")
        if 200 <= now() < 230:
            return httpx.Response(429, headers={"Retry-After": "45"})
        return wire(9012, JobState.COMPLETED if now() >= 400 else JobState.RUNNING, jobprogress=int(now() / 4))

    return script


SCENARIOS: dict[str, tuple[Script, float | None]] = {
    "running": (running_job(), None),
    "no Date": (running_job(date=False), None),
    "timeout": (running_job(), 300.0),
    "outage": (outage(), None),
    "failed": (lambda: wire(9012, JobState.FAILED, joberror="no space left"), None),
    "squashed": (lambda: wire(9012, JobState.SQUASHED), None),
    "unauthorised": (lambda: httpx.Response(401, text="wrong keys"), None),
    "broken for good": (lambda: httpx.Response(500, text="broken"), None),
}


@frozen
class Run:
    """The observations of a scenario's run: the times of its polls, its result, and its updates."""

    polled: list[float]
    result: WatchResult
    news: list[Job]


def run(way: Callable[[ScriptedServer], Awaitable[tuple[WatchResult, list[Job]]]], script: Script) -> Run:
    """Run a scenario on a new server, whose clock starts at 0."""
    server, runs = ScriptedServer(), list[Run]()
    server.on("imageversion/status", 9012, script)

    async def main() -> None:
        result, news = await way(server)
        runs.append(Run(server.polls(9012), result, news))

    run_in_virtual_time(main())
    return runs[0]


@pytest.mark.parametrize(("script", "limit"), SCENARIOS.values(), ids=SCENARIOS)
def test_a_driver_gets_what_a_watcher_gets(script: Script, limit: float | None) -> None:
    """A watch that is driven by steps, through JSON, polls when `JobWatcher` does and ends with the same result."""

    async def by_watcher(server: ScriptedServer) -> tuple[WatchResult, list[Job]]:
        news: list[Job] = []
        async with server.client() as client, JobWatcher(client, timeout=limit) as watcher:
            [result] = await watcher.wait_all([REF], on_update=news.append)
        return result, news

    async def by_steps(server: ScriptedServer) -> tuple[WatchResult, list[Job]]:
        async with server.client() as client:
            return await drive(client, REF, WatchPolicy(), limit, least=0.05)

    expected, driven = run(by_watcher, script), run(by_steps, script)
    assert driven.polled == pytest.approx(expected.polled)
    assert driven.news == expected.news
    assert evolve(driven.result, error=None, elapsed=0) == evolve(expected.result, error=None, elapsed=0)
    assert driven.result.elapsed == pytest.approx(expected.result.elapsed)
    assert repr(driven.result.error) == repr(expected.result.error)
    for error, other in ((driven.result.error, expected.result.error),):
        assert getattr(error, "last_job", None) == getattr(other, "last_job", None)
        assert repr(getattr(error, "last_error", None)) == repr(getattr(other, "last_error", None))


@virtual_time
async def test_a_step_says_when_to_poll_again() -> None:
    """A step returns the update, the new state and the pause before the next poll; an unchanged job gives no update."""
    server = ScriptedServer()
    server.version(9012, wire(9012), wire(9012), wire(9012, jobprogress=60))
    async with server.client() as client:
        state, seen = WatchState.start(REF, now()), list[Job | None]()
        for _ in range(3):
            step = await poll_once(client, state, WatchPolicy(interval=7), at=now(), clock=now)
            assert isinstance(step, PollAgain)
            assert step.after == 7
            state = through_json(step.state)
            seen.append(step.news)
    assert [job and job.progress for job in seen] == [50, None, 60]
    assert state.polls == 3


@virtual_time
async def test_news_and_results_have_listings_and_states_have_none() -> None:
    """The update and the result contain the listings of an image diff; states do not."""
    server = ScriptedServer()
    listing = {"maps/tundra.pak": {"size": 12}}
    server.diff(5678, wire(5678, added=listing), wire(5678, added=listing), wire(5678, JobState.FAILED, added=listing))
    async with server.client() as client:
        result, news = await drive(client, DIFF, WatchPolicy(interval=5))
    assert [job.added for job in news if isinstance(job, ImageDiffJob)] == [listing, listing]
    assert isinstance(result.job, ImageDiffJob)
    assert result.job.added == listing
    assert isinstance(result.error, JobFailedError)
    assert result.error.job is result.job


@virtual_time
async def test_a_terminal_job_ends_a_watch_without_a_poll() -> None:
    """If the target is a terminal job without ``newer_than``, the watch ends without a poll; states store the job."""
    server = ScriptedServer()
    failed = job_from_dict(JobKind.IMAGE_VERSION, wire(9012, JobState.FAILED))
    async with server.client() as client:
        result, news = await drive(client, failed, WatchPolicy())
        assert (result.job, result.polls, news, server.polls(9012)) == (failed, 0, [failed], [])
        assert isinstance(result.error, JobFailedError)
        server.version(9012, wire(9012, JobState.COMPLETED))
        retried = evolve(failed, newer_than=failed.updated_at)
        result, _ = await drive(client, retried, WatchPolicy())
        assert (result.ok, result.polls, result.ref) == (True, 1, retried.ref)


@virtual_time
async def test_a_poll_is_cut_at_the_deadline() -> None:
    """A poll in flight at the deadline is cancelled and not counted, and no poll starts after the deadline."""

    async def hang() -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    server = ScriptedServer()
    server.on("imageversion/status", 9012, hang)
    async with server.client() as client:
        state = WatchState.start(REF, now())
        for began in (0.0, 20.0):
            step = await poll_once(client, state, WatchPolicy(), at=began, clock=now, deadline=20.0)
            assert isinstance(step, Finished)
            assert isinstance(step.result.error, WatchTimeoutError)
            assert (step.result.elapsed, step.result.polls) == (20.0, 0)
    assert (server.in_flight, server.polls(9012)) == (0, [0.0])


@virtual_time
async def test_a_timeout_of_the_credentials_passes() -> None:
    """A `TimeoutError` with another cause than the deadline, such as the credentials, is raised unchanged."""

    class Slow(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            msg = "the vault does not respond"
            raise TimeoutError(msg)
            yield request  # makes this a generator

    async with ScriptedServer().client(auth=Slow()) as client:
        with pytest.raises(TimeoutError, match="the vault"):
            await poll_once(client, WatchState.start(REF, 0), WatchPolicy(), at=0, clock=now, deadline=20)


@pytest.mark.parametrize(("backlog", "last"), [(0.0, 29.0), (6.0, 23.0)])
@virtual_time
async def test_the_last_poll_is_just_before_the_deadline(backlog: float, last: float) -> None:
    """The last pause is shortened: the last poll is one second before the deadline, or earlier with a backlog."""
    server = ScriptedServer()
    server.version(9012, wire(9012))
    async with server.client() as client:
        state = WatchState.start(REF, 0)
        step = await poll_once(client, state, WatchPolicy(interval=60), at=0, clock=now, deadline=30, backlog=backlog)
        assert isinstance(step, PollAgain)
        assert (step.after, step.state.idle_for) == (last, last)


@virtual_time
async def test_a_late_poll_counts_as_a_slow_one() -> None:
    """After a poll that began four seconds late, the last poll is made eight seconds before the deadline."""
    server = ScriptedServer()
    server.version(9012, wire(9012))
    await asyncio.sleep(4)
    async with server.client() as client:
        step = await poll_once(client, WatchState.start(REF, 0), WatchPolicy(interval=60), at=0, clock=now, deadline=30)
    assert isinstance(step, PollAgain)
    assert step.after == 18


@virtual_time
async def test_a_pause_asked_for_ends_at_the_deadline() -> None:
    """A pause of ``Retry-After`` lasts until the deadline at most, and the step at the deadline ends the watch."""
    server = ScriptedServer()
    server.version(9012, httpx.Response(429, headers={"Retry-After": "600"}))
    async with server.client() as client:
        result, _ = await drive(client, REF, WatchPolicy(), 30)
    assert (server.polls(9012), result.elapsed) == ([0.0], 30.0)
    assert isinstance(result.error, WatchTimeoutError)
    assert isinstance(result.error.last_error, RateLimitError)
    assert result.error.last_error.retry_after == 600


@virtual_time
async def test_the_workers_own_faults_are_raised() -> None:
    """A closed client, a client of another loop and a broken strategy raise an error and do not end the watch."""
    server = ScriptedServer()
    server.version(9012, wire(9012))
    client = server.client()
    await client.aclose()
    state = WatchState.start(REF, 0)
    with pytest.raises(ConfigurationError, match="closed"):
        await poll_once(client, state, WatchPolicy(), at=0, clock=now)

    def broken(_: object) -> float:
        raise LookupError

    with pytest.raises(LookupError):
        await poll_once(server.client(), state, WatchPolicy(interval=broken), at=0, clock=now)
    other = server.client()
    await poll_once(other, state, WatchPolicy(), at=0, clock=now)
    with pytest.raises(ConfigurationError, match="event loop"):
        await asyncio.to_thread(asyncio.run, poll_once(other, state, WatchPolicy(), at=0, clock=lambda: 0.0))


def test_a_target_is_a_job_or_a_reference() -> None:
    """`WatchState.start` refuses a target that is neither a job nor a reference."""
    with pytest.raises(TypeError, match="a target must be a JobRef or a Job, not str"):
        WatchState.start("image-version/9012", 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("argument", [{"outage_tolerance": -1}, {"stale_after": "2"}, {"interval": 0}])
def test_a_policy_is_checked(argument: dict[str, Any]) -> None:
    """A policy refuses invalid values."""
    with pytest.raises(ConfigurationError):
        WatchPolicy(**argument)


@virtual_time
async def test_a_slow_clock_never_goes_back() -> None:
    """If another machine's clock is behind the time at which the poll was due, the poll counts as made then."""
    server = ScriptedServer()
    server.version(9012, httpx.Response(500))
    async with server.client() as client:
        step = await poll_once(client, WatchState.start(REF, 90), WatchPolicy(), at=100, clock=lambda: 99.5)
    assert step.state.failing_since == 100
