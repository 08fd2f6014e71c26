"""Pauses between polls: `until_eta` and the tenacity controller that a watch asks for its next pause.

`docs/design/polling.md` derives the formulas; the variables here are named after its symbols.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

from tenacity import AsyncRetrying, Future, RetryCallState
from tenacity.wait import wait_base, wait_fixed

from clanforge_async._polling.forecast import Forecast, ForecastState, Sample, forecast
from clanforge_async._validation import is_positive
from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import Job

Interval = float | wait_base | Callable[[RetryCallState], float]

_EARLY_END_SHARE = 0.15
"""Assumed share of jobs that end before their forecast. Fewer do, but a failure would be detected last of all."""

_TYPICAL_DURATION = 480.0
"""Seconds that a job takes of which nothing is known."""

_MIN_RELATIVE_PAUSE = 0.005
"""Minimum pause, as a fraction of the time in which the job may already have ended."""

_TYPICAL_WAIT = 10.0
"""Seconds that a job is assumed to have waited when it is first seen waiting."""

_DELAY_AFTER_FORECAST = 1.0
"""Seconds after the forecast end by which a poll is made, however uncertain the forecast is, unless it has slipped."""

_PAUSE_TOLERANCE = 0.02
"""Seconds to which a pause is computed."""


class PollState(RetryCallState):
    """What tenacity tells a strategy, with the forecast's state added.

    Attributes:
        result: The job that the last poll returned, or its error.
        forecast_state: State of the job's forecast.
    """

    def __init__(self, retrying: AsyncRetrying, result: Job | Exception, forecast_state: ForecastState) -> None:
        super().__init__(retrying, fn=None, args=(), kwargs={})
        self.result = result
        self.forecast_state = forecast_state
        del self.outcome  # tenacity's None would hide the property

    @cached_property
    def outcome(self) -> Future | None:  # type: ignore[override] # it can be assigned, like tenacity's attribute
        """The result of the last poll, as tenacity has it; made on demand, because a future is slow to make."""
        return Future.construct(self.attempt_number, self.result, has_exception=isinstance(self.result, Exception))


class until_eta(wait_base):  # noqa: N801 - named as tenacity names its strategies
    """Polls rarely while a job has long to go, and often when it is about to end.

    Forecasts the end from the server's ``jobeta`` and ``jobprogress``, relative to the server's own clock, and from how
    accurate both have been so far.

    Args:
        min: Minimum seconds between two polls.
        max: Maximum seconds between two polls.
        poll_worth: Seconds of delay that one request saved is worth. Smaller values poll more often.

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
            return self.max  # an error tells nothing about the job; the watch itself decides how soon to try again
        state = retry_state.forecast_state if isinstance(retry_state, PollState) else ForecastState()
        if state.last is None:
            return min(self.min * 2.0 ** min(retry_state.attempt_number - 1, 32), self.max)
        return min(max(_pause(state, state.last, self.poll_worth, self.max), self.min), self.max)


def _has_failed(state: RetryCallState) -> bool:
    if isinstance(state, PollState):
        return isinstance(state.result, Exception)
    return state.outcome is not None and state.outcome.failed


def _pause(state: ForecastState, last: Sample, lateness_per_poll: float, max_pause: float) -> float:
    expected = forecast(state)
    if expected is None:
        return _pause_without_forecast(last, lateness_per_poll)
    pause = _pause_by_hazard(expected, last.age, lateness_per_poll, max_pause)
    if expected.seconds > 0:
        return min(pause, expected.seconds + _DELAY_AFTER_FORECAST + expected.slip)
    return max(pause, _MIN_RELATIVE_PAUSE * 2 * expected.scale)  # an overdue forecast's scale is about half its delay


def _pause_without_forecast(last: Sample, lateness_per_poll: float) -> float:
    if last.is_running:
        # A rate of gamma distribution with shape 2 leaves the hazard 2 / (age + duration).
        inverse_hazard = (last.age + _TYPICAL_DURATION) / 2
        return max(math.sqrt(2 * lateness_per_poll * inverse_hazard), _MIN_RELATIVE_PAUSE * last.age)
    # A waiting job has to start and then to end, so its hazard grows from 0: it is h * t after t seconds.
    hazard_growth = 2 / _TYPICAL_DURATION / (last.age + _TYPICAL_WAIT)
    return math.pow(1.5 * math.sqrt(2 * lateness_per_poll / hazard_growth), 2 / 3)


def _pause_by_hazard(expected: Forecast, age: float, lateness_per_poll: float, max_pause: float) -> float:
    """Return the pause over which the integral of sqrt(h) is sqrt(2 * w), or `max_pause` if that is shorter."""
    early = _EARLY_END_SHARE / (age + expected.seconds)
    start, sqrt_hazard = _integrate_sqrt_hazard(expected, early, 0.0)
    target = start + math.sqrt(2 * lateness_per_poll)
    # The hazard never falls, so Newton's method approaches the pause from above and never overshoots.
    pause, step = min((target - start) / sqrt_hazard, max_pause), math.inf
    while step > _PAUSE_TOLERANCE:
        integral, sqrt_hazard = _integrate_sqrt_hazard(expected, early, pause)
        step = (integral - target) / sqrt_hazard
        pause -= max(step, 0.0)
    return pause


def _integrate_sqrt_hazard(expected: Forecast, early: float, t: float) -> tuple[float, float]:
    """Return the integral of sqrt(h) up to t, but for a constant, and sqrt(h) at t."""
    peak = 1 / expected.scale
    z = (t - expected.seconds) * peak
    log1p_exp_abs = math.log1p(math.exp(-abs(z)))
    log1p_exp_z, log1p_exp_minus_z = max(z, 0.0) + log1p_exp_abs, max(-z, 0.0) + log1p_exp_abs
    low, high, y = math.sqrt(early), math.sqrt(early + peak), math.sqrt(early + peak * math.exp(-log1p_exp_minus_z))
    # Written without differences of nearly equal numbers: high^2 - y^2 and y^2 - low^2 come from the two logarithms.
    above = high * (2 * math.log(high + y) + log1p_exp_z)
    below = low * (2 * math.log(y + low) + log1p_exp_minus_z)
    return expected.scale * (above - below), y


def strategy(interval: Interval) -> AsyncRetrying:
    """Return a tenacity controller with this wait strategy; a number is a fixed interval in seconds.

    Raises:
        ConfigurationError: It is neither a positive number nor a strategy.
    """
    if callable(interval) and not isinstance(interval, type):
        return AsyncRetrying(wait=interval)
    if is_positive(interval):
        return AsyncRetrying(wait=wait_fixed(interval))
    msg = "interval must be a positive number of seconds or a tenacity wait strategy"
    raise ConfigurationError(msg)
