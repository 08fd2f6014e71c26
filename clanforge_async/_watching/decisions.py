"""The decisions of a watch, as pure functions of its current state and a poll's result.

`decide` takes a watch's state, a poll's result and the watch's policy, and returns `PollAgain` with the pause until the
next poll, or `Finished`. The wait strategy computes the pause (``_polling/strategy.py``); a poll that failed or showed
an earlier run shortens it, and so does a deadline that is near. Nothing here sleeps, polls or reads a clock, so the
same decisions serve `JobWatcher` and a workflow engine that keeps the state between processes (`WatchState.to_dict`).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TypeVar

from attrs import evolve, field, frozen

from clanforge_async._http.retry_policy import is_transient
from clanforge_async._polling.forecast import ForecastState, Sample, update_forecast
from clanforge_async._polling.strategy import PollState
from clanforge_async._watching.results import (
    StaleJobError,
    WatchClosedError,
    WatchResult,
    WatchTimeoutError,
    copy_error,
)
from clanforge_async._watching.serialization import with_ref
from clanforge_async._watching.state import WatchPolicy, WatchState
from clanforge_async.errors import APIError, ClanforgeError
from clanforge_async.jobs import Job, job_failure

U = TypeVar("U", bound=WatchClosedError | WatchTimeoutError)

_PAUSES_WITHOUT_NEWS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Maximum pause in seconds after the first, second, ... consecutive poll without an update; then the last of these."""


_NO_TIME = 1e-6
"""Remaining seconds up to which a time counts as over: rounding can leave a little that a coarse clock never passes."""


@frozen(kw_only=True)
class PollResult:
    """The result of one poll.

    Attributes:
        seen: The job, or the error of the poll.
        at: Time of the result, in seconds on the driver's clock.
        server_time: Time of the result by the server's clock, or an estimate of it.
        latency: Seconds that the poll took.
        backlog: Seconds that the polls of all other jobs take if all are due at once.
    """

    seen: Job | ClanforgeError
    at: float
    server_time: datetime = field(factory=lambda: datetime.now(UTC))
    latency: float = 0.0
    backlog: float = 0.0


@frozen
class PollAgain:
    """Poll again.

    Attributes:
        state: The new state.
        after: Seconds to wait before that, counted from the end of the last poll.
        at_least: Minimum seconds to wait, because the server requests them.
        news: The job, if the poll showed the watched run and the job has changed.
    """

    state: WatchState
    after: float
    at_least: float = 0.0
    news: Job | None = None


@frozen
class Finished:
    """End the watch.

    Attributes:
        state: The last state.
        result: The result of the watch.
        news: The job, if it has ended too.
    """

    state: WatchState
    result: WatchResult
    news: Job | None = None


def finish(state: WatchState, at: float, error: ClanforgeError | None, news: Job | None = None) -> Finished:
    """End a watch at a time, with this error or none."""
    elapsed = at - state.began
    result = WatchResult(ref=state.ref, job=state.last_job, error=error, polls=state.polls, elapsed=elapsed)
    return Finished(state, result, news)


def unfinished(error: type[U], state: WatchState) -> U:
    """Return the error of a watch that ends before its job."""
    failure = state.last_error
    return error(state.ref, state.last_job, None if failure is None else copy_error(failure))


def decide(
    state: WatchState, result: PollResult, policy: WatchPolicy, deadline: float | None = None, least: float = 0.0
) -> PollAgain | Finished:
    """Return the next action after a poll, with the new state.

    Args:
        state: The state before the poll.
        result: The poll's result.
        policy: The policy.
        deadline: Time at which the watch gives up, by the driver's clock; None: never.
        least: Minimum seconds between the last poll and the deadline. The margin is twice a poll's duration if that is
            more, and grows by the backlog.
    """
    seen, polls = result.seen, state.polls + 1
    if isinstance(seen, ClanforgeError):
        decision = _after_failure(evolve(state, polls=polls, last_error=seen), result, seen, policy)
    else:
        seen = with_ref(seen, state.ref)
        if state.ref.newer_than is not None and seen.updated_at < state.ref.newer_than:
            state = evolve(state, polls=polls, last_job=seen, last_error=None, failing_since=None)
            decision = _after_stale_status(state, result, policy)
        else:
            decision = _after_update(state, result, seen, policy)
    if deadline is None or isinstance(decision, Finished):
        return decision
    return _with_last_poll(decision, result, deadline, least)


def _after_update(state: WatchState, result: PollResult, job: Job, policy: WatchPolicy) -> PollAgain | Finished:
    polls, forecast_state, pause = state.polls + 1, state.forecast_state, 0.0
    if not job.is_terminal:
        forecast_state = update_forecast(forecast_state, Sample.of(job, result.server_time))
        pause = _strategy_pause(state, polls, forecast_state, result, policy)
    # Built from its defaults: after an update nothing is failing or stale.
    updated = WatchState(
        ref=state.ref,
        began=state.began,
        last_job=job,
        last_news=job,
        polls=polls,
        idle_for=state.idle_for + pause,
        forecast_state=forecast_state,
        server_clock=state.server_clock,
    )
    if job.is_terminal:
        return finish(updated, result.at, job_failure(job), job)
    return PollAgain(updated, pause, 0.0, None if job == state.last_news else job)


def _after_failure(
    state: WatchState, result: PollResult, error: ClanforgeError, policy: WatchPolicy
) -> PollAgain | Finished:
    since = result.at if state.failing_since is None else state.failing_since
    left = since + policy.outage_tolerance - result.at
    if not is_transient(error) or left < _NO_TIME:
        return finish(state, result.at, error)
    state = evolve(state, failing_since=since, polls_without_news=state.polls_without_news + 1)
    retry_after = (error.retry_after if isinstance(error, APIError) else None) or 0.0
    return _poll_again(state, min(_growing_pause(state, result, policy), left), retry_after)


def _after_stale_status(state: WatchState, result: PollResult, policy: WatchPolicy) -> PollAgain | Finished:
    since = result.at if state.stale_since is None else state.stale_since
    left = since + policy.stale_after - result.at
    if left < _NO_TIME:
        return finish(state, result.at, StaleJobError(state.ref, state.last_job))
    state = evolve(state, stale_since=since, polls_without_news=state.polls_without_news + 1)
    return _poll_again(state, min(_growing_pause(state, result, policy), left))


def _poll_again(state: WatchState, pause: float, at_least: float = 0.0) -> PollAgain:
    pause = max(pause, at_least)
    return PollAgain(evolve(state, idle_for=state.idle_for + pause), pause, at_least)


def _with_last_poll(decision: PollAgain, result: PollResult, deadline: float, least: float) -> PollAgain:
    """Shorten the pause if it would miss the last poll just before the deadline."""
    margin = max(least, 2 * result.latency)
    last = deadline - margin - result.backlog
    if last <= result.at:
        # The last poll has just been made, or polls take so long that only half of the remaining time is used.
        last = deadline - min(margin, (deadline - result.at) / 2)
    pause = max(last - result.at, decision.at_least)
    if pause >= decision.after or last - result.at < least:
        return decision
    idle_for = decision.state.idle_for - decision.after + pause
    return PollAgain(evolve(decision.state, idle_for=idle_for), pause, decision.at_least, decision.news)


def _growing_pause(state: WatchState, result: PollResult, policy: WatchPolicy) -> float:
    # Short at first and then growing, but never longer than after a poll with an update.
    growing = _PAUSES_WITHOUT_NEWS[min(state.polls_without_news, len(_PAUSES_WITHOUT_NEWS)) - 1]
    return min(growing, _strategy_pause(state, state.polls, state.forecast_state, result, policy))


def _strategy_pause(
    state: WatchState, polls: int, forecast_state: ForecastState, result: PollResult, policy: WatchPolicy
) -> float:
    poll_state = PollState(policy.retrying, result.seen, forecast_state)
    poll_state.start_time = state.began
    poll_state.outcome_timestamp = result.at
    poll_state.attempt_number = polls
    poll_state.idle_for = state.idle_for
    seconds = float(policy.retrying.wait(poll_state))
    if math.isnan(seconds):
        msg = "the wait strategy returned nan instead of a number of seconds"
        raise ValueError(msg)
    return max(seconds, 0.0)
