from __future__ import annotations

import os
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.cli.harness import CallAndHang, Clanforge
from support.cli.sample_jobs import (
    BEGAN,
    NOW,
    ago,
    ended_result,
    job_states,
    make_job,
    sample_job_states,
    timed_out_result,
)

from clanforge_async import JobRef, JobState
from clanforge_async.cli.output.files import write_atomically
from clanforge_async.cli.output.job_states import JobStates
from clanforge_async.cli.output.report import render_report
from clanforge_async.cli.output.timeline import Axis
from clanforge_async.cli.parsing import check_writable
from clanforge_async.simulator import Run, Simulator

REF = JobRef.image_version(9)
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'text' \x1b[2J $title ]]> \ud800"


def spans(known: JobStates) -> list[tuple[str, float, float]]:
    """Return the job's states with start and end in seconds since the watch began."""
    return [
        (span.title, (span.start - BEGAN).total_seconds(), (span.end - BEGAN).total_seconds())
        for span in known.spans(NOW)
    ]


def test_states_start_at_the_times_of_the_server() -> None:
    """A state starts when the server says that the job entered it, not when a poll saw it."""
    at = [BEGAN + timedelta(seconds=s) for s in (0, 10, 20, 30, 95)]
    known = job_states(
        REF,
        make_job(REF, JobState.CREATED, created_at=at[0], updated_at=at[0]),
        make_job(REF, JobState.QUEUED, created_at=at[0], updated_at=at[1]),
        make_job(REF, JobState.RUNNING, created_at=at[0], started_at=at[2], updated_at=at[3]),
        make_job(REF, JobState.COMPLETED, created_at=at[0], started_at=at[2], updated_at=at[4]),
    )
    assert spans(known) == [("Created", 0, 10), ("Queued", 10, 20), ("Running", 20, 95)]
    assert (known.started, known.ended) == (at[2], at[4])


def test_states_between_polls_are_derived() -> None:
    """A run between two polls is shown as running, and the unknown time before it as waiting."""
    ran = make_job(REF, JobState.FAILED, created_at=BEGAN, started_at=BEGAN + timedelta(5), updated_at=BEGAN)
    assert [title for title, *_ in spans(job_states(REF, ran))] == ["Waiting", "Running"]
    never = make_job(REF, JobState.SQUASHED, created_at=BEGAN, updated_at=BEGAN + timedelta(seconds=5))
    assert spans(job_states(REF, never)) == [("Waiting", 0, 5)]
    unknown = make_job(REF, None, state_name="Frobnicating", created_at=BEGAN, updated_at=BEGAN + timedelta(seconds=5))
    assert spans(job_states(REF, unknown, unknown)) == [("Waiting", 0, 5), ("Frobnicating", 5, 245)]
    assert job_states(REF).spans(NOW) == []


def test_the_previous_run_is_left_out() -> None:
    """Times and snapshots from before the reference's ``newer_than`` are ignored."""
    ref = JobRef.image_diff(5, newer_than=BEGAN)
    old = make_job(ref, JobState.FAILED, created_at=ago(9000), started_at=ago(8000), updated_at=ago(7000))
    new = make_job(ref, JobState.RUNNING, created_at=ago(9000), started_at=NOW - timedelta(seconds=45), updated_at=NOW)
    assert spans(job_states(ref, old, new)) == [("Waiting", 0, 200), ("Running", 200, 245)]
    assert job_states(ref, old).timeline_start is None


def test_the_axis_spans_the_jobs_that_were_alive() -> None:
    """The axis spans the jobs that were alive during the watch; if none was, it spans those that had ended."""
    days_ago = ago(500_000)
    over = job_states(REF, make_job(REF, JobState.COMPLETED, created_at=ago(600_000), updated_at=days_ago))
    alive = job_states(
        REF, make_job(REF, JobState.RUNNING, created_at=ago(300), started_at=ago(290), updated_at=ago(9))
    )
    axis = Axis.spanning([over, alive, job_states(REF)], BEGAN, NOW)
    assert (axis.start, axis.end) == (ago(300), NOW)
    assert [label for _, label in axis.ticks()] == ["11:55", "11:56", "11:57", "11:58", "11:59", "12:00"]
    assert (axis.position(days_ago), axis.position(axis.start), axis.position(NOW)) == (0, 0, 98)
    alone = Axis.spanning([over], BEGAN, NOW)
    assert (alone.start, alone.end) == (ago(600_000), days_ago)
    assert Axis.spanning([], NOW, NOW).position(NOW) == 0


def test_the_clock_of_the_server_may_be_ahead() -> None:
    """A state that starts in the future has no length, and a job may even have the latest datetime possible."""
    last = datetime.max.replace(tzinfo=UTC)
    known = job_states(REF, make_job(REF, JobState.QUEUED, created_at=ago(-5), updated_at=ago(-9)))
    assert spans(known) == [("Waiting", 245, 245), ("Queued", 245, 245)]
    odd = make_job(REF, JobState.COMPLETED, created_at=last, started_at=last, updated_at=last)
    assert render_report([job_states(REF, odd), known], BEGAN, NOW)


@pytest.mark.parametrize("seconds", [1, 7, 59, 600, 5000, 80_000, 10**6, 10**8])
def test_an_axis_has_a_few_labels(seconds: float) -> None:
    """An axis of any length has between 1 and 9 labels."""
    assert 1 <= len(Axis(ago(seconds), NOW).ticks()) <= 9


def test_the_report_shows_counts_and_each_job() -> None:
    """The report has counts and, for each job, a labelled row in the timeline and a row with the result."""
    unfinished = job_states(JobRef.image_diff(5), make_job(JobRef.image_diff(5), JobState.RUNNING, started_at=BEGAN))
    late = job_states(JobRef.image_diff(6), result=timed_out_result(JobRef.image_diff(6)))
    html = render_report([*sample_job_states(8), late, unfinished], BEGAN, NOW)
    assert "<title>10 jobs: 2 failed, 1 timeout, 1 unfinished, 6 completed</title>" in html
    assert html.count('role="img" aria-label="image-') == 10
    assert 'aria-label="image-version/9000: waiting 0s, ' in html
    assert "failed" in re.findall(r'aria-label="(image-version/9000: [^"]*)"', html)[0]
    assert "timed out" in html
    assert "<pre>clanforge watch image-diff/6 image-diff/5</pre>" in html
    assert html.index("image-version/9000") < html.index("image-version/9001")
    assert html.index("image-version/9007") < html.index("image-version/9001"), "failures come first"


def test_the_report_resumes_the_same_jobs_as_the_terminal() -> None:
    """The command to resume with has the jobs whose watch timed out or broke off, not those that have ended."""
    jobs = [
        job_states(REF, result=timed_out_result(REF)),
        job_states(JobRef.image_diff(5), result=ended_result(JobRef.image_diff(5), JobState.FAILED)),
        job_states(JobRef.image_diff(6)),
    ]
    html = render_report(jobs, BEGAN, NOW)
    assert "2 jobs had not finished when watching stopped. Resume with:" in html
    assert "<pre>clanforge watch image-version/9 image-diff/6</pre>" in html


def test_the_report_is_well_formed_and_self_contained() -> None:
    """The report is well-formed, loads no resources and allows no scripts."""
    html = render_report(list(sample_job_states(3)), BEGAN, NOW)
    assert "default-src 'none'" in html
    assert not re.findall(r"<(script|link|img|iframe|object)|https?:|@import|@font-face", html)
    body = html[html.index("<body>") : html.index("</html>")]
    assert ET.fromstring(body).tag == "body"  # noqa: S314 - our own page


def test_text_from_the_server_is_escaped() -> None:
    """A job's error and the name of its state are escaped."""
    failed = ended_result(REF, JobState.FAILED, error=HOSTILE)
    odd = make_job(REF, None, state_name="<i>", updated_at=ago(60))
    assert failed.job is not None
    html = render_report([job_states(REF, odd, failed.job, result=failed)], BEGAN, NOW)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot;" in html
    assert r"\x1b[2J $title ]]&gt; \ud800" in html
    assert "<i>" not in html


def test_a_report_is_written_at_the_end(simulator: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """--report writes the report at the end, in addition to any other output."""
    simulator.add_image_version(1, duration=0.2, queued_for=0.2)
    simulator.add_image_diff(5, duration=0, outcome="failed", error="disk full", retries=[Run(duration=0.1)])
    path = tmp_path / "page.html"
    path.write_text("of an earlier run")
    finished = clanforge(
        "watch", "image-version/1", "image-diff/5", "--interval", "0.1", "--report", str(path), "--json"
    )
    assert finished.status == 1
    assert [record["event"] for record in finished.records].count("result") == 2
    html = path.read_text("utf-8")
    assert "2 jobs: 1 failed, 1 completed" in html
    assert "disk full" in html
    assert list(tmp_path.iterdir()) == [path]
    assert clanforge("image-diff", "retry", "5", "--wait", "--report", str(path)).status == 0
    assert "1 job: 1 completed" in path.read_text("utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_report_is_written_when_interrupted(
    simulator: Simulator, clanforge: Clanforge, tmp_path: Path, number: signal.Signals
) -> None:
    """A signal writes the report so far, with the command to resume."""
    simulator.add_image_version(1, duration=1000)
    simulator.faults.add(CallAndHang(lambda: os.kill(os.getpid(), number)), id=5)
    finished = clanforge("watch", "image-version/1", "image-diff/5", "--report", str(tmp_path / "page.html"))
    assert finished.status == 128 + number
    html = (tmp_path / "page.html").read_text("utf-8")
    assert "2 jobs: 2 unfinished" in html
    assert "<pre>clanforge watch image-version/1 image-diff/5</pre>" in html


def test_a_failure_to_write_the_report_is_a_warning(
    simulator: Simulator, clanforge: Clanforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure to write the report is a warning, and leaves the exit status and the old file unchanged."""
    simulator.add_image_version(1, duration=0)
    path = tmp_path / "page.html"
    path.write_text("of an earlier run")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    finished = clanforge("watch", "image-version/1", "--report", str(path))
    assert finished.status == 0
    assert finished.err == "warning: the report could not be written: [Errno 28] No space left on device\n"
    assert [file.read_text() for file in tmp_path.iterdir()] == ["of an earlier run"]


def test_links_are_followed_and_folders_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target of a link is written and the link kept; a folder without write permission is rejected in advance."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomically(check_writable(str(tmp_path / "link")), "text")
    assert (tmp_path / "file").read_text() == "text"
    assert (tmp_path / "link").is_symlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OSError, match="permission denied for the folder"):
        check_writable(str(tmp_path / "file"))
