"""Clocks for virtual time."""

from __future__ import annotations

import math
import time


class VirtualClock:
    """A clock that moves only when advanced. Calling it returns the time, as the ``clock`` of a ``Simulator``."""

    def __init__(self, start: float | None = None) -> None:
        """Create a stopped clock.

        Args:
            start: Its initial time in Unix seconds; None: the current time, rounded down to a whole second.
        """
        self._start = math.floor(time.time()) if start is None else start
        self._elapsed = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was created."""
        return self._elapsed

    @elapsed.setter
    def elapsed(self, seconds: float) -> None:
        self._elapsed = seconds

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self._start + self.elapsed

    def advance(self, seconds: float) -> None:
        """Move the clock forward. A loop that uses it runs the timers that are due next."""
        self.elapsed += seconds

    def _attach(self) -> None:
        """Let an event loop use this clock as its time."""

    def _detach(self) -> None:
        """Release the clock from an event loop."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} after {self.elapsed:g} s>"


class RealTimeClock(VirtualClock):
    """A clock that follows real time, except while an event loop uses it: then it moves only when advanced."""

    def __init__(self) -> None:
        self._loops = 0
        self._running_since = time.monotonic()
        super().__init__()

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was created."""
        running = 0.0 if self._loops else time.monotonic() - self._running_since
        return self._elapsed + running

    @elapsed.setter
    def elapsed(self, seconds: float) -> None:
        self._elapsed = seconds
        self._running_since = time.monotonic()

    def _attach(self) -> None:
        self.elapsed = self.elapsed
        self._loops += 1

    def _detach(self) -> None:
        self._running_since = time.monotonic()
        self._loops -= 1
