"""Observers of watches: logging, and OpenTelemetry if installed. If one raises, its watches continue."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, ParamSpec, Protocol

from clanforge_async._logging import report_observer_failure
from clanforge_async._watching.job_log import JobLog
from clanforge_async._watching.results import Outcome, WatchResult
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef

if TYPE_CHECKING:
    from clanforge_async._watching.opentelemetry import Telemetry

P = ParamSpec("P")


class WatchObserver(Protocol):
    """Observes one job and its watches. A watch is identified by any hashable object."""

    def started(self, watch: Hashable, ref: JobRef, /) -> None:
        """Record that a watch has started. Called in the context of the watch's caller."""

    def polled(self, watches: Iterable[Hashable], seen: Job | Exception, at: float, server_time: datetime, /) -> None:
        """Record a poll's result. Called once for all watches, before they get the result.

        Args:
            watches: The watches that take part in the poll.
            seen: The job, or the error of the poll.
            at: Time of the result by the event loop's clock.
            server_time: Time of the result by the server's clock, or an estimate of it.
        """

    def changed(self, watch: Hashable, job: Job, /) -> None:
        """Record that a watch publishes a changed snapshot."""

    def ended(self, watch: Hashable, result: WatchResult, outcome: Outcome, /) -> None:
        """Record that a watch has ended. If it was cancelled, the result has the last known values."""


class Observers:
    """Combines the observers of one job. An observer's error goes to the event loop's exception handler."""

    __slots__ = ("_observers",)

    def __init__(self, *observers: WatchObserver) -> None:
        self._observers = observers

    def started(self, watch: Hashable, ref: JobRef) -> None:
        """Report to each observer that a watch has started."""
        for observer in self._observers:
            _guard(observer.started, watch, ref)

    def polled(self, watches: Iterable[Hashable], seen: Job | Exception, at: float, server_time: datetime) -> None:
        """Report a poll's result to each observer."""
        for observer in self._observers:
            _guard(observer.polled, watches, seen, at, server_time)

    def changed(self, watch: Hashable, job: Job) -> None:
        """Report a changed snapshot to each observer."""
        for observer in self._observers:
            _guard(observer.changed, watch, job)

    def ended(self, watch: Hashable, result: WatchResult, outcome: Outcome) -> None:
        """Report to each observer that a watch has ended."""
        for observer in self._observers:
            _guard(observer.ended, watch, result, outcome)


def _guard(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        call(*args, **kwargs)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - processors and exporters can raise anything
        report_observer_failure("observing a watch failed", error)


def make_observers(ref: JobRef) -> Observers:
    """Return new observers for a job."""
    telemetry = _telemetry()
    return Observers(JobLog(ref)) if telemetry is None else Observers(JobLog(ref), telemetry.job_observer(ref))


def polling_context() -> contextvars.Context:
    """Return a copy of the current context for polls, without its span, since one poll serves many watches."""
    telemetry = _telemetry()
    context = contextvars.copy_context()
    if telemetry is not None:
        context.run(_guard, telemetry.leave_spans)
    return context


@cache
def _telemetry() -> Telemetry | None:
    try:
        from clanforge_async._watching.opentelemetry import Telemetry  # noqa: PLC0415 - imports an optional dependency

        return Telemetry()
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 - a telemetry provider can raise anything
        report_observer_failure("setting up OpenTelemetry failed", error)
        return None
