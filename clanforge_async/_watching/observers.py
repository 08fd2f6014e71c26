"""Observers of watches: logging, and OpenTelemetry if installed."""

from __future__ import annotations

import contextvars
from collections.abc import Hashable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Protocol

from clanforge_async._watching.job_log import JobLog
from clanforge_async._watching.results import Outcome, WatchResult
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef

if TYPE_CHECKING:
    from clanforge_async._watching.opentelemetry import Telemetry


class WatchObserver(Protocol):
    """Observes one job and its watches. A watch is identified by any hashable object."""

    def started(self, watch: Hashable, ref: JobRef, /) -> None:
        """Record that a watch has started, in its caller's context."""

    def polled(self, seen: Job | Exception, at: float, server_time: datetime, /) -> None:
        """Record a poll's result: once for all watches, and before they get it.

        Args:
            seen: The job, or the error that came instead.
            at: When, by the event loop's clock.
            server_time: When, by the server's clock or the best guess at it.
        """

    def changed(self, watch: Hashable, job: Job, /) -> None:
        """Record that a watch publishes a changed snapshot."""

    def ended(self, watch: Hashable, result: WatchResult, outcome: Outcome, /) -> None:
        """Record that a watch has ended. If it was cancelled, its result holds the last known values."""


Observers = tuple[WatchObserver, ...]


def make_observers(ref: JobRef) -> Observers:
    """Return new observers for a job."""
    telemetry = _telemetry()
    return (JobLog(ref),) if telemetry is None else (JobLog(ref), telemetry.job_observer(ref))


def polling_context() -> contextvars.Context:
    """Return a copy of the present context for polls, without its span: one poll serves many watches."""
    telemetry = _telemetry()
    context = contextvars.copy_context()
    if telemetry is not None:
        context.run(telemetry.leave_spans)
    return context


@cache
def _telemetry() -> Telemetry | None:
    try:
        from clanforge_async._watching.opentelemetry import Telemetry  # noqa: PLC0415 - imports an optional dependency
    except ImportError:
        return None
    return Telemetry()
