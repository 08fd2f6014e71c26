from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console
from rich.text import Text
from support.cli.scenes import BEGAN, NOW, ago, deployment, ended, over, timed_out, version

from clanforge_async import ImageVersionJob, JobRef, JobState
from clanforge_async.cli.output.job_view import JobView
from clanforge_async.cli.output.live import ResizeHook
from clanforge_async.cli.output.live_table import render_live_table

pytestmark = pytest.mark.usefixtures("utc")


def shown(tracks: list[JobView], width: int = 100, height: int = 40, *, ascii_only: bool = False) -> list[Text]:
    lines = render_live_table(tracks, start=BEGAN, now=NOW, width=width, height=height, ascii_only=ascii_only)
    assert len(lines) <= max(height - 1, 1)
    assert all(line.cell_len <= width and "\n" not in line.plain for line in lines)
    return lines


def fleet(count: int) -> list[JobView]:
    """Many jobs of which few matter: one has failed, one is nearly there, the rest runs, waits or is done."""
    states = [version(n, progress=50, eta=ago(-1000 - n)) for n in range(1, count)]
    states[::10] = [version(n, JobState.QUEUED) for n in range(1, count, 10)]
    states[5] = over(ended(JobRef.image_version(6), JobState.COMPLETED))
    states[7] = version(8, progress=99, eta=ago(-3))
    states[8] = over(ended(JobRef.image_version(9), JobState.FAILED, error="disk full"))
    return [*states, JobView(JobRef.image_diff(count))]


def test_a_row_tells_state_progress_estimate_and_the_age_of_the_news() -> None:
    """A job that runs shows what is known of its end, by the clock and as time left, and how old that is."""
    [row, _] = shown([version(9, progress=50, eta=ago(-190))])
    bar = "━" * 15 + "─" * 15
    assert row.plain == f"image-version/9  Running  {bar}   50%  12:03:10  in 3m10s  12s ago"


def test_an_estimate_of_another_day_names_the_day() -> None:
    """A time of day alone would mislead whoever watches for days."""
    [row, _] = shown([version(9, eta=ago(-90_000))])
    assert "Sat 13:00  in 1d01h" in row.plain


def test_an_estimate_that_has_passed_is_overdue() -> None:
    """A job that should have ended says by how much, and stands out once that is more than chance."""
    late, just, due, summary = shown([version(n, eta=ago(s)) for n, s in ((1, 180), (2, 5), (3, 0.2))])
    assert "overdue 3m" in late.plain
    assert "yellow" in str(late.spans)
    assert "overdue 5s" in just.plain
    assert "yellow" not in str(just.spans)
    assert "due now" in due.plain
    assert summary.plain == "3 jobs, 4m05s: 1 overdue, 3 running"


def test_a_job_without_news_stands_out() -> None:
    """What runs without making progress may hang, whatever its estimate says."""
    row, summary = shown([version(1, eta=ago(-600), updated_at=ago(11 * 60))])
    assert row.plain.endswith("in 10m00s  11m ago")
    assert "yellow" in str(row.spans)
    assert summary.plain.endswith(": 1 without news, 1 running")


def test_an_end_takes_the_place_of_what_was_to_come() -> None:
    """A completed job tells what its watch took, any other why it ended, in place of the bar."""
    completed = over(ended(JobRef.image_version(1), JobState.COMPLETED))
    failed = over(ended(JobRef.image_version(2), JobState.FAILED, error="disk\x1b[2J full"))
    squashed = over(ended(JobRef.image_version(3), JobState.SQUASHED))
    late = over(timed_out(JobRef.image_version(4)))
    lines = [line.plain for line in shown([completed, failed, squashed, late])]
    assert lines[0] == f"image-version/1  Completed  {'━' * 30}  100%  93.4 s, 7 polls"
    assert lines[1] == r"image-version/2  Failed     disk\x1b[2J full"
    assert lines[2] == "image-version/3  Squashed   93.4 s, 7 polls"
    assert lines[3].startswith("image-version/4  timeout    timed out")
    assert lines[4] == "4 jobs, 4m05s: 1 failed, 1 squashed, 1 timeout, 1 completed"


def test_rows_stay_where_they_are_while_there_is_room() -> None:
    """As long as all fit, they stand as they were asked for."""
    names = [line.plain.split()[0] for line in shown(deployment())]
    assert names[:-1] == [track.name for track in deployment()]


@pytest.mark.parametrize("count", [30, 500])
def test_what_matters_first_is_shown_and_the_rest_folded(count: int) -> None:
    """Failures come first, then what ends next; what there is no room for is counted by state."""
    lines = [line.plain for line in shown(fleet(count), height=12)]
    assert len(lines) == 11
    assert [line.split()[:2] for line in lines[:3]] == [
        ["image-version/9", "Failed"],
        ["image-version/8", "Running"],
        ["image-version/2", "Running"],
    ]
    assert lines[-2].endswith(f"{count // 10} queued, 1 waiting, 1 completed")
    assert lines[-2].startswith(f"… and {count - 9} more: ")
    assert lines[-1].startswith(f"{count} jobs, 4m05s: 1 failed, ")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 13, 14, 50])
def test_no_terminal_is_too_small(width: int, height: int) -> None:
    """However small the terminal, no line is wider and there are never more than it has."""
    assert shown(deployment(), width, height)
    assert shown(deployment(), width, height, ascii_only=True)


def test_forty_columns_tell_the_most_telling() -> None:
    """On a narrow terminal name, state and what is left of the time come before everything else."""
    lines = [line.plain for line in shown([version(9012, progress=50, eta=ago(-190)), version(9013)], 40)]
    assert lines == [
        "image-version/9012 Running  50% in 3m10s",
        "image-version/9013 Running   0%",
        "2 jobs, 4m05s: 2 running",
    ]


def test_an_ascii_terminal_gets_ascii() -> None:
    """A terminal whose encoding has no other characters is sent none."""
    lines = shown(fleet(30), 60, 8, ascii_only=True)
    assert all(line.plain.isascii() for line in lines)
    assert "####" in lines[1].plain
    assert lines[-2].plain.startswith("... and 25 more")
    assert shown(deployment(), 20, ascii_only=True)[0].plain.endswith("...")


def test_five_hundred_jobs_cost_little() -> None:
    """A frame of five hundred jobs takes so little that a few of them a second do not matter."""
    tracks = fleet(500)
    began = time.process_time()
    for _ in range(5):
        shown(tracks, height=50)
    assert (time.process_time() - began) / 5 < 0.05


def test_what_a_narrower_terminal_has_broken_is_erased() -> None:
    """Lines that a terminal breaks when it gets narrower are gone back over before the next frame."""
    console = Console(width=100)
    reflow = ResizeHook(console)
    reflow.next_widths = [100, 30, 81]
    assert reflow.process_renderables([]) == []
    console.width = 40
    reflow.next_widths = [40]
    [control] = reflow.process_renderables([])
    assert str(control) == "\x1b[1A\x1b[2K" * 4
    assert reflow.process_renderables([]) == []


def test_a_job_in_an_unknown_state_is_taken_for_running() -> None:
    """A state that nobody knows is shown by its name, before what waits."""
    unknown = JobView(
        JobRef.image_version(1),
        ImageVersionJob(id=1, state=None, state_name="Frobnicating", created_at=BEGAN, updated_at=NOW),
    )
    waiting = version(2, JobState.CREATED)
    assert [track.ref.id for track in sorted([waiting, unknown], key=lambda track: track.sort_key)] == [1, 2]
    assert shown([unknown])[0].plain.startswith("image-version/1  Frobnicating  ")


def test_an_estimate_at_the_end_of_time_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment that is none on the clocks here is left out, and the view goes on."""
    last = datetime.max.replace(tzinfo=UTC)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    row, _ = shown([version(1, eta=last)])
    assert re.search(r"0% +in \d+d\d\dh  12s ago$", row.plain)
