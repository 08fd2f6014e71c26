"""An event loop whose clock jumps: hours of waiting pass in milliseconds, in the right order, and nobody sleeps."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


class _JumpingSelector(selectors.DefaultSelector):
    """Hardly blocks: reports what is ready and has the loop jump over the rest of the wait."""

    loop: VirtualTimeLoop

    def __init__(self, quiet: float) -> None:
        super().__init__()
        self._quiet = quiet

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(self._quiet if timeout is None else min(timeout, self._quiet))
        if not ready:
            if timeout is None:
                msg = "every task waits for something that will never happen"
                raise RuntimeError(msg)
            self.loop.jump(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs everything that is ready, then jumps to the next timer.

    Args:
        quiet: Seconds for which sockets have to be quiet before that, for whoever has real ones: on loopback what is
            sent is there at once, so that nothing more is to come.
    """

    def __init__(self, quiet: float = 0.0) -> None:
        selector = _JumpingSelector(quiet)
        selector.loop = self
        self._virtual_now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._virtual_now

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._virtual_now += seconds


def run_in_virtual_time(main: Coroutine[Any, Any, None], quiet: float = 0.0) -> None:
    """Run a coroutine to its end, and hold that it leaves no task behind."""

    async def checked() -> None:
        await main
        for _ in range(3 if quiet else 0):
            await asyncio.sleep(0)  # httpcore leaves it to the loop to close what reads a body that is broken off
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"

    with asyncio.Runner(loop_factory=functools.partial(VirtualTimeLoop, quiet)) as runner:
        runner.run(checked())


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop whose clock jumps."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run


def virtual_time_on_loopback(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test, whose sockets are real, on a loop whose clock jumps when they have nothing more to say."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs), quiet=0.005)

    return run


def now() -> float:
    """Return the running loop's time."""
    return asyncio.get_running_loop().time()
