"""The last line of several watches."""

from __future__ import annotations

import time
from collections.abc import Sequence

from clanforge_async import JobRef, WatchResult
from clanforge_async.cli.durations import brief_duration
from clanforge_async.cli.outcomes import outcome
from clanforge_async.cli.tally import jobs, tally


class Summary:
    """Counts how watches end.

    Args:
        refs: What is watched.
    """

    def __init__(self, refs: Sequence[JobRef]) -> None:
        self._count = len(refs)
        self._outcomes: list[str] = []
        self._polls = 0
        self._began = 0.0

    def begin(self) -> None:
        """Take this for the moment at which the watches begin."""
        self._began = time.monotonic()

    def add(self, result: WatchResult) -> None:
        """Count one that has ended."""
        self._outcomes.append(outcome(result.error))
        self._polls += result.polls

    def sentence(self) -> str | None:
        """Return what there is to say; of a single job its own line says it all."""
        if self._count <= 1:
            return None
        unfinished = ["unfinished"] * (self._count - len(self._outcomes))
        took = brief_duration(time.monotonic() - self._began)
        return f"{jobs(self._count)}: {tally([*self._outcomes, *unfinished])}; {took}, {self._polls} polls"
