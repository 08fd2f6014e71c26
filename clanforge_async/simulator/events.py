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
    """Pending events. Time passes only in `run_until`, so all that happened is settled before a request is answered."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, EventHandler]] = []
        self._count = itertools.count()

    def add(self, at: float, handler: EventHandler) -> None:
        """Call a handler with the time at which it is due; at infinity, never."""
        if at < math.inf:
            heapq.heappush(self._events, (at, next(self._count), handler))

    def run_until(self, now: float) -> None:
        """Handle all events due by now, in the order of their times, with those that they add."""
        while self._events and self._events[0][0] <= now:
            at, _, handler = heapq.heappop(self._events)
            handler(at)
