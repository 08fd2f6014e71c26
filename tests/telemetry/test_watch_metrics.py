"""Metrics of polls and watches."""

from __future__ import annotations

import httpx
from support.scripted_server import START, ScriptedServer, server_now, wire
from support.telemetry.collected import Collected
from support.virtual_time import virtual_time

from clanforge_async import JobRef, JobState, JobWatcher

REF = JobRef.image_version(9012)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


@virtual_time
async def test_polls_and_watches_are_counted(collected: Collected) -> None:
    """A shared poll counts once, by its outcome and error; each watch counts."""
    server = ScriptedServer()
    failures = httpx.Response(502), httpx.ReadTimeout("slow"), httpx.Response(500)
    server.version(9012, RUNNING, *failures, RUNNING, COMPLETED)
    results = await JobWatcher(server.client(), interval=5).wait_all([REF, REF])
    assert [result.polls for result in results] == [6, 6]
    assert collected.counted("clanforge.polls") == {
        ("image-version", "ok"): 3,
        ("image-version", "failed", "ServerError"): 2,
        ("image-version", "failed", "RequestTimeoutError"): 1,
    }
    assert collected.counted("clanforge.watches") == {("image-version", "completed"): 2}
    units = {name: metric.unit for name, metric in collected.metrics().items()}
    assert units == {"clanforge.polls": "{poll}", "clanforge.watches": "{watch}", "clanforge.notice_delay": "s"}


@virtual_time
async def test_notice_delay_uses_the_servers_clock(collected: Collected) -> None:
    """The delay runs from the job's last update to the response's ``Date``, whatever the local clock."""
    server = ScriptedServer()
    server.on(
        "imageversion/status",
        9012,
        lambda: wire(9012, JobState.COMPLETED, jobupdated=START + 8) if server_now() >= START + 8 else RUNNING,
    )
    await JobWatcher(server.client(), interval=6).wait(REF)
    [point] = collected.metrics()["clanforge.notice_delay"].data.data_points
    assert (point.count, point.sum) == (1, 4)
    assert dict(point.attributes) == {"clanforge.kind": "image-version"}
    assert point.explicit_bounds[:4] == (0, 1, 2, 3)


@virtual_time
async def test_an_end_before_the_watch_has_no_notice_delay(collected: Collected) -> None:
    """A job that had ended at the first poll records no delay."""
    server = ScriptedServer()
    server.version(9012, httpx.Response(502), COMPLETED)
    await JobWatcher(server.client(), interval=5).wait(REF)
    assert "clanforge.notice_delay" not in collected.metrics()
