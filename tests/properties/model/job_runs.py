"""The simulator's jobs, with the ends of all their runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from clanforge_async import Job, JobRef, JobState
from clanforge_async.simulator import Outcome, Run, Simulator

_ENDS = {"completed": JobState.COMPLETED, "failed": JobState.FAILED, "squashed": JobState.SQUASHED}


@frozen
class RunEnd:
    """The end of one run of a job.

    Attributes:
        known: When the run was first observed, by the loop's clock; it may have begun before.
        at: When the run ends, in Unix seconds of the server's clock.
        state: The state in which it ends.
    """

    known: float
    at: float
    state: JobState

    def matches(self, job: Job) -> bool:
        """Whether a snapshot shows this end. The server counts whole seconds."""
        return job.state is self.state and job.updated_at.timestamp() == math.floor(self.at)


@define(eq=False)
class TrackedJob:
    """A job, with the ends of all its runs so far."""

    simulator: Simulator = field(repr=False)
    ref: JobRef
    outcomes: Sequence[Outcome]
    ends: list[RunEnd] = field(factory=list[RunEnd])

    @property
    def status_path(self) -> str:
        """The path of its status."""
        return f"/cfp/v1/{self.ref.kind.replace('-', '')}/{self.ref.id}/status"

    @property
    def retry_path(self) -> str:
        """The path of its retry."""
        return f"/cfp/v1/{self.ref.kind.replace('-', '')}/{self.ref.id}/retry"

    @property
    def last_run(self) -> int:
        """Number of its last run, from 0."""
        return self.simulator.retries_of(self.ref)

    def has_ended(self) -> bool:
        """Whether its last run has ended."""
        return self.simulator.ended_at(self.ref) <= self.simulator.clock()

    def record_run(self, moment: float) -> None:
        """Record the run that began since the last call, if any. No run is short enough to be missed."""
        if len(self.ends) <= self.last_run:
            # A run without a plan is like the first one, but completes.
            outcome = self.outcomes[self.last_run] if self.last_run < len(self.outcomes) else "completed"
            self.ends.append(RunEnd(moment, self.simulator.ended_at(self.ref), _ENDS[outcome]))
        assert len(self.ends) == self.last_run + 1, f"{self.ref} was retried more often than once"

    def end_visible_between(self, first_run: int, since: float, until: float, server_ahead: float) -> RunEnd | None:
        """Return the end that the server showed during the whole period, if it did.

        Args:
            first_run: Number of the earliest run whose end counts.
            since: Start of the period, by the loop's clock.
            until: End of the period, likewise.
            server_ahead: Seconds by which the server's clock is ahead.
        """
        follows = [end.known for end in self.ends[1:]] + [math.inf]
        for end, next_known in list(zip(self.ends, follows, strict=True))[first_run:]:
            if end.at - server_ahead <= since and next_known >= until:
                return end
        return None

    def run_of(self, job: Job) -> int:
        """Return the number of the run whose end a snapshot shows."""
        shown = [number for number, end in enumerate(self.ends) if end.matches(job)]
        assert len(shown) == 1, f"{job} shows the end of no run: {self.ends}"
        return shown[0]


def add_diff(simulator: Simulator, number: int, runs: Sequence[dict[str, Any]]) -> TrackedJob:
    """Add an image diff with a first run and retries as described."""
    first, *others = runs
    ref = simulator.add_image_diff(number, retries=[Run(**run) for run in others], **first)
    return TrackedJob(simulator, ref, [run["outcome"] for run in runs])


def add_version(simulator: Simulator, number: int, run: dict[str, Any]) -> TrackedJob:
    """Add an image version with a single run as described."""
    return TrackedJob(simulator, simulator.add_image_version(number, **run), [run["outcome"]])
