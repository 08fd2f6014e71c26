"""A watched job as one row of the live table: title, age, time left and sort order."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import Factory, evolve, field, frozen

from clanforge_async import Job, JobRef, JobState, JobWatcher, WatchResult
from clanforge_async.cli.errors import outcome
from clanforge_async.cli.output.plain import NOT_POLLED, format_state

STALE_AFTER = timedelta(minutes=10)
"""Time without an update after which a running job is highlighted: longer than a server's steps usually take."""
_OVERDUE_AFTER = timedelta(minutes=1)
"""Time after the ETA from which a job is highlighted."""


def _title(view: JobView) -> str:
    ended = None if view.result is None else outcome(view.result.error)
    if ended in {"timeout", "error"}:
        return ended
    return NOT_POLLED if view.job is None else format_state(view.job)


def _is_over(view: JobView) -> bool:
    return view.result is not None or (view.job is not None and view.job.is_terminal)


def _is_running(view: JobView) -> bool:
    return not view.is_over and view.job is not None and view.job.state in {JobState.RUNNING, None}


@frozen
class JobView:
    """A watched job at one moment.

    Attributes:
        ref: The requested reference.
        job: The last snapshot; None before the first.
        result: The result of the watch; None before it ends.
        forecast: The watcher's forecast of the job's end, as of the last poll; None if there is none.
        title: State of the job; the outcome if the watch ended with a timeout or an error.
        is_over: No more updates will come.
        is_running: The job runs. An unknown state counts as running.
    """

    ref: JobRef
    job: Job | None = None
    result: WatchResult | None = None
    forecast: datetime | None = None

    # Computed once: each frame needs them for all jobs.
    title: str = field(init=False, default=Factory(_title, takes_self=True))
    is_over: bool = field(init=False, default=Factory(_is_over, takes_self=True))
    is_running: bool = field(init=False, default=Factory(_is_running, takes_self=True))

    @property
    def name(self) -> str:
        """The reference without its ``@SINCE``."""
        return f"{self.ref.kind}/{self.ref.id}"

    @property
    def end(self) -> datetime | None:
        """Estimated end of a job that has not ended: the server's ETA, or else the forecast; None without either."""
        if self.is_over or self.job is None:
            return None
        return self.job.eta or self.forecast

    @property
    def lacks_eta(self) -> bool:
        """Whether the job has not ended and has no ETA from the server, so that `end` can only be a forecast."""
        return not self.is_over and self.job is not None and self.job.eta is None

    def age(self, now: datetime) -> timedelta:
        """Return the time since the server last updated the job; zero before the first snapshot."""
        return timedelta(0) if self.job is None else now - self.job.updated_at

    def time_left(self, now: datetime) -> timedelta | None:
        """Return the time until the estimated end, negative after it; None without an estimate."""
        return None if self.end is None else self.end - now

    def is_stale(self, now: datetime) -> bool:
        """Whether the job runs and has not been updated for 10 minutes."""
        return self.is_running and self.age(now) >= STALE_AFTER

    def is_overdue(self, now: datetime) -> bool:
        """Whether the server's ETA was at least a minute ago. Half of all jobs outlast a forecast: none is overdue."""
        left = None if self.lacks_eta else self.time_left(now)
        return left is not None and -left >= _OVERDUE_AFTER

    @property
    def has_failed(self) -> bool:
        """Whether the job, or its watch, has ended without success."""
        return self.is_over and self.title != "Completed"

    @property
    def sort_key(self) -> tuple[int, float]:
        """Sort key: failures, then running jobs by ETA or progress, then waiting jobs, then completed ones."""
        if self.is_over:
            return (0, 0.0) if self.has_failed else (5, 0.0)
        if self.job is None:
            return 4, 0.0
        if self.job.eta is not None:
            return (1 if self.is_running else 3), self.job.eta.timestamp()
        return (2, -float(self.job.progress)) if self.is_running else (4, 0.0)


def with_forecast(view: JobView, watcher: JobWatcher | None) -> JobView:
    """Return the job with the watcher's current forecast, if the server gives no ETA."""
    if watcher is None or not view.lacks_eta:
        return view
    forecast = watcher.forecast(view.ref)
    return evolve(view, forecast=None if forecast is None else forecast.p50)
