"""Estimates of a job's end, from the server's ETA and from its progress: no I/O, no clock.

`docs/design/polling.md` explains the calculation. Every moment is a Unix time in seconds, by the server's clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from attrs import evolve, frozen

MIN_STDDEV = 1.0
"""Seconds by which any estimate may be off, since the server counts whole seconds."""

_PRIOR_BIAS, _PRIOR_BIAS_STDDEV = 0.0, 0.12
"""How much too late the server's ETA is, as a fraction of the remaining time, before anything is measured."""

_PRIOR_POWER, _PRIOR_POWER_STDDEV = 1.0, 0.2
"""The power of time that progress follows, before anything is measured."""

_MIN_BIAS, _MAX_BIAS = -0.5, 1.0
_MIN_POWER, _MAX_POWER = 0.5, 2.0

_RECEDING_BIAS = -0.8
"""Bias below which an ETA moves away nearly as fast as time passes, and says nothing."""

_MAX_EXPLAINED_SPEED = 0.5
"""Seconds per second to which a bias explains that an ETA moves away; beyond that it moves with the clock."""

_MAX_SPEED = 1.5
"""Seconds per second; a bias can't move an ETA faster, so the server must have made a new one."""

_MIN_TIME_RATIO = 1.05
"""Ratio of two observations' elapsed times below which they can't measure the power."""

_MAX_DRIFT = 3.0
"""Seconds per second to which a prediction error is limited, so that one absurd ETA is soon forgotten."""

_DRIFT_SMOOTHING = 0.3
"""Smoothing factor of the prediction error's moving average."""


@frozen
class Observation:
    """A value that the server reported, and when.

    Attributes:
        at: When the server determined the value, which may be before the poll that shows it.
        value: The expected end for an ETA; the completed fraction of the work for progress.
        stddev: Standard deviation of the completed fraction.
    """

    at: float
    value: float
    stddev: float = 0.0


@frozen
class Baseline:
    """An earlier observation to compare the latest one with.

    Attributes:
        observation: The one to compare with; it stays about halfway between the first and the latest.
        next: The one that replaces it.
    """

    observation: Observation
    next: Observation

    @classmethod
    def starting_at(cls, observation: Observation) -> Self:
        """Return a baseline that has a single observation."""
        return cls(observation, observation)

    def advance(self, latest: Observation) -> Baseline:
        """Return the baseline that has moved on to its next observation."""
        return Baseline(self.next, latest)


class RemainingTime(NamedTuple):
    """Seconds until a job's end: mean and standard deviation."""

    mean: float
    stddev: float


@frozen
class Estimate:
    """A job's estimated end, and how well the same source has predicted it so far.

    Attributes:
        end: When the job is expected to end.
        stddev: Standard deviation of the end, as far as the source's own errors explain it.
        drift: Moving average of the seconds per second by which the end has moved beyond that.
        latest: The latest observation.
        baseline: The earlier observation that the latest is compared with.
        is_receding: Whether the end moves away about as fast as time passes.
        slip: Seconds by which an ETA has moved along with the clock, as of the latest observation.
        observed_for: Seconds from the first observation to the latest.
    """

    end: float
    stddev: float
    drift: float
    latest: Observation
    baseline: Baseline
    is_receding: bool = False
    slip: float = 0.0
    observed_for: float = 0.0

    def remaining(self, now: float) -> RemainingTime:
        """Return the time until the end, as uncertain as the end is overdue and has slipped."""
        overdue = max(now - self.end, 0.0)
        drifted = self.drift * max(self.end - self.latest.at, 0.0)
        return RemainingTime(max(self.end - now, 0.0), self.stddev + drifted + overdue + self.slip_at(now))

    def slip_at(self, now: float, moved: float = 0.0) -> float:
        """Return the slip at a time since the latest observation, if the ETA has moved by ``moved`` seconds since then.

        An ETA that moves with the clock slips by a second per second. One that moves half as fast doesn't, since a bias
        explains that, and one that stays regains trust. Old slip counts in inverse proportion to the time observed.
        """
        elapsed = max(now - self.latest.at, 0.0)
        observed_for = self.observed_for + elapsed
        if observed_for == 0:
            return 0.0
        kept = self.slip * self.observed_for / observed_for
        return max(kept + moved / _MAX_EXPLAINED_SPEED - elapsed, 0.0)


def update_eta_estimate(previous: Estimate | None, latest: Observation) -> Estimate:
    """Return the estimate after the server has made an ETA, or changed it."""
    if previous is None:
        return _new_eta_estimate(latest)
    before = previous.latest
    return evolve(
        _revise_eta_estimate(previous, latest),
        slip=previous.slip_at(latest.at, latest.value - before.value),
        observed_for=previous.observed_for + max(latest.at - before.at, 0.0),
    )


def _revise_eta_estimate(previous: Estimate, latest: Observation) -> Estimate:
    before = previous.latest
    if latest.at <= before.at:
        return _new_eta_estimate(latest)
    if abs(latest.value - before.value) > _MAX_SPEED * (latest.at - before.at):
        return _new_eta_estimate(latest, _update_drift(previous, latest.value, latest.at))
    baseline = previous.baseline
    if baseline.next.value - baseline.next.at >= 2 * (latest.value - latest.at):
        baseline = baseline.advance(latest)
    elapsed = latest.at - baseline.observation.at
    measured = (baseline.observation.value - latest.value) / elapsed
    if before.value > latest.at:
        bias, bias_stddev = _combine_with_prior(measured, MIN_STDDEV / elapsed, _PRIOR_BIAS, _PRIOR_BIAS_STDDEV)
    else:  # the previous end has passed without an end, so its distance measures no bias
        bias, bias_stddev = _PRIOR_BIAS, _PRIOR_BIAS_STDDEV
    ahead = latest.value - latest.at
    remaining = max(ahead, 0.0) / (1 + _clamp(bias, _MIN_BIAS, _MAX_BIAS))
    end = latest.at + remaining if ahead > 0 else latest.value
    return Estimate(
        end=end,
        stddev=MIN_STDDEV + bias_stddev * remaining,
        drift=_update_drift(previous, end, latest.at),
        latest=latest,
        baseline=baseline,
        is_receding=measured < _RECEDING_BIAS and baseline.observation != before,
    )


def update_progress_estimate(previous: Estimate | None, latest: Observation, started: float) -> Estimate:
    """Return the estimate after the progress of a job that has run since ``started`` has changed."""
    if previous is None or latest.value < previous.latest.value:
        baseline = Baseline.starting_at(latest)
    else:
        baseline = previous.baseline
        if latest.at - started >= 2 * (baseline.next.at - started):
            baseline = baseline.advance(latest)
    power, power_stddev = _progress_power(baseline.observation, latest, started)
    duration = _elapsed(latest, started) * math.pow(latest.value, -1 / power)
    end = started + duration
    relative_stddev = math.hypot(latest.stddev / latest.value, math.log(latest.value) / power * power_stddev)
    return Estimate(
        end=end,
        stddev=MIN_STDDEV + duration / power * relative_stddev,
        drift=0.0 if previous is None else _update_drift(previous, end, latest.at),
        latest=latest,
        baseline=baseline,
    )


def should_have_reached(estimate: Estimate, fraction: float, started: float, now: float) -> bool:
    """Tell whether the progress would have reached a fraction by now if it went on as before."""
    power, _ = _progress_power(estimate.baseline.observation, estimate.latest, started)
    return (estimate.end - started) * math.pow(fraction, 1 / power) < now - started


def _new_eta_estimate(latest: Observation, drift: float = 0.0) -> Estimate:
    return Estimate(
        end=latest.value,
        stddev=MIN_STDDEV + _PRIOR_BIAS_STDDEV * max(latest.value - latest.at, 0.0),
        drift=drift,
        latest=latest,
        baseline=Baseline.starting_at(latest),
    )


def _update_drift(previous: Estimate, end: float, at: float) -> float:
    unexplained = max(abs(end - previous.end) - previous.stddev, 0.0) / max(at - previous.latest.at, 1.0)
    return previous.drift + _DRIFT_SMOOTHING * (min(unexplained, _MAX_DRIFT) - previous.drift)


def _progress_power(baseline: Observation, latest: Observation, started: float) -> tuple[float, float]:
    """Return the power of time that the progress follows, and its standard deviation."""
    time_ratio = _elapsed(latest, started) / _elapsed(baseline, started)
    if latest.value <= baseline.value or time_ratio < _MIN_TIME_RATIO:
        return _PRIOR_POWER, _PRIOR_POWER_STDDEV
    log_time_ratio = math.log(time_ratio)
    measured = math.log(latest.value / baseline.value) / log_time_ratio
    measured_stddev = (latest.stddev / latest.value + baseline.stddev / baseline.value) / log_time_ratio
    power, stddev = _combine_with_prior(measured, measured_stddev, _PRIOR_POWER, _PRIOR_POWER_STDDEV)
    return _clamp(power, _MIN_POWER, _MAX_POWER), stddev


def _combine_with_prior(measured: float, stddev: float, prior: float, prior_stddev: float) -> tuple[float, float]:
    """Combine a measurement with prior knowledge: each is normal, and weighs the more the less it varies."""
    weight = prior_stddev * prior_stddev / (prior_stddev * prior_stddev + stddev * stddev)
    return prior + weight * (measured - prior), prior_stddev * math.sqrt(1 - weight)


def _elapsed(observation: Observation, started: float) -> float:
    return max(observation.at - started, 0.5)


def _clamp(value: float, lowest: float, highest: float) -> float:
    return min(max(value, lowest), highest)
