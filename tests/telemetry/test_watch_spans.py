"""Spans of watches."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from support.scripted_server import ScriptedServer, in_turn, wire
from support.telemetry.collected import Collected
from support.virtual_time import virtual_time

from clanforge_async import Job, JobRef, JobState, JobWatcher

REF = JobRef.image_version(9012)
QUEUED, RUNNING, COMPLETED = wire(9012, JobState.QUEUED, jobprogress=0), wire(9012), wire(9012, JobState.COMPLETED)


def attributes(thing: Any) -> dict[str, Any]:
    return dict(thing.attributes)


@virtual_time
async def test_a_watch_is_a_span(collected: Collected) -> None:
    """A watch's span has its reference and outcome, with an event for each state but none for progress alone."""
    server = ScriptedServer()
    server.version(9012, QUEUED, QUEUED, RUNNING, RUNNING | {"jobprogress": 70}, COMPLETED)
    await JobWatcher(server.client(), interval=5).wait(REF)
    [span] = collected.spans()
    assert attributes(span) == {
        "clanforge.ref": "image-version/9012",
        "clanforge.kind": "image-version",
        "clanforge.id": 9012,
        "clanforge.outcome": "completed",
        "clanforge.polls": 5,
    }
    assert span.kind is trace.SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "clanforge_async"
    assert {event.name for event in span.events} == {"clanforge.state_changed"}
    assert [tuple(attributes(event).values()) for event in span.events] == [
        ("queued", 0),
        ("running", 50),
        ("completed", 100),
    ]


@virtual_time
async def test_a_span_of_a_watch_is_a_child_of_the_callers_span(collected: Collected) -> None:
    """In every method, a watch's span is a child of its own caller's span."""
    server = ScriptedServer()
    server.version(9012, RUNNING, COMPLETED)
    server.version(9013, wire(9013, JobState.COMPLETED))
    watcher, tracer = JobWatcher(server.client(), interval=5), collected.tracers.get_tracer("service")
    with tracer.start_as_current_span("one") as one:
        first = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(1)
    with tracer.start_as_current_span("other") as other:
        jobs = [job async for job in watcher.updates(REF)]
        [ended] = await watcher.wait_all(jobs[-1:])
    await first
    parents = [span.parent and span.parent.span_id for span in collected.spans()]
    assert ended.polls == 0
    assert parents == [one.get_span_context().span_id] + [other.get_span_context().span_id] * 2


FAILED, SQUASHED = wire(9012, JobState.FAILED, joberror="disk full"), wire(9012, JobState.SQUASHED)
ENDS: list[Any] = [
    pytest.param(FAILED, "failed", "JobFailedError", id="failed"),
    pytest.param(SQUASHED, "squashed", "JobSquashedError", id="squashed"),
    pytest.param(RUNNING, "timeout", "WatchTimeoutError", id="timeout"),
    pytest.param(httpx.Response(404), "error", "NotFoundError", id="refused"),
    pytest.param(LookupError("x"), "error", "LookupError", id="foreign"),
]


@pytest.mark.parametrize(("answer", "outcome", "error"), ENDS)
@virtual_time
async def test_a_failed_watch_is_a_span_in_error(answer: Any, outcome: str, error: str, collected: Collected) -> None:
    """The span and the count name an error by its class only."""
    server = ScriptedServer()
    server.version(9012, answer)
    await JobWatcher(server.client(), interval=5, timeout=60).wait_all([REF])
    [span] = collected.spans()
    assert span.attributes is not None
    assert (span.attributes["clanforge.outcome"], span.attributes["error.type"]) == (outcome, error)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, error)
    assert not [event for event in span.events if event.name == "exception"]
    assert collected.counted("clanforge.watches") == {("image-version", outcome, error): 1}


@virtual_time
async def test_a_cancelled_or_closed_watch_has_a_span(collected: Collected) -> None:
    """A cancelled watch is no error, even after a stale terminal status, and neither is a closed one."""
    server = ScriptedServer()
    server.diff(5, wire(5, JobState.COMPLETED))
    stale = JobRef.image_diff(5, newer_than=datetime.fromisoformat("2026-01-01T00:00:00Z"))
    async with JobWatcher(server.client(), interval=5) as watcher:
        cancelled, closed = (asyncio.create_task(watcher.wait(stale)) for _ in range(2))
        await asyncio.sleep(10)
        cancelled.cancel()
        await asyncio.sleep(1)
    await asyncio.gather(cancelled, closed, return_exceptions=True)
    ends = [(attributes(span)["clanforge.outcome"], span.status.description) for span in collected.spans()]
    assert ends == [("cancelled", None), ("closed", None)]
    assert not collected.spans()[0].events
    assert "clanforge.notice_delay" not in collected.metrics()


@virtual_time
async def test_on_update_runs_in_the_callers_span(collected: Collected) -> None:
    """``on_update`` runs in its caller's span."""
    server, seen = ScriptedServer(), list[trace.Span]()
    server.on("imageversion/status", 9012, in_turn(RUNNING, COMPLETED))

    def on_update(_: Job) -> None:
        seen.append(trace.get_current_span())

    with collected.tracers.get_tracer("service").start_as_current_span("waiting") as waiting:
        await JobWatcher(server.client(), interval=5).wait(REF, on_update=on_update)
    assert seen == [waiting, waiting]
