from __future__ import annotations

from typing import Any

import pytest

from clanforge_async import JobKind, JobState, job_from_dict, job_to_dict
from clanforge_async.testing import image_diff_job, image_version_job


@pytest.mark.parametrize("state", JobState)
def test_a_job_is_as_the_api_shows_it(state: JobState) -> None:
    """A job survives conversion to JSON and back, and its start time, progress and error match its state."""
    job = image_version_job(1, state)
    assert job == image_version_job(1, state.name.lower())  # type: ignore[arg-type]
    assert job == job_from_dict(JobKind.IMAGE_VERSION, job_to_dict(job))
    assert (job.started_at is not None) == (state >= JobState.RUNNING)
    assert (job.progress == 100) == job.is_completed
    assert (job.error is not None) == (job.failure_count == 1) == job.is_failed


def test_any_attribute_can_be_given() -> None:
    """Keyword arguments override attributes."""
    job = image_diff_job(5678, "running", progress=80, added={"maps/quarry.pak": {}})
    assert (job.diff_id, job.progress, [*job.added]) == (5678, 80, ["maps/quarry.pak"])


def test_an_unknown_state_raises() -> None:
    """The error lists the states."""
    unknown: Any = "complete"
    with pytest.raises(ValueError, match=r"'complete' is not one of created, .*, squashed$"):
        image_version_job(9012, unknown)
