"""Forecast of a job's end from the samples of its polls. Pure functions; all times are in seconds.

`docs/design/polling.md` explains the calculation.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Self

from attrs import evolve, frozen

from clanforge_async._polling.distributions import LOGISTIC_SCALE, ExpectedDuration, Forecast
from clanforge_async._polling.estimators import (
    MIN_STDDEV,
    Estimate,
    Observation,
    RemainingTime,
    should_have_reached,
    update_eta_estimate,
    update_progress_estimate,
)
from clanforge_async._polling.plain_data import as_list, from_plain, to_plain
from clanforge_async.jobs import Job, JobState

_UNIFORM_STDDEV = 1 / math.sqrt(3)
"""Standard deviation of the uniform distribution from -1 to 1."""

_COMPLETE = 100
_MIN_COARSE_STEP = 5
"""Percent; a smaller common divisor of a few samples may be a coincidence, so it does not count as a step."""

_MAX_CLOCK_JITTER = 60.0
"""Seconds by which the clocks of a server's replicas may differ; a larger step back means that the clock was set."""

_MAX_ROUNDING = 1.0
"""Seconds; an update may be this old and still belong to the response, since the server's times are whole seconds."""

_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1

_MEASURED, _FIRST, _UNCHANGED = 0.9, 1.35, 4.0
"""Factors of an ETA's standard deviation for `job_forecast`. The first is for an ETA that has moved along its line. The
second is for an ETA that had no reason to move yet, and the third for one that should have moved but has not: many
servers make an ETA once, far too early."""

_LONG_WAIT = 120.0
"""Seconds; after a wait of this length, a constant ETA no longer counts as one that should have moved."""

_MAX_BIAS = 0.5
"""Share of the elapsed run by which the ETA from the wait may have moved; if it moved further, the ETA was replaced."""

_START_STDDEV = 0.02
"""Standard deviation, at the start of a run, of an ETA that was made during the wait; as a share of the run."""

_MANY_RESTARTS = 3
"""Number of restarts from which on the start is ignored, since the server keeps moving it."""

_BEFORE_RUNNING = {JobState.CREATED, JobState.PENDING, JobState.QUEUED}


@as_list
@frozen
class Sample:
    """The part of a polled status that the forecast depends on. Times are Unix times by the server's clock.

    The API rounds times down to whole seconds. So each time in whole seconds stands for the middle of its second.

    Attributes:
        now: When the status was sent.
        since: When the job started; before the start, when the job was last updated.
        is_running: Whether the job may have started: its state is none of created, pending and queued.
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
        # A diff that waits for its next run may still show the start and the ETA of its previous run.
        started = None if job.state in _BEFORE_RUNNING else job.started_at
        updated = _timestamp(job.updated_at)
        since = updated if started is None else _timestamp(started)
        eta = None if job.eta is None else _timestamp(job.eta)
        return cls(
            now=_timestamp(server_time),
            since=since,
            is_running=job.state not in _BEFORE_RUNNING,
            progress=0 if started is None else job.progress,
            eta=None if eta is None or eta <= since else eta,
            updated=updated,
        )

    @property
    def age(self) -> float:
        """Seconds that the job has run or waited, at least 1."""
        return max(self.now - self.since, 1.0)


def _timestamp(moment: datetime) -> float:
    return moment.timestamp() + (0.0 if moment.microsecond else 0.5)


@frozen
class ForecastState:
    """The state of the forecast between polls.

    Attributes:
        typical: Expected duration from earlier runs; None if it is unknown.
        last: The latest sample; None before the first.
        eta: Estimate from the ETAs of this run, or of the wait before it; None before the first ETA.
        is_eta_stable: Whether the last two polls showed the same ETA.
        progress: Estimate from the progress of this run; None without progress, or at 100 %.
        step: Percent between two values of this run's progress: their greatest common divisor, or 1 if that is small.
        complete_since: When this run first showed 100 %, by the server's clock.
        restarts: How often the start of the running job has moved, or the job has returned to a waiting state.
        restarting_since: When the first restart was seen, by the server's clock; None before it.
    """

    typical: ExpectedDuration | None = None
    last: Sample | None = None
    eta: Estimate | None = None
    is_eta_stable: bool = False
    progress: Estimate | None = None
    step: int = _COMPLETE
    complete_since: float | None = None
    restarts: int = 0
    restarting_since: float | None = None

    @property
    def unstable_for(self) -> float:
        """Seconds for which the job has restarted repeatedly; 0 if it has restarted only a few times."""
        if self.last is None or self.restarting_since is None or self.restarts < _MANY_RESTARTS:
            return 0.0
        return max(self.last.now - self.restarting_since, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data for JSON. It is short, since an engine stores it at every poll."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, plain: object) -> Self:
        """Read the result of `to_dict`; return an empty state if the data is invalid."""
        return from_plain(cls, plain)


def update_forecast(state: ForecastState, sample: Sample) -> ForecastState:
    """Return the state after one more sample."""
    last = state.last
    if last is not None and sample.now < last.now:
        if sample.now < last.now - _MAX_CLOCK_JITTER:  # the server's clock was set, so earlier times are not comparable
            state, last = ForecastState(typical=state.typical), None
        else:
            sample = evolve(sample, now=last.now)
    if last is not None and _is_new_run(last, sample):
        state = _new_run(state, last, sample)
    elif last is not None and not sample.is_running:  # an update of a waiting job does not start its wait again
        sample = evolve(sample, since=min(last.since, sample.since))

    eta, is_eta_stable = _update_eta(state, sample)
    progress, step, complete_since = None, state.step, None
    if not sample.is_running or sample.progress == 0:
        step = _COMPLETE
    elif sample.progress >= _COMPLETE:
        complete_since = sample.now if state.complete_since is None else state.complete_since
    else:
        step = math.gcd(step, sample.progress)
        if step < _MIN_COARSE_STEP:
            step = 1
        previous = state.progress if step == state.step else None  # earlier observations assumed the larger step
        progress = _update_progress(previous, last, sample, step)
    # The constructor takes a third of the time of attrs.evolve.
    return ForecastState(
        typical=state.typical,
        last=sample,
        eta=eta,
        is_eta_stable=is_eta_stable,
        progress=progress,
        step=step,
        complete_since=complete_since,
        restarts=state.restarts,
        restarting_since=state.restarting_since,
    )


def _new_run(state: ForecastState, last: Sample, sample: Sample) -> ForecastState:
    """Return the state with which a new run or a new wait begins, before its first sample is added."""
    restarts, since = state.restarts, state.restarting_since
    if last.is_running:
        restarts, since = restarts + 1, sample.now if since is None else since
    new = ForecastState(typical=state.typical, restarts=restarts, restarting_since=since)
    if last.is_running or last.eta is None or sample.eta is None or last.eta <= sample.since:
        return new
    if abs(sample.eta - last.eta) > _MAX_BIAS * sample.age:  # the server made a new ETA when the run started
        return new
    # The ETA from the wait counts as an ETA made at the start of the run.
    stddev = max(_START_STDDEV * (last.eta - sample.since), MIN_STDDEV)
    eta = update_eta_estimate(None, Observation(sample.since, last.eta, stddev))
    return evolve(new, eta=eta, is_eta_stable=last.eta == sample.eta)


def _is_new_run(last: Sample, sample: Sample) -> bool:
    return last.is_running != sample.is_running or (sample.is_running and last.since != sample.since)


def _update_eta(state: ForecastState, sample: Sample) -> tuple[Estimate | None, bool]:
    """Return the estimate, and whether the sample shows the same ETA as the previous sample."""
    last = state.last
    if sample.eta is None or (last is None and state.is_eta_stable):
        return state.eta, state.is_eta_stable
    at, value, stddev = _determined_at(last, sample), sample.eta, MIN_STDDEV
    if last is not None and last.eta is not None:
        if last.eta == sample.eta:
            return state.eta, True
        if state.is_eta_stable and at == sample.now:  # the server has changed the ETA since the last poll
            at = (last.now + sample.now) / 2
            moved = abs(sample.eta - last.eta)
            if moved <= _MAX_ROUNDING:  # the ETA moves slowly, and has just crossed a whole second
                value = (sample.eta + last.eta) / 2
            stddev = MIN_STDDEV * max(moved, 1.0)
    return update_eta_estimate(state.eta, Observation(at, value, stddev)), False


def _update_progress(previous: Estimate | None, last: Sample | None, sample: Sample, step: int) -> Estimate:
    if previous is None or last is None:
        return update_progress_estimate(None, _observe_progress(last, sample, step), sample.since)
    if sample.progress != last.progress:
        comparable = None if sample.now == last.now else previous
        return update_progress_estimate(comparable, _observe_progress(last, sample, step), sample.since)
    next_step = (sample.progress + step) / _COMPLETE
    if next_step < 1 and should_have_reached(previous, next_step, sample.since, sample.now):
        # The progress is slower than estimated: at most, it is about to reach its next step.
        return update_progress_estimate(previous, Observation(sample.now, next_step, _step_stddev(step)), sample.since)
    return previous


def _observe_progress(last: Sample | None, sample: Sample, step: int) -> Observation:
    """Return the observation of a progress that has changed since the last poll.

    There are two ways to read it, of which the more precise one is used: the progress reached the shown percentage at
    some time between the last two polls, or its present value is somewhere within the current step.
    """
    at = _determined_at(last, sample)
    if at < sample.now:
        step = 1  # the server reports when the progress changed
    elif last is not None and last.is_running and last.progress < sample.progress:
        half_pause = (sample.now - last.now) / 2
        stddev = half_pause * _UNIFORM_STDDEV / sample.age * sample.progress / _COMPLETE
        if stddev < _step_stddev(step):
            return Observation(sample.now - half_pause, sample.progress / _COMPLETE, stddev)
    return Observation(at, (sample.progress + step / 2) / _COMPLETE, _step_stddev(step))


def _determined_at(last: Sample | None, sample: Sample) -> float:
    """Return when the server determined the shown values: at the job's last update, or now if no update was seen."""
    not_before = sample.since if last is None else max(last.now, sample.since)
    return sample.updated if not_before < sample.updated < sample.now - _MAX_ROUNDING else sample.now


def _step_stddev(step: int) -> float:
    return step / 2 / _COMPLETE * _UNIFORM_STDDEV


def forecast(state: ForecastState) -> Forecast | None:
    """Return the forecast as of the latest sample; None if neither ETA nor progress gives an estimate."""
    last = state.last
    if last is None:
        return None
    remaining, slip = list[RemainingTime](), 0.0
    if state.eta is not None and last.eta is not None and not state.eta.is_receding(last.now):
        remaining.append(state.eta.remaining(last.now))
        slip = state.eta.drift_at(last.now)
    if state.progress is not None:
        remaining.append(state.progress.remaining(last.now))
    elif state.complete_since is not None:
        remaining.append(RemainingTime(0.0, MIN_STDDEV + last.now - state.complete_since))
    return evolve(_combine(*remaining), slip=slip) if remaining else None


@frozen(kw_only=True)
class JobForecast:
    """When a job is expected to end, by the server's clock.

    Attributes:
        p50: The time by which the job ends with a probability of 50 %.
        p90: The time by which the job ends with a probability of 90 %.
    """

    p50: datetime
    p90: datetime


def job_forecast(state: ForecastState) -> JobForecast | None:
    """Return the forecast as of the latest sample; None if neither ETA, progress nor history gives an estimate."""
    last, eta = state.last, state.eta
    if last is None:
        return None
    if eta is not None:
        state = evolve(state, eta=evolve(eta, stddev=_spread(state, eta, last) * eta.stddev))
    expected = forecast(state)
    if expected is not None:
        now = last.now
        return JobForecast(
            p50=_moment(now + expected.quantile(0.5), last), p90=_moment(now + expected.quantile(0.9), last)
        )
    if state.typical is None or not last.is_running:
        return None
    p50, p90 = (last.since + state.typical.quantile(share, last.age) for share in (0.5, 0.9))
    return JobForecast(p50=_moment(p50, last), p90=_moment(p90, last))


def _spread(state: ForecastState, eta: Estimate, last: Sample) -> float:
    if eta.line.is_measured:
        return _MEASURED
    should_have_moved = state.is_eta_stable and (last.is_running or last.age < _LONG_WAIT)
    return _UNCHANGED if should_have_moved else _FIRST


def _moment(timestamp: float, last: Sample) -> datetime:
    return datetime.fromtimestamp(min(max(timestamp, last.now), _LATEST), UTC)


def _combine(first: RemainingTime, second: RemainingTime | None = None) -> Forecast:
    if second is None:
        return Forecast(first.mean, LOGISTIC_SCALE * first.stddev)
    weight = second.stddev * second.stddev / (first.stddev * first.stddev + second.stddev * second.stddev)
    mean = weight * first.mean + (1 - weight) * second.mean
    variance = weight * first.stddev * first.stddev
    disagreement = weight * (1 - weight) * (first.mean - second.mean) ** 2
    return Forecast(mean, LOGISTIC_SCALE * math.sqrt(variance + disagreement))
