from __future__ import annotations

import errno
import re
import threading
from pathlib import Path

import pytest
from support.cli.harness import Clanforge, Finished, OverrideFields
from support.cli.sample_jobs import NOW, make_job, version_view
from support.cli.terminal import RUN_IN_NEW_SESSION, Terminal, strip_control_codes
from support.scripted_server import ScriptedServer

from clanforge_async import Job, JobForecast, JobHistory, JobRef, JobState, JobWatcher
from clanforge_async.cli import main
from clanforge_async.cli.output.live import LiveOutput
from clanforge_async.simulator import GatewayError, Simulator

SHOW_500_JOBS = """
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
    """Run the command line in this process, with a terminal as stdout."""

    def run(*argv: str) -> Finished:
        with terminal.as_stdout():
            status = main(argv)
        return Finished(status, "", capsys.readouterr().err)

    return run


def test_a_terminal_shows_a_live_table(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """A terminal shows each job's state, progress and ETA, and the reasons of failures below."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(OverrideFields.running(40), id=1, times=1)
    simulator.add_image_diff(5, duration=0, outcome="failed", error="\x1b[2Jdisk [red]full")
    finished = clanforge("watch", "image-version/1", "image-diff/5", "image-diff/6", "--interval", "0.5")
    terminal.wait_for("image-diff/6  error")
    assert finished.status == 6
    assert finished.err.startswith("error: 1 of 3 jobs failed, 1 could not be watched")
    for text in ("Running", " 40%", "ago", "Completed", "100%", "Failed", "error", "3 jobs, "):
        assert text in terminal.shown
    assert "image-diff/5  failed  " not in terminal.shown  # its row has the whole reason
    assert r"\x1b[2Jdisk [red]full" in terminal.shown
    assert "\x1b[2J" not in terminal.shown
    assert "━" in terminal.shown
    assert "\x1b[32mCompleted" in terminal.shown


def test_a_terminal_shows_forecasts(
    simulator: Simulator, clanforge: Clanforge, terminal: Terminal, tmp_path: Path
) -> None:
    """Without ETA and progress, the table shows the end forecast from the history, until it is known."""
    history = JobHistory(tmp_path / "history.jsonl")
    history.add("image-version", 7200, JobState.COMPLETED)
    for job_id in (1, 2):
        simulator.add_image_version(job_id, duration=2)
    simulator.faults.add(OverrideFields({"jobprogress": 0, "jobeta": None}))
    command = ("watch", "image-version/1", "image-version/2", "--history", str(tmp_path / "history.jsonl"))
    finished = clanforge(*command, "--interval", "0.5")
    assert finished.status == 0
    terminal.wait_for("2 completed")
    lines = strip_control_codes(terminal.shown)
    assert re.search(r"image-version/1  Running .* 0%  ~(\w+ )?[\d:]+  in ~[12]h\d\dm  ", "\n".join(lines))
    assert any(re.search(r"^2 jobs, \d+s: .*2 running; last end ~", line) for line in lines)
    assert "~" not in lines[-2]


def test_only_the_forecasts_on_the_screen_are_kept_up_to_date(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each second, only as many forecasts are computed as the screen has lines; for jobs with an ETA, none."""

    class CountingWatcher(JobWatcher):
        asked = 0

        def forecast(self, target: JobRef | Job) -> JobForecast | None:
            self.asked += 1
            return super().forecast(target)

    monkeypatch.setenv("LINES", "24")
    watcher = CountingWatcher(ScriptedServer().client())
    views = [version_view(number) for number in range(1, 501)]
    with terminal.as_stdout(), LiveOutput([view.ref for view in views]) as output:
        output.begin(watcher)
        for view in views:
            assert view.job is not None
            output.snapshot("update", view.ref, view.job)
        assert watcher.asked == 500
        output.tick()
        assert watcher.asked == 524
        for view in views:
            output.snapshot("update", view.ref, make_job(view.ref, JobState.RUNNING, eta=NOW))
        output.tick()
        assert watcher.asked == 524


def test_an_outage_that_is_over_stays_above_the_table(
    simulator: Simulator, clanforge: Clanforge, terminal: Terminal
) -> None:
    """An outage is printed above the table once it is over."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(GatewayError(502), times=1)
    assert clanforge("watch", "image-version/1", "--interval", "0.05").status == 0
    terminal.wait_for("HTTP 502")
    assert re.search(r"\d\d:\d\d:\d\d: 127\.0\.0\.1:\d+ failed for \d+s: .*HTTP 502", terminal.shown)


def test_a_lost_terminal_raises_on_the_main_thread(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the refreshing thread is raised at the next tick, since a thread would print a traceback."""
    with terminal.as_stdout(), LiveOutput([JobRef.image_version(1)]) as output:
        with monkeypatch.context() as patch:
            patch.setattr(output.console, "print", _hang_up)
            patch.setattr(output.console, "_check_buffer", _hang_up)
            refresher = threading.Thread(target=output._live.refresh)
            refresher.start()
            refresher.join()
            with pytest.raises(OSError, match="terminal"):
                output._live.refresh()
            with pytest.raises(OSError, match="terminal"):
                output.tick()
        output._live.error = None


def _hang_up(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "the terminal has gone")


def test_an_unknown_state_is_escaped(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """The server's name of an unknown state is shown, without control codes or markup taking effect."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(OverrideFields({"jobstateid": 99, "jobstatename": "\x1b[2J[red]"}), times=1)
    assert clanforge("watch", "image-version/1", "--interval", "0.5").status == 0
    terminal.wait_for("Completed")
    assert r"\x1b[2J[red]" in terminal.shown
    assert "\x1b[2J" not in terminal.shown


def test_many_jobs_fit_a_terminal_of_any_size() -> None:
    """500 jobs fit the terminal, even after its size changes."""
    terminal = Terminal()
    process = terminal.run(SHOW_500_JOBS)
    terminal.wait_for("… and 480 more: 479 running, 1 not polled yet")
    terminal.resize(40, 10)
    terminal.wait_for("… and 494 more")
    broken = terminal.shown.rindex("480 more")
    terminal.type(b"\n")
    assert process.wait(20) == 0
    terminal.close()
    frames = terminal.shown[terminal.shown.index("more", broken) :]
    assert all(len(line) <= 40 for line in strip_control_codes(frames)[2:])
    assert frames.count("\x1b[1A") > 22  # more than the written lines, since the narrower terminal wrapped each
    assert strip_control_codes(terminal.shown)[-2].startswith("500 jobs, ")


def test_no_color_disables_colors(
    simulator: Simulator, clanforge: Clanforge, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR disables the colours of the live table and nothing else."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setenv("NO_COLOR", "1")
    assert clanforge("watch", "image-version/1").status == 0
    assert clanforge("image-version", "status", "1").status == 0
    terminal.wait_for("updated")
    assert "\x1b[3" not in terminal.shown
    assert "━" in terminal.shown


def test_a_status_has_colors_on_a_terminal(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """Plain lines have colours too on a terminal."""
    simulator.add_image_version(1, duration=0)
    assert clanforge("image-version", "status", "1").status == 0
    terminal.wait_for("\x1b[32mCompleted\x1b[0m  100 %")


@pytest.mark.parametrize("argv", [("--json",), ()])
def test_json_and_dumb_terminals_have_no_live_table(
    simulator: Simulator,
    clanforge: Clanforge,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
) -> None:
    """With --json, or if the terminal cannot move its cursor, the output is the same as in a pipe."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setenv("TERM", "dumb" if not argv else "xterm")
    assert clanforge("watch", "image-version/1", *argv).status == 0
    terminal.wait_for("completed")
    assert "\x1b" not in terminal.shown
    assert "━" not in terminal.shown


@pytest.mark.usefixtures("simulator")
def test_quiet_prints_nothing_on_a_terminal(clanforge: Clanforge, terminal: Terminal) -> None:
    """With --quiet a terminal shows nothing; errors are printed to stderr."""
    finished = clanforge("watch", "image-version/1", "--quiet")
    assert finished.status == 6
    assert finished.err.startswith("error: not found")
    assert terminal.shown == ""


def test_ctrl_c_restores_the_terminal(simulator: Simulator) -> None:
    """Ctrl-C on the keyboard stops the live table, shows the cursor and prints the command to resume below."""
    simulator.add_image_version(1, duration=1000)
    terminal = Terminal()
    process = terminal.run(RUN_IN_NEW_SESSION, "watch", "image-version/1")
    terminal.wait_for("Running")
    terminal.type(b"\x03")
    terminal.wait_for("Interrupted. Resume with: clanforge watch image-version/1")
    assert process.wait(20) == 130
    terminal.close()
    assert terminal.shown.rindex("\x1b[?25h") < terminal.shown.rindex("Interrupted")


def test_the_log_is_printed_above_the_live_table(simulator: Simulator) -> None:
    """Messages on stderr are printed above the live table."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(OverrideFields({"jobstateid": 99, "jobstatename": "Frobnicating"}), times=1)
    terminal = Terminal()
    process = terminal.run(RUN_IN_NEW_SESSION, "watch", "image-version/1", "--interval", "0.3")
    assert process.wait(20) == 0
    terminal.close()
    lines = strip_control_codes(terminal.shown)
    warning = next(index for index, line in enumerate(lines) if "warning: image-version/1: unknown state" in line)
    assert lines[warning + 1].startswith("JOB")
    assert lines[warning + 2].startswith("image-version/1  ")
    assert lines[-2].startswith("1 job, ")
