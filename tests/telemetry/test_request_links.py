"""Links from a watch's span to the spans that the httpx instrumentation creates for its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport, HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from support.loopback_server import LoopbackServer, http_answer
from support.scripted_server import ScriptedServer, wire
from support.telemetry.collected import Collected
from support.virtual_time import virtual_time

from clanforge_async import ClanforgeClient, JobRef, JobState, JobWatcher

REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


@pytest.fixture
def instrumented(collected: Collected) -> Iterator[None]:
    """Instrument every httpx pool of the test."""
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=collected.tracers)
    yield
    instrumentor.uninstrument()


def linked(span: ReadableSpan) -> list[Any]:
    return [link.context for link in span.links]


def traced(server: ScriptedServer, tracers: TracerProvider) -> httpx.AsyncBaseTransport:
    return AsyncOpenTelemetryTransport(httpx.MockTransport(server._handle), tracer_provider=tracers)


@pytest.mark.usefixtures("instrumented")
async def test_watches_are_linked_to_their_requests(collected: Collected) -> None:
    """With the client's own pool, each watch links to the requests that it shared; their spans have no parent."""
    answers = [http_answer(each) for each in (RUNNING, {}, COMPLETED)]
    async with (
        LoopbackServer(lambda _: answers.pop(0)) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url, max_rate=None) as client,
    ):
        with collected.tracers.get_tracer("service").start_as_current_span("waiting"):
            watcher = JobWatcher(client, interval=0.01)
            await watcher.wait_all([REF, REF])
    requests = collected.spans("GET")
    assert len(requests) == 3
    assert [request.parent for request in requests] == [None] * 3
    assert [linked(span) for span in collected.spans()] == [[request.context for request in requests]] * 2
    assert ["\r\ntraceparent: " in head for head in server.requests] == [True] * 3


@pytest.mark.usefixtures("instrumented")
async def test_a_single_call_belongs_to_its_callers_span(collected: Collected) -> None:
    """The request of a single call is a child of its caller's span."""
    async with (
        LoopbackServer(lambda _: http_answer(COMPLETED)) as server,
        ClanforgeClient(("key", "secret"), base_url=server.url) as client,
    ):
        with collected.tracers.get_tracer("service").start_as_current_span("asking") as asking:
            await client.image_versions.status(9012)
    [request] = collected.spans("GET")
    assert request.parent == asking.get_span_context()


@virtual_time
async def test_polls_have_no_parent_span(collected: Collected) -> None:
    """Neither the span of a watch's caller nor another job's poll becomes the parent of a request."""
    server, tracer = ScriptedServer(), collected.tracers.get_tracer("service")
    for job_id in range(1, 6):
        server.version(job_id, wire(job_id), wire(job_id), wire(job_id, JobState.COMPLETED))
    watcher = JobWatcher(server.client(max_concurrency=2, transport=traced(server, collected.tracers)), interval=5)

    async def watch(job_id: int) -> None:
        with tracer.start_as_current_span(f"waiting for {job_id}"):
            await watcher.wait(JobRef.image_version(job_id))

    await asyncio.gather(*map(watch, range(1, 6)))
    requests = collected.spans("GET")
    assert [request.parent for request in requests] == [None] * 15
    for span in collected.spans():
        path = f"/imageversion/{dict(span.attributes or {})['clanforge.id']}/"
        assert linked(span) == [each.context for each in requests if path in str(dict(each.attributes or {}))]


@virtual_time
async def test_a_long_watch_keeps_the_last_links(collected: Collected) -> None:
    """The span of a watch with 720 requests links to the last 32."""
    server = ScriptedServer()
    server.version(9012, *[RUNNING] * 719, COMPLETED)
    await JobWatcher(server.client(transport=traced(server, collected.tracers)), interval=5).wait(REF)
    [span], requests = collected.spans(), collected.spans("GET")
    assert len(requests) == 720
    assert linked(span) == [request.context for request in requests[-32:]]


@virtual_time
async def test_trace_headers_are_not_reused(collected: Collected) -> None:
    """Trace headers apply to one request: later requests without instrumentation carry none and get no link."""
    server = ScriptedServer()
    inner = httpx.MockTransport(server._handle)
    instrumentation = AsyncOpenTelemetryTransport(inner, tracer_provider=collected.tracers)

    async def handle(request: httpx.Request) -> httpx.Response:
        once = instrumentation if not server.requests else inner
        response = await once.handle_async_request(request)
        traces.append("traceparent" in request.headers)
        return response

    traces: list[bool] = []
    server.version(9012, RUNNING, RUNNING, COMPLETED)
    await JobWatcher(server.client(transport=httpx.MockTransport(handle)), interval=5).wait(REF)
    assert traces == [True, False, False]
    [span], [request] = collected.spans(), collected.spans("GET")
    assert linked(span) == [request.context]


@virtual_time
async def test_unsampled_requests_are_not_linked(collected: Collected) -> None:
    """Neither an unsampled request nor headers without a trace give a link."""
    server = ScriptedServer()
    unsampled = traced(server, TracerProvider(sampler=ALWAYS_OFF))

    async def handle(request: httpx.Request) -> httpx.Response:
        request.headers = httpx.Headers({**request.headers, "X-Request-Id": "7"})
        return await unsampled.handle_async_request(request) if server.requests else await server._handle(request)

    server.version(9012, RUNNING, RUNNING, COMPLETED)
    await JobWatcher(server.client(transport=httpx.MockTransport(handle)), interval=5).wait(REF)
    [span] = collected.spans()
    assert linked(span) == []
