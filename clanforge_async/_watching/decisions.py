"""The rules of a watch, apart from the watching: a pure step from what is known to what to do next.

`decide` takes the state of a watch and one observation, and says `PollAgain` after so many seconds, or `Finished`. It
neither sleeps nor polls nor looks at a clock, so that the same rules serve `JobWatcher` and, by way of
`WatchState.to_dict`, a workflow engine that drives them from another process.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Self

from attrs import evolve, field, frozen
from tenacity import AsyncRetrying

from clanforge_async._codec import job_from_dict, job_to_dict
from clanforge_async._polling.forecast import ForecastState, Sample, update_forecast
from clanforge_async._polling.strategy import PollState, strategy, until_eta
from clanforge_async._watching.results import StaleJobError
from clanforge_async.errors import (
    APIError,
    ClanforgeError,
    InvalidResponseError,
    RateLimitError,
    ServerError,
    TransportError,
)
from clanforge_async.jobs import Job, JobFailedError
from clanforge_async.refs import JobRef

_TRANSIENT = (TransportError, RateLimitError, ServerError, InvalidResponseError)
_FRUITLESS_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait after the first, the second, ... of the polls in a row that brought no news; then the last."""


@frozen(kw_only=True)
class WatchPolicy:
    """How a watch behaves.

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
    """All that a watch knows.

    Attributes:
        ref: What is watched.
        began: When the watch began: seconds on its driver's clock, whose zero means nothing.
        last_job: The last snapshot seen.
        polls: How many polls were made.
        idle_for: Seconds that it was told to wait between them, in all.
        fruitless: How many polls in a row brought no news: they failed, or showed the run before.
        failing_since: When an unbroken series of failures began, by the driver's clock; None: none goes on.
        stale_since: When the first of the answers came that were all older than ``ref.newer_than``, likewise.
        memory: What the wait strategy remembers.
    """

    ref: JobRef
    began: float
    last_job: Job | None = None
    polls: int = 0
    idle_for: float = 0.0
    fruitless: int = 0
    failing_since: float | None = None
    stale_since: float | None = None
    memory: ForecastState = field(factory=ForecastState)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data, fit for JSON."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "ref": str(self.ref),
            "last_job": None if self.last_job is None else job_to_dict(self.last_job),
            "memory": self.memory.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """Read what `to_dict` returned.

        Raises:
            KeyError, TypeError, ValueError, InvalidResponseError: It is something else.
        """
        ref, job = JobRef.parse(plain["ref"]), plain["last_job"]
        return cls(
            ref=ref,
            last_job=None if job is None else job_from_dict(ref.kind, job),
            memory=ForecastState.from_dict(plain["memory"]),
            **{name: plain[name] for name in _PLAIN},
        )


_PLAIN = ("began", "polls", "idle_for", "fruitless", "failing_since", "stale_since")


@frozen(kw_only=True)
class PollResult:
    """What one poll has brought.

    Attributes:
        seen: The job, or the error that came instead.
        at: When, in seconds on the driver's clock.
        server_time: When by the server's clock, or by the best guess at it.
    """

    seen: Job | ClanforgeError
    at: float
    server_time: datetime = field(factory=lambda: datetime.now(UTC))


@frozen
class PollAgain:
    """Poll again.

    Attributes:
        state: What is known by now.
        after: Seconds to wait before.
        at_least: Seconds to wait in any case, since the server has asked for them.
        news: The job, where the poll has shown the run that is watched.
    """

    state: WatchState
    after: float
    at_least: float = 0.0
    news: Job | None = None


@frozen
class Finished:
    """The watch is over.

    Attributes:
        state: What was known in the end.
        job: The job, where it has ended too.
        error: Why, unless the job has completed.
    """

    state: WatchState
    job: Job | None = None
    error: ClanforgeError | None = None


def decide(state: WatchState, observation: PollResult, rules: WatchPolicy) -> PollAgain | Finished:
    """Return what follows from an observation."""
    seen, polls = observation.seen, state.polls + 1
    if isinstance(seen, ClanforgeError):
        return _after_failure(evolve(state, polls=polls), observation, seen, rules)
    if state.ref.newer_than is not None and seen.updated_at < state.ref.newer_than:
        state = evolve(state, polls=polls, last_job=seen, failing_since=None)
        return _after_stale_answer(state, observation, rules)
    if seen.is_terminal:
        return Finished(evolve(state, polls=polls, last_job=seen, failing_since=None), seen, failure_of(seen))
    memory = update_forecast(state.memory, Sample.of(seen, observation.server_time))
    # Made anew: with news, nothing fails and nothing is stale any more.
    state = WatchState(
        ref=state.ref, began=state.began, last_job=seen, polls=polls, idle_for=state.idle_for, memory=memory
    )
    return _again(state, _pause(state, observation, rules), news=seen)


def failure_of(job: Job) -> JobFailedError | None:
    """Return the error that waiting for a job ends with; None where it has not failed."""
    try:
        job.raise_for_failure()
    except JobFailedError as error:
        return error
    return None


def _after_failure(
    state: WatchState, observation: PollResult, error: ClanforgeError, rules: WatchPolicy
) -> PollAgain | Finished:
    since = observation.at if state.failing_since is None else state.failing_since
    left = since + rules.outage_tolerance - observation.at
    if not isinstance(error, _TRANSIENT) or left <= 0:
        return Finished(state, error=error)
    state = evolve(state, failing_since=since, fruitless=state.fruitless + 1)
    asked_for = (error.retry_after if isinstance(error, APIError) else None) or 0.0
    return _again(state, min(_fruitless_pause(state, observation, rules), left), asked_for)


def _after_stale_answer(state: WatchState, observation: PollResult, rules: WatchPolicy) -> PollAgain | Finished:
    since = observation.at if state.stale_since is None else state.stale_since
    left = since + rules.stale_after - observation.at
    if left <= 0:
        return Finished(state, error=StaleJobError(state.ref, state.last_job))
    state = evolve(state, stale_since=since, fruitless=state.fruitless + 1)
    return _again(state, min(_fruitless_pause(state, observation, rules), left))


def _again(state: WatchState, pause: float, at_least: float = 0.0, news: Job | None = None) -> PollAgain:
    pause = max(pause, at_least)
    return PollAgain(evolve(state, idle_for=state.idle_for + pause), pause, at_least, news)


def _fruitless_pause(state: WatchState, observation: PollResult, rules: WatchPolicy) -> float:
    # What has just failed is tried soon again and then ever more seldom, yet never more seldom than a good poll.
    growing = _FRUITLESS_PAUSES[min(state.fruitless, len(_FRUITLESS_PAUSES)) - 1]
    return min(growing, _pause(state, observation, rules))


def _pause(state: WatchState, observation: PollResult, rules: WatchPolicy) -> float:
    told = PollState(rules.retrying, observation.seen, state.memory)
    told.start_time = state.began
    told.outcome_timestamp = observation.at
    told.attempt_number = state.polls
    told.idle_for = state.idle_for
    seconds = float(rules.retrying.wait(told))
    if math.isnan(seconds):
        msg = "the wait strategy says nan instead of a number of seconds"
        raise ValueError(msg)
    return max(seconds, 0.0)
