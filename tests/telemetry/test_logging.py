"""Log records of calls and watches, with their fields."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.scripted_server import ScriptedServer, answer, envelope, wire
from support.virtual_time import virtual_time

from clanforge_async import JobHistory, JobRef, JobState, JobWatcher, _logging

REF = JobRef.image_version(9012)
ABOUT = {"ref": "image-version/9012", "kind": "image-version", "id": 9012}
QUEUED, RUNNING, COMPLETED = wire(9012, JobState.QUEUED, jobprogress=0), wire(9012), wire(9012, JobState.COMPLETED)
UNREADABLE = {"error_type": "InvalidResponseError"}

Line = tuple[str, str, dict[str, Any]]


def log_lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[Line]:
    """Return the event, the message and the other fields of each record from a level on."""
    lines = []
    for record in caplog.records:
        fields = {n.removeprefix("clanforge_"): v for n, v in vars(record).items() if n.startswith("clanforge_")}
        if record.name == "clanforge_async" and record.levelno >= level:
            lines.append((fields.pop("event"), record.getMessage(), fields))
    return lines


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "clanforge_async")


@virtual_time
async def test_each_change_of_state_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO a watch logs each new state and its end, but no polls and no progress alone."""
    server = ScriptedServer()
    server.version(9012, QUEUED, QUEUED, RUNNING, RUNNING | {"jobprogress": 70}, COMPLETED)
    await JobWatcher(server.client(), interval=5).wait(REF)
    queued = {"state": "queued", "state_id": 3, "progress": 0}
    running = {"state": "running", "state_id": 4, "progress": 50}
    completed = {"state": "completed", "state_id": 5, "progress": 100}
    end = {"outcome": "completed", "polls": 5, "elapsed": 20.0}
    assert log_lines(caplog) == [
        ("state_changed", "image-version/9012: queued, 0 %", ABOUT | queued),
        ("state_changed", "image-version/9012: running, 50 %", ABOUT | running | {"previous_state": "queued"}),
        ("state_changed", "image-version/9012: completed, 100 %", ABOUT | completed | {"previous_state": "running"}),
        ("watch_ended", "image-version/9012: completed after 20.0 s (polls: 5)", ABOUT | completed | end),
    ]


@virtual_time
async def test_states_are_logged_once_a_job(caplog: pytest.LogCaptureFixture) -> None:
    """States are logged once for all watches of a job; the end is logged for each watch."""
    server = ScriptedServer()
    server.version(9012, RUNNING, RUNNING, RUNNING, COMPLETED)
    watcher = JobWatcher(server.client(), interval=5)
    first = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(7)
    await watcher.wait_all([REF, REF])
    await first
    assert [event for event, _, _ in log_lines(caplog)] == ["state_changed"] * 2 + ["watch_ended"] * 3


@virtual_time
async def test_the_start_and_end_of_an_outage_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Of consecutive failed polls, the first is logged at INFO, the others at DEBUG, and the recovery at INFO."""
    server = ScriptedServer()
    failure = httpx.Response(502, html="<html>")
    server.version(9012, RUNNING, failure, failure, failure, RUNNING, COMPLETED)
    await JobWatcher(server.client(), interval=5).wait(REF)
    failed = ABOUT | {"error_type": "ServerError", "status_code": 502}
    said = "ServerError('Bad Gateway (HTTP 502: GET https://api.multiplay.co.uk/cfp/v1/imageversion/9012/status)')"
    assert log_lines(caplog)[1:3] == [
        ("poll_failed", f"image-version/9012: poll failed: {said}", failed | {"failures": 1}),
        (
            "polls_recovered",
            "image-version/9012: recovered after 7.0 s (failed polls: 3)",
            ABOUT | {"failures": 3, "elapsed": 7.0},
        ),
    ]
    fields = [fields for event, _, fields in log_lines(caplog, logging.DEBUG) if event == "poll_failed"]
    assert fields == [failed | {"failures": failures} for failures in (1, 2, 3)]


@virtual_time
async def test_a_failed_watch_logs_its_error(caplog: pytest.LogCaptureFixture) -> None:
    """The record of a watch's end has its error, the last state, and the reference that resumes it."""
    server = ScriptedServer()
    server.diff(5, wire(5, JobState.COMPLETED))
    stale = JobRef.image_diff(5, newer_than=datetime.fromisoformat("2026-01-01T00:00:00Z"))
    [result] = await JobWatcher(server.client(), interval=10, stale_after=30).wait_all([stale])
    [(event, message, fields)] = log_lines(caplog)
    assert (event, fields["ref"]) == ("watch_ended", str(stale))
    assert message == (
        f"{stale}: error after 30.0 s (polls: {result.polls}): "
        f"StaleJobError('the server still shows the previous run: {stale} (last seen Completed at 100 %)')"
    )
    assert (fields["outcome"], fields["error_type"], fields["state"]) == ("error", "StaleJobError", "completed")


@virtual_time
async def test_a_cancelled_watch_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled watch logs one record for its end."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    async with JobWatcher(server.client(), interval=5) as watcher:
        waiting = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(12)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    [_, (event, message, fields)] = log_lines(caplog)
    assert (event, fields["outcome"], fields["polls"]) == ("watch_ended", "cancelled", 3)
    assert message == "image-version/9012: cancelled after 12.0 s (polls: 3)"


@virtual_time
async def test_a_repeated_call_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each repetition of a call is logged, with the pause before it."""
    server = ScriptedServer()
    server.diff(5, httpx.ReadTimeout("slow"), httpx.Response(503), wire(5))
    await server.client().image_diffs.status(5)
    path = "/cfp/v1/imagediff/5/status"
    lines = log_lines(caplog)
    assert [event for event, _, _ in lines] == ["call_repeated"] * 2
    waits = [fields.pop("wait") for _, _, fields in lines]
    assert [fields for _, _, fields in lines] == [
        {"path": path, "attempt": 1, "error_type": "RequestTimeoutError"},
        {"path": path, "attempt": 2, "error_type": "ServerError", "status_code": 503},
    ]
    assert lines[0][1] == (
        f"attempt 1 of GET {path} failed, next attempt in {waits[0]:.2f} s: "
        f"RequestTimeoutError('no response in time: GET {path} at api.multiplay.co.uk:443')"
    )


@virtual_time
async def test_a_cooldown_logs_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A cooldown of the client logs one warning, and no further one if it is extended."""
    server = ScriptedServer()
    for job_id, seconds in ((1, "30"), (2, "20"), (3, "40")):
        server.version(job_id, answer({}, 429, **{"Retry-After": seconds}), wire(job_id, JobState.COMPLETED))
    watcher = JobWatcher(server.client())
    await watcher.wait_all(map(JobRef.image_version, (1, 2, 3)))
    fields = {"error_type": "RateLimitError", "status_code": 429}
    assert log_lines(caplog, logging.WARNING) == [
        ("cooling_down", "rate limited (HTTP 429): pausing all requests for 30.0 s", fields | {"wait": 30.0}),
    ]
    waits = [fields["wait"] for event, _, fields in log_lines(caplog, logging.DEBUG) if event == "cooling_down"]
    assert waits == [30.0, 40.0]


@virtual_time
async def test_each_request_is_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Each request is logged at DEBUG, with its result."""
    server = ScriptedServer()
    server.diff(5, httpx.Response(500, json={}), httpx.ReadError("reset"), wire(5))
    await server.client().image_diffs.status(5)
    requests = [fields for event, _, fields in log_lines(caplog, logging.DEBUG) if event == "request"]
    path = {"path": "/cfp/v1/imagediff/5/status"}
    assert requests[:2] == [path | {"status_code": 500, "size": 2}, path | {"error_type": "TransportError"}]
    assert requests[2].items() >= (path | {"status_code": 200}).items()


HOSTILE = "\r\nINFO forged\x1b[31m\u202e" * 500


@virtual_time
async def test_server_text_is_escaped(caplog: pytest.LogCaptureFixture) -> None:
    """Text from the server appears only in messages, escaped and truncated."""
    server = ScriptedServer()
    unknown = wire(9012, None, jobstateid=8, jobstatename=HOSTILE)
    failed = wire(9012, JobState.FAILED, joberror=HOSTILE)
    server.version(9012, unknown, httpx.Response(500, json=envelope(HOSTILE)), httpx.ReadError(HOSTILE), failed)
    await JobWatcher(server.client(), interval=5).wait(REF, check=False)
    lines = log_lines(caplog, logging.DEBUG)
    assert len([message for _, message, _ in lines if "forged" in message]) == 5
    for _, message, fields in lines:
        assert message.isprintable()
        assert len(message) < 700
        assert "forged" not in str(fields)


@virtual_time
async def test_messages_of_foreign_errors_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error of another package, such as a signer's, can quote anything: only its class is logged."""
    server = ScriptedServer()
    server.version(9012, LookupError("a secret"))
    [result] = await JobWatcher(server.client()).wait_all([REF])
    assert isinstance(result.error, LookupError)
    assert [(message, fields["error_type"]) for _, message, fields in log_lines(caplog)] == [
        ("image-version/9012: poll failed: LookupError", "LookupError"),
        ("image-version/9012: error after 0.0 s (polls: 0): LookupError", "LookupError"),
    ]
    assert "a secret" not in caplog.text


@virtual_time
async def test_the_fields_are_documented(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Each event, with its level and fields, is listed in the documentation of `_logging`."""
    server, documented = ScriptedServer(), _documented()
    server.version(9012, QUEUED, httpx.Response(429), httpx.Response(500), wire(9012, None, jobstateid=8), COMPLETED)
    server.version(1, httpx.ReadError("reset"), wire(1, JobState.COMPLETED))

    def fail(_: object) -> None:
        raise LookupError

    client = server.client()
    await client.image_versions.status(1)
    await JobWatcher(client, interval=5).wait(REF, on_update=fail)
    corrupt = tmp_path / "history.jsonl"
    corrupt.write_text("{")
    for path in (corrupt, tmp_path):  # a folder cannot be read
        await JobWatcher(client, interval=5, history=JobHistory(path)).wait(JobRef.image_version(1))
    seen = set()
    for record in caplog.records:
        fields = {name.removeprefix("clanforge_") for name in vars(record) if name.startswith("clanforge_")}
        event = vars(record)["clanforge_event"]
        levels, names = documented[event]
        assert record.levelname in levels
        assert fields - {"event"} <= names
        seen.add(event)
    assert seen == documented.keys()


def _documented() -> dict[str, tuple[set[str], set[str]]]:
    """Return the levels and the fields of each event that the module's documentation lists."""
    entries = re.findall(r"^- ``(\w+)`` \(([^)]*)\): ((?:.|\n(?!- |\n))*)", _logging.__doc__ or "", re.MULTILINE)
    return {
        event: (set(re.findall("[A-Z]{4,}", levels)), set(re.findall(r"[a-z_]+", fields)))
        for event, levels, fields in entries
    }
