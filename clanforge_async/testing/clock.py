"""The clock of virtual time."""

from __future__ import annotations

import math
import time


class VirtualClock:
    """A clock that moves only when advanced. Calling it returns the time, as the ``clock`` of a ``Simulator``.

    Attributes:
        elapsed: Seconds since it was created.
    """

    def __init__(self, start: float | None = None) -> None:
        """Create a clock that stands still.

        Args:
            start: Its initial time in Unix seconds; None: the current time, rounded down to a whole second.
        """
        self._start = math.floor(time.time()) if start is None else start
        self.elapsed: float = 0.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self._start + self.elapsed

    def advance(self, seconds: float) -> None:
        """Move the clock forward. A loop that uses it runs the timers that are due next."""
        self.elapsed += seconds

    def __repr__(self) -> str:
        return f"<{type(self).__name__} after {self.elapsed:g} s>"
