from __future__ import annotations

import asyncio
import errno
import gc
import io
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from support.cli.harness import CallAndHang, CallFirst, Clanforge, Spawn
from support.cli.terminal import RUN_IN_NEW_SESSION

from clanforge_async.cli import main
from clanforge_async.cli.event_loop import run_command
from clanforge_async.simulator import Latency, Run, Simulator

STATUSES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
INTERRUPTED = "Interrupted. Resume with: clanforge watch image-diff/5@7\n"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    """Each signal cancels requests in flight, and the unfinished references are printed as they were given."""
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
    assert finished.err == "Interrupted. Resume with: clanforge watch image-diff/5@7 image-diff/6\n"


@pytest.mark.parametrize("number", STATUSES)
def test_a_signalled_process_has_its_status(simulator: Simulator, spawn: Spawn, number: signal.Signals) -> None:
    """A process that a signal interrupts exits with 128 and the signal's number, and without a traceback."""
    simulator.add_image_diff(5, duration=1000)
    process = spawn("watch", "image-diff/5")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == STATUSES[number]
    assert err == "Interrupted. Resume with: clanforge watch image-diff/5\n"


@pytest.mark.parametrize("number", STATUSES)
@pytest.mark.parametrize("argv", [("image-diff", "status", "5"), ("image-version", "status", "1")])
def test_a_signal_ends_a_status_read(
    simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...], number: signal.Signals
) -> None:
    """A signal ends a command that watches nothing with the same status."""
    simulator.faults.add(CallAndHang(lambda: os.kill(os.getpid(), number)))
    finished = clanforge(*argv)
    assert (finished.status, finished.out, finished.err) == (STATUSES[number], "", "")


def test_handlers_of_signals_are_restored(simulator: Simulator, clanforge: Clanforge) -> None:
    """A program that calls main() keeps its own signal handlers."""
    simulator.faults.add(CallAndHang(lambda: os.kill(os.getpid(), signal.SIGTERM)))
    before = [signal.getsignal(number) for number in STATUSES]
    assert clanforge("image-diff", "status", "5").status == 143
    assert [signal.getsignal(number) for number in STATUSES] == before


def test_a_command_runs_outside_the_main_thread(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A command runs in any thread; only the main one can handle signals."""
    simulator.add_image_diff(5, duration=0)
    with ThreadPoolExecutor() as executor:
        assert executor.submit(main, ["watch", "image-diff/5"]).result(timeout=20) == 0
    assert "completed" in capsys.readouterr().out


def test_an_ignored_signal_stays_ignored(simulator: Simulator, clanforge: Clanforge) -> None:
    """A command started by ``nohup`` survives the end of its terminal."""
    simulator.add_image_diff(5, duration=0)
    simulator.faults.add(Latency(0.2, after_acting=True))
    simulator.faults.add(CallFirst(lambda: os.kill(os.getpid(), signal.SIGHUP)))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert clanforge("watch", "image-diff/5").status == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_closed_terminal_is_status_129(simulator: Simulator, options: tuple[str, ...]) -> None:
    """If the terminal closes, the command ends with status 129, although its last output can't be written."""
    simulator.add_image_diff(5, duration=1000)
    master, fd = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", RUN_IN_NEW_SESSION, "watch", "image-diff/5@7", *options],
        stdin=fd,
        stdout=fd,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    os.close(fd)
    os.read(master, 1)
    os.close(master)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (129, INTERRUPTED)


@pytest.mark.parametrize("gap", [0, 0.05, 0.3])
def test_a_second_signal_changes_nothing(simulator: Simulator, spawn: Spawn, gap: float) -> None:
    """Further signals while the command exits neither stop it nor change its status and message."""
    simulator.add_image_diff(5, duration=1000)
    process = spawn("watch", "image-diff/5@7")
    assert process.stdout is not None
    process.stdout.readline()
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
        time.sleep(gap)
    _, err = process.communicate(timeout=20)
    assert err == INTERRUPTED
    # Signals that arrive at the same moment have no order.
    assert process.returncode == 129 or (gap == 0 and process.returncode == 143)


@pytest.mark.usefixtures("capsys")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_signals_end_a_command_that_does_not_return(count: int) -> None:
    """A command that ignores its cancellation is abandoned at a further signal; two at once count as one."""

    async def stubborn() -> int:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGTERM)[:count]:
            time.sleep(0.15)  # noqa: ASYNC251 - blocks the event loop, as a full pipe does
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(20)
        return 0

    assert run_command(stubborn()) == 129


def test_a_signal_after_the_end_changes_nothing() -> None:
    """A command that has ended keeps its status if a signal arrives while the event loop is closed."""

    async def linger() -> None:
        try:
            await asyncio.sleep(20)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    async def command() -> int:
        tasks = {asyncio.create_task(linger())}
        await asyncio.sleep(0)
        return len(tasks)

    assert run_command(command()) == 1


def test_a_signal_may_be_delivered_to_any_thread() -> None:
    """A signal that the system delivers to another thread, such as one that looks up a name, ends the command."""

    def interrupt() -> None:
        time.sleep(0.2)  # until the event loop waits
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    async def command() -> int:
        thread = threading.Thread(target=interrupt)
        thread.start()
        await asyncio.sleep(20)
        return 0

    began = time.monotonic()
    assert run_command(command()) == 143
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("capsys")
def test_a_second_signal_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A second signal may end any task; asyncio reports none of them."""

    async def blocked() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.15)  # noqa: ASYNC251 - as above

    async def command() -> int:
        tasks = {asyncio.create_task(blocked())}
        await asyncio.sleep(20)
        return len(tasks)

    assert run_command(command()) == 143
    gc.collect()
    assert caplog.records == []


def test_signals_at_exit_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a signal a process ignores further ones, which would change its exit status; others keep their handlers."""
    monkeypatch.setattr("clanforge_async.cli.run.execute", lambda _argv: 143)
    before = {number: signal.getsignal(number) for number in STATUSES}
    assert main(["watch", "image-diff/5"]) == 143
    assert {number: signal.getsignal(number) for number in STATUSES} == before
    try:
        assert main() == 143
        assert {signal.getsignal(number) for number in STATUSES} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def full_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b".")
    os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize(("is_stderr_full", "signals"), [(False, 2), (True, 4)])
def test_a_second_signal_ends_a_command_that_waits_for_a_full_pipe(
    simulator: Simulator, *, is_stderr_full: bool, signals: int
) -> None:
    """A command with a full stdout pipe ends at the second signal; if stderr is full too, at the fourth."""
    simulator.add_image_diff(5, duration=1000)
    reader, writer = full_pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "clanforge_async", "watch", "image-diff/5@7"],
        stdout=writer,
        stderr=writer if is_stderr_full else subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    try:
        wait_until(lambda: simulator.requests.count() > 0)
        for _ in range(signals):
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)

        def ends_by_a_signal() -> bool:
            process.send_signal(signal.SIGTERM)  # a busy machine may have taken the others for one
            return process.poll() is not None

        wait_until(ends_by_a_signal)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
        os.close(reader)
    assert process.returncode == 143
    assert err == (None if is_stderr_full else INTERRUPTED)


def test_an_interrupted_retry_has_an_unknown_outcome(simulator: Simulator, clanforge: Clanforge) -> None:
    """An interrupted retry is reported as possibly processed, and is not sent again."""
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
    assert finished.err == f"Interrupted. Resume with: clanforge watch {finished.lines[0].split()[0]}\n"


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
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

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

    for step in ("parse", "execute"):
        monkeypatch.setattr(f"clanforge_async.cli.run.{step}", interrupt)
        finished = clanforge("watch", "image-diff/5")
        assert (finished.status, finished.err) == (130, "")


class Unwritable(io.StringIO):
    """A stream over a file descriptor whose buffered output can't be written."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def flush(self) -> None:
        raise OSError


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("argv", [None, ["--version"]])
def test_output_that_cannot_be_written_changes_no_status(
    is_full: bool, argv: list[str] | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If a signal ended the command, output that can no longer be written is discarded."""
    monkeypatch.setattr("clanforge_async.cli._execute", lambda _argv: 129)
    monkeypatch.setattr("clanforge_async.cli.event_loop.ignore_signals", lambda: None)
    monkeypatch.setattr("clanforge_async.cli.formatting._FLUSH_TIMEOUT", 0.0)
    reader, writer = full_pipe()
    with (tmp_path / "stdout").open("w") as file:
        fd = writer if is_full else file.fileno()
        monkeypatch.setattr(sys, "stdout", Unwritable(fd))
        monkeypatch.setattr(sys, "stderr", None)
        assert main(argv) == 129
        assert os.path.samestat(os.fstat(fd), Path(os.devnull).stat())
    os.close(reader)
    os.close(writer)
