"""The schedule of jobs: each worker watches a sequence of jobs, and the next watch starts as the previous one ends."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from attrs import frozen

from clanforge_async import JobKind, JobRef
from clanforge_async.simulator import Outcome
from soak.settings import Settings

MIN_DURATION, MAX_DURATION = 1 / 15, 2 / 5
"""Duration of a job, as a fraction of the run."""

STEADY_FRACTION = 0.9
"""Fraction of the run during which all workers have jobs."""

_IDS_PER_WORKER = 1_000
"""Job ids of worker N start at N times this number."""

_RETRIED_SHARE, _VERSION_SHARE = 0.25, 0.5
_OUTCOMES: tuple[Outcome, ...] = ("completed", "completed", "failed", "squashed")


@frozen(kw_only=True)
class ScheduledJob:
    """A job to be watched until it ends.

    Attributes:
        ref: Reference of the job.
        created_at: Creation, in seconds since the start of the run.
        duration: Seconds from the creation, or from the retry if it is retried, to the end.
        queued_fraction: Fraction of the duration spent in the queue.
        outcome: Outcome of the job.
        is_retried: Whether it is an image diff that failed before the run and is retried first.
    """

    ref: JobRef
    created_at: float
    duration: float
    queued_fraction: float
    outcome: Outcome
    is_retried: bool


def all_jobs(settings: Settings) -> Iterator[ScheduledJob]:
    """Yield the jobs of all workers."""
    return itertools.chain.from_iterable(worker_jobs(settings, number) for number in range(1, settings.watches + 1))


def worker_jobs(settings: Settings, number: int) -> Iterator[ScheduledJob]:
    """Yield the jobs of one worker; each is created as the previous one ends."""
    rng = random.Random(f"{settings.seed}/{number}")
    whole = settings.seconds
    shortest, longest = MIN_DURATION * whole, MAX_DURATION * whole
    worker_end = whole * rng.uniform(STEADY_FRACTION, 1.0)
    job_end = 0.0
    for position in itertools.count(1):
        created_at = job_end
        # The first job of a worker may be shorter than the others, so that workers don't run in step.
        job_end += rng.uniform(shortest if position > 1 else 0.0, longest)
        if job_end > worker_end - shortest:
            job_end = worker_end
        yield _random_job(rng, number * _IDS_PER_WORKER + position, created_at, job_end - created_at)
        if job_end == worker_end:
            return


def _random_job(rng: random.Random, job_id: int, created_at: float, duration: float) -> ScheduledJob:
    number = rng.random()
    is_version = _RETRIED_SHARE <= number < _RETRIED_SHARE + _VERSION_SHARE
    return ScheduledJob(
        ref=JobRef(JobKind.IMAGE_VERSION if is_version else JobKind.IMAGE_DIFF, job_id),
        created_at=created_at,
        duration=duration,
        queued_fraction=rng.uniform(0.0, 0.3),
        outcome=rng.choice(_OUTCOMES),
        is_retried=number < _RETRIED_SHARE,
    )
