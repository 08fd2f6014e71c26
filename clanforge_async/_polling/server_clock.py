"""The server's clock: more precise than the whole seconds of its ``Date`` headers, and known without them.

Every clock here is a value that can be stored as JSON, so that a watch keeps its measurements on another machine.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any, Self

from attrs import field, frozen

from clanforge_async._polling.plain_data import as_list, from_plain, to_plain

_MAX_DRIFT = 1e-4
"""Largest drift between two clocks, in seconds per second."""

_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1


class WallClock:
    """The local wall clock, read once and then advanced by a driver's clock."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset: float | None = None

    def offset(self, at: float) -> float:
        """Return the wall clock minus the driver's clock, which shows `at` now."""
        if self._offset is None:
            self._offset = time.time() - at
        return self._offset


@as_list
@frozen
class DateClock:
    """The difference between a server's clock and the driver's, measured by the ``Date`` of its responses.

    Each ``Date`` was correct for one second at some time between the request and the response, so it limits the
    difference of the clocks to an interval. The true difference is in all intervals, so their intersection narrows with
    each. If replicas have different clocks, the intersection is empty, and only the latest response is used.

    Attributes:
        lowest: Minimum difference of the clocks in seconds.
        highest: Maximum difference in seconds.
        measured: Time of the latest response, by the driver's clock.
    """

    lowest: float = -math.inf
    highest: float = math.inf
    measured: float = 0.0

    def observe(self, date: float, began: float, at: float) -> DateClock:
        """Return the clock after another response.

        Args:
            date: The ``Date`` of the response, as a Unix time.
            began: Time at which the request began, by the driver's clock.
            at: Time at which the response arrived, by the driver's clock.
        """
        drift = _MAX_DRIFT * max(at - self.measured, 0.0)
        lowest, highest = max(self.lowest - drift, date - at), min(self.highest + drift, date + 1 - began)
        if lowest > highest:
            lowest, highest = date - at, date + 1 - began
        return DateClock(lowest, highest, at)

    def now(self) -> float:
        """Return the server's time of the latest response."""
        return (self.lowest + self.highest) / 2 + self.measured


@as_list
@frozen
class UpdateClock:
    """The local wall clock, advanced by the driver's clock and corrected by a job's updates.

    It is used for responses without ``Date``. The local clock can be wrong, but the latest update is in the past, and a
    new update was made after the previous poll.

    Attributes:
        offset: The wall clock minus the driver's clock, in seconds; None until it is needed.
        lag: Seconds by which the wall clock is behind the server's.
        updated: Unix time of the job's latest update that a response without ``Date`` showed.
        polled: Time at which the last poll that showed it began, by the driver's clock; None before the first.
    """

    offset: float | None = None
    lag: float = 0.0
    updated: float = 0.0
    polled: float | None = None

    def observe(self, updated: float, began: float, at: float, wall_clock: WallClock) -> UpdateClock:
        """Return the clock after another response that showed an update of this Unix time."""
        offset = wall_clock.offset(at) if self.offset is None else self.offset
        guess, lag = offset + at, self.lag
        if updated != self.updated and self.polled is not None:
            lag = min(lag, updated + 1.0 + at - self.polled - guess)  # updates are in whole seconds
        return UpdateClock(offset, max(lag, updated - guess), updated, began)

    def at(self, moment: float) -> float:
        """Return the server's time at a time of the driver's clock."""
        return min((self.offset or 0.0) + moment + self.lag, _LATEST)


@frozen
class ServerClock:
    """The server's clock, from ``Date`` headers and from updates.

    Attributes:
        dates: The clock from ``Date`` headers, which all jobs of a server may share.
        updates: The clock from one job's updates.
    """

    dates: DateClock = field(factory=DateClock)
    updates: UpdateClock = field(factory=UpdateClock)

    def advance(
        self, date: datetime | None, updated_at: datetime, began: float, at: float, wall_clock: WallClock
    ) -> tuple[datetime, ServerClock]:
        """Return the server's time of a response, which is never before the job's update, and the clock after it.

        Args:
            date: The response's ``Date``, if it has one. A cache can freeze it.
            updated_at: The job's last update.
            began: Time at which the poll began, by the driver's clock.
            at: Time at which it ended.
            wall_clock: The local wall clock, for the first response without ``Date``.
        """
        if date is not None:
            dates = self.dates.observe(date.timestamp(), began, at)
            return max(datetime.fromtimestamp(dates.now(), UTC), updated_at), ServerClock(dates, self.updates)
        updates = self.updates.observe(updated_at.timestamp(), began, at, wall_clock)
        return datetime.fromtimestamp(updates.at(at), UTC), ServerClock(self.dates, updates)

    def to_dict(self) -> dict[str, Any]:
        """Return the clock as plain data for JSON."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, plain: object) -> Self:
        """Read the result of `to_dict`. If that is invalid, the clock is one without responses."""
        return from_plain(cls, plain)
