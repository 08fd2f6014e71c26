"""The live table: one line for each watched job, and a summary, fitted to the terminal's size.

Columns are declared in `_COLUMNS`, in the order in which they are drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from attrs import frozen
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from clanforge_async import JobFailedError, WatchResult
from clanforge_async.cli.formatting import (
    escape_and_truncate,
    format_count,
    format_counts,
    format_duration,
    format_job_count,
    format_local_time,
    format_short_duration,
    format_time_left,
    style_of,
)
from clanforge_async.cli.output.job_view import STALE_AFTER, JobView

_BAR_WIDTHS = range(6, 31)
_MAX_WARNING_LINES = 9
_TITLES_WITH_REASON = {"Failed", "Squashed", "timeout", "error"}
_MIN_ROOM_FOR_HEADINGS = 6
"""Lines for jobs from which on one of them is spent on the headings."""
_HIGHLIGHT = "bold yellow"
_FORECAST = "~"
"""Mark of an end that is a forecast and not the server's estimate."""
_WIDE_TERMINAL = 60
"""Columns of a terminal from which on two spaces separate the table's columns; below, one."""


def render_live_table(
    views: Sequence[JobView],
    *,
    start: datetime,
    now: datetime,
    width: int,
    height: int,
    polls: int | None = None,
    warning: str = "",
    ascii_only: bool = False,
) -> list[Text]:
    """Return the lines of the table, at least one fewer than the terminal has, unless it has only one.

    If all jobs fit, they keep their order. Otherwise they are sorted by `JobView.sort_key`, failures take at most half
    of the lines if running jobs need the others, and the rest is counted in one line.

    Args:
        views: All watched jobs.
        start: Start of the watch.
        now: Time to show.
        width: Width of the terminal, in columns.
        height: Height of the terminal, in lines.
        polls: Number of polls, for the last frame; None: this is not the last.
        warning: What is wrong with the API, for the lines below the summary; empty: nothing.
        ascii_only: The terminal's encoding has no other characters.
    """
    warnings = _wrap_warning(warning, width, max(height - 2, 0))
    room = max(height - 2 - len(warnings), 0)
    has_headings = room >= _MIN_ROOM_FOR_HEADINGS
    room -= has_headings
    shown, hidden = list(views), list[JobView]()
    if len(views) > room:
        shown, hidden = most_important(views, max(room - 1, 0))
    lines = _rows(shown, now, width, has_headings=has_headings, ascii_only=ascii_only)
    if hidden and room:
        lines.append(Text(f"{_ellipsis(ascii_only=ascii_only)} and {len(hidden)} more: {_counts(hidden)}", "dim"))
    lines += [_summary(views, start, now, polls), *warnings]
    return [_truncate(line, width, ascii_only=ascii_only) for line in lines]


def most_important(views: Sequence[JobView], room: int) -> tuple[list[JobView], list[JobView]]:
    """Return the jobs to show in that many lines, and those that are only counted."""
    by_priority = sorted(views, key=lambda view: view.sort_key)
    failures = [view for view in by_priority if view.has_failed]
    others = [view for view in by_priority if not view.has_failed]
    count = min(len(failures), max(room - len(others), (room + 1) // 2))
    shown = [*failures[:count], *others[: room - count]]
    return shown, [*failures[count:], *others[room - count :]]


def _percent(view: JobView, _now: datetime) -> str | None:
    return None if view.job is None else f"{view.job.progress:3}%"


def _min_bar(view: JobView, _now: datetime) -> str | None:
    return None if view.job is None else " " * _BAR_WIDTHS[0]


def _end(view: JobView, now: datetime) -> str | None:
    if view.end is None:
        return None
    end = format_local_time(view.end, now)
    return f"{_FORECAST}{end}" if end and view.lacks_eta else end


def _time_left(view: JobView, now: datetime) -> str | None:
    left = view.time_left(now)
    if left is None:
        return None
    if not view.lacks_eta:
        return format_time_left(left.total_seconds())
    # A forecast that has passed is no promise that was broken: the next poll brings a later one.
    return f"in {_FORECAST}{format_duration(left.total_seconds())}" if left >= timedelta(seconds=1) else "due now"


def _age(view: JobView, now: datetime) -> str | None:
    if view.job is None or view.is_over:
        return None
    return f"{format_short_duration(view.age(now).total_seconds())} ago"


@frozen(kw_only=True, eq=False)
class _Column:
    """A column of the table.

    Attributes:
        heading: The heading.
        text: Returns the text in a job's row; None if the row has no cell in this column.
        style: Returns the style of that text.
        priority: Order in which columns get a place, lowest first, as far as the terminal is wide; 0: always shown.
    """

    heading: str
    text: Callable[[JobView, datetime], str | None]
    style: Callable[[JobView, datetime], str] = lambda _view, _now: ""
    priority: int


_BAR_COLUMN = _Column(heading="PROGRESS", text=_min_bar, priority=4)
"""Progress bar. Its text only reserves the smallest width; `_progress_bar` draws it as wide as there is room."""
_COLUMNS = (
    _Column(heading="JOB", text=lambda view, _now: view.name, priority=0),
    _Column(
        heading="STATE", text=lambda view, _now: view.title, style=lambda view, _now: style_of(view.title), priority=0
    ),
    _BAR_COLUMN,
    _Column(heading="", text=_percent, priority=2),
    _Column(heading="ENDS", text=_end, style=lambda _view, _now: "dim", priority=5),
    _Column(
        heading="", text=_time_left, style=lambda view, now: _HIGHLIGHT if view.is_overdue(now) else "", priority=1
    ),
    _Column(
        heading="UPDATED", text=_age, style=lambda view, now: _HIGHLIGHT if view.is_stale(now) else "dim", priority=3
    ),
)
_ALWAYS_SHOWN = tuple(column for column in _COLUMNS if column.priority == 0)

_Cells: TypeAlias = Mapping[_Column, str]
"""The texts of a row, without the columns in which it has no cell."""


def _rows(views: Iterable[JobView], now: datetime, width: int, *, has_headings: bool, ascii_only: bool) -> list[Text]:
    table = [(view, _cells(view, now)) for view in views]
    gap = " " * _gap(width)
    widths = _column_widths([cells for _, cells in table], width)
    headings = [_heading_row(widths, gap)] if has_headings else []
    return headings + [_row(view, cells, widths, now, gap, ascii_only=ascii_only) for view, cells in table]


def _heading_row(widths: Mapping[_Column, int], gap: str) -> Text:
    # A heading that is too wide for its column is left out.
    headings = ((column.heading if len(column.heading) <= width else "", width) for column, width in widths.items())
    return Text(gap.join(heading.ljust(width) for heading, width in headings).rstrip(), "dim")


def _cells(view: JobView, now: datetime) -> _Cells:
    # A job that ended without success has only a name and a state: the rest of the row is for the reason.
    columns = _ALWAYS_SHOWN if view.title in _TITLES_WITH_REASON else _COLUMNS
    return {column: text for column in columns if (text := column.text(view, now)) is not None}


def _column_widths(rows: Iterable[_Cells], width: int) -> dict[_Column, int]:
    """Return the width of each column that is shown, in the order of `_COLUMNS`."""
    needed: dict[_Column, int] = {}
    for cells in rows:
        for column, text in cells.items():
            needed[column] = max(needed.get(column, 0), cell_len(text))
    widths: dict[_Column, int] = {}
    gap, room = _gap(width), width
    for column in sorted(needed, key=lambda column: column.priority):
        if column in _ALWAYS_SHOWN or needed[column] <= room:
            widths[column] = needed[column]
            room -= needed[column] + gap
    if _BAR_COLUMN in widths:
        widths[_BAR_COLUMN] = min(widths[_BAR_COLUMN] + room + gap, _BAR_WIDTHS[-1])  # no gap after the last column
    return {column: widths[column] for column in _COLUMNS if column in widths}


def _row(
    view: JobView, cells: _Cells, widths: Mapping[_Column, int], now: datetime, gap: str, *, ascii_only: bool
) -> Text:
    parts: list[Text] = []
    for column, width in widths.items():
        if column is _BAR_COLUMN and column in cells:
            parts.append(_progress_bar(view, width, ascii_only=ascii_only))
        elif column in cells:
            parts.append(Text(set_cell_size(cells[column], width), column.style(view, now)))
        elif view.result is None:
            parts.append(Text(" " * width))
    if view.result is not None:
        parts.append(_result(view.result))
    row = Text(gap).join(parts)
    row.rstrip()
    return row


def _progress_bar(view: JobView, width: int, *, ascii_only: bool) -> Text:
    done, rest = ("#", ".") if ascii_only else ("━", "─")
    filled = 0 if view.job is None else width * view.job.progress // 100
    return Text.assemble((done * filled, style_of(view.title)), (rest * (width - filled), "dim"))


def _result(result: WatchResult) -> Text:
    """Return why the job has not completed, or what the watch took; it replaces the columns about the future."""
    reason = result.error.job.error if isinstance(result.error, JobFailedError) else result.error
    return Text(f"{result.elapsed:.1f} s", "dim") if reason is None else Text(escape_and_truncate(str(reason)))


def _summary(views: Sequence[JobView], start: datetime, now: datetime, polls: int | None) -> Text:
    elapsed = format_duration((now - start).total_seconds())
    line = Text(f"{format_job_count(len(views))}, {elapsed}: ", "bold")
    for count, description in (
        (sum(view.is_overdue(now) for view in views), "overdue"),
        (
            sum(view.is_stale(now) for view in views),
            f"not updated for {format_short_duration(STALE_AFTER.total_seconds())}",
        ),
    ):
        if count:
            line.append(f"{count} {description}", _HIGHLIGHT).append(", ")
    line.append(_counts(views), "not bold")
    addition = _last_end(views, now) if polls is None else format_count(polls, "poll")
    return line.append(f"; {addition}", "not bold") if addition else line


def _last_end(views: Sequence[JobView], now: datetime) -> str:
    """Return when the last of several jobs is expected to end; empty if that is not known of each, or has passed."""
    unfinished = [view for view in views if not view.is_over]
    ends = [(view.end, view) for view in unfinished if view.end is not None]
    if len(views) < 2 or not ends or len(ends) < len(unfinished):  # noqa: PLR2004 - the row of a single job tells
        return ""
    end, last = max(ends, key=lambda pair: pair[0])
    return f"last end {text}" if end > now and (text := _end(last, now)) else ""


def _wrap_warning(warning: str, width: int, room: int) -> list[Text]:
    lines = textwrap.wrap(warning, max(width, 1))
    return [Text(line, "bold red") for line in lines[: min(room, _MAX_WARNING_LINES)]]


def _counts(views: Sequence[JobView]) -> str:
    return format_counts(view.title.lower() for view in views)


def _truncate(line: Text, width: int, *, ascii_only: bool) -> Text:
    line.no_wrap = True
    line.overflow = "crop"
    if line.cell_len > width:
        ellipsis = _ellipsis(ascii_only=ascii_only)
        line.truncate(max(0, width - cell_len(ellipsis)))
        line.append(ellipsis)
        line.truncate(width)
    return line


def _ellipsis(*, ascii_only: bool) -> str:
    return "..." if ascii_only else "…"


def _gap(width: int) -> int:
    return 2 if width >= _WIDE_TERMINAL else 1
