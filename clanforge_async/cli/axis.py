"""The scale of a timeline."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from attrs import frozen

from clanforge_async.cli.histories import History

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (1, 2, 5, 10, 15, 30, *(m * _MINUTE for m in (1, 2, 5, 10, 15, 30)), *(h * _HOUR for h in (1, 2, 3, 6, 12)))
_FORMS = ((_DAY, "%d %b"), (6 * _HOUR, "%d %b %H:%M"), (_MINUTE, "%H:%M"), (0, "%H:%M:%S"))
"""How moments are written on an axis whose marks are so many seconds apart, at least."""
_TICKS = 8
"""Marks on the axis, at the most."""


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
        return cls(min(begin for begin, _ in alive), max(end for _, end in alive))

    @property
    def seconds(self) -> float:
        """How long it is, never nothing."""
        return max((self.end - self.begin).total_seconds(), 1.0)

    def at(self, moment: datetime) -> float:
        """Return where a moment lies, in percent; the last two are left for what stands at the end."""
        share = (moment - self.begin).total_seconds() / self.seconds
        return round(98 * min(max(share, 0.0), 1.0), 3)

    def ticks(self) -> list[tuple[float, str]]:
        """Return where round moments lie, and what they are called."""
        days = math.ceil(self.seconds / _DAY / _TICKS)
        step = next((step for step in _STEPS if self.seconds / step <= _TICKS), days * _DAY)
        form = next(form for shortest, form in _FORMS if step >= shortest)
        first = math.ceil(self.begin.timestamp() / step)
        moments = [datetime.fromtimestamp(n * step, UTC) for n in range(first, int(self.end.timestamp() // step) + 1)]
        return [(self.at(moment), f"{moment:{form}}") for moment in moments]
