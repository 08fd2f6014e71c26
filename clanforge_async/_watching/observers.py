"""Who else hears of the watching: the log, and OpenTelemetry where its API is installed."""

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


class Listener(Protocol):
    """Hears of one job and of its watches; each of these is known by anything that stands for it."""

    def begun(self, watch: Hashable, ref: JobRef, /) -> None:
        """Take note that a watch has begun, in the context of whoever has begun it."""

    def polled(self, seen: Job | Exception, at: float, server_time: datetime, /) -> None:
        """Take note of what a poll has brought, once, before the watches do.

        Args:
            seen: The job, or the error that came instead.
            at: When, by the event loop's clock.
            server_time: When, by the server's, or by the best guess at it.
        """

    def changed(self, watch: Hashable, job: Job, /) -> None:
        """Take note that a snapshot is news to a watch."""

    def ended(self, watch: Hashable, result: WatchResult, outcome: Outcome, /) -> None:
        """Take note that a watch is over. Where it was cancelled, its result tells how far it has come."""


Listeners = tuple[Listener, ...]


def listeners_of(ref: JobRef) -> Listeners:
    """Return who hears of a job that is watched from now on."""
    telemetry = _telemetry()
    return (JobLog(ref),) if telemetry is None else (JobLog(ref), telemetry.listener(ref))


def context_of_polls() -> contextvars.Context:
    """Return the context that polls run in: the present one, but in no span, since polls serve many watches."""
    telemetry = _telemetry()
    context = contextvars.copy_context()
    if telemetry is not None:
        context.run(telemetry.leave_spans)
    return context


@cache
def _telemetry() -> Telemetry | None:
    try:
        from clanforge_async._watching.opentelemetry import Telemetry  # noqa: PLC0415 - nobody has to have what it imports
    except ImportError:
        return None
    return Telemetry()
