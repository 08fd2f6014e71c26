"""Estimates of a job's end, from the server's ETA and from the job's progress. No I/O; no clock is read.

`docs/design/polling.md` explains the calculation. All times are Unix times in seconds, by the server's clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from attrs import evolve, frozen

from clanforge_async._polling.plain_data import packed

MIN_STDDEV = 0.3
"""Standard deviation, in seconds, of a time that the server reports in whole seconds: 1 s divided by the root of 12."""

_PRIOR_SPEED, _PRIOR_SPEED_STDDEV = 0.0, 0.12
"""Prior of the seconds per second by which the server's ETA moves."""

_PRIOR_POWER, _PRIOR_POWER_STDDEV = 1.0, 0.2
"""Prior of the power of time that progress follows."""

_MIN_SLOPE, _MAX_SLOPE = -1.0, 0.5
_MIN_POWER, _MAX_POWER = 0.5, 2.0

_MAX_DEVIATION = 4.0
"""Maximum standard deviations between an observation and its line. Beyond that the line has a kink: it starts again."""

_MIN_RELATIVE_STDDEV = 1e-4
"""Minimum relative standard deviation of a progress."""

_RECEDING_SPEED = 0.8
"""Seconds per second; an ETA that recedes faster does so almost as fast as time passes."""

_MAX_SPEED = 1.5
"""Seconds per second; a bias cannot move an ETA faster, so the server must have made a new ETA."""

_MAX_EXPLAINED_SPEED = 0.5
"""Maximum seconds per second by which a bias can make an ETA recede; a faster ETA moves with the clock."""

_MAX_DRIFT = 3.0
"""Maximum prediction error, in seconds per second, so that one absurd ETA has no lasting effect."""

_DRIFT_SMOOTHING = 0.3
"""Smoothing factor of the prediction error's moving average."""


@frozen
class Observation:
    """A value that the server reported, and its time.

    Attributes:
        at: When the server determined the value: possibly before the poll that returned it.
        value: For an ETA, the expected end; for progress, the completed fraction of the work.
        stddev: Standard deviation of the value.
    """

    at: float
    value: float
    stddev: float


@frozen
class Line:
    """A straight line through observations with errors: a Kalman filter whose state is a point and the slope.

    Attributes:
        x: Position of the latest observation.
        y: The line's value at ``x``.
        slope: The line's slope.
        y_variance: Variance of ``y``.
        covariance: Covariance of ``y`` and ``slope``.
        slope_variance: Variance of ``slope``.
        is_measured: Whether the slope is based on at least two observations; otherwise it is the prior.
    """

    x: float
    y: float
    slope: float
    y_variance: float
    covariance: float
    slope_variance: float
    is_measured: bool = False

    def observe(self, x: float, y: float, variance: float) -> Line | None:
        """Return the line after an observation of this variance; None if the observation cannot be on the line."""
        dx = x - self.x
        covariance = self.covariance + dx * self.slope_variance
        y_variance = self.y_variance + dx * (self.covariance + covariance)
        total = y_variance + variance
        error = y - self.at(x)
        if self.is_measured and error * error > _MAX_DEVIATION * _MAX_DEVIATION * total:
            return None
        return Line(
            x=x,
            y=self.at(x) + y_variance / total * error,
            slope=self.slope + covariance / total * error,
            y_variance=y_variance * variance / total,
            covariance=covariance * variance / total,
            slope_variance=max(self.slope_variance - covariance * covariance / total, 0.0),
            is_measured=True,
        )

    def at(self, x: float) -> float:
        """Return the line's value at ``x``."""
        return self.y + self.slope * (x - self.x)

    def stddev(self, dx: float) -> float:
        """Return the standard deviation of the line's value at a distance ``dx`` after the latest observation."""
        return math.sqrt(max(self.y_variance + dx * (2 * self.covariance + dx * self.slope_variance), 0.0))


class RemainingTime(NamedTuple):
    """Seconds until a job's end: mean and standard deviation."""

    mean: float
    stddev: float


@packed
@frozen
class Estimate:
    """A job's end as estimated from one source, ETA or progress, and how accurate that source has been so far.

    Attributes:
        end: When the job is expected to end.
        stddev: Standard deviation of the end, according to the errors of the observations.
        drift: Moving average of the seconds per second by which the end has moved further than ``stddev`` explains.
        latest: The latest observation.
        line: ETA against time, or the logarithm of the completed fraction against the logarithm of the elapsed time.
        recedes: Whether the ETA has receded about as fast as time passed, twice in a row.
        slip: Seconds by which an ETA has moved along with the clock, as of the latest observation.
        observed_for: Seconds from the first observation to the latest.
    """

    end: float
    stddev: float
    drift: float
    latest: Observation
    line: Line
    recedes: bool = False
    slip: float = 0.0
    observed_for: float = 0.0

    def remaining(self, now: float) -> RemainingTime:
        """Return the time until the end. Its standard deviation includes the overdue time and the slip."""
        overdue = max(now - self.end, 0.0)
        stddev = math.hypot(self.stddev, self.drift * max(self.end - self.latest.at, 0.0))
        return RemainingTime(max(self.end - now, 0.0), stddev + overdue + self.drift_at(now))

    def drift_at(self, now: float, moved: float = 0.0) -> float:
        """Return the slip at ``now``, if the ETA has moved by ``moved`` seconds since the latest observation.

        An ETA that moves with the clock slips by a second per second. An ETA that moves half as fast has no new slip,
        since a bias explains its move, and the slip of a constant ETA decreases. The weight of old slip is inversely
        proportional to the time observed.
        """
        elapsed = max(now - self.latest.at, 0.0)
        observed_for = self.observed_for + elapsed
        if observed_for == 0:
            return 0.0
        kept = self.slip * self.observed_for / observed_for
        return max(kept + moved / _MAX_EXPLAINED_SPEED - elapsed, 0.0)

    def is_receding(self, now: float) -> bool:
        """Whether the ETA still recedes about as fast as time passes, so that it has no information about the end."""
        return self.recedes and self.drift_at(now) > 0


def update_eta_estimate(previous: Estimate | None, latest: Observation) -> Estimate:
    """Return the estimate after the server has made or changed an ETA."""
    if previous is None:
        return _eta_estimate(_new_eta_line(latest), latest)
    before = previous.latest
    elapsed = latest.at - before.at
    if elapsed <= 0:
        return _eta_estimate(_new_eta_line(latest), latest)
    moved = latest.value - before.value
    line = None
    if abs(moved) <= _MAX_SPEED * elapsed and before.value > latest.at:  # an ETA in the past shows no bias
        line = previous.line.observe(latest.at, latest.value, latest.stddev**2)
    estimate = _eta_estimate(line or _new_eta_line(latest), latest)
    return evolve(
        estimate,
        drift=_update_drift(previous, estimate.end, latest.at),
        recedes=moved > _RECEDING_SPEED * elapsed and previous.slip > 0,
        slip=previous.drift_at(latest.at, moved),
        observed_for=previous.observed_for + elapsed,
    )


def update_progress_estimate(previous: Estimate | None, latest: Observation, started: float) -> Estimate:
    """Return the estimate after a change of progress, for a job that has run since ``started``."""
    x, y = _log_elapsed(latest.at, started), math.log(latest.value)
    variance = max(latest.stddev / latest.value, _MIN_RELATIVE_STDDEV) ** 2
    is_comparable = previous is not None and latest.value >= previous.latest.value and x > previous.line.x
    line = previous.line.observe(x, y, variance) if previous is not None and is_comparable else None
    line = line or Line(x, y, _PRIOR_POWER, variance, 0.0, _PRIOR_POWER_STDDEV**2)
    power = _clamp(line.slope, _MIN_POWER, _MAX_POWER)
    dx = max(-line.y / power, 0.0)
    duration = math.exp(x + dx)
    end = started + duration
    return Estimate(
        end=end,
        stddev=math.hypot(MIN_STDDEV, duration * line.stddev(dx) / power),
        drift=0.0 if previous is None else _update_drift(previous, end, latest.at),
        latest=latest,
        line=line,
    )


def should_have_reached(estimate: Estimate, fraction: float, started: float, now: float) -> bool:
    """Whether the progress would have reached a fraction by now at its estimated rate."""
    return estimate.line.at(_log_elapsed(now, started)) > math.log(fraction)


def _new_eta_line(latest: Observation) -> Line:
    return Line(latest.at, latest.value, _PRIOR_SPEED, latest.stddev**2, 0.0, _PRIOR_SPEED_STDDEV**2)


def _eta_estimate(line: Line, latest: Observation) -> Estimate:
    """Return the estimate of the end: the time at which the ETA, extrapolated by its line, equals the clock."""
    approach = 1 - _clamp(line.slope, _MIN_SLOPE, _MAX_SLOPE)
    remaining = max(line.y - latest.at, 0.0) / approach
    return Estimate(
        end=latest.at + remaining if remaining > 0 else line.y,
        stddev=line.stddev(remaining) / approach,
        drift=0.0,
        latest=latest,
        line=line,
    )


def _update_drift(previous: Estimate, end: float, at: float) -> float:
    unexplained = max(abs(end - previous.end) - previous.stddev, 0.0) / max(at - previous.latest.at, 1.0)
    return previous.drift + _DRIFT_SMOOTHING * (min(unexplained, _MAX_DRIFT) - previous.drift)


def _log_elapsed(at: float, started: float) -> float:
    return math.log(max(at - started, 0.5))


def _clamp(value: float, lowest: float, highest: float) -> float:
    return min(max(value, lowest), highest)
