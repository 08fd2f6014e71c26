from __future__ import annotations

from typing import Any

import pytest

from clanforge_async import JobKind, JobState, job_from_dict, job_to_dict
from clanforge_async.testing import image_diff_job, image_version_job


@pytest.mark.parametrize("state", JobState)
def test_a_job_is_made_as_the_api_would_show_it(state: JobState) -> None:
    """What is made is a job that the wire can carry, and that a start, a progress and an error go with."""
    job = image_version_job(1, state)
    assert job == image_version_job(1, state.name.lower())  # type: ignore[arg-type]
    assert job == job_from_dict(JobKind.IMAGE_VERSION, job_to_dict(job))
    assert (job.started_at is not None) == (state >= JobState.RUNNING)
    assert (job.progress == 100) == job.is_completed
    assert (job.error is not None) == (job.failure_count == 1) == job.is_failed


def test_what_matters_is_said() -> None:
    """Any attribute can be given."""
    job = image_diff_job(5678, "running", progress=80, added={"maps/quarry.pak": {}})
    assert (job.diff_id, job.progress, [*job.added]) == (5678, 80, ["maps/quarry.pak"])


def test_a_misspelt_state_is_refused() -> None:
    """The complaint lists the states that there are."""
    misspelt: Any = "complete"
    with pytest.raises(ValueError, match=r"'complete' is none of created, .*, squashed$"):
        image_version_job(9012, misspelt)
