from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from support.cli.harness import Calls, Clanforge, Spawn

from clanforge_async.simulator import Latency, Run, Simulator

STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Trap(io.StringIO):
    """A stdout that does something when it is given a certain text."""

    def __init__(self, text: str, spring: object) -> None:
        super().__init__()
        self._text = text
        self._spring = spring

    def write(self, text: str, /) -> int:
        if self._text in text:
            self._spring()  # type: ignore[operator] # a callable, or the test fails
        return super().write(text)


@pytest.mark.parametrize("number", STATUSES)
def test_a_signal_leaves_at_once_and_says_how_to_go_on(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Ctrl-C ends requests in flight, and prints the references of what has not ended, as they were given."""
    simulator.add_image_version(1, duration=0)
    simulator.add_image_diff(5, duration=1000)
    simulator.faults.add(Latency(60), route="image-diff status")
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    monkeypatch.setattr(sys, "stdout", Trap("image-version/1  completed", interrupt))
    finished = clanforge("watch", "image-diff/5@7", "image-version/1", "image-diff/6")
    assert time.monotonic() - sent[0] < 5
    assert finished.status == STATUSES[number]
    assert finished.err == "interrupted; to watch on: clanforge watch image-diff/5@7 image-diff/6\n"


def test_a_process_reports_the_interruption(simulator: Simulator, spawn: Spawn) -> None:
    """The exit status is the process's own, and there is no traceback."""
    simulator.add_image_diff(5, duration=1000)
    process = spawn("watch", "image-diff/5")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "interrupted; to watch on: clanforge watch image-diff/5\n"


def test_a_retry_that_is_interrupted_is_in_doubt(simulator: Simulator, clanforge: Clanforge) -> None:
    """Whoever interrupts a retry is told that it may have happened, and nothing is sent again."""
    ref = simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    simulator.faults.add(Calls(lambda: os.kill(os.getpid(), signal.SIGINT)))
    finished = clanforge("image-diff", "retry", "5", "--wait")
    assert finished.status == 130
    assert "may or may not have happened" in finished.err
    assert simulator.retries_of(ref) == 1


def test_a_wait_that_is_interrupted_names_the_new_run(simulator: Simulator, clanforge: Clanforge) -> None:
    """The reference printed for a retry carries the moment from which on a status is of the new run."""
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    simulator.faults.add(Calls(lambda: os.kill(os.getpid(), signal.SIGINT)), route="image-diff status")
    finished = clanforge("image-diff", "retry", "5", "--wait")
    assert finished.status == 130
    assert finished.err == f"interrupted; to watch on: clanforge watch {finished.lines[0].split()[0]}\n"


@pytest.mark.usefixtures("simulator")
def test_a_look_up_of_a_name_holds_nothing_up(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer, which cannot be cancelled, is not waited for."""
    answered = threading.Event()

    def look_up(*_: object, **__: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        answered.wait()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    finished = clanforge("watch", "image-diff/5", "--base-url", "https://clanforge.invalid")
    took = time.monotonic() - began
    answered.set()
    assert finished.status == 130
    assert took < 5


def test_names_are_looked_up(simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver's answer is used, and its failure told."""
    simulator.add_image_version(1, duration=0)
    monkeypatch.setattr("clanforge_async._http.retry_policy._backoff", lambda _attempts: 0.0)
    by_name = os.environ["CLANFORGE_BASE_URL"].replace("127.0.0.1", "localhost")
    assert clanforge("image-version", "status", "1", "--base-url", by_name).status == 0

    def refuse(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    finished = clanforge("image-version", "status", "1", "--base-url", "https://clanforge.invalid")
    assert finished.status == 5
    assert "no such name" in finished.err


def test_a_reader_that_has_gone_ends_it_quietly(simulator: Simulator, spawn: Spawn) -> None:
    """``clanforge watch ... | head -1`` ends at its next line, without a word."""
    simulator.add_image_diff(5, duration=10, step=1)
    process = spawn("watch", "image-diff/5", "--interval", "0.05")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == ""


def test_a_reader_may_have_gone_from_both_streams(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody left to tell anything, it ends as quietly."""
    simulator.add_image_diff(5, duration=1000)

    def break_pipe() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Trap("", break_pipe))
    assert clanforge("watch", "nonsense").status == 2
    monkeypatch.setattr(sys, "stdout", Trap("", break_pipe))
    assert clanforge("watch", "image-diff/5").status == 141
    assert clanforge("--version").status == 141


@pytest.mark.parametrize("argv", [("watch", "image-diff/5"), ("--version",)])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is always full")
def test_a_full_disk_is_an_error(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    """What cannot be written is told in a sentence, and is no status of any job."""
    simulator.add_image_diff(5, duration=1000)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        finished = clanforge(*argv)
    assert finished.status == 5
    assert finished.err.startswith("error: [Errno 28]")


def test_an_interruption_before_anything_has_begun_is_quiet(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the program is still starting has its status too."""

    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("clanforge_async.cli.entry.execute", interrupt)
    finished = clanforge("watch", "image-diff/5")
    assert (finished.status, finished.err) == (130, "")
