"""A live view's rows: what stands in them, and in which columns as far as the terminal's width goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from clanforge_async import JobFailedError
from clanforge_async.cli.colours import style_of
from clanforge_async.cli.durations import brief_duration, rough_duration
from clanforge_async.cli.lines import effort
from clanforge_async.cli.text import brief
from clanforge_async.cli.tracks import Track

Cell: TypeAlias = tuple[str, str]
"""A text and its style."""

_COLUMNS = ("name", "state", "bar", "percent", "clock", "left", "age")
"""As they stand, from left to right."""
_ALWAYS = ("name", "state")
_WANTED = ("left", "percent", "age", "bar", "clock")
"""What there may be room for beside, the most telling first."""
_BAR = range(6, 31)
"""The widths that a bar may have."""
_WITH_REASON = {"Failed", "Squashed", "timeout", "error"}
_ALARMING = "bold yellow"


def rows(tracks: Sequence[Track], now: datetime, width: int, *, ascii_only: bool = False) -> list[Text]:
    """Return a line for each track, none of them wider than the terminal."""
    cells = [_cells(track, now) for track in tracks]
    widths, gap = _widths(cells, width), " " * _gap(width)
    lines: list[Text] = []
    for track, row in zip(tracks, cells, strict=True):
        if "percent" in row:
            row["bar"] = "", ""  # a place for it
        line = Text()
        for name in _columns(row, widths):
            if line:
                line.append(gap)
            if name == "bar":
                line.append_text(_bar(track, widths[name], ascii_only=ascii_only))
            else:
                text, style = row.get(name, ("", ""))
                line.append(set_cell_size(text, widths[name]), style)
        if track.result is not None:
            line.append(gap).append(*_ending(track))
        line.rstrip()
        lines.append(fitted(line, width, ascii_only=ascii_only))
    return lines


def fitted(line: Text, width: int, *, ascii_only: bool = False) -> Text:
    """Return a line that is no wider than the terminal, and never wrapped."""
    line.no_wrap = True
    line.overflow = "crop"
    if line.cell_len > width:
        sign = "..." if ascii_only else "…"
        line.truncate(max(0, width - cell_len(sign)))
        line.append(sign)
        line.truncate(width)
    return line


def _cells(track: Track, now: datetime) -> dict[str, Cell]:
    cells = {"name": (track.name, ""), "state": (track.title, style_of(track.title))}
    if track.job is None or track.title in _WITH_REASON:
        return cells  # all else gives way to the reason
    cells["percent"] = f"{track.job.progress:3}%", ""
    if not track.is_over:
        age = rough_duration(track.age(now).total_seconds())
        cells["age"] = f"{age} ago", _ALARMING if track.is_silent(now) else "dim"
    left = track.left(now)
    if left is not None and track.job.eta is not None:
        cells["clock"] = _clock(track.job.eta, now), "dim"
        cells["left"] = _told(left.total_seconds()), _ALARMING if track.is_overdue(now) else ""
    return cells


def _clock(moment: datetime, now: datetime) -> str:
    with suppress(OverflowError, OSError):  # a moment at the end of all time has no local one everywhere
        local = moment.astimezone()
        return f"{local:%H:%M:%S}" if local.date() == now.astimezone().date() else f"{local:%a %H:%M}"
    return ""


def _told(seconds: float) -> str:
    if abs(seconds) < 1:
        return "due now"
    return f"in {brief_duration(seconds)}" if seconds > 0 else f"overdue {rough_duration(-seconds)}"


def _ending(track: Track) -> Cell:
    """Return how a watch ended, which takes the place of the columns about what is to come."""
    error = track.result and track.result.error
    reason = error.job.error if isinstance(error, JobFailedError) else error
    if reason is None and track.result is not None:
        return effort(track.result), "dim"
    return brief(str(reason)), ""


def _widths(rows: Iterable[Mapping[str, Cell]], width: int) -> dict[str, int]:
    needed = {"bar": _BAR.start}
    for row in rows:
        for name, (text, _) in row.items():
            needed[name] = max(needed.get(name, 0), cell_len(text))
    chosen: dict[str, int] = {name: needed[name] for name in _ALWAYS if name in needed}
    gap = _gap(width)

    def room() -> int:
        return width - sum(chosen.values()) - gap * len(chosen)

    for name in _WANTED:
        if name in needed and needed[name] <= room():
            chosen[name] = needed[name]
    if "bar" in chosen:
        chosen["bar"] = min(chosen["bar"] + room() + gap, _BAR[-1])
    return chosen


def _columns(row: Mapping[str, Cell], widths: Mapping[str, int]) -> Iterator[str]:
    last = max(index for index, name in enumerate(_COLUMNS) if name in row)
    return (name for name in _COLUMNS[: last + 1] if name in widths)


def _bar(track: Track, width: int, *, ascii_only: bool) -> Text:
    done, rest = ("#", ".") if ascii_only else ("━", "─")
    reached = 0 if track.job is None else width * track.job.progress // 100
    return Text.assemble((done * reached, style_of(track.title)), (rest * (width - reached), "dim"))


def _gap(width: int) -> int:
    return 2 if width >= 60 else 1  # noqa: PLR2004 - where lines get so short that each cell counts
