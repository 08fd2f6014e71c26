"""A frame of the live view: as many rows as there is room for, what is folded, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from clanforge_async.cli.durations import brief_duration
from clanforge_async.cli.rows import fitted, rows
from clanforge_async.cli.tally import jobs, tally
from clanforge_async.cli.tracks import Track


def frame(
    tracks: Sequence[Track],
    *,
    began: datetime,
    now: datetime,
    width: int,
    height: int,
    ascii_only: bool = False,
) -> list[Text]:
    """Return the lines that show all tracks, always fewer than the terminal has unless that has but one.

    Where there is room for all, they stand as they were asked for; else what matters most comes first, and the rest
    is folded into one line.

    Args:
        tracks: All of them.
        began: When the watch began.
        now: The moment to show.
        width: Columns of the terminal.
        height: Its lines.
        ascii_only: Whether it can show nothing else.
    """
    room = max(height - 2, 0)
    shown, folded = list(tracks), list[Track]()
    if len(tracks) > room:
        by_urgency = sorted(tracks, key=lambda track: track.urgency)
        shown, folded = by_urgency[: max(room - 1, 0)], by_urgency[max(room - 1, 0) :]
    lines = rows(shown, now, width, ascii_only=ascii_only)
    if folded and room:
        dots = "..." if ascii_only else "…"
        lines.append(Text(f"{dots} and {len(folded)} more: {_tallied(folded)}", "dim"))
    lines.append(_summary(tracks, began, now))
    return [fitted(line, width, ascii_only=ascii_only) for line in lines]


def _summary(tracks: Sequence[Track], began: datetime, now: datetime) -> Text:
    elapsed = brief_duration((now - began).total_seconds())
    line = Text(f"{jobs(len(tracks))}, {elapsed}: ", "bold")
    for count, what in (
        (sum(track.is_overdue(now) for track in tracks), "overdue"),
        (sum(track.is_silent(now) for track in tracks), "without news"),
    ):
        if count:
            line.append(f"{count} {what}", "bold yellow").append(", ")
    return line.append(_tallied(tracks), "not bold")


def _tallied(tracks: Sequence[Track]) -> str:
    return tally(track.title.lower() for track in tracks)
