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
from support.cli.harness import CallAndHang, Clanforge, Spawn

from clanforge_async.simulator import Latency, Run, Simulator

STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class CallbackStream(io.StringIO):
    """A stdout that calls a function when a certain text is written."""

    def __init__(self, text: str, callback: object) -> None:
        super().__init__()
        self._text = text
        self._callback = callback

    def write(self, text: str, /) -> int:
        if self._text in text:
            self._callback()  # type: ignore[operator] # a callable, or the test fails
        return super().write(text)


@pytest.mark.parametrize("number", STATUSES)
def test_a_signal_exits_at_once_and_prints_how_to_resume(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """SIGINT and SIGTERM cancel requests in flight, and print the unfinished references as they were given."""
    simulator.add_image_version(1, duration=0)
    simulator.add_image_diff(5, duration=1000)
    simulator.faults.add(Latency(60), route="image-diff status")
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    monkeypatch.setattr(sys, "stdout", CallbackStream("image-version/1  completed", interrupt))
    finished = clanforge("watch", "image-diff/5@7", "image-version/1", "image-diff/6")
    assert time.monotonic() - sent[0] < 5
    assert finished.status == STATUSES[number]
    assert finished.err == "interrupted; to watch on: clanforge watch image-diff/5@7 image-diff/6\n"


def test_an_interrupted_process_has_status_130(simulator: Simulator, spawn: Spawn) -> None:
    """An interrupted process exits with status 130 and without a traceback."""
    simulator.add_image_diff(5, duration=1000)
    process = spawn("watch", "image-diff/5")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "interrupted; to watch on: clanforge watch image-diff/5\n"


def test_an_interrupted_retry_has_an_unknown_outcome(simulator: Simulator, clanforge: Clanforge) -> None:
    """An interrupted retry is reported as possibly done, and is not sent again."""
    ref = simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    simulator.faults.add(CallAndHang(lambda: os.kill(os.getpid(), signal.SIGINT)))
    finished = clanforge("image-diff", "retry", "5", "--wait")
    assert finished.status == 130
    assert "may or may not have happened" in finished.err
    assert simulator.retries_of(ref) == 1


def test_an_interrupted_wait_prints_the_reference_of_the_new_run(simulator: Simulator, clanforge: Clanforge) -> None:
    """The reference printed for a retry has the time of the new run."""
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    simulator.faults.add(CallAndHang(lambda: os.kill(os.getpid(), signal.SIGINT)), route="image-diff status")
    finished = clanforge("image-diff", "retry", "5", "--wait")
    assert finished.status == 130
    assert finished.err == f"interrupted; to watch on: clanforge watch {finished.lines[0].split()[0]}\n"


@pytest.mark.usefixtures("simulator")
def test_a_pending_name_lookup_does_not_delay_the_exit(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DNS look-up in progress, which cannot be cancelled, does not delay the exit."""
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


def test_host_names_are_resolved(simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host names are resolved, and a failure to do so is reported."""
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


def test_a_broken_pipe_exits_without_a_message(simulator: Simulator, spawn: Spawn) -> None:
    """``clanforge watch ... | head -1`` exits at its next line, without a message."""
    simulator.add_image_diff(5, duration=100, step=1)
    process = spawn("watch", "image-diff/5", "--interval", "0.05")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == ""


def test_both_streams_may_be_broken_pipes(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If stdout and stderr are both closed, the exit status is the only result."""
    simulator.add_image_diff(5, duration=1000)

    def break_pipe() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", CallbackStream("", break_pipe))
    assert clanforge("watch", "nonsense").status == 2
    monkeypatch.setattr(sys, "stdout", CallbackStream("", break_pipe))
    assert clanforge("watch", "image-diff/5").status == 141
    assert clanforge("--version").status == 141


@pytest.mark.parametrize("argv", [("watch", "image-diff/5"), ("--version",)])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is always full")
def test_a_full_disk_is_an_error(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    """A failure to write to stdout is reported in one line, with status 5."""
    simulator.add_image_diff(5, duration=1000)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        finished = clanforge(*argv)
    assert finished.status == 5
    assert finished.err.startswith("error: [Errno 28]")


def test_an_interruption_during_startup_prints_nothing(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the program starts exits with status 130 and without a message."""

    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("clanforge_async.cli.run.execute", interrupt)
    finished = clanforge("watch", "image-diff/5")
    assert (finished.status, finished.err) == (130, "")
