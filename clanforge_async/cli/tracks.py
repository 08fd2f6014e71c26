"""What is known of each job while it is watched, and which of them matters most to whoever looks."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import Factory, field, frozen

from clanforge_async import Job, JobRef, JobState, WatchResult
from clanforge_async.cli.lines import state_title
from clanforge_async.cli.outcomes import outcome

_SILENT = timedelta(minutes=10)
"""How long a job may run without news before that is worth a look: longer than servers take from step to step."""
_OVERDUE = timedelta(minutes=1)
"""How far an estimate may have passed, likewise."""


def _title(track: Track) -> str:
    ended = None if track.result is None else outcome(track.result.error)
    if ended in {"timeout", "error"}:
        return ended
    return "waiting" if track.job is None else state_title(track.job)


def _is_over(track: Track) -> bool:
    return track.result is not None or (track.job is not None and track.job.is_terminal)


def _is_running(track: Track) -> bool:
    return not track.is_over and track.job is not None and track.job.state in {JobState.RUNNING, None}


@frozen
class Track:
    """A job as far as it is known.

    Attributes:
        ref: What was asked for.
        job: The last snapshot, None before the first.
        result: How the watch ended, None before that.
        title: The state as users know it, or how the watch ended where the state does not tell.
        is_over: Whether nothing more will come.
        is_running: Whether the job runs. One in a state that is not known is taken for one that does.
    """

    ref: JobRef
    job: Job | None = None
    result: WatchResult | None = None

    # Settled once, since each frame asks for them, of all jobs.
    title: str = field(init=False, default=Factory(_title, takes_self=True))
    is_over: bool = field(init=False, default=Factory(_is_over, takes_self=True))
    is_running: bool = field(init=False, default=Factory(_is_running, takes_self=True))

    @property
    def name(self) -> str:
        """The job's name: its reference, but for the moment since when news of it count."""
        return f"{self.ref.kind}/{self.ref.id}"

    def age(self, now: datetime) -> timedelta:
        """Return for how long the server has had no news of the job."""
        return timedelta(0) if self.job is None else now - self.job.updated_at

    def left(self, now: datetime) -> timedelta | None:
        """Return how far away the estimated end is, below zero where it has passed; None without an estimate."""
        return None if self.is_over or self.job is None or self.job.eta is None else self.job.eta - now

    def is_silent(self, now: datetime) -> bool:
        """Whether the job runs and has made no progress for suspiciously long."""
        return self.is_running and self.age(now) >= _SILENT

    def is_overdue(self, now: datetime) -> bool:
        """Whether the estimated end has passed by suspiciously much."""
        left = self.left(now)
        return left is not None and -left >= _OVERDUE

    @property
    def urgency(self) -> tuple[int, float]:
        """What sorts tracks by how much they matter: failures, then what is near its end, completed jobs last."""
        if self.is_over:
            return (0, 0.0) if self.title != "Completed" else (5, 0.0)
        if self.job is None:
            return 4, 0.0
        if self.job.eta is not None:
            return (1 if self.is_running else 3), self.job.eta.timestamp()
        return (2, -float(self.job.progress)) if self.is_running else (4, 0.0)
