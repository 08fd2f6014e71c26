"""Snapshots: a plan at one moment, as a job of the SDK."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import EPOCH
from clanforge_async.simulator import plans

if TYPE_CHECKING:
    from clanforge_async.simulator.plans import Plan

AnyJob = TypeVar("AnyJob", bound=Job)


def snapshot(plan: Plan, cls: type[AnyJob], job_id: int, now: float) -> AnyJob:
    """Return what the server knows of a job at a moment, in whole seconds as it counts them."""
    state = plans.stage_at(plan, now).state
    eta = plans.estimate_at(plan, now)
    return cls(
        id=job_id,
        state=state,
        created_at=_moment(plan.created),
        updated_at=_moment(max(plans.updated_at(plan, now), plan.not_before)),
        started_at=_moment(plan.started) if state >= JobState.RUNNING else None,
        eta=None if eta is None else _moment(eta),
        progress=plans.progress_at(plan, now),
        failure_count=plan.failures + (state is JobState.FAILED),
        error=plan.error if state.is_terminal else None,
    )


def _moment(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=math.floor(seconds))
