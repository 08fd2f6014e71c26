"""The shared polls of a watcher: one poll at a time for each job, a limited number in total, the most overdue first.

A job has no task, only a timer for its next poll. When the poll is due, the job is pushed to a heap, and a worker task
pops it from there. After a poll, a worker continues with the next due job, and ends if there is none.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from datetime import datetime
from typing import cast

from clanforge_async._http.request import ApiResponse
from clanforge_async._polling.forecast import JobForecast, job_forecast
from clanforge_async._polling.server_clock import DateClock, ServerClock, WallClock
from clanforge_async._watching.decisions import PollResult
from clanforge_async._watching.observers import polling_context
from clanforge_async._watching.polled_job import PolledJob, ReadStatus
from clanforge_async._watching.results import copy_error
from clanforge_async._watching.start_queue import StartQueue
from clanforge_async._watching.watch import Watch
from clanforge_async.errors import ClanforgeError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobKind, JobRef

_POLLS_IN_A_ROW = 16
"""Number of polls after which a worker yields to the event loop, in case the transport never waits."""


class PollScheduler:
    """Polls all the jobs of a watcher.

    Args:
        status_reader: Returns a function that reads a job's status once per call.
        capacity: Maximum number of polls in flight. Further due polls wait in a heap, the most overdue first.
        max_rate: Polls per second that the client allows; None: unlimited.
    """

    def __init__(self, status_reader: Callable[[JobRef], ReadStatus], capacity: int, max_rate: float | None) -> None:
        self._status_reader = status_reader
        self._capacity = capacity
        self._max_rate = max_rate
        self._start_queue = StartQueue(capacity, max_rate, self._release)
        self._date_clock = DateClock()
        self._wall_clock = WallClock()
        self._jobs: dict[tuple[JobKind, int], PolledJob] = {}
        self._queue: list[tuple[float, int, PolledJob]] = []
        self._order = itertools.count()
        self._in_flight: dict[PolledJob, asyncio.Task[None]] = {}  # removed when the poll or its task ends
        self._workers: dict[asyncio.Task[None], PolledJob] = {}  # the job that each worker polls or polled last
        self._context = polling_context()

    def join(self, watch: Watch) -> None:
        """Add a watch to the shared polls of its job."""
        ref = watch.ref
        job = self._jobs.get((ref.kind, ref.id))
        if job is None:
            plain = JobRef(ref.kind, ref.id)
            job = self._jobs[ref.kind, ref.id] = PolledJob(plain, self._status_reader(plain))
            self._start_queue.add(job, asyncio.get_running_loop().time())
        job.add(watch)
        watch.start(job.observers, self._leave, job.first_due)
        self._reschedule_earlier(job, watch.due)

    def forecast(self, ref: JobRef) -> JobForecast | None:
        """Return the forecast of a job that is being polled; None if there is none."""
        job = self._jobs.get((ref.kind, ref.id))
        forecasts = (job_forecast(watch.forecast_state) for watch in (() if job is None else job.watches))
        return next((expected for expected in forecasts if expected is not None), None)

    def seconds_to_next_poll(self) -> float:
        """Return the seconds until a poll is due; 0 if one is in flight or no job is polled."""
        if not self._jobs or any(job.timer is None for job in self._jobs.values()):
            return 0.0
        due = min(job.timer.when() for job in self._jobs.values() if job.timer is not None)
        return max(0.0, due - asyncio.get_running_loop().time())

    def _leave(self, watch: Watch) -> asyncio.Task[None] | None:
        job = self._jobs[watch.ref.kind, watch.ref.id]
        job.remove(watch)
        return None if job.is_watched else self._discard(job)

    def _discard(self, job: PolledJob) -> asyncio.Task[None] | None:
        del self._jobs[job.ref.kind, job.ref.id]
        if not self._jobs:
            self._queue.clear()  # now and all at once, instead of one by one when a worker pops the next job
        job.cancel_timer()
        if not job.was_polled:
            self._start_queue.left(job)
        poll = self._in_flight.get(job)
        if poll is not None:
            poll.cancel()
        return poll

    def _release(self, job: PolledJob, now: float) -> None:
        job.release(now)
        self._reschedule_earlier(job, now)

    def _reschedule_earlier(self, job: PolledJob, due: float) -> None:
        """Make the next poll no later than `due`, without computing the times of the other watches."""
        due = max(due, job.not_before)
        if not self._is_polled(job) and (job.timer is None or due < job.timer.when()):
            self._set_timer(job, due)

    def _is_polled(self, job: PolledJob) -> bool:
        return job in self._in_flight or job.is_queued

    def _set_timer(self, job: PolledJob, due: float) -> None:
        job.cancel_timer()
        loop = asyncio.get_running_loop()
        if due <= loop.time():
            self._enqueue(due, job)
        elif due < math.inf:
            job.timer = loop.call_at(due, self._timer_expired, due, job)

    def _timer_expired(self, due: float, job: PolledJob) -> None:
        job.timer = None
        if job.has_lost_watches and (later := job.next_due()) > due:
            self._set_timer(job, later)
        else:
            self._enqueue(due, job)

    def _enqueue(self, due: float, job: PolledJob) -> None:
        job.is_queued = True
        heapq.heappush(self._queue, (due, next(self._order), job))
        self._start_workers()

    def _pop_queued(self) -> PolledJob | None:
        while self._queue:
            _, _, job = heapq.heappop(self._queue)
            job.is_queued = False
            if job.watches:
                return job
        return None

    def _start_workers(self) -> None:
        while len(self._workers) < self._capacity and (job := self._pop_queued()) is not None:
            # Not through the loop's task factory: an eager task could end before it is registered here.
            polls, context = self._run_polls(job), self._context.copy()  # not shared between tasks
            task = asyncio.Task(polls, loop=asyncio.get_running_loop(), context=context)
            self._assign(task, job)
            task.add_done_callback(self._worker_done)

    def _assign(self, worker: asyncio.Task[None], job: PolledJob) -> None:
        self._workers[worker] = job
        self._in_flight[job] = worker

    async def _run_polls(self, job: PolledJob) -> None:
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
            del self._in_flight[job]
        error = None if worker.cancelled() else worker.exception()
        if (worker.cancelled() or error is not None) and not self._is_polled(job) and job.timer is None:
            # The worker ended in the middle of a poll, perhaps cancelled from outside: no watch may hang.
            job.close(error)
        self._start_workers()

    async def _poll(self, job: PolledJob) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        job.is_asking = True
        if not job.was_polled:
            job.was_polled = True
            self._start_queue.polled(job, began)
        answer: ApiResponse[Job] | Exception
        try:
            answer = await job.read_status()
        except Exception as error:  # noqa: BLE001 - a transport can raise anything, and no watch may hang because of it
            answer = copy_error(error)
        at = clock()
        del self._in_flight[job]
        latency = at - began
        if isinstance(answer, ApiResponse):
            server_time = self._server_time(job, answer, began, at)
            backlog = self._backlog(latency)
            job.publish(PollResult(seen=answer.value, at=at, server_time=server_time, latency=latency, backlog=backlog))
        elif isinstance(answer, ClanforgeError):
            job.publish(PollResult(seen=answer, at=at, latency=latency, backlog=self._backlog(latency)))
        else:
            job.fail(answer, at)
        if job.is_watched and not self._is_polled(job):
            self._set_timer(job, job.next_due())

    def _server_time(self, job: PolledJob, response: ApiResponse[Job], began: float, at: float) -> datetime:
        clock = ServerClock(self._date_clock, job.update_clock)
        server_time, clock = clock.advance(response.server_time, response.value.updated_at, began, at, self._wall_clock)
        self._date_clock, job.update_clock = clock.dates, clock.updates
        return server_time

    def _backlog(self, latency: float) -> float:
        """Return the seconds that the polls of all other jobs take if all are due at once."""
        others = len(self._jobs) - 1
        return others * max(1 / self._max_rate if self._max_rate else 0.0, latency / self._capacity)
