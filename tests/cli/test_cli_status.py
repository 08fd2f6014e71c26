from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from support.cli.harness import Clanforge, OverrideFields

from clanforge_async.simulator import Simulator

KINDS = ["image-version", "image-diff", "image-update"]


def add(simulator: Simulator, kind: str, **options: object) -> None:
    getattr(simulator, f"add_{kind.replace('-', '_')}")(7, **{"duration": 0, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_job_is_status_0(simulator: Simulator, clanforge: Clanforge, kind: str) -> None:
    """A job that has not ended is printed as one line, with status 0."""
    add(simulator, kind, duration=100, queued_for=100)
    finished = clanforge(kind, "status", "7")
    assert finished.status == 0
    [line] = finished.lines
    assert line.startswith(f"{kind}/7  Created  0 %  eta ")
    assert finished.err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_completed_job_is_status_0(simulator: Simulator, clanforge: Clanforge, kind: str) -> None:
    """A completed job is printed without an ETA, with status 0."""
    add(simulator, kind)
    finished = clanforge(kind, "status", "7")
    assert finished.status == 0
    assert finished.out.startswith(f"{kind}/7  Completed  100 %  updated ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outcome", ["failed", "squashed"])
def test_a_failed_job_is_status_1(simulator: Simulator, clanforge: Clanforge, kind: str, outcome: str) -> None:
    """A failed or squashed job is printed, and reported on stderr with status 1."""
    add(simulator, kind, outcome=outcome)
    finished = clanforge(kind, "status", "7")
    assert finished.status == 1
    assert finished.out.startswith(f"{kind}/7  {outcome.title()}  ")
    assert finished.err.startswith(f"error: {kind}/7 ")
    assert outcome in finished.err


def test_json_has_all_fields(simulator: Simulator, clanforge: Clanforge) -> None:
    """With --json a status is one object with all fields of the job, and times in ISO 8601 and UTC."""
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


def test_an_unknown_state_is_no_failure(simulator: Simulator, clanforge: Clanforge) -> None:
    """An unknown state is printed with the server's name, and is null in JSON."""
    simulator.add_image_version(7, duration=0)
    simulator.faults.add(OverrideFields({"jobstateid": 99, "jobstatename": "Frobnicating"}))
    finished = clanforge("image-version", "status", "7")
    assert (finished.status, finished.out.split("  ")[1]) == (0, "Frobnicating")
    [record] = clanforge("image-version", "status", "7", "--json").records
    assert (record["state"], record["state_name"]) == (None, "Frobnicating")


def test_options_override_the_environment(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--base-url and --account-service-id override the environment variables."""
    simulator.add_image_version(7, duration=0)
    base_url = os.environ["CLANFORGE_BASE_URL"]
    monkeypatch.setenv("CLANFORGE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CLANFORGE_ACCOUNT_SERVICE_ID", "999")
    options = ("--base-url", base_url, "--account-service-id", "1234")
    assert clanforge("image-version", "status", "7", *options).status == 0
