"""Sample jobs, views, states and results at a fixed time, for tests of outputs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from clanforge_async import (
    ImageDiffJob,
    ImageVersionJob,
    Job,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobState,
    WatchResult,
    WatchTimeoutError,
)
from clanforge_async.cli.output.job_states import JobStates
from clanforge_async.cli.output.job_view import JobView

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=4, seconds=5)


def ago(seconds: float) -> datetime:
    """Return a time before NOW, or after it if the seconds are negative."""
    return NOW - timedelta(seconds=seconds)


def make_job(ref: JobRef, state: JobState | None, **fields: Any) -> Job:
    """Return a job that was created at the start of the watch; arguments override its other fields."""
    usual = {"id": ref.id, "state": state, "created_at": BEGAN, "updated_at": ago(12)}
    return (ImageVersionJob if ref.kind == "image-version" else ImageDiffJob)(**{**usual, **fields})


def ended_result(ref: JobRef, state: JobState, **fields: Any) -> WatchResult:
    """Return the result of a watch whose job ended."""
    at_end = make_job(ref, state, **{"progress": 100, "started_at": BEGAN, **fields})
    raised = {JobState.FAILED: JobFailedError, JobState.SQUASHED: JobSquashedError}.get(state)
    return WatchResult(ref=ref, job=at_end, error=raised and raised(at_end), polls=7, elapsed=93.4)


def timed_out_result(ref: JobRef) -> WatchResult:
    """Return the result of a watch that timed out without a response."""
    return WatchResult(ref=ref, job=None, error=WatchTimeoutError(ref), polls=0, elapsed=5.0)


def job_view(ref: JobRef, state: JobState | None = JobState.RUNNING, **fields: Any) -> JobView:
    """Return the view of a job that has not ended."""
    return JobView(ref, make_job(ref, state, **fields))


def version_view(job_id: int, state: JobState | None = JobState.RUNNING, **fields: Any) -> JobView:
    """Return the view of an image version's job."""
    return job_view(JobRef.image_version(job_id), state, **fields)


def forecast_view(diff_id: int, forecast: datetime, **fields: Any) -> JobView:
    """Return the view of a running image diff whose server gives no ETA."""
    return evolve(job_view(JobRef.image_diff(diff_id), **fields), forecast=forecast)


def finished_view(result: WatchResult) -> JobView:
    """Return the view of a job whose watch ended."""
    return JobView(result.ref, result.job, result)


def sample_views() -> list[JobView]:
    """Return the views of 12 jobs in most possible situations."""
    error = "build machine ran out of disk space"
    return [
        finished_view(ended_result(JobRef.image_version(9001), JobState.COMPLETED)),
        version_view(9002, progress=88, eta=ago(-21), updated_at=ago(4)),
        version_view(9003, progress=64, eta=ago(-95), updated_at=ago(9)),
        finished_view(ended_result(JobRef.image_version(9004), JobState.FAILED, progress=62, error=error)),
        version_view(9005, progress=97, eta=ago(190), updated_at=ago(201)),
        version_view(9006, progress=31, eta=ago(-610), updated_at=ago(744)),
        version_view(9007, JobState.QUEUED, eta=ago(-1500), updated_at=ago(52)),
        finished_view(ended_result(JobRef.image_diff(5001), JobState.COMPLETED)),
        finished_view(ended_result(JobRef.image_diff(5002), JobState.SQUASHED, progress=40)),
        forecast_view(5003, ago(-4000), progress=15, updated_at=ago(31)),
        job_view(JobRef.image_diff(5004), JobState.QUEUED, updated_at=ago(58)),
        job_view(JobRef.image_diff(5005), JobState.QUEUED, updated_at=ago(35)),
    ]


def job_states(ref: JobRef, *snapshots: Job, result: WatchResult | None = None) -> JobStates:
    """Return the states of a job with these snapshots."""
    states = JobStates(ref, result=result)
    for snapshot in snapshots:
        states.update(snapshot)
    return states


def sample_job_states(count: int) -> Iterator[JobStates]:
    """Return the states of ``count`` jobs; every seventh failed, and some have not ended."""
    for number in range(count):
        ref = JobRef.image_version(9000 + number)
        began, runs = 240 - number % 40, 20 + number * 37 % 160
        created, started = ago(began), ago(began - number % 4 * 5)
        queued = make_job(ref, JobState.QUEUED, created_at=created, updated_at=created + (started - created) / 2)
        running = make_job(ref, JobState.RUNNING, created_at=created, started_at=started, updated_at=started)
        last = started + timedelta(seconds=runs)
        if last > NOW:
            yield job_states(ref, queued, running)
            continue
        state = JobState.COMPLETED if number % 7 else JobState.FAILED
        error = None if number % 7 else "lost the connection to the <build> machine"
        result = ended_result(ref, state, created_at=created, started_at=started, updated_at=last, error=error)
        assert result.job is not None
        yield job_states(ref, queued, running, result.job, result=result)
