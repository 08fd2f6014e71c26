"""Events that are due at a time of the server's clock."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

EventHandler: TypeAlias = "Callable[[float], None]"


class EventQueue:
    """Pending events. Time passes only in `run_until`, so all due events are handled before a request is processed."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, EventHandler]] = []
        self._count = itertools.count()

    def add(self, at: float, handler: EventHandler) -> None:
        """Call a handler at a time, which is its argument; never if the time is infinite."""
        if at < math.inf:
            heapq.heappush(self._events, (at, next(self._count), handler))

    def run_until(self, now: float) -> None:
        """Handle all events due by now in the order of their times, including events that handlers add."""
        while self._events and self._events[0][0] <= now:
            at, _, handler = heapq.heappop(self._events)
            handler(at)
