"""Reports watches to OpenTelemetry: a span for each watch, and metrics of all of them.

`observers` imports this module when the first watcher is created, if ``opentelemetry-api`` is installed. Without an
SDK, the API discards everything at almost no cost. The module reports:

- the span ``clanforge.watch``, a child of the caller's span, with ``clanforge.ref``, ``clanforge.kind``,
  ``clanforge.id``, ``clanforge.outcome``, ``clanforge.polls`` and, unless the job completed or the watch was
  cancelled or closed, ``error.type``. It has an event ``clanforge.state_changed`` for each state, with
  ``clanforge.state`` and ``clanforge.progress``, and links to its last requests, if an instrumentation of httpx creates
  spans for them;
- the counter ``clanforge.polls``, by ``clanforge.kind``, ``clanforge.outcome`` (ok, failed) and ``error.type``;
- the counter ``clanforge.watches``, by ``clanforge.kind``, ``clanforge.outcome`` and ``error.type``;
- the histogram ``clanforge.notice_delay`` in seconds, by ``clanforge.kind``: from a job's last update to the response
  that showed its end, if an earlier poll of the watch showed the job unfinished.

It reports only the classes of errors, since their messages can contain anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from datetime import datetime
from importlib import metadata
from types import EllipsisType

from opentelemetry import context, metrics, propagate, trace

from clanforge_async._http.tracing import TRACE_HEADERS
from clanforge_async._http.version import __version__
from clanforge_async._logging import state_label
from clanforge_async._watching.results import Outcome, WatchResult
from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import EPOCH, JobKind, JobRef

_NAME = "clanforge_async"
_OLDEST = (1, 30)
"""First release of the API in which histograms accept suggested bucket boundaries."""

_MOST_LINKS = 32
"""Maximum number of requests to which a watch's span links: the last ones. The SDK's limit is four times as high."""

_DELAYS = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)

if tuple(map(int, metadata.version("opentelemetry-api").split(".")[:2])) < _OLDEST:
    msg = "this release of opentelemetry-api is too old"
    raise ImportError(msg)

Attributes = dict[str, str | int]

# Shared by all jobs of a kind, of which there may be thousands.
_KINDS: dict[JobKind, Attributes] = {kind: {"clanforge.kind": kind.value} for kind in JobKind}
_OK: dict[JobKind, Attributes] = {kind: {**_KINDS[kind], "clanforge.outcome": "ok"} for kind in JobKind}


class Telemetry:
    """The tracer and the instruments of all watches.

    Args:
        tracers: Provider of the tracer; None: the global one, even if it is set later.
        meters: Provider of the meter; None: the global one, even if it is set later.
    """

    def __init__(
        self, tracers: trace.TracerProvider | None = None, meters: metrics.MeterProvider | None = None
    ) -> None:
        self.tracer = trace.get_tracer(_NAME, __version__, tracers)
        meter = metrics.get_meter(_NAME, __version__, meters)
        self.polls = meter.create_counter("clanforge.polls", "{poll}", "Polls of watched jobs.")
        self.watches = meter.create_counter("clanforge.watches", "{watch}", "Watches that have ended.")
        self.notice_delay = meter.create_histogram(
            "clanforge.notice_delay",
            "s",
            "Time from a job's end to the response that showed it to a watch, both by the server's clock.",
            explicit_bucket_boundaries_advisory=_DELAYS,
        )

    def job_observer(self, ref: JobRef) -> JobTelemetry:
        """Return a new observer of a job."""
        return JobTelemetry(self, ref)

    def leave_spans(self) -> None:
        """Leave the current span for the rest of this context."""
        context.attach(trace.set_span_in_context(trace.INVALID_SPAN))


class JobTelemetry:
    """Reports a watched job: each poll once, and each watch as a span."""

    __slots__ = ("_kind", "_server_time", "_telemetry", "_watches")

    def __init__(self, telemetry: Telemetry, ref: JobRef) -> None:
        self._telemetry = telemetry
        self._kind = ref.kind
        self._watches: dict[Hashable, _WatchSpan] = {}
        self._server_time = EPOCH

    def started(self, watch: Hashable, ref: JobRef) -> None:
        """Start a span for the watch, as a child of the caller's span."""
        attributes: Attributes = _KINDS[ref.kind] | {"clanforge.ref": str(ref), "clanforge.id": ref.id}
        self._watches[watch] = _WatchSpan(self._telemetry.tracer.start_span("clanforge.watch", attributes=attributes))

    def polled(self, watches: Iterable[Hashable], seen: Job | Exception, _at: float, server_time: datetime) -> None:
        """Count the poll, and link the watches to its request's span."""
        attributes = _KINDS[self._kind] | _failure(seen) if isinstance(seen, Exception) else _OK[self._kind]
        self._server_time = server_time.replace(microsecond=0)  # like the update's time
        try:
            self._telemetry.polls.add(1, attributes)
        finally:
            request = _pop_request_span()
            for watch in watches:
                if (span := self._watches.get(watch)) is not None:
                    span.add_poll(seen, request)

    def changed(self, watch: Hashable, job: Job) -> None:
        """Add a new state to the watch's span."""
        if (span := self._watches.get(watch)) is not None:
            span.add_state(job)

    def ended(self, watch: Hashable, result: WatchResult, outcome: Outcome) -> None:
        """End the watch's span, count the watch, and record the detection delay of the job's end."""
        error = None if outcome is Outcome.CLOSED else result.error
        attributes: Attributes = {"clanforge.outcome": outcome.value}
        if error is not None:
            attributes["error.type"] = type(error).__name__
        span = self._watches.pop(watch, None)
        try:
            self._telemetry.watches.add(1, _KINDS[self._kind] | attributes)
        finally:
            if span is not None:
                span.end(attributes | {"clanforge.polls": result.polls}, error)
        # If the job had ended before the first poll, the delay says nothing about the timing of polls.
        if span is not None and span.statuses > 1 and outcome.job_ended and result.job is not None:
            delay = (self._server_time - result.job.updated_at).total_seconds()
            self._telemetry.notice_delay.record(max(delay, 0.0), _KINDS[self._kind])


class _WatchSpan:
    """A watch's span, with the links that are added at its end."""

    __slots__ = ("_links", "_span", "_state", "statuses")

    def __init__(self, span: trace.Span) -> None:
        self.statuses = 0
        self._span = span
        self._state: JobState | EllipsisType | None = ...
        self._links: deque[trace.SpanContext] | None = None

    def add_poll(self, seen: Job | Exception, request: trace.SpanContext | None) -> None:
        self.statuses += isinstance(seen, Job)
        if request is not None and self._span.is_recording():
            if self._links is None:
                self._links = deque(maxlen=_MOST_LINKS)
            self._links.append(request)

    def add_state(self, job: Job) -> None:
        if job.state is not self._state:
            self._state = job.state
            progress: Attributes = {"clanforge.state": state_label(job.state), "clanforge.progress": job.progress}
            self._span.add_event("clanforge.state_changed", progress)

    def end(self, attributes: Attributes, error: Exception | None) -> None:
        for request in self._links or ():
            self._span.add_link(request)
        self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_status(trace.StatusCode.ERROR, type(error).__name__)
        self._span.end()


def _failure(error: Exception) -> Attributes:
    return {"clanforge.outcome": "failed", "error.type": type(error).__name__}


def _pop_request_span() -> trace.SpanContext | None:
    """Return the span of this task's last request, if an instrumentation created one; each span is returned once."""
    headers = TRACE_HEADERS.get()
    if headers is None:
        return None
    TRACE_HEADERS.set(None)
    # The global propagator wrote the headers, so it can read them.
    request = trace.get_current_span(propagate.extract(headers, context.Context())).get_span_context()
    if not request.is_valid or not request.trace_flags.sampled:
        return None
    # An extracted context is marked as remote; this one is local.
    return trace.SpanContext(request.trace_id, request.span_id, False, request.trace_flags, request.trace_state)
