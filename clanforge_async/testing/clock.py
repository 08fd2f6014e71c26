"""The clock that virtual time goes by."""

from __future__ import annotations

import math
import time


class VirtualClock:
    """Tells Unix seconds, which pass only as they are told to; call it for the time, as a ``Simulator`` does.

    Attributes:
        elapsed: Seconds that have passed since it was made.
    """

    def __init__(self, start: float | None = None) -> None:
        """Make a clock that stands still.

        Args:
            start: What it tells at first, in Unix seconds; None: the second that it is now.
        """
        self._start = math.floor(time.time()) if start is None else start
        self.elapsed: float = 0.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self._start + self.elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass; in a loop on this clock, what has fallen due meanwhile comes next."""
        self.elapsed += seconds

    def __repr__(self) -> str:
        return f"<{type(self).__name__} after {self.elapsed:g} s>"
