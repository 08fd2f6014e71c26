"""A row of the report: the data of a watched job or of an image that is released."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from attrs import frozen

from clanforge_async.cli.formatting import SEVERITY_ORDER


@frozen
class StateSpan:
    """The time that a job spent in one state, or a release in one step.

    Attributes:
        title: Name of the state or step.
        start: Time when it was entered.
        end: Time when it was left, or last seen.
    """

    title: str
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return (self.end - self.start).total_seconds()


class ReportRow(Protocol):
    """A job or an image in the report."""

    @property
    def name(self) -> str:
        """Name of the row."""
        ...

    @property
    def outcome(self) -> str:
        """Its outcome; ``unfinished`` before its end."""
        ...

    @property
    def reason(self) -> str:
        """Reason why it did not succeed, escaped; empty without one."""
        ...

    @property
    def resume_argument(self) -> str:
        """Argument that resumes it; empty if there is nothing to resume."""
        ...

    @property
    def timeline_start(self) -> datetime | None:
        """Start of the first bar; None before it."""
        ...

    @property
    def started(self) -> datetime | None:
        """Time when it started to run."""
        ...

    @property
    def ended(self) -> datetime | None:
        """Time when it ended."""
        ...

    def spans(self, now: datetime) -> list[StateSpan]:
        """Return the bars in order; the last one lasts until the end, or until now."""
        ...


RowT = TypeVar("RowT", bound=ReportRow)


def make_spans(entered: Sequence[tuple[str, datetime]], last: datetime) -> list[StateSpan]:
    """Return the spans between the times when states were entered.

    Args:
        entered: Name of each state, and the time when it was entered.
        last: End of the last one.
    """
    ends = [start for _, start in entered[1:]]
    return [
        StateSpan(title, min(start, last), min(end, last))  # the server's clock may be ahead of the local one
        for (title, start), end in zip(entered, [*ends, last], strict=False)
    ]


def sort_by_severity(rows: Sequence[RowT]) -> list[RowT]:
    """Return the rows sorted by outcome, failures first."""
    return sorted(rows, key=lambda row: SEVERITY_ORDER.index(row.outcome))
