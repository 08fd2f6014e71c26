"""What the simulator knows of its jobs: every run that each of them has had, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from clanforge_async import Job, JobRef, JobState
from clanforge_async.simulator import Outcome, Run, Simulator

_ENDS = {"completed": JobState.COMPLETED, "failed": JobState.FAILED, "squashed": JobState.SQUASHED}


@frozen
class End:
    """How one run of a job ends.

    Attributes:
        known: When the run was known to have begun, by the loop's clock; it may have begun before.
        at: When it ends, in Unix seconds of the server's clock.
        state: In which state.
    """

    known: float
    at: float
    state: JobState

    def is_shown_by(self, job: Job) -> bool:
        """Whether a snapshot shows this end; the server counts whole seconds."""
        return job.state is self.state and job.updated_at.timestamp() == math.floor(self.at)


@define(eq=False)
class Subject:
    """A job, and the ends of all its runs up to now."""

    simulator: Simulator = field(repr=False)
    ref: JobRef
    outcomes: Sequence[Outcome]
    ends: list[End] = field(factory=list[End])

    @property
    def status_path(self) -> str:
        """Where its status is read."""
        return f"/cfp/v1/{self.ref.kind.replace('-', '')}/{self.ref.id}/status"

    @property
    def retry_path(self) -> str:
        """Where it is retried."""
        return f"/cfp/v1/{self.ref.kind.replace('-', '')}/{self.ref.id}/retry"

    @property
    def last_run(self) -> int:
        """The number of its last run, from 0."""
        return self.simulator.retries_of(self.ref)

    def has_ended(self) -> bool:
        """Whether its last run is over."""
        return self.simulator.ended_at(self.ref) <= self.simulator.clock()

    def take_note(self, moment: float) -> None:
        """Write down the run that has begun since this was last done; none is short enough to be missed."""
        if len(self.ends) <= self.last_run:
            # What is not planned is like the first run, but completes.
            outcome = self.outcomes[self.last_run] if self.last_run < len(self.outcomes) else "completed"
            self.ends.append(End(moment, self.simulator.ended_at(self.ref), _ENDS[outcome]))
        assert len(self.ends) == self.last_run + 1, f"{self.ref} was retried more often than once"

    def end_shown(self, first_run: int, since: float, until: float, server_ahead: float) -> End | None:
        """Return the end, of that run or of a later one, that the server has shown from one moment to another.

        Args:
            first_run: The number of the run.
            since: By the loop's clock.
            until: Likewise.
            server_ahead: Seconds that the server's clock shows more.
        """
        follows = [end.known for end in self.ends[1:]] + [math.inf]
        for end, next_known in list(zip(self.ends, follows, strict=True))[first_run:]:
            if end.at - server_ahead <= since and next_known >= until:
                return end
        return None

    def run_shown_by(self, job: Job) -> int:
        """Return the number of the run whose end a snapshot shows."""
        shown = [number for number, end in enumerate(self.ends) if end.is_shown_by(job)]
        assert len(shown) == 1, f"{job} shows no end that there was: {self.ends}"
        return shown[0]


def diff_of(simulator: Simulator, number: int, runs: Sequence[dict[str, Any]]) -> Subject:
    """Add an image diff whose first run and retries are to be as described."""
    first, *others = runs
    ref = simulator.add_image_diff(number, retries=[Run(**run) for run in others], **first)
    return Subject(simulator, ref, [run["outcome"] for run in runs])


def version_of(simulator: Simulator, number: int, run: dict[str, Any]) -> Subject:
    """Add an image version whose only run is to be as described."""
    return Subject(simulator, simulator.add_image_version(number, **run), [run["outcome"]])
