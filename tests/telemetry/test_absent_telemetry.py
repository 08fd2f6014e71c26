"""Watches without OpenTelemetry, with an old release of it, or without its SDK."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from clanforge_async._watching import observers

WATCH = """
import asyncio, json, sys
import httpx
from clanforge_async import ClanforgeClient, JobRef, JobWatcher

JOB = {"imageversionid": 9012, "jobcreated": 1, "jobupdated": 2, "jobstateid": 5, "jobstatename": "Completed",
       "jobprogress": 100, "jobfailed": 0}

async def main():
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=JOB))
    async with ClanforgeClient(("key", "secret"), account_service_id=7, transport=transport) as client:
        async with JobWatcher(client) as watcher:
            return await watcher.wait(JobRef.image_version(9012))
"""
MODULES = """
before = [name for name in sys.modules if name.startswith("opentelemetry.")]
job = asyncio.run(main())
after = [name for name in sys.modules if name.startswith("opentelemetry.")]
print(json.dumps([job.is_completed, before, "opentelemetry.trace" in after, "opentelemetry.sdk" in after]))
"""
LATE = """
asyncio.run(main())
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))
asyncio.run(main())
print([span.name for span in spans.get_finished_spans()])
"""


def output_of(script: str) -> str:
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)  # noqa: S603 - this interpreter
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("first", "told"),
    [
        pytest.param("", "[true, [], true, false]", id="installed"),
        pytest.param("import sys; sys.modules['opentelemetry'] = None", "[true, [], false, false]", id="absent"),
    ],
)
def test_watches_need_no_telemetry(first: str, told: str) -> None:
    """The first watcher imports the API if it is installed, and never the SDK; watches work in both cases."""
    assert output_of(first + WATCH + MODULES) == told


def test_an_sdk_may_be_installed_later() -> None:
    """Watches report to the global SDK as soon as it is set up, even after earlier watches."""
    assert output_of(WATCH + LATE) == "['clanforge.watch']"


@pytest.mark.parametrize(("release", "serves"), [("1.29.0", False), ("1.30.0", True), ("2.0.0rc1", True)])
def test_an_old_release_is_not_used(release: str, serves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of the API that lacks a needed feature is not used."""
    monkeypatch.setattr(metadata, "version", lambda _: release)
    monkeypatch.delitem(sys.modules, "clanforge_async._watching.opentelemetry", raising=False)
    assert (observers._telemetry.__wrapped__() is not None) is serves
