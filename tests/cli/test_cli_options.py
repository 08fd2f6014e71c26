from __future__ import annotations

import logging
import re

import pytest
from support.cli.harness import Clanforge, OverrideFields

from clanforge_async.simulator import Run, Simulator

QUICK = ("--interval", "0.05")


@pytest.fixture
def mixed(simulator: Simulator) -> tuple[str, ...]:
    """References of a job that completes, one that fails and one that does not end."""
    simulator.add_image_version(1, duration=0)
    simulator.add_image_version(2, duration=0, outcome="failed", error="disk full")
    simulator.add_image_version(3, duration=1000)
    simulator.faults.add(OverrideFields.running(40), id=2, times=2)
    return "image-version/1", "image-version/2", "image-version/3"


def test_fail_fast_stops_at_the_first_failure(mixed: tuple[str, ...], clanforge: Clanforge) -> None:
    """With --fail-fast the first failed job ends the watch with status 1, and the command to resume is printed."""
    finished = clanforge("watch", *mixed, "--fail-fast", *QUICK)
    assert finished.status == 1
    assert finished.err.splitlines() == [
        "error: 1 of 3 jobs failed, 1 not finished",
        "Not finished. Resume with: clanforge watch image-version/3",
    ]
    assert re.fullmatch(r"3 jobs: 1 failed, 1 unfinished, 1 completed; \d+s, \d+ polls", finished.lines[-1])


def test_fail_fast_ignores_any_other_error(mixed: tuple[str, ...], clanforge: Clanforge) -> None:
    """With --fail-fast an error that is not a job's failure, such as an unknown ID, does not stop the other watches."""
    finished = clanforge("watch", mixed[0], "image-version/9", mixed[1], "--fail-fast", *QUICK)
    assert finished.status == 6
    assert "1 of 3 jobs failed, 1 could not be watched" in finished.err


def test_quiet_prints_only_failures(mixed: tuple[str, ...], clanforge: Clanforge) -> None:
    """With --quiet stdout is empty, and stderr has the failures and a summary."""
    finished = clanforge("watch", *mixed[:2], "--quiet", *QUICK)
    assert finished.status == 1
    assert finished.out == ""
    failure, summary = finished.err.splitlines()
    assert re.fullmatch(r"image-version/2  failed  [0-9.]+ s: disk full", failure)
    assert summary == "error: 1 of 2 jobs failed"


@pytest.mark.parametrize("argv", [("watch", "image-version/1"), ("image-version", "status", "1")])
def test_quiet_prints_nothing_on_success(simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...]) -> None:
    """With --quiet a success prints nothing."""
    simulator.add_image_version(1, duration=0)
    finished = clanforge(*argv, "-q")
    assert (finished.status, finished.out, finished.err) == (0, "", "")


def test_quiet_json_prints_only_results(mixed: tuple[str, ...], clanforge: Clanforge) -> None:
    """With --quiet and --json, results are printed and updates are not."""
    finished = clanforge("watch", *mixed[:2], "--quiet", "--json", *QUICK)
    assert [record["event"] for record in finished.records] == ["result", "result"]


def test_verbose_shows_the_log(simulator: Simulator, clanforge: Clanforge) -> None:
    """With -v the package's log is printed to stderr with the time of day, with -vv each request too."""
    simulator.add_image_version(1, duration=0)
    logger = logging.getLogger("clanforge_async")
    before = logger.level
    assert "GET" not in clanforge("watch", "image-version/1", "-v").err
    finished = clanforge("watch", "image-version/1", "-vv", "--json")
    assert re.search(r"^\d\d:\d\d:\d\d debug: GET /cfp/v1/imageversion/1/status: HTTP 200", finished.err, re.MULTILINE)
    assert [record["event"] for record in finished.records] == ["update", "result"]
    assert "GET" in clanforge("image-version", "status", "1", "-vvv").err
    assert (logger.level, logger.handlers) == (before, [])


@pytest.mark.parametrize(
    "argv", [("--timeout", "5"), ("--interval", "5"), ("--heartbeat", "1m"), ("--report", "page.html")]
)
def test_watch_options_of_a_retry_need_wait(clanforge: Clanforge, argv: tuple[str, ...]) -> None:
    """A retry without --wait rejects watch options before anything is sent."""
    finished = clanforge("image-diff", "retry", "5", *argv)
    assert finished.status == 2
    assert "need --wait" in finished.err


def test_a_retry_with_wait_accepts_watch_options(simulator: Simulator, clanforge: Clanforge) -> None:
    """With --wait a retry accepts the options of a watch, such as --quiet."""
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=0.1)])
    finished = clanforge("image-diff", "retry", "5", "--wait", "--quiet", "--timeout", "1m", *QUICK)
    assert (finished.status, finished.out, finished.err) == (0, "", "")


def test_force_color_adds_colors_to_a_pipe(
    mixed: tuple[str, ...], clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORCE_COLOR colours states and outcomes in plain lines, unless NO_COLOR is set."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    finished = clanforge("watch", *mixed[:2], *QUICK)
    assert "image-version/1  \x1b[32mcompleted\x1b[0m  " in finished.out
    assert "\x1b[36mRunning\x1b[0m  40 %" in finished.out
    assert "\x1b[1;31mfailed\x1b[0m" in finished.out
    assert "\x1b[?25l" not in finished.out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in clanforge("watch", *mixed[:2], *QUICK).out
