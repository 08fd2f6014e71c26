"""What became of each job in the course of a watch: its states and when it entered them, by the server's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import define, field, frozen

from clanforge_async import Job, JobFailedError, JobRef, JobState, WatchResult
from clanforge_async.cli.lines import state_title
from clanforge_async.cli.outcomes import outcome
from clanforge_async.cli.tally import GRAVITY
from clanforge_async.cli.text import visible


@frozen
class Span:
    """A state that a job was in.

    Attributes:
        title: What the state is called.
        since: When the job entered it.
        until: When it left it, or when it was last seen in it.
    """

    title: str
    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.until - self.since).total_seconds()


@define
class History:
    """A job's states as far as they are known.

    Attributes:
        ref: What was asked for.
        job: The last snapshot of it.
        result: How the watch ended, None if that was left before its end.
    """

    ref: JobRef
    job: Job | None = None
    result: WatchResult | None = None
    _entered: list[tuple[str, datetime]] = field(factory=list[tuple[str, datetime]])

    def learn(self, job: Job) -> None:
        """Take a snapshot into account."""
        if self.ref.newer_than is not None and job.updated_at < self.ref.newer_than:
            return  # it shows the run before
        self.job = job
        if not self._entered:
            self._enter("Created" if job.state is JobState.CREATED else "Waiting", job.created_at)
        if job.started_at is not None and (job.is_terminal or job.state is JobState.RUNNING):
            self._enter("Running", job.started_at)  # also where no poll fell into its run
        if not job.is_terminal:
            self._enter(state_title(job), job.updated_at)

    @property
    def outcome(self) -> str:
        """In a word, how it ended."""
        return "unfinished" if self.result is None else outcome(self.result.error)

    @property
    def reason(self) -> str:
        """Why it ended without success, empty where it did not or nobody said."""
        error = None if self.result is None else self.result.error
        reason = error.job.error if isinstance(error, JobFailedError) else error
        return "" if reason is None else visible(str(reason))

    @property
    def began(self) -> datetime | None:
        """When its first state began, None where nothing is known of it."""
        return self._entered[0][1] if self._entered else None

    @property
    def started(self) -> datetime | None:
        """When it began to run."""
        return next((since for title, since in self._entered if title == "Running"), None)

    @property
    def ended(self) -> datetime | None:
        """When it ended."""
        return self.job.updated_at if self.job is not None and self.job.is_terminal else None

    def spans(self, now: datetime) -> list[Span]:
        """Return its states in their order, the last of them up to its end, or to now."""
        ends = [since for _, since in self._entered[1:]]
        last = self.ended or now
        return [
            Span(title, min(since, last), min(until, last))  # a server's clock may be ahead of the one here
            for (title, since), until in zip(self._entered, [*ends, last], strict=False)
        ]

    def _enter(self, title: str, since: datetime) -> None:
        if self._entered and self._entered[-1][0] == title:
            return
        earliest = self._entered[-1][1] if self._entered else self.ref.newer_than
        self._entered.append((title, since if earliest is None else max(since, earliest)))


def by_gravity(histories: Sequence[History]) -> list[History]:
    """Return them with those first that did not complete."""
    return sorted(histories, key=lambda history: GRAVITY.index(history.outcome))
