"""The server's clock, more precise than the whole seconds of its ``Date`` headers."""

from __future__ import annotations

_MAX_DRIFT = 1e-4
"""Seconds per second by which two clocks may drift apart."""


class ServerClock:
    """How far a server's clock is ahead of a local one, by all the responses so far.

    Each ``Date`` was true for a second, at some time between the request and the response, and so limits the difference
    of the clocks to an interval. The true difference is in all of them, so their intersection narrows with each.
    Replicas with different clocks leave none: then only the latest response counts.
    """

    __slots__ = ("_highest", "_lowest", "_updated")

    def __init__(self) -> None:
        self._lowest, self._highest, self._updated = float("-inf"), float("inf"), 0.0

    def update(self, date: float, began: float, at: float) -> float:
        """Return the server's time at the end of a request.

        Args:
            date: The ``Date`` of its response, as a Unix time.
            began: When the request began, by the local clock.
            at: When the response came, likewise.
        """
        drift = _MAX_DRIFT * (at - self._updated)
        lowest, highest = max(self._lowest - drift, date - at), min(self._highest + drift, date + 1 - began)
        if lowest > highest:
            lowest, highest = date - at, date + 1 - began
        self._lowest, self._highest, self._updated = lowest, highest, at
        return (lowest + highest) / 2 + at
