"""The live table: one line for each watched job, and a summary, fitted to the terminal's size.

Columns are declared in `_COLUMNS`, in the order in which they are drawn.
"""

from __future__ import annotations

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
from clanforge_async.cli.output.fitting import (
    MIN_ROOM_FOR_HEADINGS,
    ellipsis,
    gap,
    most_important,
    truncate,
    wrap_summary,
    wrap_warning,
)
from clanforge_async.cli.output.job_view import STALE_AFTER, JobView

_BAR_WIDTHS = range(6, 31)
_TITLES_WITH_REASON = {"Failed", "Squashed", "timeout", "error"}
_LONG_PAUSE = 10.0
"""Minimum seconds until the next poll to show them: until that poll, an outage would not be noticed."""
_HIGHLIGHT = "bold yellow"
_FORECAST = "~"
"""Mark of an end that is a forecast instead of the server's ETA."""


def render_live_table(
    views: Sequence[JobView],
    *,
    start: datetime,
    now: datetime,
    width: int,
    height: int,
    polls: int | None = None,
    next_poll: float = 0.0,
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
        next_poll: Seconds until the next poll; shown if the pause is long.
        warning: The current problem with the API, for the lines below the summary; empty if there is none.
        ascii_only: The terminal's encoding has no other characters.
    """
    summary = wrap_summary(_summary(views, start, now), _addition(views, now, polls, next_poll), width)
    below = [*summary, *wrap_warning(warning, width, height)][: max(height - 1, 1)]
    room = max(height - 1 - len(below), 0)
    has_headings = room >= MIN_ROOM_FOR_HEADINGS
    room -= has_headings
    shown, hidden = list(views), list[JobView]()
    if len(views) > room:
        shown, hidden = most_important(views, max(room - 1, 0))
    lines = _rows(shown, now, width, has_headings=has_headings, ascii_only=ascii_only)
    if hidden and room:
        lines.append(Text(f"{ellipsis(ascii_only=ascii_only)} and {len(hidden)} more: {_counts(hidden)}", "dim"))
    return [truncate(line, width, ascii_only=ascii_only) for line in [*lines, *below]]


def _percent(view: JobView, _now: datetime) -> str | None:
    return None if view.job is None else f"{view.job.progress:3}%"


def _min_bar(view: JobView, _now: datetime) -> str | None:
    return None if view.job is None else " " * _BAR_WIDTHS[0]


def _end(view: JobView, now: datetime) -> str | None:
    if view.end is None:
        return None
    end = format_local_time(view.end, now)
    return f"{_FORECAST}{end}" if end and view.lacks_eta else end


def format_view_time_left(view: JobView, now: datetime) -> str | None:
    """Return the time until a job's end, with a mark if it is a forecast; None if there is no estimate."""
    left = view.time_left(now)
    if left is None:
        return None
    if not view.lacks_eta:
        return format_time_left(left.total_seconds())
    # A forecast in the past is not overdue like an ETA: the next poll makes a later forecast.
    return f"in {_FORECAST}{format_duration(left.total_seconds())}" if left >= timedelta(seconds=1) else "due now"


def _age(view: JobView, now: datetime) -> str | None:
    if view.job is None or view.is_over:
        return None
    return f"{format_short_duration(view.age(now).total_seconds())} ago".rjust(len("UPDATED"))


@frozen(kw_only=True, eq=False)
class _Column:
    """A column of the table.

    Attributes:
        heading: The heading.
        text: Returns the text in a job's row; None if the row has no cell in this column.
        style: Returns the style of that text.
        priority: Order in which columns are added, lowest first, while the terminal has room; 0: always shown.
    """

    heading: str
    text: Callable[[JobView, datetime], str | None]
    style: Callable[[JobView, datetime], str] = lambda _view, _now: ""
    priority: int


_BAR_COLUMN = _Column(heading="PROGRESS", text=_min_bar, priority=4)
"""Progress bar. Its text only reserves the smallest width; `_progress_bar` draws it as wide as there is room."""
_TIME_LEFT_COLUMN = _Column(
    heading="",
    text=format_view_time_left,
    style=lambda view, now: _HIGHLIGHT if view.is_overdue(now) else "",
    priority=1,
)
_COLUMNS = (
    _Column(heading="JOB", text=lambda view, _now: view.name, priority=0),
    _Column(
        heading="STATE", text=lambda view, _now: view.title, style=lambda view, _now: style_of(view.title), priority=0
    ),
    _BAR_COLUMN,
    _Column(heading="", text=_percent, priority=2),
    _Column(heading="ENDS", text=_end, style=lambda _view, _now: "dim", priority=5),
    _TIME_LEFT_COLUMN,
    _Column(
        heading="UPDATED", text=_age, style=lambda view, now: _HIGHLIGHT if view.is_stale(now) else "dim", priority=3
    ),
)
_ALWAYS_SHOWN = tuple(column for column in _COLUMNS if column.priority == 0)

_Cells: TypeAlias = Mapping[_Column, str]
"""The texts of a row, without the columns in which it has no cell."""


def _rows(views: Iterable[JobView], now: datetime, width: int, *, has_headings: bool, ascii_only: bool) -> list[Text]:
    table = [(view, _cells(view, now)) for view in views]
    widths = _column_widths([_sized_cells(view, cells) for view, cells in table], width)
    headings = [_heading_row(widths, gap(width))] if has_headings else []
    return headings + [_row(view, cells, widths, now, gap(width), ascii_only=ascii_only) for view, cells in table]


def _heading_row(widths: Mapping[_Column, int], separator: str) -> Text:
    # A heading that is too wide for its column is omitted.
    headings = ((column.heading if len(column.heading) <= width else "", width) for column, width in widths.items())
    return Text(separator.join(heading.ljust(width) for heading, width in headings).rstrip(), "dim")


def _cells(view: JobView, now: datetime) -> _Cells:
    # The row of a job that ended without success has only a name, a state and the reason.
    columns = _ALWAYS_SHOWN if view.title in _TITLES_WITH_REASON else _COLUMNS
    return {column: text for column in columns if (text := column.text(view, now)) is not None}


def _sized_cells(view: JobView, cells: _Cells) -> _Cells:
    """Return the cells that columns must have room for. A completed job's duration replaces the time until its end."""
    if view.result is None or view.title in _TITLES_WITH_REASON:
        return cells
    return {**cells, _TIME_LEFT_COLUMN: _result(view.result).plain}


def _column_widths(rows: Iterable[_Cells], width: int) -> dict[_Column, int]:
    """Return the width of each visible column, in the order of `_COLUMNS`."""
    needed: dict[_Column, int] = {}
    for cells in rows:
        for column, text in cells.items():
            needed[column] = max(needed.get(column, 0), cell_len(text))
    widths: dict[_Column, int] = {}
    room = width
    for column in sorted(needed, key=lambda column: column.priority):
        if column in _ALWAYS_SHOWN or needed[column] <= room:
            widths[column] = needed[column]
            room -= needed[column] + len(gap(width))
    if _BAR_COLUMN in widths:
        widths[_BAR_COLUMN] = min(
            widths[_BAR_COLUMN] + room + len(gap(width)), _BAR_WIDTHS[-1]
        )  # no gap after the last column
    return {column: widths[column] for column in _COLUMNS if column in widths}


def _row(
    view: JobView, cells: _Cells, widths: Mapping[_Column, int], now: datetime, separator: str, *, ascii_only: bool
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
    row = Text(separator).join(parts)
    row.rstrip()
    return row


def _progress_bar(view: JobView, width: int, *, ascii_only: bool) -> Text:
    done, rest = ("#", ".") if ascii_only else ("━", "─")
    filled = 0 if view.job is None else width * view.job.progress // 100
    return Text.assemble((done * filled, style_of(view.title)), (rest * (width - filled), "dim"))


def _result(result: WatchResult) -> Text:
    """Return why the job has not completed, or how long the watch took. It replaces the progress and the end."""
    reason = result.error.job.error if isinstance(result.error, JobFailedError) else result.error
    return Text(f"{result.elapsed:.1f} s", "dim") if reason is None else Text(escape_and_truncate(str(reason)))


def _summary(views: Sequence[JobView], start: datetime, now: datetime) -> Text:
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
    return line.append(_counts(views), "not bold")


def _addition(views: Sequence[JobView], now: datetime, polls: int | None, next_poll: float) -> str:
    if polls is not None:
        return format_count(polls, "poll")
    pause = f"next poll in {format_duration(next_poll)}" if next_poll >= _LONG_PAUSE else ""
    return ", ".join(filter(None, [_last_end(views, now), pause]))


def _last_end(views: Sequence[JobView], now: datetime) -> str:
    """Return when the last of several jobs is expected to end; empty if a job has no estimate, or if it has passed."""
    unfinished = [view for view in views if not view.is_over]
    ends = [(view.end, view) for view in unfinished if view.end is not None]
    if len(views) < 2 or not ends or len(ends) < len(unfinished):  # noqa: PLR2004 - a single job's row shows its end
        return ""
    end, last = max(ends, key=lambda pair: pair[0])
    return f"last end {text}" if end > now and (text := _end(last, now)) else ""


def _counts(views: Sequence[JobView]) -> str:
    return format_counts(view.title.lower() for view in views)
