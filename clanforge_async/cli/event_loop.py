"""Runs one command in an event loop: handles signals and exits without waiting for threads."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from clanforge_async.cli.errors import SIGNALLED
from clanforge_async.cli.formatting import discard

P = ParamSpec("P")
T = TypeVar("T")

_SIGNAL_NAMES = ("SIGHUP", "SIGINT", "SIGTERM")
_BURST = 0.1
"""Seconds within which signals count as one: for example, a closing terminal and its shell each send a SIGHUP."""

_MOST_SIGNALS = 3
"""Signals after which the references to resume with are given up, because stderr may be a full pipe too."""


def run_command(command: Coroutine[Any, Any, int]) -> int:
    """Run a command until it ends or a signal cancels it, and return its exit status.

    A second signal stops waiting for the cancelled command, which may be blocked by a full pipe.
    """
    runner, received, last = asyncio.Runner(), list[int](), -math.inf
    loop = runner.get_loop()
    loop.set_default_executor(_DaemonThreadExecutor())
    task = loop.create_task(command)

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal last
        if (now := time.monotonic()) < last + _BURST:
            return
        last = now
        received.append(number)
        if len(received) > 1:
            loop.set_exception_handler(_ignore)  # else asyncio reports the task that is running now
            discard(sys.stdout)
            if len(received) > _MOST_SIGNALS:
                discard(sys.stderr)
            raise KeyboardInterrupt
        if not task.done():
            loop.call_soon_threadsafe(task.cancel)

    try:
        with _handling_signals(handle, loop), runner:
            return loop.run_until_complete(task)
    except BaseException:
        # The signal's status is the result, even if an OSError follows, since a closed terminal can't be written to.
        if not received:
            raise
        return SIGNALLED + received[0]


def ignore_signals() -> None:
    """Ignore further signals: a signal during the interpreter's shutdown would change the exit status."""
    for number in _handled_signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handling_signals(
    handler: Callable[[int, FrameType | None], None], loop: asyncio.AbstractEventLoop
) -> Generator[None]:
    previous = _handled_signals()
    for number in previous:
        # Wakes the loop if the system delivers a signal to another thread. The loop on Windows does not need this.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, lambda: None)
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def _handled_signals() -> dict[int, Any]:
    """Return the signals that end a program, each with its handler, except ignored ones, such as under ``nohup``."""
    if threading.current_thread() is not threading.main_thread():  # Python allows signal handlers only in this thread
        return {}
    known = [getattr(signal, name) for name in _SIGNAL_NAMES if hasattr(signal, name)]  # Windows has no SIGHUP
    handlers = {number: signal.getsignal(number) for number in known}
    return {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}


def _ignore(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    pass


class _DaemonThreadExecutor(ThreadPoolExecutor):
    """Runs each call in a daemon thread, so that the interpreter exits without joining it.

    A DNS look-up cannot be cancelled and may block for half a minute. At exit, the interpreter would wait for the
    threads of an ordinary pool.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = Future[T]()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future
