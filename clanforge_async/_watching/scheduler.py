"""The shared polls of a watcher: one at a time for each job, a limited number at a time in all, most overdue first.

A job has no task of its own, only a timer for its next poll. A due job enters a heap, and a worker task takes it from
there; a worker that has made a poll makes the next one that is due, and ends if none is.
"""

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
from clanforge_async._watching.observers import Observers, make_observers, polling_context
from clanforge_async._watching.watch import Watch
from clanforge_async.errors import ClanforgeError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobKind, JobRef

ReadStatus = Callable[[], Awaitable[ApiResponse[Job]]]

_POLLS_IN_A_ROW = 16
"""Polls that a worker makes before it yields to the loop, if the transport never waits for anything."""


class _StartSpread:
    """Spreads the first polls of many jobs, and so their later ones, instead of making all of them at once.

    A first burst goes at once: as many polls as may be in flight, but no more than half a second's worth. The others
    follow one by one at the client's rate. Without a rate, only the limit in flight spreads them.
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


class _PolledJob:
    """A watched job, with the watches that share its polls.

    Attributes:
        ref: The job, without a ``newer_than``: that is each watch's own.
        read_status: Reads the job's status once.
        first_due: When the job's first poll is due or was made.
        observers: The observers of the job's watches.
        watches: The watches that have not ended.
        not_before: When the server allows the next poll.
        is_queued: Whether the job waits in the heap for a worker.
        timer: The timer of the next poll.
    """

    __slots__ = ("first_due", "is_queued", "not_before", "observers", "read_status", "ref", "timer", "watches")

    def __init__(self, ref: JobRef, read_status: ReadStatus, first_due: float) -> None:
        self.ref = ref
        self.read_status = read_status
        self.first_due = first_due
        self.observers: Observers = make_observers(ref)
        self.watches: list[Watch] = []
        self.not_before = -math.inf
        self.is_queued = False
        self.timer: asyncio.TimerHandle | None = None

    def next_due(self) -> float:
        """Return when the first of the watches wants a poll, or later if the server allows none until then."""
        return max(min(watch.due for watch in self.watches), self.not_before)

    def cancel_timer(self) -> None:
        """Cancel the timer of the next poll, if there is one."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def publish(self, result: PollResult, latency: float, backlog: float) -> None:
        """Pass a poll result to the observers, then to every watch."""
        self._report(result.seen, result.at, result.server_time)
        for watch in tuple(self.watches):
            try:
                at_least = watch.handle_poll(result, latency, backlog)
            except Exception as error:  # noqa: BLE001 - a strategy can raise anything, and no waiter may hang for it
                watch.fail(error)
            else:
                self.not_before = max(self.not_before, result.at + at_least)

    def fail(self, error: Exception, at: float) -> None:
        """End every watch with an error that `decide` doesn't know."""
        self._report(error, at, datetime.now(UTC))
        for watch in tuple(self.watches):
            watch.fail(error)

    def close(self) -> None:
        """End every watch because the job's polls have stopped."""
        for watch in tuple(self.watches):
            watch.close()

    def _report(self, seen: Job | Exception, at: float, server_time: datetime) -> None:
        for observer in self.observers:
            observer.polled(seen, at, server_time)


class PollScheduler:
    """Polls all the jobs of a watcher.

    Args:
        status_reader: Returns a callable that reads a job's status once, each time that it is called.
        capacity: Maximum number of polls in flight. Further due polls wait in a heap, the most overdue first.
        max_rate: Polls per second that the client allows; None: unlimited.
    """

    def __init__(self, status_reader: Callable[[JobRef], ReadStatus], capacity: int, max_rate: float | None) -> None:
        self._status_reader = status_reader
        self._capacity = capacity
        self._max_rate = max_rate
        self._start_spread = _StartSpread(capacity, max_rate)
        self._jobs: dict[tuple[JobKind, int], _PolledJob] = {}
        self._queue: list[tuple[float, int, _PolledJob]] = []
        self._order = itertools.count()
        self._in_flight: dict[_PolledJob, asyncio.Task[None]] = {}  # until the poll or its task ends
        self._workers: dict[asyncio.Task[None], _PolledJob] = {}  # each with the job that it polls or polled last
        self._context = polling_context()

    def join(self, watch: Watch) -> None:
        """Add a watch to the shared polls of its job."""
        ref = watch.ref
        job = self._jobs.get((ref.kind, ref.id))
        if job is None:
            plain, now = JobRef(ref.kind, ref.id), asyncio.get_running_loop().time()
            job = _PolledJob(plain, self._status_reader(plain), self._start_spread.slot(now))
            self._jobs[ref.kind, ref.id] = job
        job.watches.append(watch)
        watch.start(job.observers, self._leave, job.first_due)
        self._reschedule(job)

    def _leave(self, watch: Watch) -> asyncio.Task[None] | None:
        job = self._jobs[watch.ref.kind, watch.ref.id]
        job.watches.remove(watch)
        return None if job.watches else self._discard(job)

    def _discard(self, job: _PolledJob) -> asyncio.Task[None] | None:
        del self._jobs[job.ref.kind, job.ref.id]
        job.cancel_timer()
        poll = self._in_flight.get(job)
        if poll is not None:
            poll.cancel()
        return poll

    def _reschedule(self, job: _PolledJob) -> None:
        if job in self._in_flight or job.is_queued:
            return
        job.cancel_timer()
        loop = asyncio.get_running_loop()
        due = job.next_due()
        if due <= loop.time():
            self._enqueue(due, job)
        elif due < math.inf:
            job.timer = loop.call_at(due, self._enqueue, due, job)

    def _enqueue(self, due: float, job: _PolledJob) -> None:
        job.is_queued = True
        heapq.heappush(self._queue, (due, next(self._order), job))
        self._start_workers()

    def _pop_queued(self) -> _PolledJob | None:
        while self._queue:
            _, _, job = heapq.heappop(self._queue)
            job.is_queued = False
            if job.watches:
                return job
        return None

    def _start_workers(self) -> None:
        while len(self._workers) < self._capacity and (job := self._pop_queued()) is not None:
            # Not by the loop's task factory: an eager task could end before it is registered here.
            polls, context = self._run_polls(job), self._context.copy()  # shared, it would leak one task's values
            task = asyncio.Task(polls, loop=asyncio.get_running_loop(), context=context)
            self._assign(task, job)
            task.add_done_callback(self._worker_done)

    def _assign(self, worker: asyncio.Task[None], job: _PolledJob) -> None:
        self._workers[worker] = job
        self._in_flight[job] = worker

    async def _run_polls(self, job: _PolledJob) -> None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        polls = 0
        while True:
            await self._poll(job)
            polls += 1
            following = self._pop_queued()
            if following is None:
                return
            job = following
            self._assign(worker, job)
            if polls % _POLLS_IN_A_ROW == 0:
                await asyncio.sleep(0)

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        job = self._workers.pop(worker)
        if self._in_flight.get(job) is worker:
            # Cancelled in the middle of a poll, maybe from outside and before its first step: no watch may hang for it.
            del self._in_flight[job]
            job.close()
        self._start_workers()

    async def _poll(self, job: _PolledJob) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            response = await job.read_status()
        except ClanforgeError as error:
            result = PollResult(seen=error, at=clock())
        except Exception as error:  # noqa: BLE001 - a transport can raise anything, and no waiter may hang for it
            del self._in_flight[job]
            job.fail(error, clock())
            return
        else:
            now = response.server_time or datetime.now(UTC)
            result = PollResult(seen=response.value, at=clock(), server_time=now)
        del self._in_flight[job]
        latency = result.at - began
        job.publish(result, latency, self._backlog(latency))
        if job.watches:
            self._reschedule(job)

    def _backlog(self, latency: float) -> float:
        """Return the seconds that the polls of all other jobs take if they come at once."""
        others = len(self._jobs) - 1
        return others * max(1 / self._max_rate if self._max_rate else 0.0, latency / self._capacity)
