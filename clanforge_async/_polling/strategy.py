"""When to poll next: wait strategies for tenacity.

`until_eta` weighs the cost of a poll against the cost of being late. Where a job is as likely to end in any second
as in any other, with hazard h, and a poll is worth w seconds of lateness, the cheapest interval between polls is
sqrt(2 w / h). Where the hazard changes, polls are spread so that each interval holds the same sum of sqrt(h / 2 w):
few while an end is unlikely, many around the time that is forecast, and fewer again the longer that has passed.
The hazard is that of the forecast, a logistic distribution, and a little more for an end before its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tenacity import AsyncRetrying, Future, RetryCallState
from tenacity.wait import wait_base, wait_fixed

from clanforge_async._polling.forecast import Forecast, ForecastState, Sample, forecast
from clanforge_async._validation import is_positive
from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import Job

Interval = float | wait_base | Callable[[RetryCallState], float]

_EARLY_ENDS = 0.15
"""How many jobs are reckoned to end before their time. It is more than do: those that fail are noticed last of all."""

_USUAL_DURATION = 480.0
"""Seconds that a job takes of which nothing else is known."""

_LATE = 0.005
"""For which part of the time that it could have ended in already, at any moment, a job may end unnoticed."""

_USUAL_WAIT = 10.0
"""Seconds for which a job is taken to have waited already when it is first seen to wait."""

_AFTER_THE_END = 1.0
"""Seconds after the very end that is forecast at which it is looked for, however unsure it is."""

_NEAR_ENOUGH = 0.02
"""Seconds to which a pause is computed."""


class PollState(RetryCallState):
    """What tenacity tells a strategy, and what the watch remembers.

    Attributes:
        seen: What the last poll has brought: the job, or the error that came instead.
        memory: What of the job's past bears on its end.
    """

    def __init__(self, retrying: AsyncRetrying, seen: Job | Exception, memory: ForecastState) -> None:
        super().__init__(retrying, fn=None, args=(), kwargs={})
        self.seen = seen
        self.memory = memory

    @property
    def outcome(self) -> Future | None:
        """What the last poll has brought, as tenacity has it; made on demand, since making it takes locks."""
        return Future.construct(self.attempt_number, self.seen, has_exception=isinstance(self.seen, Exception))

    @outcome.setter  # where tenacity has a plain attribute, but to whoever reads it that is the same
    def outcome(self, _: Future | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Take no notice of what tenacity begins with, which is none."""


class until_eta(wait_base):  # noqa: N801 - named as tenacity names its strategies
    """Polls seldom while a job has long to go, and often when it is about to end.

    What it knows of the end it takes from the server's ``jobeta`` and ``jobprogress``, both seen from the server's own
    clock, and from how well they have foretold the end so far.

    Args:
        min: Seconds between two polls, at the least.
        max: Seconds between two polls, at the most.
        poll_worth: Seconds of lateness that one poll less is worth. Smaller values poll more often.

    Raises:
        ConfigurationError: Not ``0 < min <= max``, or ``poll_worth`` is not positive.
    """

    def __init__(self, min: float = 1.0, max: float = 60.0, *, poll_worth: float = 0.15) -> None:  # noqa: A002 - as in tenacity
        if not 0 < min <= max < math.inf:
            msg = "until_eta needs 0 < min <= max seconds"
            raise ConfigurationError(msg)
        if not 0 < poll_worth < math.inf:
            msg = "until_eta needs a positive poll_worth in seconds"
            raise ConfigurationError(msg)
        self.min = min
        self.max = max
        self.poll_worth = poll_worth

    def __repr__(self) -> str:
        return f"until_eta({self.min:g}, {self.max:g}, poll_worth={self.poll_worth:g})"

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait before the next poll."""
        if _has_failed(retry_state):
            return self.max  # a failure says nothing of the job; how soon to try again is not decided here
        memory = retry_state.memory if isinstance(retry_state, PollState) else ForecastState()
        if memory.last is None:
            return min(self.min * 2.0 ** min(retry_state.attempt_number - 1, 32), self.max)
        pause = _pause(memory, memory.last, self.poll_worth, self.max)
        return min(max(pause, self.min), self.max)


def _has_failed(state: RetryCallState) -> bool:
    if isinstance(state, PollState):
        return isinstance(state.seen, Exception)
    return state.outcome is not None and state.outcome.failed


def _pause(memory: ForecastState, last: Sample, worth: float, most: float) -> float:
    ahead = forecast(memory)
    if ahead is None:
        return _blind_pause(last, worth)
    pause = _spread_pause(ahead, last.age, worth, most)
    if ahead.seconds > 0:
        return min(pause, ahead.seconds + _AFTER_THE_END)
    return max(pause, _LATE * 2 * ahead.scale)  # which is what it is overdue, more or less


def _blind_pause(last: Sample, worth: float) -> float:
    """Return the pause where nothing foretells the end."""
    # A rate with a gamma distribution of shape 2 leaves this hazard: the lower, the longer the job has not ended.
    if last.is_running:
        return max(math.sqrt(2 * worth * (last.age + _USUAL_DURATION) / 2), _LATE * last.age)
    # It has to start and then to end. That both happen grows from nothing, so the sum is that of sqrt(h * u / 2 w).
    hazard = 2 / _USUAL_DURATION / (last.age + _USUAL_WAIT)
    return math.pow(1.5 * math.sqrt(2 * worth / hazard), 2 / 3)


def _spread_pause(ahead: Forecast, age: float, worth: float, most: float) -> float:
    """Return the pause over which sqrt(hazard) sums up to sqrt(2 * worth)."""
    early = _EARLY_ENDS / (age + ahead.seconds)
    start, rate = _sum(ahead, early, 0.0)
    due = start + math.sqrt(2 * worth)
    # The rate only grows, so Newton's method comes down from above, and never beyond.
    pause, step = min((due - start) / rate, most), math.inf
    while step > _NEAR_ENOUGH:
        total, rate = _sum(ahead, early, pause)
        step = (total - due) / rate
        pause -= max(step, 0.0)
    return pause


def _sum(ahead: Forecast, early: float, seconds: float) -> tuple[float, float]:
    """Return the integral of sqrt(hazard) up to a moment, but for a constant, and sqrt(hazard) at that moment.

    With z = (seconds - ahead.seconds) / ahead.scale, the hazard is early + peak / (1 + exp(-z)). Substituting
    its root y for z makes the integral one of rational functions: high * log((high + y) / (high - y))
    + low * log((y - low) / (y + low)), where low and high are the roots of the hazard long before and long after.
    """
    peak = 1 / ahead.scale
    z = (seconds - ahead.seconds) * peak
    # The logarithms of 1 + exp(z) and of 1 + exp(-z), for any z.
    near = math.log1p(math.exp(-abs(z)))
    before, after = max(z, 0.0) + near, max(-z, 0.0) + near
    low, high, y = math.sqrt(early), math.sqrt(early + peak), math.sqrt(early + peak * math.exp(-after))
    # Written so that no difference of nearly equal numbers is taken: but for a constant factor, the logarithms of
    # y^2 - low^2 and of high^2 - y^2 are those two.
    return ahead.scale * (high * (2 * math.log(high + y) + before) - low * (2 * math.log(y + low) + after)), y


def strategy(interval: Interval) -> AsyncRetrying:
    """Return tenacity's controller with a strategy in it; a number is a fixed interval in seconds.

    Raises:
        ConfigurationError: It is neither a positive number nor a strategy.
    """
    if callable(interval) and not isinstance(interval, type):
        return AsyncRetrying(wait=interval)
    if is_positive(interval):
        return AsyncRetrying(wait=wait_fixed(interval))
    msg = "interval must be a positive number of seconds or a tenacity wait strategy"
    raise ConfigurationError(msg)
