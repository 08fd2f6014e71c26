"""When to poll next: wait strategies for tenacity.

`until_eta` weighs the cost of a poll against the cost of being late. Where a job is as likely to end in any second
as in any other, with hazard h, and a poll is worth w seconds of lateness, the cheapest interval between polls is
sqrt(2 w / h). Where the hazard changes, polls are spread so that each interval holds the same sum of sqrt(h / 2 w):
few while an end is unlikely, many around the time that is forecast, and fewer again the longer that has passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_base, wait_fixed

from clanforge_async._numbers import is_positive
from clanforge_async.errors import ConfigurationError
from clanforge_async.forecasts import Forecast, Memory, forecast

Interval = float | wait_base | Callable[[RetryCallState], float]

_EARLY_ENDS = 0.25
"""How many jobs end before their time, more or less: a failure can come at any moment."""

_BLIND_ENDS = 0.5
"""The same for a job that foretells nothing, as a part of its age so far."""

_FINEST_STEP = 0.25


class PollState(RetryCallState):
    """What tenacity tells a strategy, and what the watch remembers.

    Attributes:
        memory: What of the job's past bears on its end.
    """

    memory: Memory = Memory()


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

    def __init__(self, min: float = 1.0, max: float = 60.0, *, poll_worth: float = 0.35) -> None:  # noqa: A002 - as in tenacity
        if not 0 < min <= max < math.inf:
            msg = "until_eta needs 0 < min <= max seconds"
            raise ConfigurationError(msg)
        if not 0 < poll_worth < math.inf:
            msg = "until_eta needs a positive poll_worth in seconds"
            raise ConfigurationError(msg)
        self.min = min
        self.max = max
        self.poll_worth = poll_worth

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait before the next poll."""
        if retry_state.outcome is not None and retry_state.outcome.failed:
            return self.max  # a failure says nothing of the job; how soon to try again is not decided here
        memory = retry_state.memory if isinstance(retry_state, PollState) else Memory()
        if not memory.sightings:
            return min(self.min * 2.0 ** min(retry_state.attempt_number - 1, 32), self.max)
        return max(self.min, self._interval(memory))

    def _interval(self, memory: Memory) -> float:
        age, ahead = memory.sightings[-1].age, forecast(memory)
        if ahead is None:
            return min(math.sqrt(2 * self.poll_worth * (age + 5) / _BLIND_ENDS), self.max)
        early = _EARLY_ENDS / (age + ahead.seconds) if ahead.seconds > 0 else 0.0
        passed = due = 0.0
        while passed < self.max:
            step = max(_FINEST_STEP, ahead.scale / 4, abs(ahead.seconds - passed) / 4)
            hazard = early + _hazard(ahead, passed + step / 2)
            more = math.sqrt(hazard / (2 * self.poll_worth)) * step
            if due + more >= 1:
                return min(passed + step * (1 - due) / more, self.max)
            passed, due = passed + step, due + more
        return self.max


def _hazard(ahead: Forecast, seconds: float) -> float:
    """Return how likely a job that still runs after some seconds is to end in the next one."""
    away = (ahead.seconds - seconds) / ahead.scale
    return 1 / (ahead.scale * (1 + math.exp(min(away, 50.0))))


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
