from __future__ import annotations

import pytest
from support.cli.harness import Clanforge, Finished, Says
from support.cli.terminals import IN_A_SESSION_OF_ITS_OWN, Terminal, plain

from clanforge_async.cli import main
from clanforge_async.simulator import Simulator

FIVE_HUNDRED = """
import sys
from datetime import UTC, datetime, timedelta
from clanforge_async import ImageVersionJob, JobRef, JobState
from clanforge_async.cli.output.live import LiveOutput

now = datetime.now(UTC)
refs = [JobRef.image_version(number) for number in range(1, 501)]
with LiveOutput(refs) as view:
    for ref in refs[1:]:
        eta = now + timedelta(seconds=600 + ref.id)
        job = ImageVersionJob(id=ref.id, state=JobState.RUNNING, created_at=now, updated_at=now, eta=eta, progress=7)
        view.snapshot("update", ref, job)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def clanforge(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> Clanforge:
    """Run the entry point in this process, with a terminal as its stdout."""

    def run(*argv: str) -> Finished:
        with terminal.as_stdout():
            status = main(argv)
        return Finished(status, "", capsys.readouterr().err)

    return run


def test_a_terminal_gets_a_live_view(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """On a terminal each job has a line with its state, progress and estimate; why jobs failed stays below."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Says.running(40), id=1, times=1)
    simulator.add_image_diff(5, duration=0, outcome="failed", error="\x1b[2Jdisk [red]full")
    finished = clanforge("watch", "image-version/1", "image-diff/5", "image-diff/6", "--interval", "0.5")
    terminal.wait_for("image-diff/6  error")
    assert finished.status == 5
    assert finished.err.startswith("error: of 3 jobs ")
    for text in ("Running", " 40%", "ago", "Completed", "100%", "Failed", " polls", "error", "3 jobs, "):
        assert text in terminal.shown
    assert "image-diff/5  failed  " in terminal.shown
    assert r": \x1b[2Jdisk [red]full" in terminal.shown
    assert "\x1b[2J" not in terminal.shown
    assert "━" in terminal.shown
    assert "\x1b[32mCompleted" in terminal.shown


def test_a_state_that_nobody_knows_has_a_line(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """An unknown state is shown as the server names it: neither obeyed by the terminal nor taken for markup."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Says({"jobstateid": 99, "jobstatename": "\x1b[2J[red]"}), times=1)
    assert clanforge("watch", "image-version/1", "--interval", "0.5").status == 0
    terminal.wait_for("Completed")
    assert r"\x1b[2J[red]" in terminal.shown
    assert "\x1b[2J" not in terminal.shown


def test_five_hundred_jobs_and_any_size_do_no_harm() -> None:
    """There are never more lines than the terminal has, nor wider ones, also when its size changes."""
    terminal = Terminal()
    process = terminal.run(FIVE_HUNDRED)
    terminal.wait_for("… and 479 more: 478 running, 1 waiting")
    terminal.resize(40, 10)
    terminal.wait_for("… and 493 more")
    broken = terminal.shown.rindex("479 more")
    terminal.type(b"\n")
    assert process.wait(20) == 0
    terminal.close()
    frames = terminal.shown[terminal.shown.index("more", broken) :]
    assert all(len(line) <= 40 for line in plain(frames)[2:])
    assert frames.count("\x1b[1A") > 22  # more than were written, since the narrower terminal has broken each
    assert plain(terminal.shown)[-2].startswith("500 jobs, ")


def test_no_colour_where_none_is_wanted(
    simulator: Simulator, clanforge: Clanforge, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR leaves the live view as it is, but for the colours."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setenv("NO_COLOR", "1")
    assert clanforge("watch", "image-version/1").status == 0
    assert clanforge("image-version", "status", "1").status == 0
    terminal.wait_for("updated")
    assert "\x1b[3" not in terminal.shown
    assert "━" in terminal.shown


def test_a_status_is_coloured_on_a_terminal(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """What is no live view has colours too, where a terminal shows it."""
    simulator.add_image_version(1, duration=0)
    assert clanforge("image-version", "status", "1").status == 0
    terminal.wait_for("\x1b[32mCompleted\x1b[0m  100 %")


@pytest.mark.parametrize("argv", [("--json",), ()])
def test_only_a_capable_terminal_gets_a_live_view(
    simulator: Simulator,
    clanforge: Clanforge,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
) -> None:
    """What a terminal shows that was asked for JSON, or cannot move its cursor, is what a pipe gets."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setenv("TERM", "dumb" if not argv else "xterm")
    assert clanforge("watch", "image-version/1", *argv).status == 0
    terminal.wait_for("completed")
    assert "\x1b" not in terminal.shown
    assert "━" not in terminal.shown


@pytest.mark.usefixtures("simulator")
def test_quiet_is_quiet_on_a_terminal(clanforge: Clanforge, terminal: Terminal) -> None:
    """With --quiet a terminal shows nothing; why a watch failed goes to stderr."""
    finished = clanforge("watch", "image-version/1", "--quiet")
    assert finished.status == 5
    assert finished.err.startswith("error: not found")
    assert terminal.shown == ""


def test_ctrl_c_leaves_the_terminal_in_order(simulator: Simulator) -> None:
    """Ctrl-C, typed, stops the view, shows the cursor again and prints how to go on below it."""
    simulator.add_image_version(1, duration=1000)
    terminal = Terminal()
    process = terminal.run(IN_A_SESSION_OF_ITS_OWN, "watch", "image-version/1")
    terminal.wait_for("Running")
    terminal.type(b"\x03")
    terminal.wait_for("interrupted; to watch on: clanforge watch image-version/1")
    assert process.wait(20) == 130
    terminal.close()
    assert terminal.shown.rindex("\x1b[?25h") < terminal.shown.rindex("interrupted")


def test_the_log_stands_above_the_live_view(simulator: Simulator) -> None:
    """What is told on stderr while the view is there does not disturb it."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Says({"jobstateid": 99, "jobstatename": "Frobnicating"}), times=1)
    terminal = Terminal()
    process = terminal.run(IN_A_SESSION_OF_ITS_OWN, "watch", "image-version/1", "--interval", "0.3")
    assert process.wait(20) == 0
    terminal.close()
    lines = plain(terminal.shown)
    warning = next(index for index, line in enumerate(lines) if "warning: image-version/1 is in a state" in line)
    assert lines[warning + 1].startswith("image-version/1  ")
    assert lines[-2].startswith("1 job, ")
