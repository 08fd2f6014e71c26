"""The report's timeline: an SVG row of bars for each job or release, on one time axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from attrs import frozen

from clanforge_async.cli.formatting import format_duration
from clanforge_async.cli.output.report_row import ReportRow, StateSpan

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (1, 2, 5, 10, 15, 30, *(m * _MINUTE for m in (1, 2, 5, 10, 15, 30)), *(h * _HOUR for h in (1, 2, 3, 6, 12)))
_FORMATS = ((_DAY, "%d %b"), (6 * _HOUR, "%d %b %H:%M"), (_MINUTE, "%H:%M"), (0, "%H:%M:%S"))
"""Format of the tick labels, by the smallest step in seconds for which it is used."""
_MAX_TICKS = 8
_PERCENT_FOR_BARS = 98
"""Width of the axis in percent; the rest is for the mark after the last bar."""
_STATE_HEIGHTS = {"Waiting": 6, "Created": 4, "Pending": 6, "Queued": 8, "Running": 14}
_STEP_HEIGHTS = {"Check": 6, "Update": 14, "Diff": 10, "Approve": 6, "Version": 14, "Rollout": 10}
_HEIGHTS = _STATE_HEIGHTS | _STEP_HEIGHTS
"""Height of each bar, in the order of the legend. "Waiting" is the time before the first state or step seen."""
_JOB_MARKS = {"completed": "✓", "failed": "✗", "squashed": "»", "timeout": "◔", "error": "!", "unfinished": "…"}
_MARKS = _JOB_MARKS | {"released": "✓", "unchanged": "=", "held": "‖", "rejected": "✗"}


@frozen
class Axis:
    """The time axis of a timeline.

    Attributes:
        start: Time at its left end.
        end: Time at its right end.
    """

    start: datetime
    end: datetime

    @classmethod
    def spanning(cls, rows: Iterable[ReportRow], start: datetime, now: datetime) -> Axis:
        """Return an axis that spans all jobs or releases that had not ended when the command started.

        Jobs that had ended earlier would compress the others. If there are no others, the axis spans those.

        Args:
            rows: All jobs or releases.
            start: Start of the command.
            now: End of the command.
        """
        lives = [(row.timeline_start, row.ended or now) for row in rows if row.timeline_start is not None]
        alive = [(begin, end) for begin, end in lives if end >= start] or lives or [(start, now)]
        return cls(min(begin for begin, _ in alive), max(end for _, end in alive))

    @property
    def seconds(self) -> float:
        """Length in seconds, at least 1."""
        return max((self.end - self.start).total_seconds(), 1.0)

    def position(self, moment: datetime) -> float:
        """Return the position of a time, in percent of the timeline's width."""
        fraction = (moment - self.start).total_seconds() / self.seconds
        return round(_PERCENT_FOR_BARS * min(max(fraction, 0.0), 1.0), 3)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the positions and labels of the ticks, at round times."""
        days = math.ceil(self.seconds / _DAY / _MAX_TICKS)
        step = next((step for step in _STEPS if self.seconds / step <= _MAX_TICKS), days * _DAY)
        label_format = next(label_format for min_step, label_format in _FORMATS if step >= min_step)
        first = math.ceil(self.start.timestamp() / step)
        moments = [datetime.fromtimestamp(n * step, UTC) for n in range(first, int(self.end.timestamp() // step) + 1)]
        return [(self.position(moment), f"{moment:{label_format}}") for moment in moments]


def render_axis(axis: Axis) -> str:
    """Return the SVG of the axis' labels."""
    labels = "".join(f'<text x="{position}%" y="12">{label}</text>' for position, label in axis.ticks())
    return f'<svg class="axis" role="img" aria-label="times of day, UTC">{labels}</svg>'


def render_grid(axis: Axis) -> str:
    """Return the CSS background that draws a vertical line at each tick."""
    lines = (f"linear-gradient(var(--rule) 0 0) {position}% 0 / 1px 100% no-repeat" for position, _ in axis.ticks())
    return ", ".join(lines) or "none"


def render_bars(row: ReportRow, axis: Axis, now: datetime) -> str:
    """Return the SVG of a row's states: low bars while it waits, high ones while it runs, and a mark at its end."""
    spans = row.spans(now)
    states = (f"{span.title.lower()} {format_duration(span.seconds)}" for span in spans)
    label = escape(f"{row.name}: {', '.join([*states, row.outcome])}")
    bars = "".join(_render_bar(span, axis) for span in spans)
    end = axis.position(spans[-1].end) if spans else 0.0
    mark = f'<text class="{row.outcome}" x="{end}%" dx="4" y="14">{outcome_mark(row.outcome)}</text>'
    return f'<svg class="bars" role="img" aria-label="{label}">{bars}{mark}</svg>'


def render_legend(rows: Sequence[ReportRow], now: datetime) -> str:
    """Return the HTML list items that explain the bars of the states or steps that occur."""
    seen = {span.title: None for row in rows for span in row.spans(now)}
    titles = [*(title for title in _HEIGHTS if title in seen), *(title for title in seen if title not in _HEIGHTS)]
    return "".join(
        f'<li><svg class="bars" aria-hidden="true">{_render_rectangle(title, 0, 100)}</svg> {escape(title)}</li>'
        for title in titles
    )


def outcome_mark(outcome: str) -> str:
    """Return the symbol of an outcome."""
    return _MARKS[outcome]


def _render_bar(span: StateSpan, axis: Axis) -> str:
    start, end = axis.position(span.start), axis.position(span.end)
    title = escape(f"{span.title}, {span.start:%H:%M:%S} to {span.end:%H:%M:%S}, {format_duration(span.seconds)}")
    return _render_rectangle(span.title, start, round(end - start, 3), f"<title>{title}</title>")


def _render_rectangle(title: str, start: float, width: float, content: str = "") -> str:
    css_class = title.lower() if title in _HEIGHTS else "unknown"
    height = _HEIGHTS.get(title, _HEIGHTS["Running"])
    shape = f'y="{10 - height // 2}" height="{height}"'
    return f'<rect class="{css_class}" x="{start}%" width="{width}%" {shape}>{content}</rect>'
