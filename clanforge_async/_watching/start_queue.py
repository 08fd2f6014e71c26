"""The queue of jobs that wait for their first poll."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable

from clanforge_async._watching.polled_job import PolledJob


class StartQueue:
    """Spreads the first polls of many jobs over time, and thereby their later polls.

    The first polls are made at once, up to the number that may be in flight and to half a second's worth of the
    client's rate. The other jobs are released one by one at that rate. A job that leaves before its first poll uses
    none of the rate. Without a rate, only the limit of polls in flight spreads them.

    Args:
        capacity: Maximum number of polls in flight.
        max_rate: Polls per second; None: unlimited.
        release: Called with each job that had to wait, and the time, when it is released.
    """

    def __init__(self, capacity: int, max_rate: float | None, release: Callable[[PolledJob, float], None]) -> None:
        self._interval = 1 / max_rate if max_rate else 0.0
        self._head_start = max(min(capacity * self._interval, 0.5) - self._interval, 0.0)
        self._release = release
        self._next_slot = -math.inf
        self._waiting: OrderedDict[PolledJob, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, job: PolledJob, now: float) -> None:
        """Set a new job's `first_due`: now if it need not wait, otherwise infinity until it is released."""
        if not self._waiting and self._next_slot - self._head_start <= now:
            self._next_slot = max(self._next_slot, now) + self._interval
            job.first_due = now
        else:
            job.first_due = math.inf
            self._waiting[job] = None
            self._set_timer()

    def polled(self, job: PolledJob, now: float) -> None:
        """Remove a job whose first poll begins."""
        if job in self._waiting:  # a deadline has brought the poll forward
            job.first_due = now
            self._remove(job)

    def left(self, job: PolledJob) -> None:
        """Remove a job that leaves before its first poll; another job can use its slot."""
        if job in self._waiting:
            self._remove(job)
        else:
            self._next_slot -= self._interval
            self._set_timer()

    def _remove(self, job: PolledJob) -> None:
        del self._waiting[job]
        if not self._waiting:
            self._set_timer()

    def _set_timer(self) -> None:
        due = self._next_slot - self._head_start
        if self._timer is not None:
            if self._waiting and self._timer.when() <= due:
                return
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_at(due, self._release_due, due)

    def _release_due(self, due: float) -> None:
        self._timer = None
        now = max(asyncio.get_running_loop().time(), due)
        while self._waiting and self._next_slot - self._head_start <= now:
            job, _ = self._waiting.popitem(last=False)
            self._next_slot += self._interval
            job.first_due = now
            self._release(job, now)
        self._set_timer()
