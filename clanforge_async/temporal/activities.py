"""The Temporal activities: they poll with a worker's client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from attrs import evolve
from temporalio import activity
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, WorkflowAlreadyStartedError
from temporalio.service import RPCError

from clanforge_async._logging import log_event
from clanforge_async._polling.server_clock import ServerClock, UpdateClock
from clanforge_async._watching.serialization import job_from_plain, without_listings
from clanforge_async.client import ClanforgeClient
from clanforge_async.engine import Finished, PollAgain, WatchPolicy, WatchState, poll_once
from clanforge_async.errors import APIError, AuthenticationError, InvalidResponseError, PermissionDeniedError
from clanforge_async.refs import JobRef
from clanforge_async.temporal.rate_limit import brake_id, hold_queue, is_held, release_queue
from clanforge_async.temporal.workflows import BRAKE, BRAKE_SIGNAL, POLL, SET_BRAKE

_HEARTBEAT_INTERVAL = 3.0
"""Seconds between heartbeats of a slow poll: about a third of the heartbeat timeout."""

_PAUSES_AFTER_REFUSAL = (0.5, 1.0, 2.0)
"""Seconds before each repeated poll after a 401 or 403: another worker may have the right keys."""

_BRAKE_CHECK_INTERVAL = 0.25
"""Seconds for which a worker assumes that the brake stays off, so that many polls need few checks."""

_PAUSE_UNDER_BRAKE = 1.0
"""Seconds until an attempt that found the brake on is queued again; the queue then holds it."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 366 * 86400.0
"""Limits of a pause, in seconds: Temporal reads 0 as no pause given, and a strategy may return an infinite pause."""


class Activities:
    """Polls for the watches of a task queue.

    Args:
        client: The client to poll with.
        policy: How watches react to poll results.
    """

    def __init__(self, client: ClanforgeClient, policy: WatchPolicy) -> None:
        self._client = client
        self._policy = policy
        self._checked_at = -math.inf

    @activity.defn(name=POLL)
    async def poll(self, task: dict[str, Any]) -> dict[str, Any]:
        """Poll a job once, and return the watch's result if the watch has ended.

        Raises:
            ApplicationError: The watch has not ended; ``next_retry_delay`` is the pause until the next poll.
        """
        clock = _server_clock()
        state, refusals = _last_state(task)
        async with _heartbeats(state, refusals):
            if await self._is_held():
                raise _retry(state, refusals, _PAUSE_UNDER_BRAKE)
            step = await self._poll_once(state, task, clock)
            await _brake(_asked_pause(step))
        if isinstance(step, PollAgain):
            raise _retry(step.state, 0, step.after)
        is_refused = isinstance(step.result.error, AuthenticationError | PermissionDeniedError)
        if is_refused and refusals < len(_PAUSES_AFTER_REFUSAL):
            pause = _PAUSES_AFTER_REFUSAL[refusals]
            if task["deadline"] is None or clock() + pause < task["deadline"]:
                raise _retry(step.state, refusals + 1, pause)
        return _result_to_dict(step)

    async def _is_held(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < _BRAKE_CHECK_INTERVAL:
            return False
        with contextlib.suppress(RPCError):  # an old server supports neither budget nor brake
            if await is_held(activity.client(), activity.info().task_queue):
                return True
        self._checked_at = now
        return False

    async def _poll_once(
        self, state: WatchState, task: Mapping[str, Any], clock: Callable[[], float]
    ) -> PollAgain | Finished:
        due = activity.info().current_attempt_scheduled_time.timestamp()
        rate = self._client.max_rate
        backlog = task["others"] / rate if rate else 0.0
        try:
            return await poll_once(
                self._client, state, self._policy, at=due, clock=clock, deadline=task["deadline"], backlog=backlog
            )
        except Exception as error:  # noqa: BLE001 - a strategy or credentials can raise anything
            # The error's text may contain credentials, so only its class is sent to the Temporal server.
            message = "this worker cannot poll %(ref)s: %(said)s"
            log_event(logging.ERROR, "worker_failed", message, ref=state.ref, error=error, exc_info=True)
            msg = f"the worker cannot poll: {type(error).__name__}"
            raise ApplicationError(msg) from None

    @activity.defn(name=SET_BRAKE)
    async def set_brake(self, held: bool) -> None:
        """Hold the polls of the task queue, or release them."""
        change = hold_queue if held else release_queue
        await change(activity.client(), activity.info().task_queue)


def _last_state(task: Mapping[str, Any]) -> tuple[WatchState, int]:
    """Return the state from the previous attempt's heartbeat, and the number of consecutive 401 and 403 responses."""
    details = activity.info().heartbeat_details
    if details:
        return WatchState.from_dict(details[0]["state"]), details[0]["refusals"]
    try:
        ref, job = JobRef.parse(task["ref"]), task.get("job")
        state = WatchState.start(ref if job is None else job_from_plain(job), task["began"])
    except (KeyError, TypeError, ValueError, InvalidResponseError) as error:
        raise ApplicationError(str(error), non_retryable=True) from None
    # All drivers use the Temporal server's clock, in Unix time: it is better than a worker's wall clock.
    return evolve(state, server_clock=ServerClock(updates=UpdateClock(offset=0.0))), 0


def _server_clock() -> Callable[[], float]:
    """Return a clock that shows the Temporal server's time, even if this machine's clock is wrong."""
    offset = activity.info().started_time.timestamp() - time.monotonic()
    return lambda: offset + time.monotonic()


def _memory(state: WatchState, refusals: int) -> dict[str, Any]:
    return {"state": state.to_dict(), "refusals": refusals}


@asynccontextmanager
async def _heartbeats(state: WatchState, refusals: int) -> AsyncGenerator[None]:
    """Send heartbeats with the state before the poll while the poll runs."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_INTERVAL)
            activity.heartbeat(_memory(state, refusals))

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


def _retry(state: WatchState, refusals: int, after: float) -> ApplicationError:
    """Pass the state to the next attempt by a heartbeat, and return the error that causes that attempt."""
    activity.heartbeat(_memory(state, refusals))
    pause = timedelta(seconds=min(max(after, _SHORTEST_PAUSE), _LONGEST_PAUSE))
    return ApplicationError("not ended", next_retry_delay=pause, category=ApplicationErrorCategory.BENIGN)


def _asked_pause(step: PollAgain | Finished) -> float:
    """Return the seconds of ``Retry-After`` in the response, whether the watch has ended or not; 0 without one."""
    if isinstance(step, PollAgain):
        return step.at_least
    error = step.result.error
    return (error.retry_after if isinstance(error, APIError) else None) or 0.0


async def _brake(seconds: float) -> None:
    """Hold the polls of all workers for the seconds that the API requested."""
    if seconds <= 0:
        return
    queue = activity.info().task_queue
    with contextlib.suppress(RPCError, WorkflowAlreadyStartedError):  # each later 429 starts the brake again
        await activity.client().start_workflow(
            BRAKE,
            id=brake_id(queue),
            task_queue=queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=BRAKE_SIGNAL,
            start_signal_args=[seconds],
        )


def _result_to_dict(step: Finished) -> dict[str, Any]:
    result = step.result
    if result.job is not None:
        result = evolve(result, job=without_listings(result.job))
    return result.to_dict()
