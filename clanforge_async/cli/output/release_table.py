"""The live table of releases: one line for each image, and a summary, fitted to the terminal's size."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import define
from rich.text import Text

from clanforge_async import ReleaseResult, ReleaseStep
from clanforge_async.cli.formatting import (
    format_count,
    format_counts,
    format_duration,
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
from clanforge_async.cli.output.job_view import JobView
from clanforge_async.cli.output.live_table import format_view_time_left
from clanforge_async.cli.output.live_view import Frame
from clanforge_async.cli.output.releases import format_result, reason_of

_STEPS = list(ReleaseStep)
_HEADING = "IMAGE"


@define
class ReleaseView:
    """The current state of a release.

    Attributes:
        image_id: The image.
        step: The current step; None before the release has started.
        text: The last event, without its job.
        job: The job that the release waits for; None if it waits for no job.
        result: The result; None before the end.
    """

    image_id: int
    step: ReleaseStep | None = None
    text: str = "waiting"
    job: JobView | None = None
    result: ReleaseResult | None = None

    @property
    def title(self) -> str:
        """The outcome; before the end, the step."""
        if self.result is not None:
            return self.result.outcome
        return "waiting" if self.step is None else self.step.value

    @property
    def has_failed(self) -> bool:
        """Whether the release has ended without success."""
        return self.result is not None and not self.result.ok

    @property
    def sort_key(self) -> tuple[int, float]:
        """Sort key: failures, then running releases by step, latest first, then releases not started or ended."""
        if self.result is not None:
            return (0, 0.0) if self.has_failed else (3, 0.0)
        return (2, 0.0) if self.step is None else (1, -float(_STEPS.index(self.step)))

    def details(self, now: datetime) -> list[str]:
        """Return the variants of the text beside the step, the longest first."""
        if self.result is not None:
            return ["  ".join(filter(None, [format_result(self.result), reason_of(self.result)]))]
        if self.job is None:
            return ["" if self.step is None else self.text]
        title, progress = self.job.title, 0 if self.job.job is None else self.job.job.progress
        left = format_view_time_left(self.job, now) or ""
        aligned = f"{title:9} {progress:3}%  {left}".rstrip()
        compact = f"{title} {progress}% {left}".rstrip()
        return [f"{self.job.name}  {aligned}", aligned, compact, f"{title} {progress}%"]


def render_release_table(views: Sequence[ReleaseView], frame: Frame) -> list[Text]:
    """Return the lines of the table, at least one fewer than the terminal has, unless it has only one.

    If not all images fit, failures come first, in at most half of the lines, and the rest is counted in one line.

    Args:
        views: All releases.
        frame: The time and the terminal.
    """
    width, height = frame.width, frame.height
    summary = wrap_summary(_summary(views, frame), _addition(frame), width)
    below = [*summary, *wrap_warning(frame.warning, width, height)][: max(height - 1, 1)]
    room = max(height - 1 - len(below), 0)
    has_headings = room >= MIN_ROOM_FOR_HEADINGS
    room -= has_headings
    shown, hidden = list(views), list[ReleaseView]()
    if len(views) > room:
        shown, hidden = most_important(views, max(room - 1, 0))
    lines = _rows(shown, frame, has_headings=has_headings)
    if hidden and room:
        mark = ellipsis(ascii_only=frame.ascii_only)
        lines.append(Text(f"{mark} and {len(hidden)} more: {_counts(hidden)}", "dim"))
    return [truncate(line, width, ascii_only=frame.ascii_only) for line in [*lines, *below]]


def _rows(views: Sequence[ReleaseView], frame: Frame, *, has_headings: bool) -> list[Text]:
    separator = gap(frame.width)
    names = [str(view.image_id) for view in views]
    name_width = max(map(len, [*names, *([_HEADING] if has_headings else [])]), default=0)
    heads = [
        Text.assemble(name.ljust(name_width), separator, _step(view, is_wide=len(separator) > 1))
        for view, name in zip(views, names, strict=True)
    ]
    room = frame.width - max((head.cell_len for head in heads), default=0) - len(separator)
    details = _fit([view.details(frame.now) for view in views], room)
    rows = [
        Text.assemble(head, separator, (text, style_of(view.title))) if text else head
        for view, head, text in zip(views, heads, details, strict=True)
    ]
    heading = Text(f"{_HEADING.ljust(name_width)}{separator}STEP", "dim")
    return [heading, *rows] if has_headings else rows


def _step(view: ReleaseView, *, is_wide: bool) -> Text:
    if view.step is None:
        return Text(view.title)
    number = f" {_STEPS.index(view.step) + 1}/{len(_STEPS)}" if is_wide else ""
    return Text(f"{view.step:7}{number}", "" if view.result else "bold")


def _fit(details: Sequence[Sequence[str]], room: int) -> list[str]:
    """Return a text for each row: the longest of its variants that fits, the same variant for all rows with jobs."""
    longest = max(map(len, details), default=1)
    for level in range(longest):
        texts = [texts[min(level, len(texts) - 1)] for texts in details]
        if all(len(text) <= room for text, options in zip(texts, details, strict=True) if len(options) > 1):
            return texts
    return [texts[-1] for texts in details]


def _summary(views: Sequence[ReleaseView], frame: Frame) -> Text:
    elapsed = format_duration((frame.now - frame.start).total_seconds())
    line = Text(f"{format_count(len(views), 'image')}, {elapsed}: ", "bold")
    return line.append(_counts(views), "not bold")


def _addition(frame: Frame) -> str:
    return "" if frame.requests is None else format_count(frame.requests, "request")


def _counts(views: Sequence[ReleaseView]) -> str:
    return format_counts(view.title for view in views)
