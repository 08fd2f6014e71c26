from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from support.cli.harness import Clanforge, Says

from clanforge_async.simulator import Simulator

KINDS = ["image-version", "image-diff"]


def add(simulator: Simulator, kind: str, **traits: object) -> None:
    adding = {"image-version": simulator.add_image_version, "image-diff": simulator.add_image_diff}[kind]
    adding(7, **{"duration": 0, **traits})  # type: ignore[arg-type] # whatever the test says


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_has_not_ended_is_status_0(simulator: Simulator, clanforge: Clanforge, kind: str) -> None:
    """A job that was read and has not failed is one line, and no failure."""
    add(simulator, kind, duration=100, queued_for=100)
    finished = clanforge(kind, "status", "7")
    assert finished.status == 0
    [line] = finished.lines
    assert line.startswith(f"{kind}/7  Created  0 %  eta ")
    assert finished.err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_completed_job_is_status_0(simulator: Simulator, clanforge: Clanforge, kind: str) -> None:
    """A completed job is shown without an estimate of its end."""
    add(simulator, kind)
    finished = clanforge(kind, "status", "7")
    assert finished.status == 0
    assert finished.out.startswith(f"{kind}/7  Completed  100 %  updated ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outcome", ["failed", "squashed"])
def test_a_job_without_success_is_status_1(simulator: Simulator, clanforge: Clanforge, kind: str, outcome: str) -> None:
    """A job that has failed or was squashed is shown all the same, and said to be no success on stderr."""
    add(simulator, kind, outcome=outcome)
    finished = clanforge(kind, "status", "7")
    assert finished.status == 1
    assert finished.out.startswith(f"{kind}/7  {outcome.title()}  ")
    assert finished.err.startswith(f"error: {kind}/7 ")
    assert outcome in finished.err


def test_json_tells_all_that_is_known(simulator: Simulator, clanforge: Clanforge) -> None:
    """With --json, a status is one object whose times are ISO 8601 in UTC."""
    simulator.add_image_diff(7, duration=0, outcome="failed", error="disk full", fails_at=0.0, failures=2)
    finished = clanforge("image-diff", "status", "7", "--json")
    [record] = finished.records
    times = {name: record.pop(name) for name in ("created_at", "started_at", "updated_at", "eta")}
    assert record == {
        "event": "status",
        "ref": "image-diff/7",
        "kind": "image-diff",
        "id": 7,
        "state": "failed",
        "state_name": "Failed",
        "progress": 99,
        "failure_count": 3,
        "error": "disk full",
    }
    for time in times.values():
        assert time.endswith("Z")
        assert abs((datetime.fromisoformat(time) - datetime.now(UTC)).total_seconds()) < 60


def test_a_state_that_nobody_knows_is_no_failure(simulator: Simulator, clanforge: Clanforge) -> None:
    """An unknown state is shown by the server's name for it, and is null in JSON."""
    simulator.add_image_version(7, duration=0)
    simulator.faults.add(Says({"jobstateid": 99, "jobstatename": "Frobnicating"}))
    finished = clanforge("image-version", "status", "7")
    assert (finished.status, finished.out.split("  ")[1]) == (0, "Frobnicating")
    [record] = clanforge("image-version", "status", "7", "--json").records
    assert (record["state"], record["state_name"]) == (None, "Frobnicating")


def test_options_come_before_the_environment(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--base-url and --account-service-id, behind the command where people type them, override the variables."""
    simulator.add_image_version(7, duration=0)
    base_url = os.environ["CLANFORGE_BASE_URL"]
    monkeypatch.setenv("CLANFORGE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CLANFORGE_ACCOUNT_SERVICE_ID", "999")
    options = ("--base-url", base_url, "--account-service-id", "1234")
    assert clanforge("image-version", "status", "7", *options).status == 0
