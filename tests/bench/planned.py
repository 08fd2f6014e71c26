"""A job whose whole life is settled before it begins: the truth, and what the API shows of it at any moment."""

from __future__ import annotations

import math
from typing import Any

from attrs import frozen

from bench.signs import Estimate, Progress
from clanforge_async import JobState

START = 1_763_769_600
"""What the server's clock says at second 0: 2025-11-22 00:00:00 UTC."""


@frozen(kw_only=True)
class PlannedJob:
    """An image version's job.

    Attributes:
        id: The image version's id.
        created: Seconds from the beginning to the job's creation.
        queued_for: Seconds that it waits before it runs.
        takes: Seconds that it runs, if it does not fail.
        fails_after: Seconds of its run after which it fails; None: it completes.
        progress: How it shows its progress.
        estimate: How it shows its end; None: not at all.
    """

    id: int
    created: float
    queued_for: float
    takes: float
    fails_after: float | None
    progress: Progress
    estimate: Estimate | None

    @property
    def started(self) -> float:
        """Seconds from the beginning to the run's start."""
        return self.created + self.queued_for

    @property
    def ended(self) -> float:
        """Seconds from the beginning to the job's end."""
        return self.started + (self.takes if self.fails_after is None else self.fails_after)

    @property
    def outcome(self) -> JobState:
        """The state in which it ends."""
        return JobState.COMPLETED if self.fails_after is None else JobState.FAILED

    def state(self, now: float) -> JobState:
        """Return the state that it is in."""
        if now < self.started:
            return JobState.QUEUED
        return JobState.RUNNING if now < self.ended else self.outcome

    def wire(self, now: float) -> dict[str, Any]:
        """Return the object that the API sends for it."""
        state = self.state(now)
        estimate = self._estimate(now)
        return {
            "imageversionid": self.id,
            "jobcreated": unix(self.created),
            "joberror": "the build machine was lost" if state is JobState.FAILED else None,
            "jobeta": None if estimate is None else unix(estimate),
            "jobfailed": int(state is JobState.FAILED),
            "jobprogress": self._percentage(now),
            "jobstart": None if now < self.started else str(unix(self.started)),
            "jobstateid": int(state),
            "jobstatename": state.name.title(),
            "jobupdated": unix(self.created if now < self.started else min(now, self.ended)),
            "success": True,
        }

    def _estimate(self, now: float) -> float | None:
        if self.estimate is None:
            return None
        return self.estimate.end(self.started, self.started + self.takes, min(now, self.ended))

    def _percentage(self, now: float) -> int:
        if self.state(now) is JobState.COMPLETED:
            return 100
        return self.progress.percentage(max(min(now, self.ended) - self.started, 0.0) / self.takes)


def unix(seconds: float) -> int:
    """Return the server's clock so many seconds after the beginning; like the server's own, it counts whole ones."""
    return START + math.floor(seconds)
