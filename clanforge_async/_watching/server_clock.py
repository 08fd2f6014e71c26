"""The server's clock, for responses without a ``Date``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Self

from attrs import evolve, frozen

from clanforge_async._http.request import ApiResponse
from clanforge_async._watching.serialization import as_mapping, number_or
from clanforge_async.jobs import Job

_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1


class WallClock:
    """The local wall clock, read once, and carried on by a driver's clock."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset: float | None = None

    def offset(self, at: float) -> float:
        """Return the wall clock minus the driver's clock, which shows `at` now."""
        if self._offset is None:
            self._offset = time.time() - at
        return self._offset


@frozen
class ServerClock:
    """The local wall clock, carried on by the driver's clock, and set right by the job's updates.

    A cache can freeze ``Date``, and the local clock can be wrong. The latest update is in the past, and a new one has
    come since the poll before.

    Attributes:
        offset: The wall clock minus the driver's clock, in seconds; None until it is needed.
        lag: Seconds by which the wall clock is behind the server's.
        updated: Unix time of the job's latest update that a response without ``Date`` showed.
        polled: When the poll that showed it last began, by the driver's clock; None before the first.
    """

    offset: float | None = None
    lag: float = 0.0
    updated: float = 0.0
    polled: float | None = None

    def advance(
        self, response: ApiResponse[Job], began: float, at: float, wall_clock: WallClock
    ) -> tuple[datetime, ServerClock]:
        """Return the server's time of a response, which is never before the job's update, and the clock after it.

        Args:
            response: The response.
            began: When the poll began, by the driver's clock.
            at: When it ended.
            wall_clock: The local wall clock, if it was not read before.
        """
        updated_at = response.value.updated_at
        if response.server_time is not None:
            return max(response.server_time, updated_at), self
        offset = wall_clock.offset(at) if self.offset is None else self.offset
        updated, guess, lag = updated_at.timestamp(), offset + at, self.lag
        if updated != self.updated and self.polled is not None:
            lag = min(lag, updated + 1.0 + at - self.polled - guess)  # updates are in whole seconds
        lag = max(lag, updated - guess)
        clock = evolve(self, offset=offset, lag=lag, updated=updated, polled=began)
        return datetime.fromtimestamp(min(guess + lag, _LATEST), UTC), clock

    def to_dict(self) -> dict[str, Any]:
        """Return the clock as plain data that JSON can hold."""
        plain = {"offset": self.offset, "lag": self.lag, "updated": self.updated, "polled": self.polled}
        return {} if self == ServerClock() else plain

    @classmethod
    def from_dict(cls, plain: object) -> Self:
        """Read the result of `to_dict`; missing and unreadable entries take their defaults."""
        plain = as_mapping(plain)
        return cls(
            number_or(plain, "offset", None),
            number_or(plain, "lag", 0.0),
            number_or(plain, "updated", 0.0),
            number_or(plain, "polled", None),
        )
