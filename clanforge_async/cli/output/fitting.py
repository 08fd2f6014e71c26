"""Lines fitted to the width of a terminal: shared by the live tables of jobs and of releases."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Protocol, TypeVar

from rich.cells import cell_len
from rich.text import Text

_WIDE_TERMINAL = 60
"""Columns of a terminal from which on two spaces separate the table's columns; below, one."""


class _Ranked(Protocol):
    @property
    def has_failed(self) -> bool: ...

    @property
    def sort_key(self) -> tuple[int, float]: ...


RankedT = TypeVar("RankedT", bound=_Ranked)


def most_important(rows: Iterable[RankedT], room: int) -> tuple[list[RankedT], list[RankedT]]:
    """Return the rows to show in that many lines, failures in at most half of them, and those only counted."""
    by_priority = sorted(rows, key=lambda row: row.sort_key)
    failures = [row for row in by_priority if row.has_failed]
    others = [row for row in by_priority if not row.has_failed]
    count = min(len(failures), max(room - len(others), (room + 1) // 2))
    shown = [*failures[:count], *others[: room - count]]
    return shown, [*failures[count:], *others[room - count :]]


def wrap_warning(warning: str, width: int, height: int) -> list[Text]:
    """Return the lines of a warning: on a terminal of this height at most half of them, and two fewer than it has."""
    lines = textwrap.wrap(warning, max(width, 1))
    return [Text(line, "bold red") for line in lines[: max(0, min(height - 2, height // 2))]]


def wrap_summary(summary: Text, addition: str, width: int) -> list[Text]:
    """Return a summary and its addition on one line, or on two if that is too wide."""
    if not addition:
        return [summary]
    whole = summary.copy().append(f"; {addition}", "not bold")
    return [whole] if whole.cell_len <= width else [summary, Text(addition)]


def truncate(line: Text, width: int, *, ascii_only: bool) -> Text:
    """Return a line cut to a width, with a mark if something is missing."""
    line.no_wrap = True
    line.overflow = "crop"
    if line.cell_len > width:
        mark = ellipsis(ascii_only=ascii_only)
        line.truncate(max(0, width - cell_len(mark)))
        line.append(mark)
        line.truncate(width)
    return line


def ellipsis(*, ascii_only: bool) -> str:
    """Return the mark of what is left out."""
    return "..." if ascii_only else "…"


def gap(width: int) -> str:
    """Return the space between two columns."""
    return " " * (2 if width >= _WIDE_TERMINAL else 1)
