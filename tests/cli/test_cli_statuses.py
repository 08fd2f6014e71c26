"""``clanforge status``: jobs side by side, or one described."""

from __future__ import annotations

import io
import re
import sys
from datetime import timedelta

import pytest
from support.cli.harness import Clanforge, OverrideFields
from support.cli.sample_jobs import NOW, ago, make_job

from clanforge_async import ImageDiffDetails, JobRef, JobState
from clanforge_async.cli.status import JobStatus, describe, render_table
from clanforge_async.simulator import Envelope, Simulator


def test_several_jobs_are_a_table(simulator: Simulator, clanforge: Clanforge) -> None:
    """Each reference has a row, in the order given, and the highest exit status counts."""
    simulator.add_image_version(1, duration=0)
    simulator.add_image_diff(5, duration=0, outcome="failed", error="disk full")
    finished = clanforge("status", "image-version/1", "image-diff/5", "image-diff/6")
    assert finished.status == 6
    headings, completed, failed, unknown = finished.lines
    assert headings.split() == ["JOB", "STATE", "PROGRESS", "UPDATED", "ESTIMATED", "END"]
    assert re.fullmatch(r"image-version/1  Completed  100 %     \ds ago", completed)
    assert re.fullmatch(r"image-diff/5     Failed     \d+ % +\ds ago   disk full", failed)
    assert unknown.startswith("image-diff/6     error: not found (HTTP 404")
    assert finished.err == (
        "error: of 3 jobs, 1 failed or squashed and 1 could not be read; "
        "check the ID, the account service ID and the base URL\n"
    )
    assert clanforge("status", "image-version/1", "image-diff/5").status == 1
    simulator.add_image_version(2, duration=0)
    completed_jobs = clanforge("status", "image-version/1", "image-version/2")
    assert (completed_jobs.status, completed_jobs.err) == (0, "")


def test_references_come_from_stdin(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-`` reads references from stdin, and --json prints an object for each."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setattr(sys, "stdin", io.StringIO("image-version/1\nimage-version/2\n"))
    finished = clanforge("status", "-", "--json")
    status, error = finished.records
    assert (status["event"], status["ref"], status["state"]) == ("status", "image-version/1", "completed")
    assert (error["event"], error["ref"], error["error_type"]) == ("error", "image-version/2", "NotFoundError")
    assert finished.status == 6
    assert clanforge("status", "image-version/1", "image-diff/7", "--quiet").out == ""


def test_a_single_job_is_described(simulator: Simulator, clanforge: Clanforge) -> None:
    """For a single job everything is shown, including details that need their own request."""
    simulator.add_image_diff(5, duration=0)
    finished = clanforge("status", "image-diff/5")
    assert finished.status == 0
    assert finished.lines[0] == "image-diff/5"
    names = [line[2:].partition("  ")[0] for line in finished.lines[1:]]
    for name in ("state", "progress", "created", "started", "updated", "estimated end", "ran for", "failures", "error"):
        assert name in names
    for name in ("added files", "game", "machine", "image"):
        assert name in names


def test_a_single_failed_job_is_status_1(simulator: Simulator, clanforge: Clanforge) -> None:
    """A failed job's reason is printed once: on stdout, or with --quiet on stderr. JSON tells a failed read too."""
    simulator.add_image_version(1, duration=0, outcome="failed", error="disk full")
    finished = clanforge("status", "image-version/1")
    assert (finished.status, finished.err) == (1, "error: image-version/1 failed\n")
    assert "disk full" in finished.out
    assert clanforge("status", "image-version/1", "--quiet").err == "error: image-version/1 failed: disk full\n"
    simulator.faults.add(Envelope("forbidden", status=403))
    assert clanforge("status", "image-version/1").status == 4
    finished = clanforge("status", "image-version/1", "--json")
    assert [(record["event"], record["ref"]) for record in finished.records] == [("error", "image-version/1")]
    assert finished.records[0]["error_type"] == "PermissionDeniedError"


def test_the_table_shows_estimates_and_previous_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last column has the estimated end, or says why there is none."""
    monkeypatch.setenv("TZ", "UTC")
    ref = JobRef.image_diff(5)
    stale = JobRef(ref.kind, 5, NOW)
    jobs = [
        (ref, make_job(ref, JobState.RUNNING, eta=NOW + timedelta(seconds=65), progress=40)),
        (ref, make_job(ref, JobState.QUEUED)),
        (stale, make_job(ref, JobState.FAILED)),
        (ref, make_job(ref, JobState.RUNNING, updated_at=ago(-5))),
    ]
    lines = render_table([JobStatus(asked, job, None) for asked, job in jobs], NOW)
    assert lines[1].endswith(" in 1m05s")
    assert lines[2].endswith("12s ago  no estimate")
    assert lines[3].endswith("the previous run is still shown")
    assert "now      no estimate" in lines[4]


def test_a_description_names_what_is_unknown() -> None:
    """A description names the fields that the server has not sent, and the previous run."""
    ref = JobRef(JobRef.image_diff(5).kind, 5, NOW)
    details = ImageDiffDetails(game={"id": 7, "name": "Deep Harbour"})
    job = make_job(ref, None, state_id=None, state_name="Frobnicating", details=details, eta=ago(120))
    text = "\n".join(describe(job, ref, NOW))
    for line in (
        "state           Frobnicating (no number, 'Frobnicating')",
        "run             the previous one: not updated since 2026-05-01T12:00:00Z",
        "started         not yet",
        "estimated end   2026-05-01T11:58:00Z (overdue 2m)",
        "game            id 7, name Deep Harbour",
        "machine         not sent",
    ):
        assert line in text


def test_a_running_job_is_status_0(simulator: Simulator, clanforge: Clanforge) -> None:
    """A job that was read and has not failed is status 0."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(OverrideFields.running(40))
    assert clanforge("status", "image-version/1").status == 0
