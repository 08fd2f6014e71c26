"""Event loops whose time is virtual: hours of waiting pass in milliseconds, in the right order.

As long as something is ready it runs, and no time passes. Where everything waits, time jumps to the next timer. So a
program of which all I/O stays within the process, such as one that calls a ``Simulator`` through
``httpx.ASGITransport``, runs as it would in real time, only sooner.

The rest of the world keeps real time. Work in a thread takes no virtual time at all, so a timeout around it strikes at
once; the same goes for whoever answers at the other end of a socket. Where a loop has sockets open it therefore gives
them a moment of real time before each jump.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from clanforge_async.testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

T = TypeVar("T")

PATIENCE = 0.05
"""Real seconds that open sockets are given before each jump."""

_HOPELESS = 10.0
"""Real seconds after which a loop without timers is given up; until then a thread or a socket may wake it."""


class _JumpingSelector:
    """Reports what is ready, and has the clock jump over the wait where nothing is."""

    def __init__(self, selector: selectors.BaseSelector, clock: VirtualClock, patience: float) -> None:
        self._selector = selector
        self._patience = patience
        self.clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select(0)
        if not ready and (wait := self._real_wait(timeout)):
            ready = self._selector.select(wait)
        if not ready:
            self._jump(timeout)
        return ready

    def _real_wait(self, timeout: float | None) -> float:
        if timeout is None:
            return _HOPELESS
        # One entry is the loop's own, by which other threads wake it.
        return self._patience if timeout and len(self._selector.get_map()) > 1 else 0

    def _jump(self, timeout: float | None) -> None:
        if timeout is None:
            msg = "every task waits for something that will never happen"
            raise RuntimeError(msg)
        self.clock.advance(timeout)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop of which the time is its clock's: a loop factory for runners and test frameworks that take one.

    Args:
        clock: The clock; None: one of its own.
        patience: Real seconds that open sockets are given before each jump.
    """

    def __init__(self, clock: VirtualClock | None = None, *, patience: float = PATIENCE) -> None:
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        selector = _JumpingSelector(selectors.DefaultSelector(), self.clock, patience)
        super().__init__(cast("selectors.BaseSelector", selector))

    def time(self) -> float:
        """Return the seconds that have passed by the clock."""
        return self.clock.elapsed

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - asyncio's
        """Wait until its threads have ended, without the usual limit: it would be virtual, and they keep real time."""
        await super().shutdown_default_executor()


def run(main: Coroutine[Any, Any, T], *, clock: VirtualClock | None = None) -> T:
    """Run a coroutine in virtual time, as ``asyncio.run`` does in real time.

    Args:
        main: The coroutine.
        clock: What the loop's time goes by; None: a clock of its own.

    Raises:
        RuntimeError: All of it came to wait for something that never happens.
    """
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, clock)) as runner:
        return runner.run(main)


@contextmanager
def virtual_time(clock: VirtualClock | None = None, *, patience: float = PATIENCE) -> Generator[VirtualClock]:
    """Have time be virtual in the running loop while the block lasts, for all of its tasks.

    Afterwards real time goes on from there: a loop's time never goes back. Within such a block another one for the
    same clock, or for none in particular, changes nothing.

    Args:
        clock: What time goes by; None: the clock that the loop has already, else a new one.
        patience: Real seconds that open sockets are given before each jump.

    Raises:
        RuntimeError: The loop is not one of asyncio's own, or goes by another clock.
    """
    running = asyncio.get_running_loop()
    loop: Any = running
    selector = getattr(loop, "_selector", None)
    if isinstance(selector, _JumpingSelector):
        if clock not in (None, selector.clock):
            msg = "the time of this loop is virtual already, by another clock"
            raise RuntimeError(msg)
        yield selector.clock
        return
    if selector is None:
        msg = f"time cannot be virtual in {loop!r}: it is none of asyncio's own loops"
        raise RuntimeError(msg)
    clock = VirtualClock() if clock is None else clock
    # From a whole second on, sums of whole seconds are exact.
    since = math.ceil(loop.time()) - clock.elapsed
    loop.time = lambda: since + clock.elapsed
    # There is no public way to exchange the selector of a loop that runs, and no other way to keep it from blocking.
    loop._selector = _JumpingSelector(selector, clock, patience)  # noqa: SLF001
    try:
        yield clock
    finally:
        loop._selector = selector  # noqa: SLF001
        real_time = partial(type(running).time, running)
        ahead = max(running.time() - real_time(), 0)
        loop.time = lambda: real_time() + ahead
