"""The example service watches jobs, streams them, and resumes after a restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from support.examples.example_process import environment
from support.examples.service_process import read_rows, run_service

from clanforge_async.simulator import Simulator, serve

BUILT, FAILED, LONG = "image-version/9012", "image-diff/5678@1763769600", "image-version/9013"
TIMEOUT = 15.0
"""Timeout in seconds; the event stream itself never ends."""


@pytest.fixture
def simulator() -> Simulator:
    simulator = Simulator()
    simulator.add_image_version(9012, duration=0)
    simulator.add_image_version(9013, duration=3600)
    simulator.add_image_diff(5678, duration=0, outcome="failed", error="<b>disk full</b>")
    return simulator


@pytest.fixture
async def env(simulator: Simulator) -> AsyncIterator[dict[str, str]]:
    async with serve(simulator) as base_url:
        yield environment(CLANFORGE_BASE_URL=base_url)


async def test_watches_are_streamed_and_resume_after_a_restart(
    simulator: Simulator, env: dict[str, str], tmp_path: Path
) -> None:
    """Jobs are streamed until they end; a service stopped during a stream exits at once and resumes after a restart."""
    database = tmp_path / "watches.sqlite3"
    async with run_service(database, env) as first, httpx.AsyncClient(base_url=first.url, timeout=TIMEOUT) as browser:
        started = await browser.post("/watches", json=[BUILT, FAILED, LONG])
        assert (started.status_code, started.json()) == (202, [BUILT, FAILED, LONG])
        async with browser.stream("GET", "/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            following = read_rows(stream)
            async for shown in following:
                if shown[BUILT]["outcome"] and shown[FAILED]["outcome"] and shown[LONG]["state"] == "Running":
                    break
            assert {row["ref"]: row for row in (await browser.get("/watches")).json()} == shown
            async with asyncio.timeout(TIMEOUT):
                log = await first.stop()
                assert [shown async for shown in following] == []
    assert (first.process.returncode, "Traceback" in log, "exceeded" in log) == (-signal.SIGTERM, False, False)
    assert shown[BUILT]["outcome"] == "completed"
    assert shown[FAILED]["outcome"] == "image-diff/5678 failed: <b>disk full</b>"
    polls = simulator.requests.count(id=9013), simulator.requests.count(id=5678)
    async with run_service(database, env) as second, httpx.AsyncClient(base_url=second.url, timeout=TIMEOUT) as browser:
        async with browser.stream("GET", "/events") as stream:
            shown_again = await anext(read_rows(stream))
        assert {**shown_again, LONG: None} == {**shown, LONG: None}
        await second.stop()
    assert simulator.requests.count(id=9013) > polls[0]
    assert simulator.requests.count(id=5678) == polls[1]
