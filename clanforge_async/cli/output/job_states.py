"""The states of a watched job over time, by the server's clock; the data of the report."""

from __future__ import annotations

from datetime import datetime

from attrs import define, field

from clanforge_async import Job, JobFailedError, JobRef, JobState, WatchResult
from clanforge_async.cli.errors import is_resumable, outcome
from clanforge_async.cli.formatting import escape
from clanforge_async.cli.output.plain import format_state
from clanforge_async.cli.output.report_row import StateSpan, make_spans


@define
class JobStates:
    """The states of a job as known from its snapshots.

    Attributes:
        ref: The requested reference.
        job: The last snapshot; None before the first.
        result: The result of the watch; None if it was stopped before its end.
    """

    ref: JobRef
    job: Job | None = None
    result: WatchResult | None = None
    _entered: list[tuple[str, datetime]] = field(factory=list[tuple[str, datetime]])

    @property
    def name(self) -> str:
        """The reference as text."""
        return str(self.ref)

    @property
    def resume_argument(self) -> str:
        """The argument that resumes the watch; empty if the job has ended or cannot be watched."""
        return str(self.ref) if self.result is None or is_resumable(self.result) else ""

    def update(self, job: Job) -> None:
        """Add a snapshot."""
        if self.ref.newer_than is not None and job.updated_at < self.ref.newer_than:
            return  # a snapshot of the previous run
        self.job = job
        if not self._entered:
            self._enter("Created" if job.state is JobState.CREATED else "Waiting", job.created_at)
        if job.started_at is not None and (job.is_terminal or job.state is JobState.RUNNING):
            self._enter("Running", job.started_at)  # even if no poll showed it running
        if not job.is_terminal:
            self._enter(format_state(job), job.updated_at)

    @property
    def outcome(self) -> str:
        """Outcome of the watch; ``unfinished`` without a result."""
        return "unfinished" if self.result is None else outcome(self.result.error)

    @property
    def reason(self) -> str:
        """Reason why the job has not completed; empty if it has, or if the server gave none."""
        error = None if self.result is None else self.result.error
        reason = error.job.error if isinstance(error, JobFailedError) else error
        return "" if reason is None else escape(str(reason))

    @property
    def timeline_start(self) -> datetime | None:
        """Start of the first state; None before the first snapshot."""
        return self._entered[0][1] if self._entered else None

    @property
    def started(self) -> datetime | None:
        """Time when the job started to run."""
        return next((start for title, start in self._entered if title == "Running"), None)

    @property
    def ended(self) -> datetime | None:
        """Time when the job ended."""
        return self.job.updated_at if self.job is not None and self.job.is_terminal else None

    def spans(self, now: datetime) -> list[StateSpan]:
        """Return the states in order; the last one lasts until the job's end, or until now."""
        return make_spans(self._entered, self.ended or now)

    def _enter(self, title: str, start: datetime) -> None:
        if self._entered and self._entered[-1][0] == title:
            return
        earliest = self._entered[-1][1] if self._entered else self.ref.newer_than
        self._entered.append((title, start if earliest is None else max(start, earliest)))
