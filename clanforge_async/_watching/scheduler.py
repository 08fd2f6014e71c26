"""The polls behind the watches: one at a time for each job, the most overdue job first, so many at a time in all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import cast

from clanforge_async._http.request import ApiResponse
from clanforge_async._watching.decisions import PollResult
from clanforge_async._watching.observers import context_of_polls, listeners_of
from clanforge_async._watching.watch import Watch
from clanforge_async.errors import ClanforgeError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobKind, JobRef

Observe = Callable[[], Awaitable[ApiResponse[Job]]]


_IN_A_ROW = 16
"""Polls that a task makes before it lets the loop turn, should the transport never wait for anything."""


class _Start:
    """Spreads the first polls of many jobs, which would otherwise come at once, and their next polls with them.

    As many as may be under way at a time go at once, though no more than half a second's worth, and the others one
    by one at the client's rate. Where the client sets no rate, only their number at a time keeps them apart.
    """

    def __init__(self, capacity: int, max_rate: float | None) -> None:
        self._interval = 1 / max_rate if max_rate else 0.0
        self._head_start = max(min(capacity * self._interval, 0.5) - self._interval, 0.0)
        self._next = -math.inf

    def slot(self, now: float) -> float:
        """Return when the next new job may be polled for the first time."""
        turn = max(self._next, now)
        self._next = turn + self._interval
        return max(now, turn - self._head_start)


class _Subject:
    """A job that somebody watches, and its polls, which all of its watches share."""

    __slots__ = (
        "_listeners",
        "_polls",
        "first_due",
        "is_ready",
        "not_before",
        "observe",
        "ref",
        "task",
        "timer",
        "watches",
    )

    def __init__(self, ref: JobRef, observe: Observe, first_due: float, polls: Polls) -> None:
        self.ref = ref
        self.observe = observe
        self.first_due = first_due
        self.watches: list[Watch] = []
        self.not_before = -math.inf
        self.is_ready = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._listeners = listeners_of(ref)
        self._polls = polls

    def join(self, watch: Watch) -> None:
        self.watches.append(watch)
        watch.begin(self._listeners, self, self.first_due)
        self.arrange()

    def leave(self, watch: Watch) -> asyncio.Task[None] | None:
        self.watches.remove(watch)
        if self.watches:
            return None
        self._polls.forget(self)
        self._disarm()
        if self.task is not None:
            self.task.cancel()
        return self.task

    def arrange(self) -> None:
        """Have the next poll made when the first of the watches wants it, though not before the server allows it."""
        if self.task is not None or self.is_ready:
            return
        self._disarm()
        loop = asyncio.get_running_loop()
        due = max(min(watch.due for watch in self.watches), self.not_before)
        if due <= loop.time():
            self._polls.make_ready(due, self)
        elif due < math.inf:
            self.timer = loop.call_at(due, self._polls.make_ready, due, self)

    def _disarm(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def take(self, observation: PollResult, latency: float, crowd: float) -> None:
        """Pass on what a poll has brought."""
        self._announce(observation.seen, observation.at, observation.server_time)
        for watch in tuple(self.watches):
            try:
                at_least = watch.observe(observation, latency, crowd)
            except Exception as error:  # noqa: BLE001 - a strategy can raise anything, and nobody may hang for it
                watch.fail(error)
            else:
                self.not_before = max(self.not_before, observation.at + at_least)

    def fail(self, error: Exception, at: float) -> None:
        """End every watch for a reason that no rule knows."""
        self._announce(error, at, datetime.now(UTC))
        for watch in tuple(self.watches):
            watch.fail(error)

    def _announce(self, seen: Job | Exception, at: float, server_time: datetime) -> None:
        for listener in self._listeners:
            listener.polled(seen, at, server_time)

    def close(self) -> None:
        """End every watch because nobody polls any more."""
        for watch in tuple(self.watches):
            watch.close()


class Polls:
    """All the jobs that a watcher polls.

    Args:
        observer: Returns what reads a job's status once, each time that it is called.
        capacity: How many polls to have under way at a time. What is due beyond that waits here, where the most
            overdue goes first.
        max_rate: How many a second can be made; None: any number.
    """

    def __init__(self, observer: Callable[[JobRef], Observe], capacity: int, max_rate: float | None) -> None:
        self._observer = observer
        self._capacity = capacity
        self._max_rate = max_rate
        self._start = _Start(capacity, max_rate)
        self._subjects: dict[tuple[JobKind, int], _Subject] = {}
        self._ready: list[tuple[float, int, _Subject]] = []
        self._running: dict[asyncio.Task[None], _Subject] = {}
        self._order = itertools.count()
        self._context = context_of_polls()

    def join(self, watch: Watch) -> None:
        """Let a watch take part in the polls of its job."""
        ref = watch.ref
        subject = self._subjects.get((ref.kind, ref.id))
        if subject is None:
            plain, now = JobRef(ref.kind, ref.id), asyncio.get_running_loop().time()
            subject = _Subject(plain, self._observer(plain), self._start.slot(now), self)
            self._subjects[ref.kind, ref.id] = subject
        subject.join(watch)

    def forget(self, subject: _Subject) -> None:
        """Poll a job no longer."""
        del self._subjects[subject.ref.kind, subject.ref.id]

    def make_ready(self, due: float, subject: _Subject) -> None:
        """Poll a job as soon as there is room."""
        subject.is_ready = True
        heapq.heappush(self._ready, (due, next(self._order), subject))
        self._fill()

    def _seconds_for_all(self, latency: float) -> float:
        others = len(self._subjects) - 1
        return others * max(1 / self._max_rate if self._max_rate else 0.0, latency / self._capacity)

    def _fill(self) -> None:
        while len(self._running) < self._capacity and (subject := self._next()) is not None:
            # Made without the loop's factory: a task that starts eagerly could be over before it is known here.
            work, context = self._work(subject), self._context.copy()  # tasks that shared one would see others' values
            task = asyncio.Task(work, loop=asyncio.get_running_loop(), context=context)
            subject.task = task
            self._running[task] = subject
            task.add_done_callback(self._done)

    def _next(self) -> _Subject | None:
        while self._ready:
            _, _, subject = heapq.heappop(self._ready)
            subject.is_ready = False
            if subject.watches:
                return subject
        return None

    async def _work(self, subject: _Subject) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        polls = 0
        while True:
            await self._poll(subject)
            polls += 1
            following = self._next()
            if following is None:
                return
            subject = following
            subject.task = task
            self._running[task] = subject
            if polls % _IN_A_ROW == 0:
                await asyncio.sleep(0)

    def _done(self, task: asyncio.Task[None]) -> None:
        subject = self._running.pop(task)
        if subject.task is task:
            # Somebody else has cancelled it, maybe before its first step: whoever watches must not wait for ever.
            subject.task = None
            subject.close()
        self._fill()

    async def _poll(self, subject: _Subject) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            response = await subject.observe()
        except ClanforgeError as error:
            observation = PollResult(seen=error, at=clock())
        except Exception as error:  # noqa: BLE001 - a transport can raise anything, and nobody may hang for it
            subject.task = None
            subject.fail(error, clock())
            return
        else:
            now = response.server_time or datetime.now(UTC)
            observation = PollResult(seen=response.value, at=clock(), server_time=now)
        subject.task = None
        latency = observation.at - began
        subject.take(observation, latency, self._seconds_for_all(latency))
        if subject.watches:
            subject.arrange()
