"""States of watches and results of polls, for tests of the decisions and of the plain data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from clanforge_async import ClanforgeError, ImageDiffJob, ImageVersionJob, Job, JobRef, JobState
from clanforge_async._watching.decisions import PollResult
from clanforge_async._watching.state import WatchState

NOW = datetime(2025, 11, 22, tzinfo=UTC)
BEGAN = 100.0
RETRIED = JobRef.image_diff(5678, newer_than=NOW)


def version(state: JobState | None = JobState.RUNNING, **fields: Any) -> ImageVersionJob:
    usual: dict[str, Any] = {"id": 9012, "state": state, "created_at": NOW, "updated_at": NOW}
    return ImageVersionJob(**(usual | fields))


def diff(state: JobState | None = JobState.RUNNING, updated: float = 0.0, **fields: Any) -> ImageDiffJob:
    updated_at = NOW + timedelta(seconds=updated)
    return ImageDiffJob(id=5678, state=state, created_at=NOW, updated_at=updated_at, **fields)


def initial_state(ref: JobRef | None = None, **known: Any) -> WatchState:
    return WatchState(ref=ref or JobRef.image_version(9012), began=BEGAN, **known)


def seen(result: Job | ClanforgeError, at: float = BEGAN) -> PollResult:
    return PollResult(seen=result, at=at, server_time=NOW)
