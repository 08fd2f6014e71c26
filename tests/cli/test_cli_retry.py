from __future__ import annotations

import errno

import pytest
from support.cli.harness import Clanforge

from clanforge_async import JobRef
from clanforge_async.simulator import Drop, GatewayError, Run, Simulator, Stale

RETRY = ("image-diff", "retry", "5")


def failed_diff(simulator: Simulator, duration: float = 0.3) -> JobRef:
    return simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=duration)])


def test_retry_prints_the_reference_of_the_new_run(simulator: Simulator, clanforge: Clanforge) -> None:
    """A retry is requested once, and its reference has the time of the new run."""
    ref = failed_diff(simulator)
    finished = clanforge(*RETRY)
    assert finished.status == 0
    [line] = finished.lines
    token, state, *_ = line.split("  ")
    assert token.startswith("image-diff/5@")
    assert state == "Created"
    assert finished.err == f"Retry started. Follow it with: clanforge watch {token}\n"
    assert simulator.retries_of(ref) == 1


@pytest.mark.parametrize("options", [(), ("--wait",)])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError()], ids=repr)
def test_a_reference_that_stdout_does_not_take_is_printed_to_stderr(
    simulator: Simulator,
    clanforge: Clanforge,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    options: tuple[str, ...],
) -> None:
    """If stdout fails after a retry, the new run's reference goes to stderr: a second retry would start another."""
    ref = failed_diff(simulator, duration=1000)

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("clanforge_async.cli.output.plain.print_line", fail)
        finished = clanforge(*RETRY, *options)
    assert finished.status == (141 if isinstance(error, BrokenPipeError) else 5)
    assert finished.err.startswith("Retry started. Follow it with: clanforge watch image-diff/5@")
    assert simulator.retries_of(ref) == 1


def test_wait_watches_the_new_run(simulator: Simulator, clanforge: Clanforge) -> None:
    """With --wait the exit status is the new run's, even if the server still shows the previous run for a while."""
    failed_diff(simulator)
    simulator.faults.add(Stale(0.3))
    finished = clanforge(*RETRY, "--wait", "--interval", "0.05", "--json")
    assert finished.status == 0
    retried, *updates, result = finished.records
    assert (retried["event"], retried["state"]) == ("retry", "created")
    assert {record["ref"] for record in (*updates, result)} == {retried["ref"]}
    assert "failed" not in {update["state"] for update in updates}
    assert result["outcome"] == "completed"
    assert finished.err == ""


@pytest.mark.parametrize("options", [(), ("--wait", "--interval", "0.05")])
def test_an_update_is_retried_like_a_diff(simulator: Simulator, clanforge: Clanforge, options: tuple[str, ...]) -> None:
    """A retry of an image update is sent once, and can be waited for."""
    ref = simulator.add_image_update(6, duration=0, outcome="failed", retries=[Run(duration=0.3)])
    finished = clanforge("image-update", "retry", "6", *options)
    assert finished.status == 0
    assert finished.lines[0].startswith("image-update/6@")
    assert (" completed " in finished.lines[-1]) is bool(options)
    assert simulator.retries_of(ref) == 1


def test_an_unknown_outcome_of_an_update_is_reported_with_a_hint(simulator: Simulator, clanforge: Clanforge) -> None:
    """If the outcome of an update's retry is unknown, the hint names the command that shows the update."""
    simulator.add_image_update(6, duration=0, outcome="failed")
    simulator.faults.add(GatewayError(502), route="image-update retry")
    finished = clanforge("image-update", "retry", "6")
    assert finished.status == 7
    assert "see `clanforge image-update status 6` before asking again" in finished.err


def test_wait_stops_after_its_timeout(simulator: Simulator, clanforge: Clanforge) -> None:
    """With --timeout the wait ends with status 3, and the command to resume is printed."""
    failed_diff(simulator, duration=1000)
    finished = clanforge(*RETRY, "--wait", "--timeout", "0.2")
    assert finished.status == 3
    assert "Resume with: clanforge watch image-diff/5@" in finished.err


def test_a_retry_with_an_unknown_outcome_is_not_sent_again(simulator: Simulator, clanforge: Clanforge) -> None:
    """If the connection drops, the outcome of the retry is read from the diff's status."""
    ref = failed_diff(simulator, duration=1000)
    simulator.faults.add(Drop(after_acting=True), route="image-diff retry")
    assert clanforge(*RETRY).status == 0
    assert simulator.requests.count("image-diff retry") == 1
    assert simulator.retries_of(ref) == 1


def test_an_unknown_outcome_is_reported_with_a_hint(simulator: Simulator, clanforge: Clanforge) -> None:
    """If the outcome of the retry is unknown, the error says so and what to do next, and nothing is sent twice."""
    failed_diff(simulator)
    simulator.faults.add(GatewayError(502), route="image-diff retry")
    finished = clanforge(*RETRY, "--wait")
    assert finished.status == 7
    [line] = finished.err.splitlines()
    assert line.startswith("error: the retry of image diff 5 may or may not have happened (Bad Gateway (HTTP 502")
    assert line.endswith("; see `clanforge image-diff status 5` before asking again")
    assert simulator.requests.count("image-diff retry") == 1


def test_a_rejected_retry_is_status_6(simulator: Simulator, clanforge: Clanforge) -> None:
    """A retry of a running diff is rejected with status 6."""
    simulator.add_image_diff(5, duration=1000)
    finished = clanforge(*RETRY, "--wait")
    assert finished.status == 6
    assert finished.out == ""


@pytest.mark.parametrize("option", ["--timeout", "--interval"])
def test_wait_options_need_wait(clanforge: Clanforge, option: str) -> None:
    """An option that has no effect without --wait is rejected before anything is sent."""
    finished = clanforge(*RETRY, option, "5")
    assert finished.status == 2
    assert "need --wait" in finished.err
