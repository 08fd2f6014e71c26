"""Pauses between polls: `until_eta`, and the tenacity controller that computes a watch's next pause.

`docs/design/polling.md` derives the formulas; the variables here are named after its symbols.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

from tenacity import AsyncRetrying, Future, RetryCallState
from tenacity.wait import wait_base, wait_fixed

from clanforge_async._polling.distributions import LOGISTIC_SCALE, ExpectedDuration, Forecast
from clanforge_async._polling.forecast import ForecastState, Sample, forecast
from clanforge_async._validation import is_positive
from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import Job

Interval = float | wait_base | Callable[[RetryCallState], float]

_MAX_WAITING = 300.0
_FAILING_SHARE = 0.1
"""Assumed share of runs that fail. A run can fail at any time."""

_TYPICAL_DURATION = 480.0
"""Assumed duration of a job in seconds, if nothing is known about it."""

_DURATION_PER_SHARE = 2000.0
"""Seconds per unit of the share of runs that are shorter: one in twenty runs is shorter than 100 s."""

_MIN_RELATIVE_PAUSE = 0.005
"""Minimum pause, as a fraction of the time in which the job may already have ended."""

_DELAY_AFTER_FORECAST = 1.0
"""Seconds after the forecast end by which a poll is made, however uncertain the forecast is, unless it has slipped."""

_TRUST = 0.75
"""Probability that a job takes as long as its history says."""

_DOUBTFUL_LOG_STDDEV = 0.7
"""Standard deviation of the logarithm of a duration of which the history is wrong."""

_MAX_GAIN = 1.95
"""Ratio of a pause by history and one without, at most, so that a wrong history costs little."""

_NET_WORTH_NEAR_END = 0.4
"""Share of its price that a poll just before the forecast end costs; the rest it earns by a sharper forecast."""

_MAX_EXPONENT = 500.0
"""Maximum of an exponent, so that a float does not overflow."""


class PollState(RetryCallState):
    """The state that tenacity passes to a strategy, with the forecast's state added.

    Attributes:
        result: The job that the last poll returned, or the error of that poll.
        forecast_state: State of the job's forecast.
    """

    def __init__(self, retrying: AsyncRetrying, result: Job | Exception, forecast_state: ForecastState) -> None:
        super().__init__(retrying, fn=None, args=(), kwargs={})
        self.result = result
        self.forecast_state = forecast_state
        del self.outcome  # tenacity's None would hide the property

    @cached_property
    def outcome(self) -> Future | None:  # type: ignore[override] # it can be assigned, like tenacity's attribute
        """The result of the last poll in tenacity's form. It is created on demand, because futures are slow."""
        return Future.construct(self.attempt_number, self.result, has_exception=isinstance(self.result, Exception))


class until_eta(wait_base):  # noqa: N801 - named as tenacity names its strategies
    """Polls rarely while a job's end is far away, and often when it is about to end.

    Forecasts the end from the server's ``jobeta`` and ``jobprogress``, relative to the server's own clock, and from
    their accuracy so far.

    Args:
        min: Minimum seconds between two polls.
        max: Maximum seconds between two polls of a running job, and after a failed poll.
        max_waiting: Maximum seconds between two polls of a job that is created, pending or queued.
        poll_worth: Seconds of delay that one request saved is worth. Smaller values poll more often.

    Raises:
        ConfigurationError: Not ``0 < min <= max``, or ``max_waiting`` or ``poll_worth`` is not positive.
    """

    def __init__(
        self,
        min: float = 1.0,  # noqa: A002 - as in tenacity
        max: float = 60.0,  # noqa: A002
        *,
        max_waiting: float = _MAX_WAITING,
        poll_worth: float = 0.15,
    ) -> None:
        if not 0 < min <= max < math.inf:
            msg = "until_eta needs 0 < min <= max seconds"
            raise ConfigurationError(msg)
        for name, seconds in (("max_waiting", max_waiting), ("poll_worth", poll_worth)):
            if not 0 < seconds < math.inf:
                msg = f"until_eta needs a positive {name} in seconds"
                raise ConfigurationError(msg)
        self.min = min
        self.max = max
        self.max_waiting = max_waiting
        self.poll_worth = poll_worth

    def __repr__(self) -> str:
        waiting = "" if self.max_waiting == _MAX_WAITING else f"max_waiting={self.max_waiting:g}, "
        return f"until_eta({self.min:g}, {self.max:g}, {waiting}poll_worth={self.poll_worth:g})"

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait before the next poll."""
        if _has_failed(retry_state):
            return self.max  # an error says nothing about the job; the watch decides how soon to poll again
        state = retry_state.forecast_state if isinstance(retry_state, PollState) else ForecastState()
        if state.last is None:
            return min(self.min * 2.0 ** min(retry_state.attempt_number - 1, 32), self.max)
        return self._pause(state, state.last)

    def _pause(self, state: ForecastState, last: Sample) -> float:
        expected, w = forecast(state), self.poll_worth
        if not last.is_running:
            pause = _pause_while_waiting(expected, state.typical, last.age, w)
        elif expected is not None:
            pause = _pause_with_forecast(expected, last.age, w, self.min, self.max)
        elif state.typical is not None:
            pause = _pause_by_history(state.typical, last.age, w, self.min)
        else:
            pause = _pause_without_forecast(last.age, w)
        pause = max(pause, _MIN_RELATIVE_PAUSE * state.unstable_for)
        return max(min(pause, self.max if last.is_running else self.max_waiting), self.min)


def _has_failed(state: RetryCallState) -> bool:
    if isinstance(state, PollState):
        return isinstance(state.result, Exception)
    return state.outcome is not None and state.outcome.failed


def _pause_while_waiting(expected: Forecast | None, typical: ExpectedDuration | None, age: float, w: float) -> float:
    """Return the pause ``x`` with the lowest cost per second, ``(w + s f x^3 / 6) / x``.

    A waiting job has to start before it can end; ``s`` and ``f`` are the rates of both.
    """
    if expected is None:
        duration = _DURATION_PER_SHARE
        if typical is not None:
            duration = min(typical.seconds / _FAILING_SHARE, _MAX_GAIN * duration)
        return math.cbrt(3 * w * age * duration)
    latest = expected.seconds + expected.scale / LOGISTIC_SCALE
    return math.cbrt(3 * w * latest * latest / _FAILING_SHARE)


def _pause_without_forecast(age: float, w: float) -> float:
    # A rate of gamma distribution with shape 2 leaves the hazard 2 / (age + duration).
    return max(math.sqrt(w * (age + _TYPICAL_DURATION)), _MIN_RELATIVE_PAUSE * age)


def _pause_by_history(typical: ExpectedDuration, age: float, w: float, min_pause: float) -> float:
    """Return the pause from two hazards, the history's and that of a wrong history, weighted by their probabilities."""
    doubtful = ExpectedDuration(typical.seconds, _DOUBTFUL_LOG_STDDEV)
    right, wrong = _TRUST / (1 + typical.odds(age)), (1 - _TRUST) / (1 + doubtful.odds(age))
    share = right / (right + wrong)
    hazard = (1 - share) * doubtful.hazard(age) + share * _FAILING_SHARE / max(typical.seconds, age)
    if age >= typical.seconds:
        hazard += share * typical.hazard(age)
    else:
        ahead = Forecast(typical.seconds - age, typical.seconds / typical.shape)
        hazard += 2 * w / _pause_to_end(ahead, w / share, min_pause) ** 2
    return min(math.sqrt(2 * w / hazard), _MAX_GAIN * _pause_without_forecast(age, w))


def _pause_with_forecast(expected: Forecast, age: float, w: float, min_pause: float, max_pause: float) -> float:
    if expected.seconds == 0:
        return max(_pause_to_end(expected, w, min_pause), _MIN_RELATIVE_PAUSE * 2 * expected.scale)
    goal = min(
        _pause_to_end(expected, _NET_WORTH_NEAR_END * w, min_pause),
        expected.seconds + _DELAY_AFTER_FORECAST + expected.slip,
    )
    squared_pauses = goal * goal * _FAILING_SHARE / (age + expected.seconds) / (2 * w)
    pauses = max(math.ceil(math.sqrt(squared_pauses + 0.25) - 0.5), math.ceil(goal / max_pause), 1)
    return goal / pauses + w * (pauses - 1) / 2


def _pause_to_end(expected: Forecast, w: float, min_pause: float) -> float:
    """Return the best time for the first poll around the forecast end."""
    m, s = expected.seconds, expected.scale
    exponent = min(m / s, _MAX_EXPONENT)
    b = w / s * (1 + math.exp(exponent))
    pause = m - s * exponent + s * math.log1p(b + math.sqrt(2 * b))
    spread = 4 * s / (w + min_pause)
    if spread < 1:
        pause = max(pause, m + 2 * s * math.atanh(math.sqrt(1 - spread)))
    return pause


def strategy(interval: Interval) -> AsyncRetrying:
    """Return a tenacity controller with this wait strategy; a number is a fixed interval in seconds.

    Raises:
        ConfigurationError: The interval is neither a positive number nor a strategy.
    """
    if callable(interval) and not isinstance(interval, type):
        return AsyncRetrying(wait=interval)
    if is_positive(interval):
        return AsyncRetrying(wait=wait_fixed(interval))
    msg = "interval must be a positive number of seconds or a tenacity wait strategy"
    raise ConfigurationError(msg)
