"""Runs tests in virtual time, and asserts that they leave no task."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from clanforge_async.testing import VirtualTimeLoop

P = ParamSpec("P")


def run_in_virtual_time(main: Coroutine[Any, Any, None], patience: float = 0.0) -> None:
    """Run a coroutine, and assert that it leaves no task.

    Args:
        main: The coroutine.
        patience: Seconds for which real sockets must be quiet before time advances. Data on loopback arrives at once,
            so none is on its way then.
    """

    async def checked() -> None:
        await main
        for _ in range(3 if patience else 0):
            await asyncio.sleep(0)  # httpcore lets the event loop close the reader of an incomplete body
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"

    with asyncio.Runner(loop_factory=functools.partial(VirtualTimeLoop, patience=patience)) as runner:
        runner.run(checked())


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in virtual time."""

    @functools.wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return in_virtual_time


def virtual_time_on_loopback(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test with real sockets in virtual time, which advances while they are quiet."""

    @functools.wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs), patience=0.005)

    return in_virtual_time


def now() -> float:
    """Return the event loop's time."""
    return asyncio.get_running_loop().time()
