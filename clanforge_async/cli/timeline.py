"""The report's timeline: a row for each job, drawn to one scale."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from clanforge_async.cli.axis import Axis
from clanforge_async.cli.durations import brief_duration
from clanforge_async.cli.histories import History, Span

_HEIGHTS = {"Waiting": 6, "Created": 4, "Pending": 6, "Queued": 8, "Running": 14}
"""How high the bars of states are, in their order. A job is said to wait where nobody saw in which state."""
_MARKS = {"completed": "✓", "failed": "✗", "squashed": "»", "timeout": "◔", "error": "!", "unfinished": "…"}


def axis_row(axis: Axis) -> str:
    """Return the marks that the rows are to be read by."""
    texts = "".join(f'<text x="{at}%" y="12">{label}</text>' for at, label in axis.ticks())
    return f'<svg class="axis" role="img" aria-label="times of day, UTC">{texts}</svg>'


def grid(axis: Axis) -> str:
    """Return the lines that go down through all rows, as the background that CSS gives to each."""
    lines = (f"linear-gradient(var(--rule) 0 0) {at}% 0 / 1px 100% no-repeat" for at, _ in axis.ticks())
    return ", ".join(lines) or "none"


def bar_row(history: History, axis: Axis, now: datetime) -> str:
    """Return a job's states as bars: low while it waits, high while it runs, and a mark where it ended."""
    spans = history.spans(now)
    told = ", ".join([*(f"{span.title.lower()} {brief_duration(span.seconds)}" for span in spans), history.outcome])
    bars = "".join(_bar(span, axis) for span in spans)
    end = axis.at(spans[-1].until) if spans else 0.0
    mark = f'<text class="{history.outcome}" x="{end}%" dx="4" y="14">{_MARKS[history.outcome]}</text>'
    label = escape(f"{history.ref}: {told}")
    return f'<svg class="bars" role="img" aria-label="{label}">{bars}{mark}</svg>'


def legend(histories: Sequence[History], now: datetime) -> str:
    """Return what the bars stand for, as far as there are any."""
    seen = {span.title: None for history in histories for span in history.spans(now)}
    titles = [*(title for title in _HEIGHTS if title in seen), *(title for title in seen if title not in _HEIGHTS)]
    return "".join(
        f'<li><svg class="bars" aria-hidden="true">{_rect(title, 0, 100)}</svg> {escape(title)}</li>'
        for title in titles
    )


def mark_of(outcome: str) -> str:
    """Return the sign that stands beside an outcome's word."""
    return _MARKS[outcome]


def _bar(span: Span, axis: Axis) -> str:
    begin, end = axis.at(span.since), axis.at(span.until)
    title = escape(f"{span.title}, {span.since:%H:%M:%S} to {span.until:%H:%M:%S}, {brief_duration(span.seconds)}")
    return _rect(span.title, begin, round(end - begin, 3), f"<title>{title}</title>")


def _rect(title: str, begin: float, width: float, content: str = "") -> str:
    kind = title.lower() if title in _HEIGHTS else "unknown"
    height = _HEIGHTS.get(title, _HEIGHTS["Running"])
    shape = f'y="{10 - height // 2}" height="{height}"'
    return f'<rect class="{kind}" x="{begin}%" width="{width}%" {shape}>{content}</rect>'
