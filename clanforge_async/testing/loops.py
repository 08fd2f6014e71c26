"""Event loops with virtual time: hours of waiting pass in milliseconds, in the right order.

No time passes while callbacks are ready to run. If all tasks wait, time jumps to the next timer. So a program without
I/O outside its process, such as one that calls a ``Simulator`` through ``httpx.ASGITransport``, runs as in real time,
only faster.

Threads and other processes keep real time. A thread takes no virtual time, so a timeout around it expires at once; the
same is true of the peer of a socket. A loop with open sockets therefore waits for them in real time before each jump.
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
"""Real seconds for which open sockets are awaited before each jump."""

_DEADLOCK_TIMEOUT = 10.0
"""Real seconds in which a thread or a socket may wake a loop without timers before it counts as deadlocked."""


class _VirtualTimeSelector:
    """A selector that moves the clock instead of waiting."""

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
            self._advance(timeout)
        return ready

    def _real_wait(self, timeout: float | None) -> float:
        if timeout is None:
            return _DEADLOCK_TIMEOUT
        # One entry is the loop's own, for wake-ups from other threads.
        return self._patience if timeout and len(self._selector.get_map()) > 1 else 0

    def _advance(self, timeout: float | None) -> None:
        if timeout is None:
            msg = "deadlock: nothing is runnable and no timer is pending"
            raise RuntimeError(msg)
        self.clock.advance(timeout)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time. The class is a loop factory for runners and test frameworks.

    Args:
        clock: The clock of its time; None: a new one.
        patience: Real seconds for which open sockets are awaited before each jump.
    """

    def __init__(self, clock: VirtualClock | None = None, *, patience: float = PATIENCE) -> None:
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        selector = _VirtualTimeSelector(selectors.DefaultSelector(), self.clock, patience)
        super().__init__(cast("selectors.BaseSelector", selector))

    def time(self) -> float:
        """Return the clock's elapsed seconds."""
        return self.clock.elapsed

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - asyncio's
        """Wait for the executor's threads, without asyncio's timeout: that would be virtual, but threads are not."""
        await super().shutdown_default_executor()


def run(main: Coroutine[Any, Any, T], *, clock: VirtualClock | None = None) -> T:
    """Run a coroutine in virtual time, as ``asyncio.run`` does in real time.

    Args:
        main: The coroutine.
        clock: The clock of the loop's time; None: a new one.

    Raises:
        RuntimeError: It is deadlocked: nothing is runnable and no timer is pending.
    """
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, clock)) as runner:
        return runner.run(main)


@contextmanager
def virtual_time(clock: VirtualClock | None = None, *, patience: float = PATIENCE) -> Generator[VirtualClock]:
    """Make the running loop's time virtual for all of its tasks while the block lasts.

    Afterwards real time continues from there, since a loop's time never goes back. A nested block changes nothing if
    its clock is the same or None.

    Args:
        clock: The clock of the loop's time; None: the clock of an enclosing block, else a new one.
        patience: Real seconds for which open sockets are awaited before each jump.

    Raises:
        RuntimeError: The loop is not one of asyncio's own, or its time is virtual by another clock.
    """
    running = asyncio.get_running_loop()
    loop: Any = running
    selector = getattr(loop, "_selector", None)
    if isinstance(selector, _VirtualTimeSelector):
        if clock not in (None, selector.clock):
            msg = "the time of this loop is virtual already, by another clock"
            raise RuntimeError(msg)
        yield selector.clock
        return
    if selector is None:
        msg = f"time cannot be virtual in {loop!r}: it is none of asyncio's own loops"
        raise RuntimeError(msg)
    clock = VirtualClock() if clock is None else clock
    # Start at a whole second: sums of whole seconds are exact.
    since = math.ceil(loop.time()) - clock.elapsed
    loop.time = lambda: since + clock.elapsed
    # There is no public way to replace the selector of a running loop, and no other way to keep it from blocking.
    loop._selector = _VirtualTimeSelector(selector, clock, patience)  # noqa: SLF001
    try:
        yield clock
    finally:
        loop._selector = selector  # noqa: SLF001
        real_time = partial(type(running).time, running)
        ahead = max(running.time() - real_time(), 0)
        loop.time = lambda: real_time() + ahead
