"""The live table of releases, as lines fitted to a terminal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from support.cli.sample_jobs import BEGAN, NOW, make_job

from clanforge_async import JobRef, JobState, ReleaseError, ReleaseResult, ReleaseStep, ReleaseToken
from clanforge_async.cli.output.job_view import JobView
from clanforge_async.cli.output.live_view import Frame
from clanforge_async.cli.output.release_table import ReleaseView, render_release_table

TOKEN = "release/1:{}.77.6a9a5b4d-51fad83e-2937013f:update=218000"
UPDATE = JobRef.image_update(218000)


def shown(views: list[ReleaseView], width: int = 80, height: int = 24, **options: Any) -> list[str]:
    frame = evolve(Frame(start=BEGAN, now=NOW, width=width, height=height), **options)
    lines = render_release_table(views, frame)
    assert all(line.cell_len <= width for line in lines)
    assert len(lines) <= max(1, height - 1)
    return [line.plain for line in lines]


def running(image: int, *, has_eta: bool = True) -> ReleaseView:
    eta = NOW + timedelta(seconds=190) if has_eta else None
    job = make_job(JobRef.image_version(1), JobState.RUNNING, id=218000, progress=56, eta=eta)
    return ReleaseView(image, ReleaseStep.UPDATE, "", JobView(UPDATE, job))


def ended(image: int, *, reason: str = "") -> ReleaseView:
    token = ReleaseToken.parse(TOKEN.format(image))
    error = ReleaseError(reason, step=ReleaseStep.UPDATE, token=token) if reason else None
    result = ReleaseResult(
        outcome="failed" if reason else "released", image_id=image, token=token, error=error, elapsed=93.0
    )
    return ReleaseView(image, ReleaseStep.UPDATE if reason else ReleaseStep.ROLLOUT, "", None, result)


def test_a_wide_terminal_shows_the_job() -> None:
    """At 80 columns a row has the image, its step, and the job with its state, progress and end."""
    assert shown([running(501), ReleaseView(502)]) == [
        "IMAGE  STEP",
        "501    update  2/6  image-update/218000  Running    56%  in 3m10s",
        "502    waiting",
        "2 images, 4m05s: 1 update, 1 waiting",
    ]


def test_a_narrow_terminal_leaves_out_the_job() -> None:
    """At 40 columns a row still has the image, its step and the job's state and end; at 30, no end."""
    assert shown([running(501)], 40)[1] == "501   update  Running    56%  in 3m10s"
    assert shown([running(501)], 37)[1] == "501   update  Running 56% in 3m10s"
    assert shown([running(501)], 30)[1] == "501   update  Running 56%"
    assert shown([running(501)], 24)[1] == "501   update  Running 5…"


def test_a_forecast_is_marked() -> None:
    """Without an ETA of the server the end is the forecast's, marked; without either there is none."""
    view = running(501, has_eta=False)
    assert shown([view])[1].endswith("Running    56%")
    assert view.job is not None
    view.job = evolve(view.job, forecast=NOW + timedelta(seconds=190))
    assert shown([view])[1].endswith("Running    56%  in ~3m10s")


def test_a_step_without_a_job_has_a_text() -> None:
    """A step that waits for no job shows what was last seen, such as the counts of machines."""
    view = ReleaseView(501, ReleaseStep.ROLLOUT, "3 pending, 0 failed, 0 completed")
    assert shown([view])[1] == "501    rollout 6/6  3 pending, 0 failed, 0 completed"


def test_a_failure_shows_its_reason() -> None:
    """The row of a release that failed has the reason, escaped, while the others go on."""
    lines = shown([ended(501, reason="disk \x1b[2J full"), ended(502), running(503)], 120)
    assert lines[1] == r"501    update  2/6  failed  1m33s  step update: disk \x1b[2J full"
    assert lines[2] == "502    rollout 6/6  released  1m33s"
    assert lines[-1] == "3 images, 4m05s: 1 failed, 1 released, 1 update"


def test_failures_leave_room_for_running_releases() -> None:
    """If not all images fit, failures take at most half of the lines, and the rest is counted."""
    views = [*(ended(n, reason="disk full") for n in range(1, 21)), *(running(n) for n in range(101, 121))]
    lines = shown([*views, *map(ended, range(201, 221)), ReleaseView(301)], height=14)
    assert sum("failed  " in line for line in lines[1:-2]) == 5
    assert sum("Running" in line for line in lines) == 5
    assert lines[-2].startswith("… and 51 more: 15 failed, ")
    assert lines[-1] == "61 images, 4m05s: 20 failed, 20 released, 20 update, 1 waiting"


@pytest.mark.parametrize("width", [8, 40, 80])
@pytest.mark.parametrize("height", [1, 2, 3, 8, 24])
def test_a_warning_is_seen_on_any_terminal(width: int, height: int) -> None:
    """The lines fit the terminal, and what is wrong with the API stands below the summary."""
    views = [running(501), ended(502, reason="disk full"), *map(ReleaseView, range(600, 640))]
    lines = shown(views, width, height, warning="api:443 fails for 12s: down", ascii_only=True)
    assert any("api:443" in line for line in lines) is (height > 2)


def test_the_last_frame_counts_requests() -> None:
    """The summary of the last frame has the number of requests, on a line of its own if it does not fit."""
    assert shown([running(501)], requests=1)[-1] == "1 image, 4m05s: 1 update; 1 request"
    assert shown([running(501)], 30, requests=12)[-2:] == ["1 image, 4m05s: 1 update", "12 requests"]
