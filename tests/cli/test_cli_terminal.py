from __future__ import annotations

import codecs
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress

import pytest
from cli.harness import Clanforge, Finished, Says

from clanforge_async.cli import main
from clanforge_async.simulator import Simulator

IN_A_SESSION_OF_ITS_OWN = """
import fcntl, sys, termios
from clanforge_async.cli import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.exit(main(sys.argv[1:]))
"""


class Terminal:
    """A pseudo-terminal of 80 columns, and all that was ever sent to it."""

    def __init__(self) -> None:
        self._master, self.fd = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.shown = ""

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.shown, timeout=20), f"{text!r} not in {self.shown!r}"

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def close(self) -> None:
        """To be called once nobody holds the other end any more."""
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # how Linux says that nobody holds the other end
            while data := os.read(self._master, 65536):
                with self._changed:
                    self.shown += self._decoder.decode(data)
                    self._changed.notify_all()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    yield terminal
    terminal.close()


@pytest.fixture
def clanforge(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> Clanforge:
    """Run the entry point in this process, with a terminal as its stdout."""

    def run(*argv: str) -> Finished:
        with open(terminal.fd, "w") as stdout, redirect_stdout(stdout):  # noqa: PTH123 - no path of anybody's
            status = main(argv)
        return Finished(status, "", capsys.readouterr().err)

    return run


def test_a_terminal_gets_bars(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """On a terminal each job has a bar with its state, percentage and estimate; why jobs failed stays below."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Says.running(40), id=1, times=1)
    simulator.add_image_diff(5, duration=0, outcome="failed", error="\x1b[2Jdisk [red]full")
    finished = clanforge("watch", "image-version/1", "image-diff/5", "image-diff/6", "--interval", "0.3")
    terminal.wait_for("image-diff/6  error")
    assert finished.status == 5
    assert finished.err.startswith("error: of 3 jobs ")
    for text in ("waiting", "Running", "eta ", "Completed", "100%", "Failed", " polls", "error"):
        assert text in terminal.shown
    assert "image-diff/5  failed  " in terminal.shown
    assert r": \x1b[2Jdisk [red]full" in terminal.shown
    assert "\x1b[2J" not in terminal.shown
    assert "━" in terminal.shown


def test_a_state_that_nobody_knows_has_a_bar(simulator: Simulator, clanforge: Clanforge, terminal: Terminal) -> None:
    """An unknown state is shown as the server names it: neither obeyed by the terminal nor taken for markup."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Says({"jobstateid": 99, "jobstatename": "\x1b[2J[red]"}), times=1)
    assert clanforge("watch", "image-version/1", "--interval", "0.5").status == 0
    terminal.wait_for("Completed")
    assert r"\x1b[2J[red]" in terminal.shown
    assert "\x1b[2J" not in terminal.shown


@pytest.mark.parametrize("argv", [("--json",), ()])
def test_only_a_capable_terminal_gets_bars(
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


def test_ctrl_c_leaves_the_terminal_in_order(simulator: Simulator) -> None:
    """Ctrl-C, typed, stops the bars, shows the cursor again and prints how to go on below them."""
    simulator.add_image_version(1, duration=1000)
    terminal = Terminal()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", IN_A_SESSION_OF_ITS_OWN, "watch", "image-version/1"],
        stdin=terminal.fd,
        stdout=terminal.fd,
        stderr=terminal.fd,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(terminal.fd)
    terminal.wait_for("Running")
    terminal.type(b"\x03")
    terminal.wait_for("interrupted; to watch on: clanforge watch image-version/1")
    assert process.wait(20) == 130
    terminal.close()
    assert terminal.shown.rindex("\x1b[?25h") < terminal.shown.rindex("interrupted")
