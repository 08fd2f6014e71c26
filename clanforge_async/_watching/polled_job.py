"""A watched job and the watches that share its polls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from clanforge_async._http.request import ApiResponse
from clanforge_async._polling.server_clock import UpdateClock
from clanforge_async._watching.decisions import PollResult
from clanforge_async._watching.observers import make_observers
from clanforge_async._watching.results import copy_error
from clanforge_async._watching.watch import Watch
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef

ReadStatus = Callable[[], Awaitable[ApiResponse[Job]]]


class PolledJob:
    """A watched job and the watches that share its polls. All times are of the event loop's clock.

    Attributes:
        ref: The job, without ``newer_than``, which differs between watches.
        read_status: Reads the job's status once.
        first_due: Time at which the first poll is due or was made; infinity while the job is in the start queue.
        was_polled: Whether the first poll has begun.
        observers: The observers of the job's watches.
        watches: The watches that have not ended, as the keys of a dict. They take part in the next poll or the one in
            flight.
        newcomers: The watches that began during the poll in flight. They get the result of the next poll.
        not_before: Time from which the server allows the next poll.
        is_asking: Whether a poll has begun and its result is not published yet.
        is_queued: Whether the job waits in the heap for a worker.
        timer: The timer of the next poll.
        has_lost_watches: Whether a watch has left since the timer was set, so that the timer may be too early.
        update_clock: The server's clock by the job's updates, for responses without ``Date``.
    """

    __slots__ = (
        "first_due",
        "has_lost_watches",
        "is_asking",
        "is_queued",
        "newcomers",
        "not_before",
        "observers",
        "read_status",
        "ref",
        "timer",
        "update_clock",
        "was_polled",
        "watches",
    )

    def __init__(self, ref: JobRef, read_status: ReadStatus) -> None:
        self.ref = ref
        self.read_status = read_status
        self.first_due = math.inf
        self.was_polled = False
        self.observers = make_observers(ref)
        self.watches: dict[Watch, None] = {}
        self.newcomers: dict[Watch, None] = {}
        self.not_before = -math.inf
        self.is_asking = False
        self.is_queued = False
        self.timer: asyncio.TimerHandle | None = None
        self.has_lost_watches = False
        self.update_clock = UpdateClock()

    @property
    def is_watched(self) -> bool:
        """Whether any watch has not ended."""
        return bool(self.watches or self.newcomers)

    def add(self, watch: Watch) -> None:
        """Add a watch. It gets only results of polls that begin after it."""
        (self.newcomers if self.is_asking else self.watches)[watch] = None

    def remove(self, watch: Watch) -> None:
        """Remove a watch."""
        self.watches.pop(watch, None)
        self.newcomers.pop(watch, None)
        self.has_lost_watches = True

    def next_due(self) -> float:
        """Return the time of the next poll: the earliest that a watch wants, but not before the server allows one."""
        self.has_lost_watches = False
        return max(min(watch.due for watch in self.watches), self.not_before)

    def cancel_timer(self) -> None:
        """Cancel the timer of the next poll, if there is one."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def release(self, now: float) -> None:
        """Make the first poll due now."""
        for watch in self.watches:
            watch.due = min(watch.due, now)

    def publish(self, result: PollResult) -> None:
        """Pass a poll's result to the observers, then to every watch that takes part."""
        for watch in self._end_poll(result.seen, result.at, result.server_time):
            if watch not in self.watches:
                continue  # a callback of another watch has ended it
            try:
                at_least = watch.handle_poll(result)
            except Exception as error:  # noqa: BLE001 - a strategy can raise anything, and no watch may hang because of it
                watch.fail(error)
            else:
                self.not_before = max(self.not_before, result.at + at_least)

    def fail(self, error: Exception, at: float) -> None:
        """End every watch that takes part, with an error that `decide` does not handle."""
        for watch in self._end_poll(error, at, datetime.now(UTC)):
            watch.fail(copy_error(error))

    def close(self, error: BaseException | None = None) -> None:
        """End every watch because the job's polls have stopped, with the error that stopped them, if any."""
        for watch in (*self.watches, *self.newcomers):
            if isinstance(error, Exception):
                watch.fail(copy_error(error))
            else:
                watch.close()

    def _end_poll(self, seen: Job | Exception, at: float, server_time: datetime) -> tuple[Watch, ...]:
        watches = tuple(self.watches)
        self.is_asking = False
        if self.newcomers:
            self.watches |= self.newcomers
            self.newcomers.clear()
        self.observers.polled(watches, seen, at, server_time)
        return watches
