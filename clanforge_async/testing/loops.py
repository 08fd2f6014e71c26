"""Event loops with virtual time: hours of waiting pass in milliseconds, in the right order.

No time passes while callbacks are ready to run. If all tasks wait, time jumps to the next timer. So a program without
I/O outside its process, such as one that calls a ``Simulator`` through ``httpx.ASGITransport``, behaves as in real
time, only faster.

Threads and other processes use real time. The work of a thread takes no virtual time, so a timeout around it expires
at once. The same is true of the peer of a socket, so a loop with open sockets waits for them in real time before each
jump.
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
"""Real seconds that a loop without timers waits for a thread or a socket before it counts as deadlocked."""


class _VirtualTimeSelector:
    """A selector that moves the clock instead of waiting."""

    def __init__(self, selector: selectors.BaseSelector, loop: Any, clock: VirtualClock, patience: float) -> None:
        self._selector = selector
        self._loop = loop
        self._patience = patience
        self.clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select(0)
        if not ready and timeout != 0:
            pause = self._seconds_to_next_timer(timeout)
            if wait := self._real_wait(pause):
                ready = self._selector.select(wait)
            if not ready:
                self._advance(pause)
        # The loop runs timers that are due before its time plus this value. asyncio's value adds nothing to a time of
        # half a year, so that a timer that is due now would never run.
        self._loop._clock_resolution = math.ulp(self._loop.time())  # noqa: SLF001
        return ready

    def _seconds_to_next_timer(self, timeout: float | None) -> float | None:
        if timeout is None:
            return None
        # asyncio's timeout is at most a day. A timer at infinity, as in `sleep(inf)`, never runs.
        seconds: float = self._loop._scheduled[0]._when - self._loop.time()  # noqa: SLF001
        return seconds if seconds < math.inf else None

    def _real_wait(self, pause: float | None) -> float:
        if pause is None:
            return _DEADLOCK_TIMEOUT
        # One entry belongs to the loop itself, for wake-ups from other threads.
        return self._patience if len(self._selector.get_map()) > 1 else 0

    def _advance(self, pause: float | None) -> None:
        if pause is None:
            msg = "deadlock: nothing is runnable and no timer is pending"
            raise RuntimeError(msg)
        before = self.clock.elapsed
        self.clock.advance(pause)
        if self.clock.elapsed == before:  # the pause is too short to change the clock's value
            self.clock.advance(math.ulp(before))


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time. The class is a loop factory for runners and test frameworks.

    Args:
        clock: The clock to use; None: a new one.
        patience: Real seconds for which open sockets are awaited before each jump.
    """

    def __init__(self, clock: VirtualClock | None = None, *, patience: float = PATIENCE) -> None:
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        selector = _VirtualTimeSelector(selectors.DefaultSelector(), self, self.clock, patience)
        super().__init__(cast("selectors.BaseSelector", selector))
        self.clock._attach()  # noqa: SLF001

    def time(self) -> float:
        """Return the clock's elapsed seconds."""
        return self.clock.elapsed

    def close(self) -> None:
        """Close the loop."""
        if not self.is_closed():
            self.clock._detach()  # noqa: SLF001
        super().close()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - asyncio's
        """Wait for the executor's threads, without asyncio's timeout: threads do not run in virtual time."""
        await super().shutdown_default_executor()


def run(main: Coroutine[Any, Any, T], *, clock: VirtualClock | None = None) -> T:
    """Run a coroutine in virtual time, as ``asyncio.run`` does in real time.

    Args:
        main: The coroutine.
        clock: The clock that the loop uses; None: a new one.

    Raises:
        RuntimeError: The program is deadlocked: nothing is runnable and no timer is pending.
    """
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, clock)) as runner:
        return runner.run(main)


@contextmanager
def virtual_time(clock: VirtualClock | None = None, *, patience: float = PATIENCE) -> Generator[VirtualClock]:
    """Make the running loop's time virtual for all of its tasks while the block lasts.

    Afterwards the loop's time continues in real time from the value that it has reached, since it never goes back. A
    nested block has no effect if its clock is the same or None.

    Args:
        clock: The clock that the loop uses; None: the clock of an enclosing block, or else a new one.
        patience: Real seconds for which open sockets are awaited before each jump.

    Raises:
        RuntimeError: The loop is not one of asyncio's own, or it already uses another virtual clock.
    """
    with make_virtual(asyncio.get_running_loop(), clock, patience) as clock_in_use:
        yield clock_in_use


@contextmanager
def make_virtual(loop: Any, clock: VirtualClock | None, patience: float = PATIENCE) -> Generator[VirtualClock]:
    """Do the same as `virtual_time` for a loop that may not be running yet."""
    selector = getattr(loop, "_selector", None)
    if isinstance(selector, _VirtualTimeSelector):
        if clock not in (None, selector.clock):
            msg = "the time of this loop is virtual already, with another clock: use the same clock for both"
            raise RuntimeError(msg)
        yield selector.clock
        return
    if selector is None:
        msg = f"virtual time needs one of asyncio's own event loops, not {loop!r}"
        raise RuntimeError(msg)
    clock = VirtualClock() if clock is None else clock
    clock._attach()  # noqa: SLF001
    # Start at a whole second: sums of whole seconds are exact.
    since = math.ceil(loop.time()) - clock.elapsed
    loop.time = lambda: since + clock.elapsed
    resolution = loop._clock_resolution  # noqa: SLF001
    # There is no public way to replace the selector of a loop, and no other way to keep it from blocking.
    loop._selector = _VirtualTimeSelector(selector, loop, clock, patience)  # noqa: SLF001
    try:
        yield clock
    finally:
        loop._selector = selector  # noqa: SLF001
        loop._clock_resolution = resolution  # noqa: SLF001
        real_time = partial(cast("Any", type(loop)).time, loop)
        ahead = max(loop.time() - real_time(), 0)
        loop.time = lambda: real_time() + ahead
        clock._detach()  # noqa: SLF001
