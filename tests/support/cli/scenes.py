"""Jobs at a moment that never changes, for what is shown of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

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
    """Return a moment before the scene's; a negative number makes it one to come."""
    return NOW - timedelta(seconds=seconds)


def job(ref: JobRef, state: JobState | None, **fields: Any) -> Job:
    """Return a job that was created when the watch began, unless its fields say otherwise."""
    usual = {"id": ref.id, "state": state, "created_at": BEGAN, "updated_at": ago(12)}
    return (ImageVersionJob if ref.kind == "image-version" else ImageDiffJob)(**{**usual, **fields})


def ended(ref: JobRef, state: JobState, **fields: Any) -> WatchResult:
    """Return the result of a watch that saw its job end."""
    at_end = job(ref, state, **{"progress": 100, "started_at": BEGAN, **fields})
    raised = {JobState.FAILED: JobFailedError, JobState.SQUASHED: JobSquashedError}.get(state)
    return WatchResult(ref=ref, job=at_end, error=raised and raised(at_end), polls=7, elapsed=93.4)


def timed_out(ref: JobRef) -> WatchResult:
    """Return the result of a watch that got no answer in time."""
    return WatchResult(ref=ref, job=None, error=WatchTimeoutError(ref), polls=0, elapsed=5.0)


def track(ref: JobRef, state: JobState | None = JobState.RUNNING, **fields: Any) -> JobView:
    """Return what is known of a job that goes on."""
    return JobView(ref, job(ref, state, **fields))


def version(job_id: int, state: JobState | None = JobState.RUNNING, **fields: Any) -> JobView:
    """Return what is known of an image version's job."""
    return track(JobRef.image_version(job_id), state, **fields)


def over(result: WatchResult) -> JobView:
    """Return what is known of a job whose watch has ended."""
    return JobView(result.ref, result.job, result)


def deployment() -> list[JobView]:
    """Return a dozen jobs in most situations that there are."""
    error = "build machine ran out of disk space"
    return [
        over(ended(JobRef.image_version(9001), JobState.COMPLETED)),
        version(9002, progress=88, eta=ago(-21), updated_at=ago(4)),
        version(9003, progress=64, eta=ago(-95), updated_at=ago(9)),
        over(ended(JobRef.image_version(9004), JobState.FAILED, progress=62, error=error)),
        version(9005, progress=97, eta=ago(190), updated_at=ago(201)),
        version(9006, progress=31, eta=ago(-610), updated_at=ago(744)),
        version(9007, JobState.QUEUED, eta=ago(-1500), updated_at=ago(52)),
        over(ended(JobRef.image_diff(5001), JobState.COMPLETED)),
        over(ended(JobRef.image_diff(5002), JobState.SQUASHED, progress=40)),
        track(JobRef.image_diff(5003), progress=15, eta=ago(-4000), updated_at=ago(31)),
        track(JobRef.image_diff(5004), JobState.QUEUED, updated_at=ago(58)),
        track(JobRef.image_diff(5005), JobState.QUEUED, updated_at=ago(35)),
    ]


def history(ref: JobRef, *seen: Job, result: WatchResult | None = None) -> JobStates:
    """Return what became of a job that was seen like this."""
    known = JobStates(ref, result=result)
    for snapshot in seen:
        known.update(snapshot)
    return known


def histories(count: int) -> Iterator[JobStates]:
    """Return what became of so many jobs; each seventh of them failed, and some have not ended."""
    for number in range(count):
        ref = JobRef.image_version(9000 + number)
        began, runs = 240 - number % 40, 20 + number * 37 % 160
        created, started = ago(began), ago(began - number % 4 * 5)
        queued = job(ref, JobState.QUEUED, created_at=created, updated_at=created + (started - created) / 2)
        running = job(ref, JobState.RUNNING, created_at=created, started_at=started, updated_at=started)
        last = started + timedelta(seconds=runs)
        if last > NOW:
            yield history(ref, queued, running)
            continue
        state = JobState.COMPLETED if number % 7 else JobState.FAILED
        error = None if number % 7 else "lost the connection to the <build> machine"
        result = ended(ref, state, created_at=created, started_at=started, updated_at=last, error=error)
        assert result.job is not None
        yield history(ref, queued, running, result.job, result=result)
