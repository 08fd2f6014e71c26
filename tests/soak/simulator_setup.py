"""Sets up the simulator from the schedule and the recorded retries, so that a new server continues the previous one."""

from __future__ import annotations

import time
from collections.abc import Iterable

from support.simulator.calling import http_client

from clanforge_async import JobKind
from clanforge_async.simulator import Run, Simulator
from soak.records import RetryRecord
from soak.schedule import ScheduledJob, all_jobs
from soak.settings import Settings

FAILED_BEFORE = 60.0
"""Seconds before the start at which the diffs to be retried have failed."""


class Clock:
    """The system clock, or a fixed time while past events are replayed."""

    def __init__(self) -> None:
        self.fixed_time: float | None = None

    def __call__(self) -> float:
        return time.time() if self.fixed_time is None else self.fixed_time


async def rebuild_simulator(settings: Settings, retries: Iterable[RetryRecord]) -> Simulator:
    """Return a simulator with all scheduled jobs, after replaying these retries at their recorded times."""
    clock = Clock()
    simulator = Simulator(seed=settings.seed, clock=clock, quirks=True)
    for job in all_jobs(settings):
        clock.fixed_time = settings.start + (-FAILED_BEFORE if job.is_retried else job.created_at)
        _add(simulator, job)
    async with http_client(simulator) as http:
        for retry in retries:
            clock.fixed_time = retry.at
            (await http.get(f"/cfp/v1/imagediff/{retry.diff_id}/retry")).raise_for_status()
    clock.fixed_time = None
    return simulator


def _add(simulator: Simulator, job: ScheduledJob) -> None:
    queued_for = job.queued_fraction * job.duration
    run = Run(duration=job.duration - queued_for, queued_for=queued_for, outcome=job.outcome, fails_at=1.0)
    if job.is_retried:
        simulator.add_image_diff(job.ref.id, duration=1.0, outcome="failed", retries=[run])
        return
    add = simulator.add_image_diff if job.ref.kind is JobKind.IMAGE_DIFF else simulator.add_image_version
    add(job.ref.id, duration=run.duration, queued_for=queued_for, outcome=run.outcome, fails_at=1.0)
