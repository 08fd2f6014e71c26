"""Jobs with a known schedule, and the status that the API shows at any time."""

from __future__ import annotations

import math
from typing import Any

from attrs import frozen

from bench.server_models import EtaModel, ProgressModel
from clanforge_async import JobState

START = 1_763_769_600
"""The server's clock at second 0: 2025-11-22 00:00:00 UTC."""


@frozen(kw_only=True)
class PlannedJob:
    """An image version's job with a known schedule; times are seconds since the beginning.

    Attributes:
        id: Id of the image version.
        created: When the job is created.
        queued_for: Seconds in the queue.
        duration: Seconds of the run, unless the job fails.
        fails_after: Seconds from the start to the failure; None if the job completes.
        progress: How the server reports its progress.
        eta: How the server estimates its end; None if it has no ETA.
    """

    id: int
    created: float
    queued_for: float
    duration: float
    fails_after: float | None
    progress: ProgressModel
    eta: EtaModel | None

    @property
    def started(self) -> float:
        """When the run starts."""
        return self.created + self.queued_for

    @property
    def ended(self) -> float:
        """When the job ends."""
        return self.started + (self.duration if self.fails_after is None else self.fails_after)

    @property
    def outcome(self) -> JobState:
        """The job's final state."""
        return JobState.COMPLETED if self.fails_after is None else JobState.FAILED

    def state(self, now: float) -> JobState:
        """Return its state."""
        if now < self.started:
            return JobState.QUEUED
        return JobState.RUNNING if now < self.ended else self.outcome

    def wire(self, now: float) -> dict[str, Any]:
        """Return its JSON object."""
        state = self.state(now)
        eta = self._eta(now)
        return {
            "imageversionid": self.id,
            "jobcreated": unix(self.created),
            "joberror": "the build machine was lost" if state is JobState.FAILED else None,
            "jobeta": None if eta is None else unix(eta),
            "jobfailed": int(state is JobState.FAILED),
            "jobprogress": self._percentage(now),
            "jobstart": None if now < self.started else str(unix(self.started)),
            "jobstateid": int(state),
            "jobstatename": state.name.title(),
            "jobupdated": unix(self.created if now < self.started else min(now, self.ended)),
            "success": True,
        }

    def _eta(self, now: float) -> float | None:
        if self.eta is None:
            return None
        return self.eta.end(self.started, self.started + self.duration, min(now, self.ended))

    def _percentage(self, now: float) -> int:
        if self.state(now) is JobState.COMPLETED:
            return 100
        return self.progress.percentage(max(min(now, self.ended) - self.started, 0.0) / self.duration)


def unix(seconds: float) -> int:
    """Return the server's clock, which counts whole seconds, at a time."""
    return START + math.floor(seconds)
