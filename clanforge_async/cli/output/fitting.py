"""Lines fitted to the width of a terminal: shared by the live tables of jobs and of releases."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Protocol, TypeVar

from rich.cells import cell_len
from rich.text import Text

_WIDE_TERMINAL = 60
"""Minimum terminal width, in characters, for two spaces between the table's columns; below it, one space."""

MIN_ROOM_FOR_HEADINGS = 6
"""Minimum number of lines for rows at which one of them is used for the headings."""


class _Ranked(Protocol):
    @property
    def has_failed(self) -> bool: ...

    @property
    def sort_key(self) -> tuple[int, float]: ...


RankedT = TypeVar("RankedT", bound=_Ranked)


def most_important(rows: Iterable[RankedT], room: int) -> tuple[list[RankedT], list[RankedT]]:
    """Return the rows to show in ``room`` lines, with failures in at most half of them, and the rows to count only."""
    by_priority = sorted(rows, key=lambda row: row.sort_key)
    failures = [row for row in by_priority if row.has_failed]
    others = [row for row in by_priority if not row.has_failed]
    count = min(len(failures), max(room - len(others), (room + 1) // 2))
    shown = [*failures[:count], *others[: room - count]]
    return shown, [*failures[count:], *others[room - count :]]


def wrap_warning(warning: str, width: int, height: int) -> list[Text]:
    """Return the lines of a warning: at most half of the terminal's height, and at most its height minus two."""
    lines = textwrap.wrap(warning, max(width, 1))
    return [Text(line, "bold red") for line in lines[: max(0, min(height - 2, height // 2))]]


def wrap_summary(summary: Text, addition: str, width: int) -> list[Text]:
    """Return a summary and its addition on one line, or on two if that is too wide."""
    if not addition:
        return [summary]
    whole = summary.copy().append(f"; {addition}", "not bold")
    return [whole] if whole.cell_len <= width else [summary, Text(addition)]


def truncate(line: Text, width: int, *, ascii_only: bool) -> Text:
    """Return a line truncated to a width, ending with an ellipsis if it was too long."""
    line.no_wrap = True
    line.overflow = "crop"
    if line.cell_len > width:
        mark = ellipsis(ascii_only=ascii_only)
        line.truncate(max(0, width - cell_len(mark)))
        line.append(mark)
        line.truncate(width)
    return line


def ellipsis(*, ascii_only: bool) -> str:
    """Return the ellipsis, which marks omitted text."""
    return "..." if ascii_only else "…"


def gap(width: int) -> str:
    """Return the space between two columns."""
    return " " * (2 if width >= _WIDE_TERMINAL else 1)
