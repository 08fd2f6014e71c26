"""Log handlers and telemetry that raise: calls and watches neither fail nor hang; the loop's handler gets the error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import SpanProcessor
from support.scripted_server import ScriptedServer, wire
from support.telemetry.collected import Collected
from support.virtual_time import virtual_time

from clanforge_async import JobRef, JobState, JobWatcher, WatchClosedError, WatchResult
from clanforge_async._watching import observers
from clanforge_async._watching.observers import Observers
from clanforge_async._watching.opentelemetry import Telemetry

REF = JobRef.image_version(9012)
QUEUED, RUNNING, COMPLETED = (wire(9012, state) for state in (JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED))
EVENTS = ("watch_begun", "request", "poll_failed", "polls_recovered", "state_changed", "listener_failed", "watch_ended")

logger = logging.getLogger("clanforge_async")


class RaisingFilter(logging.Filter):
    def __init__(self, event: str, error: BaseException) -> None:
        super().__init__()
        self.event, self.error = event, error

    def filter(self, record: logging.LogRecord) -> bool:
        if record.__dict__["clanforge_event"] == self.event:
            raise self.error
        return True


class RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise LookupError(record)


@pytest.fixture(autouse=True)
def verbose() -> Iterator[None]:
    """Log everything, and remove what a test adds to the logger."""
    level, filters, handlers = logger.level, logger.filters[:], logger.handlers[:]
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(level)
    logger.filters[:], logger.handlers[:] = filters, handlers


def reported() -> list[dict[str, Any]]:
    """Return the list in which the current loop's exception handler collects its calls."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    return reports


async def watch_through_an_outage(**options: Any) -> WatchResult:
    def fail(_: object) -> None:
        raise LookupError

    server = ScriptedServer()
    server.version(9012, QUEUED, httpx.Response(500), RUNNING, COMPLETED)
    async with server.client() as client, JobWatcher(client, interval=10, **options) as watcher:
        [result] = await watcher.wait_all([REF], on_update=fail)
    return result


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("error", [LookupError("a bug"), asyncio.CancelledError("a bug")], ids=["error", "cancelled"])
@virtual_time
async def test_a_logging_filter_that_raises_at_any_event(event: str, error: BaseException) -> None:
    """The watch ends as usual, and the loop's exception handler gets the error, with the event's name."""
    reports = reported()
    logger.addFilter(RaisingFilter(event, error))
    result = await watch_through_an_outage()
    assert (result.ok, result.polls) == (True, 4)
    assert {report["exception"] for report in reports} == {error}
    assert {report["message"] for report in reports} == {f"logging the event {event} failed"}


@virtual_time
async def test_a_log_handler_that_raises_at_every_record() -> None:
    """Calls and watches continue, even if the loop's exception handler raises too."""
    logger.addHandler(RaisingHandler())
    server = ScriptedServer()
    server.version(9012, httpx.ReadError("reset"), COMPLETED)
    asyncio.get_running_loop().set_exception_handler(lambda *_: 1 / 0)
    async with server.client() as client:
        assert (await client.image_versions.status(9012)).is_completed
    assert (await watch_through_an_outage()).ok


class RaisingProcessor(SpanProcessor):
    """A span processor that raises in one of its methods."""

    def __init__(self, method: str) -> None:
        self.method = method

    def on_start(self, *_: Any, **__: Any) -> None:
        if self.method == "on_start":
            raise LookupError

    def on_end(self, _: Any) -> None:
        if self.method == "on_end":
            raise LookupError


@pytest.mark.parametrize("method", ["on_start", "on_end"])
@virtual_time
async def test_a_span_processor_that_raises(method: str, collected: Collected) -> None:
    """The watch ends as usual, and is counted."""
    reports = reported()
    collected.tracers.add_span_processor(RaisingProcessor(method))
    assert (await watch_through_an_outage()).ok
    assert [type(report["exception"]) for report in reports] == [LookupError]
    assert collected.counted("clanforge.watches") == {("image-version", "completed"): 1}


@pytest.mark.parametrize("instrument", ["polls", "watches", "notice_delay"])
@virtual_time
async def test_an_instrument_that_raises(
    instrument: str, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch ends as usual, and so does its span."""

    class Raising:
        def add(self, *_: Any) -> None:
            raise LookupError

        record = add

    telemetry = observers._telemetry()
    assert telemetry is not None
    monkeypatch.setattr(telemetry, instrument, Raising())
    reports = reported()
    assert (await watch_through_an_outage()).ok
    assert {type(report["exception"]) for report in reports} == {LookupError}
    [span] = collected.spans()
    assert (span.attributes or {})["clanforge.outcome"] == "completed"


@virtual_time
async def test_telemetry_that_cannot_be_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a provider raises when the first watcher is created, watches work without telemetry."""

    def fail(_: object) -> None:
        raise LookupError

    monkeypatch.setattr(Telemetry, "__init__", fail)
    reports = reported()
    monkeypatch.setattr(observers, "_telemetry", cache(observers._telemetry.__wrapped__))
    assert (await watch_through_an_outage()).ok
    assert [report["message"] for report in reports] == ["setting up OpenTelemetry failed"]


@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError])
@virtual_time
async def test_a_poll_that_fails_unexpectedly_ends_its_watches(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a poll's task fails for an unforeseen reason, its watches end instead of hanging."""

    def die(*_: object) -> Callable[[], None]:
        raise error

    monkeypatch.setattr(Observers, "polled", die)
    server = ScriptedServer()
    server.version(9012, RUNNING)
    async with server.client() as client, JobWatcher(client, interval=10) as watcher:
        [result] = await asyncio.wait_for(watcher.wait_all([REF]), 1000)
    assert isinstance(result.error, LookupError if error is LookupError else WatchClosedError)
