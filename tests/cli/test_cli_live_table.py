from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console
from rich.text import Text
from support.cli.sample_jobs import (
    BEGAN,
    NOW,
    ago,
    ended_result,
    finished_view,
    forecast_view,
    sample_views,
    timed_out_result,
    version_view,
)

from clanforge_async import ImageVersionJob, JobRef, JobState
from clanforge_async.cli.output.job_view import JobView
from clanforge_async.cli.output.live_table import render_live_table
from clanforge_async.cli.output.live_view import ResizeHook

pytestmark = pytest.mark.usefixtures("utc")


def shown(tracks: list[JobView], width: int = 100, height: int = 40, *, ascii_only: bool = False) -> list[Text]:
    lines = render_live_table(tracks, start=BEGAN, now=NOW, width=width, height=height, ascii_only=ascii_only)
    assert len(lines) <= max(height - 1, 1)
    assert all(line.cell_len <= width and "\n" not in line.plain for line in lines)
    return lines[1:] if lines[0].plain.startswith("JOB") else lines


def many_jobs(count: int) -> list[JobView]:
    """Many jobs: one failed, one close to its end, one completed, one never polled, the others running or queued."""
    states = [version_view(n, progress=50, eta=ago(-1000 - n)) for n in range(1, count)]
    states[::10] = [version_view(n, JobState.QUEUED) for n in range(1, count, 10)]
    states[5] = finished_view(ended_result(JobRef.image_version(6), JobState.COMPLETED))
    states[7] = version_view(8, progress=99, eta=ago(-3))
    states[8] = finished_view(ended_result(JobRef.image_version(9), JobState.FAILED, error="disk full"))
    return [*states, JobView(JobRef.image_diff(count))]


def test_a_row_shows_state_progress_estimate_and_age() -> None:
    """The row of a running job shows its ETA, the time left and the time since the last update."""
    [row, _] = shown([version_view(9, progress=50, eta=ago(-190))])
    bar = "━" * 15 + "─" * 15
    assert row.plain == f"image-version/9  Running  {bar}   50%  12:03:10  in 3m10s  12s ago"


def test_an_estimate_on_another_day_shows_the_weekday() -> None:
    """An ETA on another day is shown with its weekday."""
    [row, _] = shown([version_view(9, eta=ago(-90_000))])
    assert "Sat 13:00  in 1d01h" in row.plain


def test_a_job_past_its_estimate_is_overdue() -> None:
    """A job past its ETA is shown as overdue, and highlighted after a minute."""
    late, just, due, summary = shown([version_view(n, eta=ago(s)) for n, s in ((1, 180), (2, 5), (3, 0.2))])
    assert "overdue 3m" in late.plain
    assert "yellow" in str(late.spans)
    assert "overdue 5s" in just.plain
    assert "yellow" not in str(just.spans)
    assert "due now" in due.plain
    assert summary.plain == "3 jobs, 4m05s: 1 overdue, 3 running"


def test_a_forecast_is_marked() -> None:
    """Without an ETA the row shows the forecast, marked as such, also in ASCII; with one the ETA is shown."""
    row, _ = shown([forecast_view(5, ago(-190), progress=50)], ascii_only=True)
    assert row.plain.endswith("   50%  ~12:03:10  in ~3m10s  12s ago")
    row, _ = shown([forecast_view(5, ago(-190), eta=ago(-60))])
    assert row.plain.endswith("12:01:00  in 1m00s  12s ago")
    row, _ = shown([forecast_view(5, ago(-90_000))])
    assert "~Sat 13:00  in ~1d01h" in row.plain
    narrow, _ = shown([forecast_view(5, ago(-190), progress=50)], 40)
    assert narrow.plain == "image-diff/5 Running  50% in ~3m10s"


def test_a_job_that_outlasts_its_forecast_is_not_overdue() -> None:
    """A forecast that has passed is shown as due, however long ago, and neither highlighted nor counted."""
    *rows, summary = shown([forecast_view(n, ago(seconds)) for n, seconds in ((1, 0.5), (2, 5), (3, 900))])
    assert all(row.plain.endswith("due now  12s ago") for row in rows)
    assert all("yellow" not in str(row.spans) for row in rows)
    assert summary.plain == "3 jobs, 4m05s: 3 running"


def test_the_summary_shows_the_last_end() -> None:
    """If the end of each job is known, the summary has the latest, marked if it is a forecast."""
    with_eta, with_forecast = version_view(1, eta=ago(-120)), forecast_view(5, ago(-190))
    completed = finished_view(ended_result(JobRef.image_version(2), JobState.COMPLETED))
    lines = shown([with_eta, with_forecast, completed])
    assert lines[-1].plain == "3 jobs, 4m05s: 2 running, 1 completed; last end ~12:03:10"
    assert shown([with_eta, completed])[-1].plain.endswith("; last end 12:02:00")
    for others in ([version_view(3)], [JobView(JobRef.image_version(3))]):
        assert "last end" not in shown([with_eta, *others])[-1].plain
    assert "last end" not in shown([with_forecast])[-1].plain
    assert "last end" not in shown([completed, completed])[-1].plain


def test_a_stale_job_is_highlighted() -> None:
    """A running job that was not updated for 10 minutes is highlighted, even before its ETA."""
    row, summary = shown([version_view(1, eta=ago(-600), updated_at=ago(11 * 60))])
    assert row.plain.endswith("in 10m00s  11m ago")
    assert "yellow" in str(row.spans)
    assert summary.plain.endswith(": 1 not updated for 10m, 1 running")


def test_a_result_replaces_the_estimate() -> None:
    """The row of a completed job ends with the watch's effort; any other has its reason instead of the bar."""
    completed = finished_view(ended_result(JobRef.image_version(1), JobState.COMPLETED))
    failed = finished_view(ended_result(JobRef.image_version(2), JobState.FAILED, error="disk\x1b[2J full"))
    squashed = finished_view(ended_result(JobRef.image_version(3), JobState.SQUASHED))
    late = finished_view(timed_out_result(JobRef.image_version(4)))
    lines = [line.plain for line in shown([completed, failed, squashed, late])]
    assert lines[0] == f"image-version/1  Completed  {'━' * 30}  100%  93.4 s"
    assert lines[1] == r"image-version/2  Failed     disk\x1b[2J full"
    assert lines[2] == "image-version/3  Squashed   93.4 s"
    assert lines[3].startswith("image-version/4  timeout    timed out")
    assert lines[4] == "4 jobs, 4m05s: 1 failed, 1 squashed, 1 timeout, 1 completed"


def test_rows_keep_their_order_if_all_fit() -> None:
    """If all jobs fit, they are shown in the order in which they were given."""
    names = [line.plain.split()[0] for line in shown(sample_views())]
    assert names[:-1] == [view.name for view in sample_views()]


@pytest.mark.parametrize("count", [30, 500])
def test_the_most_important_rows_are_shown_and_the_rest_is_counted(count: int) -> None:
    """Failures come first, then the jobs closest to their end; jobs that don't fit are counted by state."""
    lines = [line.plain for line in shown(many_jobs(count), height=12)]
    assert len(lines) == 10  # and the headings
    assert [line.split()[:2] for line in lines[:3]] == [
        ["image-version/9", "Failed"],
        ["image-version/8", "Running"],
        ["image-version/2", "Running"],
    ]
    assert lines[-2].endswith(f"{count // 10} queued, 1 not polled yet, 1 completed")
    assert lines[-2].startswith(f"… and {count - 8} more: ")
    assert lines[-1].startswith(f"{count} jobs, 4m05s: 1 failed, ")


def test_columns_have_headings() -> None:
    """Each column has a heading, if the terminal has lines to spare."""
    view = version_view(9012, progress=50, eta=ago(-190))
    lines = render_live_table([view], start=BEGAN, now=NOW, width=80, height=24)
    assert lines[0].plain.split() == ["JOB", "STATE", "PROGRESS", "ENDS", "UPDATED"]
    assert lines[0].plain.index("ENDS") == lines[1].plain.index("12:03:10")
    assert lines[0].plain.index("UPDATED") == lines[1].plain.index("12s ago")
    assert render_live_table([view], start=BEGAN, now=NOW, width=80, height=7)[0].plain.startswith("image-version")


@pytest.mark.parametrize(("running", "failed_rows"), [(20, 5), (3, 6), (0, 9)])
def test_failures_leave_room_for_running_jobs(running: int, failed_rows: int) -> None:
    """Failures take at most half of the lines, as long as running jobs need the other half."""
    failed = [finished_view(ended_result(JobRef.image_diff(n), JobState.FAILED)) for n in range(1, 31)]
    lines = [line.plain for line in shown([*failed, *(version_view(n) for n in range(1, running + 1))], height=13)]
    assert sum(line.startswith("image-diff") for line in lines) == failed_rows
    assert sum(line.startswith("image-version") for line in lines) == min(running, 9 - failed_rows)
    assert "30 failed" in lines[-1]


def test_the_last_frame_counts_polls() -> None:
    """The summary of the last frame has the number of polls."""
    lines = render_live_table([version_view(1)], start=BEGAN, now=NOW, width=80, height=24, polls=1)
    assert lines[-1].plain == "1 job, 4m05s: 1 running; 1 poll"


def test_a_long_pause_before_the_next_poll_is_shown() -> None:
    """The summary says when the next poll is due if that is long: until then, an outage is not noticed."""
    view = version_view(1, eta=ago(-600))
    for seconds, end in ((9.0, "1 running"), (42.0, "1 running; next poll in 42s")):
        lines = render_live_table([view], start=BEGAN, now=NOW, width=80, height=24, next_poll=seconds)
        assert lines[-1].plain == f"1 job, 4m05s: {end}"


def test_a_summary_that_is_too_wide_takes_two_lines() -> None:
    """On a narrow terminal the number of polls has a line of its own instead of being cut off."""
    views = [version_view(1), finished_view(ended_result(JobRef.image_version(2), JobState.COMPLETED))]
    lines = render_live_table(views, start=BEGAN, now=NOW, width=40, height=24, polls=1234)
    assert [line.plain for line in lines[-2:]] == ["2 jobs, 4m05s: 1 running, 1 completed", "1234 polls"]


def test_a_narrow_last_frame_keeps_the_times() -> None:
    """At 40 columns the row of a completed job ends with its time, also if no other job has an end to show."""
    completed = finished_view(ended_result(JobRef.image_version(9002), JobState.COMPLETED))
    failed = finished_view(ended_result(JobRef.image_version(9004), JobState.FAILED, error="disk full"))
    lines = [line.plain for line in shown([completed, failed], 40)]
    assert lines[:2] == ["image-version/9002 Completed 100% 93.4 s", "image-version/9004 Failed    disk full"]


def test_the_age_has_a_heading_at_once() -> None:
    """The heading of the age is there from the first seconds on, when the age is shorter than it."""
    view = version_view(1, progress=50, eta=ago(-190), updated_at=ago(4))
    headings, row, _ = render_live_table([view], start=BEGAN, now=NOW, width=80, height=24)
    assert headings.plain.endswith("  UPDATED")
    assert row.plain.endswith("   4s ago")


@pytest.mark.parametrize("width", [40, 80])
def test_a_warning_is_wrapped_below_the_summary(width: int) -> None:
    """A problem with the API is shown below the summary, wrapped to the terminal's width."""
    warning = "127.0.0.1:8731 fails for 12s, gives up in 4m48s: ConnectError: Connection refused (GET /cfp/v1/x)"
    lines = render_live_table(sample_views(), start=BEGAN, now=NOW, width=width, height=24, warning=warning)
    summary = next(index for index, line in enumerate(lines) if line.plain.startswith("12 jobs"))
    assert " ".join(line.plain for line in lines[summary + 1 :]) == warning
    assert all(line.cell_len <= width for line in lines)
    assert len(render_live_table(sample_views(), start=BEGAN, now=NOW, width=20, height=3, warning=warning)) <= 2


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 13, 14, 50])
def test_a_frame_fits_any_terminal(width: int, height: int) -> None:
    """No line is wider than the terminal, and there are no more lines than it has."""
    assert shown(sample_views(), width, height)
    assert shown(sample_views(), width, height, ascii_only=True)


def test_a_narrow_terminal_shows_the_most_important_columns() -> None:
    """On a narrow terminal, name, state and time left are shown before all other columns."""
    lines = [line.plain for line in shown([version_view(9012, progress=50, eta=ago(-190)), version_view(9013)], 40)]
    assert lines == [
        "image-version/9012 Running  50% in 3m10s",
        "image-version/9013 Running   0%",
        "2 jobs, 4m05s: 2 running",
    ]


def test_an_ascii_terminal_is_sent_ascii() -> None:
    """If the terminal's encoding is ASCII, only ASCII characters are sent."""
    lines = shown(many_jobs(30), 60, 8, ascii_only=True)
    assert all(line.plain.isascii() for line in lines)
    assert "####" in lines[1].plain
    assert lines[-2].plain.startswith("... and 26 more")
    assert shown(sample_views(), 20, ascii_only=True)[0].plain.endswith("...")


def test_a_frame_of_many_jobs_is_cheap() -> None:
    """A frame of 500 jobs takes less than 50 ms of CPU time."""
    tracks = many_jobs(500)
    began = time.process_time()
    for _ in range(5):
        shown(tracks, height=50)
    assert (time.process_time() - began) / 5 < 0.05


def test_lines_wrapped_by_a_narrower_terminal_are_removed() -> None:
    """Lines that the terminal wrapped when it became narrower are erased before the next frame."""
    console = Console(width=100)
    reflow = ResizeHook(console)
    reflow.next_widths = [100, 30, 81]
    assert reflow.process_renderables([]) == []
    console.width = 40
    reflow.next_widths = [40]
    [control] = reflow.process_renderables([])
    assert str(control) == "\x1b[1A\x1b[2K" * 4
    assert reflow.process_renderables([]) == []


def test_an_unknown_state_counts_as_running() -> None:
    """An unknown state is shown by the server's name, and sorted before waiting jobs."""
    unknown = JobView(
        JobRef.image_version(1),
        ImageVersionJob(id=1, state=None, state_name="Frobnicating", created_at=BEGAN, updated_at=NOW),
    )
    waiting = version_view(2, JobState.CREATED)
    assert [view.ref.id for view in sorted([waiting, unknown], key=lambda view: view.sort_key)] == [
        1,
        2,
    ]
    assert shown([unknown])[0].plain.startswith("image-version/1  Frobnicating  ")


def test_an_estimate_without_a_local_time_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ETA that has no local time leaves its column empty; the other columns are shown."""
    last = datetime.max.replace(tzinfo=UTC)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    row, _ = shown([version_view(1, eta=last)])
    assert re.search(r"0% +in \d+d\d\dh  12s ago$", row.plain)
