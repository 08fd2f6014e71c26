"""Outages are seen at the first failed request, and reported once for the whole command."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import pytest
from support.cli.harness import Clanforge, OverrideFields
from support.cli.sample_jobs import NOW, ago
from support.cli.terminal import RUN_IN_NEW_SESSION, Terminal, strip_control_codes

from clanforge_async import (
    ClanforgeError,
    RateLimitError,
    ServerError,
)
from clanforge_async.cli import commands, outages
from clanforge_async.cli.outages import Outage
from clanforge_async.cli.output.plain import format_live_outage, format_outage
from clanforge_async.simulator import Envelope, GatewayError, Latency, Simulator

QUICK = ("--interval", "0.05")
REFS = ("image-version/1", "image-version/2", "image-diff/5")


@pytest.fixture
def failing(simulator: Simulator) -> Simulator:
    """A simulator whose first six polls of three jobs fail."""
    for job_id in (1, 2):
        simulator.add_image_version(job_id, duration=0)
    simulator.add_image_diff(5, duration=0)
    for job_id in (1, 2, 5):
        simulator.faults.add(GatewayError(502), id=job_id, times=2)
    return simulator


def test_a_pipe_gets_one_line_for_an_outage_and_one_for_its_end(failing: Simulator, clanforge: Clanforge) -> None:
    """Stderr names the host, the failure, its start and the time of giving up, once for all jobs; then the recovery."""
    finished = clanforge("watch", *REFS, *QUICK)
    assert finished.status == 0
    outage, recovery = finished.err.splitlines()
    time_of_day = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(
        rf"outage: (127\.0\.0\.1:\d+) fails since {time_of_day}: Bad Gateway \(HTTP 502: GET http://\1/.*\); "
        rf"retrying, gives up at {time_of_day}",
        outage,
    )
    assert re.fullmatch(r"127\.0\.0\.1:\d+: recovered after \d+s", recovery)
    assert failing.requests.count() == 9


@pytest.mark.usefixtures("failing")
def test_json_has_one_event_for_an_outage_and_one_for_its_end(clanforge: Clanforge) -> None:
    """With --json, both are objects on stdout with all documented fields, and stderr is empty."""
    finished = clanforge("watch", *REFS, *QUICK, "--json")
    events = [record["event"] for record in finished.records]
    assert [event for event in events if event not in {"update", "result"}] == ["outage", "recovered"]
    outage, recovery = (record for record in finished.records if record["event"] in {"outage", "recovered"})
    assert outage["error_type"] == "ServerError"
    assert "HTTP 502" in outage["error"]
    assert outage["host"] in outage["error"]
    since, gives_up_at = (datetime.fromisoformat(outage[name]) for name in ("since", "gives_up_at"))
    assert (gives_up_at - since).total_seconds() == pytest.approx(300)
    assert outage["hint"] is None
    assert recovery["since"] == outage["since"]
    assert 0.05 < recovery["elapsed"] < 60
    assert finished.err == ""


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("options", [("--quiet",), ("--quiet", "--json")])
def test_quiet_leaves_outages_on_stderr(clanforge: Clanforge, options: tuple[str, ...]) -> None:
    """An outage is a failure: --quiet prints it to stderr, and keeps stdout for results."""
    finished = clanforge("watch", *REFS, *QUICK, *options)
    assert finished.err.startswith("outage: ")
    assert "recovered after" in finished.err
    assert "outage" not in finished.out


def test_an_outage_tolerance_ends_the_watch(simulator: Simulator, clanforge: Clanforge) -> None:
    """--outage-tolerance ends a watch whose polls keep failing, with status 5 and without a recovery."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(503))
    finished = clanforge("watch", "image-version/1", *QUICK, "--outage-tolerance", "0.5", "--json")
    assert finished.status == 5
    assert [record["event"] for record in finished.records] == ["outage", "result"]
    assert clanforge("watch", "image-version/1", "--outage-tolerance", "0").status == 5


def test_a_timeout_comes_before_the_tolerance(simulator: Simulator, clanforge: Clanforge) -> None:
    """If the timeout is earlier than the tolerance, it is the time of giving up, and it names the last failure."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(503))
    finished = clanforge("watch", "image-version/1", *QUICK, "--timeout", "0.5", "--json")
    outage, result = finished.records
    since, gives_up_at = (datetime.fromisoformat(outage[name]) for name in ("since", "gives_up_at"))
    assert (gives_up_at - since).total_seconds() < 0.5
    assert result["outcome"] == "timeout"
    assert "HTTP 503" in result["last_error"]
    assert "HTTP 503" in result["error"]


def test_a_rate_limit_reports_its_pause_once(simulator: Simulator, clanforge: Clanforge) -> None:
    """A 429 is an outage that names the pause, without an additional warning of the log."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(429, retry_after=1), times=2)
    finished = clanforge("watch", "image-version/1", *QUICK)
    outage, recovery = finished.err.splitlines()
    assert outage.endswith("; pausing all requests for 1s, as the server asks")
    assert "recovered after" in recovery


@pytest.mark.parametrize(
    ("error", "gives_up_at", "text"),
    [
        (ServerError("down", status_code=502), ago(-9), "api:443 fails for 5s, gives up in 9s: down (HTTP 502: GET )"),
        (ServerError("down", status_code=502), NOW, "api:443 fails for 5s: down (HTTP 502: GET )"),
        (RateLimitError("slow", status_code=429), None, "api:443 fails for 5s: slow (HTTP 429: GET )"),
        (
            RateLimitError("slow", status_code=429, retry_after=90.0),
            None,
            "api:443 fails for 5s: slow (HTTP 429: GET ); next request in 1m25s, as the server asks",
        ),
    ],
)
def test_the_live_text_of_an_outage(error: ClanforgeError, gives_up_at: datetime | None, text: str) -> None:
    """The live view shows times relative to now, and what the client already does."""
    outage = Outage(host="api:443", error=error, since=ago(5), gives_up_at=gives_up_at)
    assert format_live_outage(outage, NOW) == text


def test_an_outage_of_a_command_that_has_ended() -> None:
    """After the end of the command nothing is repeated any more, so neither a limit nor a pause is shown."""
    error = ServerError("down", status_code=503, retry_after=90.0)
    outage = Outage(host="api:443", error=error, since=ago(5), gives_up_at=ago(-9))
    for text in (format_live_outage(outage, NOW, is_over=True), format_outage(outage, NOW, is_over=True)):
        assert "down (HTTP 503: GET )" in text
        assert "retrying" not in text
        assert "next request" not in text
        assert "gives up" not in text


def test_a_limit_that_has_passed_is_left_out() -> None:
    """While other jobs are still watched, an outage line no longer names the time at which the first gave up."""
    outage = Outage(host="api:443", error=ServerError("down", status_code=502), since=ago(50), gives_up_at=ago(9))
    assert format_outage(outage, ago(20)).endswith("; retrying, gives up at 2026-05-01T11:59:51Z")
    assert format_outage(outage, NOW).endswith("; retrying")


def test_a_permanent_error_is_no_outage(simulator: Simulator, clanforge: Clanforge) -> None:
    """An error that ends the watch at once is not reported as an outage."""
    simulator.faults.add(Envelope("forbidden", status=403))
    assert "outage" not in clanforge("watch", "image-version/1").err


def test_a_job_that_stays_broken_does_not_hide_the_others(simulator: Simulator, clanforge: Clanforge) -> None:
    """If one job's polls keep failing while others succeed, the outage is reported once, without a recovery."""
    for job_id in (1, 2):
        simulator.add_image_version(job_id, duration=0)
    simulator.faults.add(OverrideFields.running(40), id=2, times=8)
    simulator.faults.add(GatewayError(500), id=1)
    finished = clanforge("watch", "image-version/1", "image-version/2", *QUICK, "--outage-tolerance", "0.7", "--json")
    assert [record["event"] for record in finished.records].count("outage") == 1
    assert "recovered" not in [record["event"] for record in finished.records]


@pytest.mark.usefixtures("simulator")
def test_a_refused_connection_says_at_once_what_to_try(clanforge: Clanforge) -> None:
    """A failure of the first request is reported within a second, with host, port and advice."""
    finished = clanforge("watch", "image-version/1", "--base-url", "http://127.0.0.1:1", "--timeout", "0.9")
    outage, *_ = finished.err.splitlines()
    assert "ConnectError: Connection refused (GET /cfp/v1/imageversion/1/status at 127.0.0.1:1)" in outage
    assert outage.endswith("; nothing listens there: check the host and the port")
    finished = clanforge("watch", "image-version/1", "--base-url", "http://127.0.0.1:1", "--timeout", "0.9", "--json")
    assert finished.records[0]["hint"] == "nothing listens there: check the host and the port"


def test_a_call_reports_a_failure_that_lasts(simulator: Simulator, clanforge: Clanforge, monkeypatch: Any) -> None:
    """After half a second, a call that retries prints its failure to stderr, and later its recovery; not to stdout."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(502), times=1)
    monkeypatch.setattr("clanforge_async._http.retry_policy._backoff", lambda _attempts: 0.7)
    finished = clanforge("image-version", "status", "1", "--json")
    assert len(finished.records) == 1
    assert re.match(r"outage: .*HTTP 502.*; retrying\n.*: recovered after 1s\n$", finished.err)


def test_a_call_that_recovers_soon_reports_nothing(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: Any
) -> None:
    """A failure that is over within half a second is not reported."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(502), times=1)
    monkeypatch.setattr("clanforge_async._http.retry_policy._backoff", lambda _attempts: 0.0)
    assert clanforge("image-version", "status", "1").err == ""


@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_an_unanswered_request_is_reported(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: Any, options: tuple[str, ...]
) -> None:
    """A request without a response is reported once, long before its timeout."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Latency(1.2), times=1)
    monkeypatch.setattr(outages, "_SILENT_AFTER", 0.3)
    monkeypatch.setattr(commands, "TICK", 0.1)
    finished = clanforge("watch", "image-version/1", *options)
    assert finished.status == 0
    assert re.fullmatch(r"127\.0\.0\.1:\d+: no response for \d+s; still waiting\n", finished.err)


def test_a_heartbeat_shows_that_nothing_changed(simulator: Simulator, clanforge: Clanforge, monkeypatch: Any) -> None:
    """Without a change, a pipe gets a line every --heartbeat, with the counts; with 0 or --json, none."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(OverrideFields.running(40), times=12)
    monkeypatch.setattr(commands, "TICK", 0.05)
    finished = clanforge("watch", "image-version/1", "--interval", "0.1", "--heartbeat", "0.3")
    beats = [line for line in finished.lines if "no change" in line]
    assert beats
    assert re.fullmatch(r"1 job, \d+s: 1 running; no change for \ds", beats[0])
    for options in (("--heartbeat", "0"), ("--heartbeat", "0.3", "--json")):
        simulator.faults.add(OverrideFields.running(40), times=12)
        assert "no change" not in clanforge("watch", "image-version/1", "--interval", "0.1", *options).out


def test_a_terminal_shows_an_outage_below_its_table(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows the host, the failure and the time left below the summary, and keeps a line after its end."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(502), times=3)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    terminal.resize(40, 24)
    process = terminal.run(RUN_IN_NEW_SESSION, "watch", "image-version/1")
    terminal.wait_for("in 4m59s: Bad Gateway (HTTP 502: GET")
    assert process.wait(20) == 0
    terminal.close()
    lines = strip_control_codes(terminal.shown)
    start = next(index for index, line in enumerate(lines) if "fails for" in line)
    assert re.match(r"127\.0\.0\.1:\d+ fails for \d+s, gives up", lines[start])
    assert all(len(line) <= 41 for line in lines[start : start + 3])  # with the line's end
    assert any(re.search(r"\d\d:\d\d:\d\d: 127\.0\.0\.1:\d+ failed for \d+s: Bad Gateway", line) for line in lines)


def test_a_terminal_shows_an_unanswered_request(simulator: Simulator) -> None:
    """A terminal shows that the first request has no response, long before its timeout."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Latency(60))
    terminal = Terminal()
    began = time.monotonic()
    process = terminal.run(RUN_IN_NEW_SESSION, "watch", "image-version/1")
    terminal.wait_for("no response for")
    assert time.monotonic() - began < 15
    terminal.type(b"\x03")
    assert process.wait(20) == 130
    terminal.close()
