"""Forecast of a job's end from the samples that its polls brought: pure functions, all times in seconds.

`docs/design/polling.md` explains the calculation.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Self

from attrs import evolve, frozen
from cattrs import ClassValidationError, Converter

from clanforge_async._polling.estimators import (
    MIN_STDDEV,
    Estimate,
    Observation,
    RemainingTime,
    should_have_reached,
    update_eta_estimate,
    update_progress_estimate,
)
from clanforge_async.jobs import Job, JobState

_LOGISTIC_SCALE = math.sqrt(3) / math.pi
"""Scale of the logistic distribution whose standard deviation is 1."""

_UNIFORM_STDDEV = 1 / math.sqrt(3)
"""Standard deviation of the uniform distribution from -1 to 1."""

_COMPLETE = 100
_MIN_COARSE_STEP = 5
"""Percent; a few samples may all be multiples of a smaller step by chance."""

_MAX_CLOCK_JITTER = 60.0
"""Seconds by which the clocks of a server's replicas may differ; one further back was set."""

_BEFORE_RUNNING = {JobState.CREATED, JobState.PENDING, JobState.QUEUED}


@frozen
class Sample:
    """The part of a polled status that the forecast depends on; moments are Unix times by the server's clock.

    Attributes:
        now: When the status was sent.
        since: When the job started; before that, when it was last updated.
        is_running: Whether it has started.
        progress: Percentage from 0 to 100; 0 if the start is unknown.
        eta: The server's expected end of this run, if it has one.
        updated: When the job was last updated.
    """

    now: float
    since: float
    is_running: bool
    progress: int
    eta: float | None
    updated: float

    @classmethod
    def of(cls, job: Job, server_time: datetime) -> Self:
        """Return the sample of a job that was polled at a server time."""
        # A diff that waits to run again may still show when its last run started, and that run's ETA.
        started = None if job.state in _BEFORE_RUNNING else job.started_at
        updated = job.updated_at.timestamp()
        since = updated if started is None else started.timestamp()
        eta = None if job.eta is None else job.eta.timestamp()
        return cls(
            now=server_time.timestamp(),
            since=since,
            is_running=started is not None or job.state is JobState.RUNNING,
            progress=0 if started is None else job.progress,
            eta=None if eta is None or eta <= since else eta,
            updated=updated,
        )

    @property
    def age(self) -> float:
        """Seconds that the job has run or waited, at least 1."""
        return max(self.now - self.since, 1.0)


@frozen
class ForecastState:
    """Everything that the forecast keeps of earlier polls.

    Attributes:
        last: The latest sample; None before the first.
        eta: Estimate from the server's ETAs; None before the first.
        progress: Estimate from the progress of this run; None without progress, or at 100 %.
        step: Greatest common divisor of this run's progress percentages.
        complete_since: When this run first showed 100 %, by the server's clock.
    """

    last: Sample | None = None
    eta: Estimate | None = None
    progress: Estimate | None = None
    step: int = _COMPLETE
    complete_since: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data, fit for JSON: short, since an engine stores it at every poll."""
        plain: dict[str, Any] = _CONVERTER.unstructure(self)
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> Self:
        """Read the result of `to_dict`. Unknown entries are ignored, and missing ones take their defaults.

        If the rest cannot be read, since another release wrote it, the state is an empty one.
        """
        try:
            return _CONVERTER.structure(plain, cls)
        except (ClassValidationError, ValueError, TypeError, AttributeError):
            return cls()


def _observation_to_plain(observation: Observation) -> tuple[float, ...]:
    plain = observation.at, observation.value, observation.stddev
    return plain if observation.stddev else plain[:2]


def _read_observation(plain: Any, _type: type[Observation]) -> Observation:
    return Observation(*map(float, plain))


_CONVERTER = Converter(omit_if_default=True)
_CONVERTER.register_unstructure_hook(Observation, _observation_to_plain)
_CONVERTER.register_structure_hook(Observation, _read_observation)


def update_forecast(state: ForecastState, sample: Sample) -> ForecastState:
    """Return the state after one more sample."""
    last = state.last
    if last is not None and sample.now < last.now:
        if sample.now < last.now - _MAX_CLOCK_JITTER:  # the server's clock was set, so nothing before it compares
            state, last = ForecastState(), None
        else:
            sample = evolve(sample, now=last.now)
    if last is not None and _is_new_run(last, sample):
        state = ForecastState(eta=_eta_for_new_run(state.eta))
    elif last is not None and not sample.is_running:  # updates while a job waits don't make its wait any shorter
        sample = evolve(sample, since=min(last.since, sample.since))

    eta = _update_eta(state.eta, last, sample)
    if not sample.is_running or sample.progress == 0:
        return ForecastState(last=sample, eta=eta)
    if sample.progress >= _COMPLETE:
        complete_since = sample.now if state.complete_since is None else state.complete_since
        return ForecastState(last=sample, eta=eta, step=state.step, complete_since=complete_since)
    step = math.gcd(state.step, sample.progress)
    progress = _update_progress(state.progress, last, sample, step if step >= _MIN_COARSE_STEP else 1)
    return ForecastState(last=sample, eta=eta, progress=progress, step=step)


def _is_new_run(last: Sample, sample: Sample) -> bool:
    return last.is_running != sample.is_running or (sample.is_running and last.since != sample.since)


def _eta_for_new_run(eta: Estimate | None) -> Estimate | None:
    """Return the estimate with which a run starts: that its ETA moved with the clock before says nothing about it."""
    return None if eta is None or eta.is_receding else evolve(eta, slip=0.0)


def _update_eta(previous: Estimate | None, last: Sample | None, sample: Sample) -> Estimate | None:
    if sample.eta is None or (previous is not None and previous.latest.value == sample.eta):
        return previous
    at = _determined_at(last, sample)
    if last is not None and previous is not None and previous.latest.at < last.now and at == sample.now:
        at = (last.now + sample.now) / 2  # it was stable until the last poll, so the server changed it since then
    return update_eta_estimate(previous, Observation(at, sample.eta))


def _update_progress(previous: Estimate | None, last: Sample | None, sample: Sample, step: int) -> Estimate:
    if previous is None or last is None:
        return update_progress_estimate(None, _observe_progress(last, sample, step), sample.since)
    if sample.progress != last.progress:
        comparable = None if sample.now == last.now else previous
        return update_progress_estimate(comparable, _observe_progress(last, sample, step), sample.since)
    next_step = (sample.progress + step) / _COMPLETE
    if next_step < 1 and should_have_reached(previous, next_step, sample.since, sample.now):
        # The progress is late: at best it is just about to reach its next step.
        return update_progress_estimate(previous, Observation(sample.now, next_step, _step_stddev(step)), sample.since)
    return previous


def _observe_progress(last: Sample | None, sample: Sample, step: int) -> Observation:
    """Return the observation of a progress that has just changed, in the more precise of two ways.

    Either it reached the shown percentage somewhere between the last two polls, or it is somewhere within its step now.
    """
    at = _determined_at(last, sample)
    if at < sample.now:
        step = 1  # the server tells when the progress changed
    elif last is not None and last.is_running and last.progress < sample.progress:
        half_pause = (sample.now - last.now) / 2
        stddev = half_pause * _UNIFORM_STDDEV / sample.age * sample.progress / _COMPLETE
        if stddev < _step_stddev(step):
            return Observation(sample.now - half_pause, sample.progress / _COMPLETE, stddev)
    return Observation(at, (sample.progress + step / 2) / _COMPLETE, _step_stddev(step))


def _determined_at(last: Sample | None, sample: Sample) -> float:
    """Return when the server determined the shown values: at the job's last update, if that is since the last poll."""
    not_before = sample.since if last is None else max(last.now, sample.since)
    return sample.updated if not_before < sample.updated < sample.now else sample.now


def _step_stddev(step: int) -> float:
    return step / 2 / _COMPLETE * _UNIFORM_STDDEV


@frozen
class Forecast:
    """The time until a job's end, as a logistic distribution.

    Attributes:
        seconds: The distribution's mean; 0 if the end is overdue.
        scale: The distribution's scale.
        slip: Seconds by which the ETA has moved along with the clock; 0 if it doesn't count.
    """

    seconds: float
    scale: float
    slip: float = 0.0


def forecast(state: ForecastState) -> Forecast | None:
    """Return the forecast as of the latest sample; None if neither ETA nor progress says anything."""
    last = state.last
    if last is None:
        return None
    remaining, slip = list[RemainingTime](), 0.0
    if state.eta is not None and last.eta is not None and not state.eta.is_receding:
        remaining.append(state.eta.remaining(last.now))
        slip = state.eta.slip_at(last.now)
    if state.progress is not None:
        remaining.append(state.progress.remaining(last.now))
    elif state.complete_since is not None:
        remaining.append(RemainingTime(0.0, MIN_STDDEV + last.now - state.complete_since))
    return evolve(_combine(*remaining), slip=slip) if remaining else None


def _combine(first: RemainingTime, second: RemainingTime | None = None) -> Forecast:
    if second is None:
        return Forecast(first.mean, _LOGISTIC_SCALE * first.stddev)
    weight = second.stddev * second.stddev / (first.stddev * first.stddev + second.stddev * second.stddev)
    mean = weight * first.mean + (1 - weight) * second.mean
    variance = weight * first.stddev * first.stddev
    disagreement = weight * (1 - weight) * (first.mean - second.mean) ** 2
    return Forecast(mean, _LOGISTIC_SCALE * math.sqrt(variance + disagreement))
