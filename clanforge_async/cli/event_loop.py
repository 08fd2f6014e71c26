"""Runs one command in an event loop: handles SIGTERM and exits without waiting for threads."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from clanforge_async.cli.errors import TERMINATED

P = ParamSpec("P")
T = TypeVar("T")


def run_command(command: Coroutine[Any, Any, int]) -> int:
    """Run a command until it ends, and return its exit status.

    Raises:
        KeyboardInterrupt: Ctrl-C; the command was cancelled.
    """
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_DaemonThreadExecutor())
        return runner.run(_run_until_sigterm(command))


async def _run_until_sigterm(command: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(command)
    is_terminated = asyncio.Event()

    def terminate() -> None:
        is_terminated.set()
        task.cancel()

    with suppress(NotImplementedError):  # Windows has no signal handlers: SIGTERM ends the process there
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if is_terminated.is_set():
            return TERMINATED
        raise


class _DaemonThreadExecutor(ThreadPoolExecutor):
    """Runs each call in a daemon thread, so that the interpreter exits without joining it.

    A DNS look-up cannot be cancelled and may block for half a minute. At exit, the interpreter joins the threads of an
    ordinary pool.
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
