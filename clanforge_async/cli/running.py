"""Running one command: how it is interrupted, and how it leaves at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from clanforge_async.cli.outcomes import TERMINATED

P = ParamSpec("P")
T = TypeVar("T")


def run(command: Coroutine[Any, Any, int]) -> int:
    """Run a command to its end and return its exit status.

    Raises:
        KeyboardInterrupt: Ctrl-C; the command was cancelled.
    """
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Abandoned())
        return runner.run(_terminable(command))


async def _terminable(command: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(command)
    is_terminated = asyncio.Event()

    def terminate() -> None:
        is_terminated.set()
        task.cancel()

    with suppress(NotImplementedError):  # on Windows nothing can be done before the end
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if is_terminated.is_set():
            return TERMINATED
        raise


class _Abandoned(ThreadPoolExecutor):
    """Threads for which nobody waits in the end.

    A look-up of a host's name cannot be cancelled and may take half a minute, and an interpreter waits for the
    threads of an ordinary pool before it exits.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = Future[T]()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits the result
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future
