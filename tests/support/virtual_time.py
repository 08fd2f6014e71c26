"""Tests in virtual time that leave nothing behind."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from clanforge_async.testing import VirtualTimeLoop

P = ParamSpec("P")


def run_in_virtual_time(main: Coroutine[Any, Any, None], patience: float = 0.0) -> None:
    """Run a coroutine to its end, and hold that it leaves no task behind.

    Args:
        main: The coroutine.
        patience: Seconds for which sockets have to be quiet before time jumps, for whoever has real ones: on loopback
            what is sent is there at once, so that nothing more is to come.
    """

    async def checked() -> None:
        await main
        for _ in range(3 if patience else 0):
            await asyncio.sleep(0)  # httpcore leaves it to the loop to close what reads a body that is broken off
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"

    with asyncio.Runner(loop_factory=functools.partial(VirtualTimeLoop, patience=patience)) as runner:
        runner.run(checked())


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop whose clock jumps."""

    @functools.wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return in_virtual_time


def virtual_time_on_loopback(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test, whose sockets are real, on a loop whose clock jumps when they have nothing more to say."""

    @functools.wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs), patience=0.005)

    return in_virtual_time


def now() -> float:
    """Return the running loop's time."""
    return asyncio.get_running_loop().time()
