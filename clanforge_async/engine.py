"""Watches as single steps for workflow engines and task queues: one call makes one poll, and states are plain data.

A watch follows the same rules as one of `JobWatcher`. Your own code, the driver, stores the state and waits between
polls::

    step = await poll_once(client, state, policy, at=due, clock=time.time, deadline=deadline)
    if isinstance(step, PollAgain):
        save(step.state.to_dict())
        call_again(after=step.after)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import evolve

from clanforge_async._http.request import ApiResponse
from clanforge_async._polling.server_clock import WallClock
from clanforge_async._watching.decisions import (
    Finished,
    PollAgain,
    PollResult,
    decide,
    finish,
    unfinished,
)
from clanforge_async._watching.results import WatchTimeoutError, copy_error
from clanforge_async._watching.serialization import with_ref, without_listings
from clanforge_async._watching.state import WatchPolicy, WatchState
from clanforge_async.client import ClanforgeClient
from clanforge_async.errors import ClanforgeError, ConfigurationError
from clanforge_async.jobs import Job, job_failure
from clanforge_async.refs import JobRef

__all__ = ["Finished", "PollAgain", "WatchPolicy", "WatchState", "poll_once"]


async def poll_once(
    client: ClanforgeClient,
    state: WatchState,
    policy: WatchPolicy,
    *,
    at: float,
    clock: Callable[[], float],
    deadline: float | None = None,
    backlog: float = 0.0,
    least: float = 1.0,
) -> PollAgain | Finished:
    """Read a job's status once, and return the next step of the watch.

    All times are in seconds on one clock that all drivers share, so that a watch can move between machines at any
    time: a synchronized wall clock, or the engine's clock. A host's monotonic clock does not qualify.

    If the state was started from a terminal job without ``newer_than``, the watch ends without a poll. A poll is
    cancelled at the deadline, and no poll is made after it.

    Args:
        client: The client.
        state: The state from the previous step, or from `WatchState.start`.
        policy: The rules of the watch.
        at: Time at which this poll was due. A late start counts as latency, so that the last poll is made earlier.
        clock: Returns the current time.
        deadline: Time at which the watch times out; None: no deadline.
        backlog: Seconds needed to poll all other jobs once. The last poll is made that much earlier.
        least: Minimum seconds between the last poll and the deadline.

    Returns:
        `PollAgain` with the new state and the seconds until the next poll is due, or `Finished` with the result.

    Raises:
        ConfigurationError: The client is closed, or belongs to another event loop. The watch has not ended.
        Exception: The wait strategy or the code of the credentials raised it. The watch has not ended.
    """
    began, job = clock(), state.last_job
    if job is not None and job.is_terminal and state.polls == 0 and state.ref.newer_than is None:
        return finish(state, began, job_failure(job), job)
    if deadline is not None and began >= deadline:
        return _expire(state, began)
    cut = asyncio.timeout(None if deadline is None else deadline - began)
    try:
        async with cut:
            response = await _read_status(client, state.ref)
    except TimeoutError:
        if not cut.expired():
            raise
        return _expire(state, max(clock(), at))
    ended = max(clock(), at)
    latency = max(ended - at, 0.0)
    if isinstance(response, ClanforgeError):
        result = PollResult(seen=response, at=ended, latency=latency, backlog=backlog)
        step = decide(state, result, policy, deadline, least)
    else:
        server_time, server_clock = state.server_clock.advance(
            response.server_time, response.value.updated_at, began, ended, WallClock()
        )
        seen = without_listings(response.value)
        result = PollResult(seen=seen, at=ended, server_time=server_time, latency=latency, backlog=backlog)
        step = _with_listings(
            decide(evolve(state, server_clock=server_clock), result, policy, deadline, least), response
        )
    if isinstance(step, PollAgain) and deadline is not None and step.after > deadline - ended:
        return evolve(step, after=max(deadline - ended, 0.0))
    return step


async def _read_status(client: ClanforgeClient, ref: JobRef) -> ApiResponse[Job] | ClanforgeError:
    try:
        return await client.observer(ref)()
    except ConfigurationError:
        raise
    except ClanforgeError as error:
        return copy_error(error)


def _expire(state: WatchState, at: float) -> Finished:
    return finish(state, at, unfinished(WatchTimeoutError, state))


def _with_listings(step: PollAgain | Finished, response: ApiResponse[Job]) -> PollAgain | Finished:
    """Return the step with the whole job as its update. States do not contain listings."""
    if step.news is None:
        return step
    job = with_ref(response.value, step.state.ref)
    if isinstance(step, PollAgain):
        return evolve(step, news=job)
    return evolve(step, news=job, result=evolve(step.result, job=job, error=job_failure(job)))
