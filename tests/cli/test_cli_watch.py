from __future__ import annotations

import json
import re

import pytest
from support.cli.harness import Clanforge, OverrideFields

from clanforge_async import JobRef, ServerError, TransportError, WatchResult, WatchTimeoutError
from clanforge_async.cli.output.jsonl import JsonLinesOutput
from clanforge_async.simulator import Envelope, GatewayError, Latency, Simulator

QUICK = ("--interval", "0.05")


def test_completed_jobs_are_status_0(simulator: Simulator, clanforge: Clanforge) -> None:
    """In a pipe each change and each result is one line; status 0 if all jobs completed."""
    simulator.add_image_version(9, duration=0)
    simulator.add_image_diff(5, duration=0)
    simulator.faults.add(OverrideFields.running(40), id=9, times=3)
    finished = clanforge("watch", "image-version/9", "image-diff/5", *QUICK)
    assert finished.status == 0
    *lines, summary = finished.lines
    assert len(lines) == 3
    assert [line.split("  ")[:2] for line in lines if "completed" in line] == [
        ["image-diff/5", "completed"],
        ["image-version/9", "completed"],
    ]
    [change] = [line for line in lines if "Running" in line]
    assert change.startswith("image-version/9  Running  40 %  eta 2030-03-17T17:46:40Z  updated ")
    assert re.fullmatch(r"2 jobs: 2 completed; \d+s, 5 polls", summary)
    assert finished.err == ""


def test_json_has_an_object_for_each_update_and_result(simulator: Simulator, clanforge: Clanforge) -> None:
    """With --json each update is an object, and so is the result, with all documented fields."""
    simulator.add_image_version(9, duration=0)
    simulator.faults.add(OverrideFields.running(40), times=2)
    simulator.faults.add(OverrideFields.running(70), times=1)
    finished = clanforge("watch", "image-version/9", *QUICK, "--json")
    *updates, result = finished.records
    assert {(update["event"], update["ref"]) for update in updates} == {("update", "image-version/9")}
    assert [(update["state"], update["progress"]) for update in updates] == [
        ("running", 40),
        ("running", 70),
        ("completed", 100),
    ]
    assert updates[0]["eta"] == "2030-03-17T17:46:40Z"
    assert result["event"] == "result"
    assert (result["ref"], result["kind"], result["id"]) == ("image-version/9", "image-version", 9)
    assert (result["outcome"], result["error"], result["error_type"]) == ("completed", None, None)
    assert (result["state"], result["progress"]) == ("completed", 100)
    assert result["polls"] == simulator.requests.count() == 4
    assert 0.15 < result["elapsed"] < 60
    assert finished.err == ""


def test_an_image_update_is_watched_like_any_job(simulator: Simulator, clanforge: Clanforge) -> None:
    """`watch` accepts image updates, including a retried one that the server does not show yet."""
    simulator.add_image_update(6, duration=0)
    assert clanforge("watch", "image-update/6", *QUICK).lines[-1].startswith("image-update/6  completed  ")
    assert clanforge("watch", "image-update/6@1999999999", "--timeout", "0.2", *QUICK).status == 3


@pytest.mark.parametrize("outcome", ["failed", "squashed"])
def test_a_failed_or_squashed_job_is_status_1(simulator: Simulator, clanforge: Clanforge, outcome: str) -> None:
    """The reason of a failed or squashed job is printed to stdout and stderr."""
    simulator.add_image_diff(5, duration=0, outcome=outcome, error="disk full")  # type: ignore[arg-type] # from above
    finished = clanforge("watch", "image-diff/5")
    assert finished.status == 1
    [line] = finished.lines
    reason = ": disk full" if outcome == "failed" else ""
    assert re.fullmatch(rf"image-diff/5  {outcome}  [0-9.]+ s{reason}", line)
    assert finished.err.startswith("error: image-diff/5 ")
    assert "Resume with" not in finished.err
    [*_, result] = clanforge("watch", "image-diff/5", "--json").records
    assert result["outcome"] == outcome


def test_a_timeout_is_status_3(simulator: Simulator, clanforge: Clanforge) -> None:
    """A timeout prints the command to resume, with the reference as it was given."""
    simulator.add_image_diff(5, duration=1000)
    finished = clanforge("watch", "image-diff/5@1", "--timeout", "0.2", "--json")
    assert finished.status == 3
    assert finished.records[-1]["outcome"] == "timeout"
    assert finished.records[-1]["error"].startswith("timed out: image-diff/5@1")
    assert finished.err.splitlines()[-1].endswith("clanforge watch image-diff/5@1")


def test_a_timeout_without_a_response_is_status_3(simulator: Simulator, clanforge: Clanforge) -> None:
    """A timeout cancels a request in flight, and its result may have no job."""
    simulator.add_image_diff(5, duration=1000)
    simulator.faults.add(Latency(60))
    finished = clanforge("watch", "image-diff/5", "--timeout", "0.2", "--json")
    assert finished.status == 3
    [result] = finished.records
    assert "state" not in result


@pytest.mark.parametrize(
    ("last_error", "expected"), [(None, None), (ServerError("down", status_code=502), "down (HTTP 502: GET )")]
)
def test_json_has_the_last_error(
    capsys: pytest.CaptureFixture[str], last_error: Exception | None, expected: str | None
) -> None:
    """With --json a result has the error of the watch's last poll, or null."""
    error = WatchTimeoutError(JobRef.image_diff(5))
    error.__dict__["last_error"] = last_error
    output = JsonLinesOutput()
    for result_error in (error, TransportError("broken", request_sent=True), None):
        output.result(WatchResult(ref=JobRef.image_diff(5), job=None, error=result_error, polls=3, elapsed=1.0))
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["last_error"] for record in records] == [expected, None, None]
    assert [record["error_type"] for record in records] == ["WatchTimeoutError", "TransportError", None]


@pytest.mark.usefixtures("simulator")
def test_wrong_keys_are_status_4(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys end a watch at once, with status 4 and a hint."""
    monkeypatch.setenv("CLANFORGE_SECRET_KEY", "wrong")
    finished = clanforge("watch", "image-diff/5", "--json")
    assert finished.status == 4
    assert finished.records[-1]["error_type"] == "AuthenticationError"
    assert "check the keys" in finished.err
    assert "wrong" not in finished.err


@pytest.mark.usefixtures("simulator")
def test_a_job_of_another_account_is_status_4(clanforge: Clanforge) -> None:
    """A job of another account is a permission error."""
    finished = clanforge("image-diff", "status", "5", "--account-service-id", "77")
    assert finished.status == 4
    assert finished.err.startswith("error: forbidden (HTTP 403")


@pytest.mark.usefixtures("simulator")
def test_an_unknown_job_is_status_6(clanforge: Clanforge) -> None:
    """An unknown job is refused permanently: status 6."""
    finished = clanforge("watch", "image-diff/5")
    assert finished.status == 6
    assert finished.lines[0].startswith("image-diff/5  error  ")
    assert "not found (HTTP 404" in finished.lines[0]
    assert finished.err.startswith("error: image-diff/5 could not be watched; check the ID")
    assert "check the ID" in finished.err


def test_the_highest_status_of_several_jobs_is_returned(simulator: Simulator, clanforge: Clanforge) -> None:
    """The exit status is the highest of all jobs, and one line counts the outcomes."""
    simulator.add_image_version(1, duration=0)
    simulator.add_image_version(2, duration=0, outcome="failed")
    simulator.add_image_version(3, duration=1000)
    refs = ["image-version/1", "image-version/2", "image-version/3"]
    finished = clanforge("watch", *refs, "--timeout", "1")
    assert finished.status == 3
    assert finished.err.splitlines() == [
        "error: 1 of 3 jobs failed, 1 timed out",
        "Not finished. Resume with: clanforge watch image-version/3",
    ]
    assert clanforge("watch", *refs[:2], "image-version/4").status == 6


def test_a_reference_given_twice_is_watched_once(simulator: Simulator, clanforge: Clanforge) -> None:
    """A reference given twice has one result."""
    simulator.add_image_version(1, duration=0)
    finished = clanforge("watch", "image-version/1", "image-version/1", "--json")
    assert [record["event"] for record in finished.records].count("result") == 1
    assert simulator.requests.count() == 1


def test_an_outage_is_tolerated(simulator: Simulator, clanforge: Clanforge) -> None:
    """Errors of a short outage do not change the outcome."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(502), times=2)
    assert clanforge("watch", "image-version/1", *QUICK).status == 0


def test_a_watch_continues_in_an_unknown_state(simulator: Simulator, clanforge: Clanforge) -> None:
    """An unknown state does not end a watch, and is reported as a warning on stderr."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(OverrideFields({"jobstateid": 99, "jobstatename": "Frobnicating"}), times=1)
    finished = clanforge("watch", "image-version/1", *QUICK)
    assert finished.status == 0
    assert finished.lines[0].startswith("image-version/1  Frobnicating  100 %")
    assert finished.err.startswith("warning: image-version/1: unknown state 99")


def test_a_locked_image_is_reported_with_a_hint(simulator: Simulator, clanforge: Clanforge) -> None:
    """An error envelope with status 200 is an error, reported with the next step."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Envelope("image locked by diffid: 218595"))
    finished = clanforge("image-version", "status", "1")
    assert finished.status == 6
    assert "wait until image-diff/218595 no longer locks the image" in finished.err


@pytest.mark.usefixtures("simulator")
def test_a_refused_connection_is_status_5(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is reported in one line, with status 5."""
    monkeypatch.setattr("clanforge_async._http.retry_policy._backoff", lambda _attempts: 0.0)
    finished = clanforge("image-version", "status", "1", "--base-url", "http://127.0.0.1:1")
    assert finished.status == 5
    [line] = finished.err.splitlines()
    assert "Connection refused" in line
    assert line.endswith("at 127.0.0.1:1); nothing listens there: check the host and the port")
