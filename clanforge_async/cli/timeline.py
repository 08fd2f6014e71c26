"""The report's timeline: a row for each job, drawn to one scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

from attrs import frozen

from clanforge_async.cli.durations import brief_duration
from clanforge_async.cli.histories import History, Span

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (1, 2, 5, 10, 15, 30, *(m * _MINUTE for m in (1, 2, 5, 10, 15, 30)), *(h * _HOUR for h in (1, 2, 3, 6, 12)))
_TICKS = 8
"""Marks on the axis, at the most."""
_HEIGHTS = {"Waiting": 6, "Created": 4, "Pending": 6, "Queued": 8, "Running": 14}
"""How high the bars of states are, in their order. A job is said to wait where nobody saw in which state."""
_MARKS = {"completed": "✓", "failed": "✗", "squashed": "»", "timeout": "◔", "error": "!", "unfinished": "…"}


@frozen
class Axis:
    """From when to when a timeline goes.

    Attributes:
        begin: Its left end.
        end: Its right end.
    """

    begin: datetime
    end: datetime

    @classmethod
    def over(cls, histories: Iterable[History], began: datetime, now: datetime) -> Axis:
        """Return an axis over the lives of those jobs that were alive during the watch.

        A job that had ended long before would leave the others no room; if there are no others, it has it all.
        """
        lives = [(history.began, history.ended or now) for history in histories if history.began is not None]
        alive = [(begin, end) for begin, end in lives if end >= began] or lives or [(began, now)]
        begin, end = min(begin for begin, _ in alive), max(end for _, end in alive)
        return cls(begin, max(end, begin + timedelta(seconds=1)))

    def at(self, moment: datetime) -> float:
        """Return where a moment lies, in percent; the last two are left for what stands at the end."""
        share = (moment - self.begin) / (self.end - self.begin)
        return round(98 * min(max(share, 0.0), 1.0), 3)

    def ticks(self) -> list[tuple[float, str]]:
        """Return where round moments lie, and what they are called."""
        whole = (self.end - self.begin).total_seconds()
        step = next((step for step in _STEPS if whole / step <= _TICKS), math.ceil(whole / _DAY / _TICKS) * _DAY)
        form = "%H:%M:%S" if step < _MINUTE else "%H:%M" if step < _DAY else "%d %b"
        first = math.ceil(self.begin.timestamp() / step)
        moments = [datetime.fromtimestamp(n * step, UTC) for n in range(first, int(self.end.timestamp() // step) + 1)]
        return [(self.at(moment), f"{moment:{form}}") for moment in moments]


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
