"""The decisions of a watch, as pure functions: from the present state and a poll's result to the next action.

`decide` takes a watch's state, a poll's result and the watch's policy, and returns `PollAgain` with the pause until the
next poll, or `Finished`. The wait strategy computes the pause (``_polling/strategy.py``); a poll that failed or showed
an earlier run shortens it. Nothing here sleeps, polls or reads a clock, so the same decisions serve `JobWatcher` and a
workflow engine that keeps the state between processes (`WatchState.to_dict`).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Self

from attrs import evolve, field, frozen
from tenacity import AsyncRetrying

from clanforge_async._codec.jobs import job_from_dict, job_to_dict
from clanforge_async._http.retry_policy import is_transient
from clanforge_async._polling.forecast import ForecastState, Sample, update_forecast
from clanforge_async._polling.strategy import PollState, strategy, until_eta
from clanforge_async._watching.results import StaleJobError
from clanforge_async.errors import APIError, ClanforgeError
from clanforge_async.jobs import Job, job_failure
from clanforge_async.refs import JobRef

_PAUSES_WITHOUT_NEWS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Maximum pause in seconds after the first, second, ... poll in a row without news; then the last of these."""


_NO_TIME = 1e-6
"""Remaining seconds that count as none: rounding may leave some, and a clock may be too coarse to pass them."""


@frozen(kw_only=True)
class WatchPolicy:
    """How a watch reacts to poll results.

    Attributes:
        retrying: tenacity's controller with the wait strategy; it computes pauses and runs nothing.
        outage_tolerance: Seconds of unbroken transient failure before the watch gives up.
        stale_after: Seconds of nothing newer than the reference's ``newer_than`` before the watch gives up.
    """

    retrying: AsyncRetrying = field(factory=lambda: strategy(until_eta()))
    outage_tolerance: float = 300.0
    stale_after: float = 120.0


@frozen(kw_only=True)
class WatchState:
    """The whole state of a watch.

    Attributes:
        ref: The reference of the watched job.
        began: When the watch began: seconds on its driver's clock, whose zero has no meaning.
        last_job: The last snapshot seen, with the reference's ``newer_than``.
        polls: Number of polls made.
        idle_for: Sum of the pauses between them, in seconds.
        polls_without_news: Number of polls in a row that failed or showed an earlier run.
        failing_since: When the present series of failed polls began, by the driver's clock; None: the last poll did
            not fail.
        stale_since: When the server first showed a status older than ``ref.newer_than``, likewise.
        forecast_state: The state of the forecast that the wait strategy works with.
    """

    ref: JobRef
    began: float
    last_job: Job | None = None
    polls: int = 0
    idle_for: float = 0.0
    polls_without_news: int = 0
    failing_since: float | None = None
    stale_since: float | None = None
    forecast_state: ForecastState = field(factory=ForecastState)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data that JSON can hold."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "ref": str(self.ref),
            "last_job": None if self.last_job is None else job_to_dict(self.last_job),
            "forecast_state": self.forecast_state.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """Read the result of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError, InvalidResponseError: It is something else.
        """
        ref, job = JobRef.parse(plain["ref"]), plain["last_job"]
        return cls(
            ref=ref,
            last_job=None if job is None else job_with_ref(job_from_dict(ref.kind, job), ref),
            forecast_state=ForecastState.from_dict(plain["forecast_state"]),
            **{name: plain[name] for name in _PLAIN},
        )


_PLAIN = ("began", "polls", "idle_for", "polls_without_news", "failing_since", "stale_since")


@frozen(kw_only=True)
class PollResult:
    """The result of one poll.

    Attributes:
        seen: The job, or the error that came instead.
        at: When, in seconds on the driver's clock.
        server_time: When, by the server's clock or the best guess at it.
    """

    seen: Job | ClanforgeError
    at: float
    server_time: datetime = field(factory=lambda: datetime.now(UTC))


@frozen
class PollAgain:
    """Poll again.

    Attributes:
        state: The new state.
        after: Seconds to wait before that.
        at_least: Seconds to wait in any case, because the server asks for them.
        update: The job, if the poll has shown the run that is watched.
    """

    state: WatchState
    after: float
    at_least: float = 0.0
    update: Job | None = None


@frozen
class Finished:
    """End the watch.

    Attributes:
        state: The last state.
        job: The job, if it has ended too.
        error: Why the watch ends; None if the job has completed.
    """

    state: WatchState
    job: Job | None = None
    error: ClanforgeError | None = None


def job_with_ref(job: Job, ref: JobRef) -> Job:
    """Return the snapshot with the reference's ``newer_than``, so that `Job.ref` is the reference."""
    return job if job.newer_than == ref.newer_than else evolve(job, newer_than=ref.newer_than)


def decide(state: WatchState, result: PollResult, policy: WatchPolicy) -> PollAgain | Finished:
    """Return the next action after a poll, with the new state."""
    seen, polls = result.seen, state.polls + 1
    if isinstance(seen, ClanforgeError):
        return _after_failure(evolve(state, polls=polls), result, seen, policy)
    seen = job_with_ref(seen, state.ref)
    if state.ref.newer_than is not None and seen.updated_at < state.ref.newer_than:
        state = evolve(state, polls=polls, last_job=seen, failing_since=None)
        return _after_stale_status(state, result, policy)
    if seen.is_terminal:
        return Finished(evolve(state, polls=polls, last_job=seen, failing_since=None), seen, job_failure(seen))
    forecast_state = update_forecast(state.forecast_state, Sample.of(seen, result.server_time))
    # Built from its defaults: after an update nothing is failing or stale.
    state = WatchState(
        ref=state.ref,
        began=state.began,
        last_job=seen,
        polls=polls,
        idle_for=state.idle_for,
        forecast_state=forecast_state,
    )
    return _poll_again(state, _strategy_pause(state, result, policy), update=seen)


def _after_failure(
    state: WatchState, result: PollResult, error: ClanforgeError, policy: WatchPolicy
) -> PollAgain | Finished:
    since = result.at if state.failing_since is None else state.failing_since
    left = since + policy.outage_tolerance - result.at
    if not is_transient(error) or left < _NO_TIME:
        return Finished(state, error=error)
    state = evolve(state, failing_since=since, polls_without_news=state.polls_without_news + 1)
    retry_after = (error.retry_after if isinstance(error, APIError) else None) or 0.0
    return _poll_again(state, min(_growing_pause(state, result, policy), left), retry_after)


def _after_stale_status(state: WatchState, result: PollResult, policy: WatchPolicy) -> PollAgain | Finished:
    since = result.at if state.stale_since is None else state.stale_since
    left = since + policy.stale_after - result.at
    if left < _NO_TIME:
        return Finished(state, error=StaleJobError(state.ref, state.last_job))
    state = evolve(state, stale_since=since, polls_without_news=state.polls_without_news + 1)
    return _poll_again(state, min(_growing_pause(state, result, policy), left))


def _poll_again(state: WatchState, pause: float, at_least: float = 0.0, update: Job | None = None) -> PollAgain:
    pause = max(pause, at_least)
    return PollAgain(evolve(state, idle_for=state.idle_for + pause), pause, at_least, update)


def _growing_pause(state: WatchState, result: PollResult, policy: WatchPolicy) -> float:
    # Short at first and then growing, but never longer than after a poll with news.
    growing = _PAUSES_WITHOUT_NEWS[min(state.polls_without_news, len(_PAUSES_WITHOUT_NEWS)) - 1]
    return min(growing, _strategy_pause(state, result, policy))


def _strategy_pause(state: WatchState, result: PollResult, policy: WatchPolicy) -> float:
    poll_state = PollState(policy.retrying, result.seen, state.forecast_state)
    poll_state.start_time = state.began
    poll_state.outcome_timestamp = result.at
    poll_state.attempt_number = state.polls
    poll_state.idle_for = state.idle_for
    seconds = float(policy.retrying.wait(poll_state))
    if math.isnan(seconds):
        msg = "the wait strategy returned nan instead of a number of seconds"
        raise ValueError(msg)
    return max(seconds, 0.0)
