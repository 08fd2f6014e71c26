"""Factories of jobs, for tests that need no server."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from clanforge_async.jobs import ImageDiffJob, ImageVersionJob, JobState
from clanforge_async.refs import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping

State: TypeAlias = JobState | Literal["created", "pending", "queued", "running", "completed", "failed", "squashed"]

_CREATED = EPOCH + timedelta(seconds=1_767_225_600)  # the start of 2026
_PROGRESS = {JobState.RUNNING: 50, JobState.COMPLETED: 100, JobState.FAILED: 50, JobState.SQUASHED: 50}


def image_version_job(id: int = 9012, state: State = "completed", **fields: Any) -> ImageVersionJob:  # noqa: A002
    """Return an image version job in a state, with a matching start time, progress and error.

    Args:
        id: The image version's id.
        state: The state or its name.
        **fields: Attributes of `ImageVersionJob` to override.

    Raises:
        ValueError: The state is unknown.
    """
    return ImageVersionJob(**_job_fields(id, state, fields))


def image_diff_job(id: int = 5678, state: State = "completed", **fields: Any) -> ImageDiffJob:  # noqa: A002
    """Return an image diff job in a state, as `image_version_job` does, with the attributes of `ImageDiffJob`."""
    return ImageDiffJob(**_job_fields(id, state, fields))


def _job_fields(job_id: int, state: State, fields: Mapping[str, Any]) -> dict[str, Any]:
    state = _state(state)
    failed = state is JobState.FAILED
    defaults = {
        "id": job_id,
        "state": state,
        "created_at": _CREATED,
        "started_at": _CREATED + timedelta(seconds=10) if state >= JobState.RUNNING else None,
        "updated_at": _CREATED + timedelta(minutes=5),
        "progress": _PROGRESS.get(state, 0),
        "failure_count": int(failed),
        "error": "build machine ran out of disk space" if failed else None,
    }
    return {**defaults, **fields}


def _state(state: State) -> JobState:
    if isinstance(state, JobState):
        return state
    try:
        return JobState[state.upper()]
    except KeyError:
        msg = f"{state!r} is not one of {', '.join(valid.name.lower() for valid in JobState)}"
        raise ValueError(msg) from None
