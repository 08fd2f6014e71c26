"""The watcher: waits for jobs, and shares the polls between watches of one job."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable
from types import EllipsisType, TracebackType
from typing import Self

from clanforge_async._polling.strategy import Interval, strategy, until_eta
from clanforge_async._validation import is_number
from clanforge_async._watching.decisions import WatchPolicy, WatchState
from clanforge_async._watching.notifier import OnUpdate
from clanforge_async._watching.observers import make_observers
from clanforge_async._watching.results import WatchClosedError, WatchResult
from clanforge_async._watching.scheduler import PollScheduler
from clanforge_async._watching.watch import Watch
from clanforge_async.client import ClanforgeClient
from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import Job, JobFailedError
from clanforge_async.refs import JobRef

_UNTIL_ETA = until_eta()


class JobWatcher:
    """Waits for jobs, thousands at a time.

    A watch ends at Completed, Failed or Squashed. Transient failures (the network, timeouts, 429, 5xx, unreadable
    responses) do not end it: it polls again after 1, 2, 4, 8 and then every 15 seconds, or sooner if the interval is
    shorter, and likewise after a stale status. Every wait and every deadline uses the event loop's clock.

    Watches of one job share its polls. The first polls of many watches are spread at the client's ``max_rate``; if
    more polls are due than it allows, the most overdue goes first. Use the watcher as an async context manager, or
    close it with `aclose`; the client stays open.

    The logger ``clanforge_async`` logs new states, outages and the ends of watches at INFO. If ``opentelemetry-api``
    is installed, each watch is a span as well.

    Args:
        client: The client that polls, within its own limits.
        interval: Seconds between polls, or any tenacity wait strategy.
        timeout: Seconds until a watch gives up; None: no limit.
        outage_tolerance: Seconds of unbroken failure before a watch gives up with the last error.
        stale_after: Seconds of nothing newer than a reference's ``newer_than`` before a watch gives up.

    Raises:
        ConfigurationError: An argument has an unusable value.
    """

    def __init__(
        self,
        client: ClanforgeClient,
        *,
        interval: Interval = _UNTIL_ETA,
        timeout: float | None = None,
        outage_tolerance: float = 300.0,
        stale_after: float = 120.0,
    ) -> None:
        for name, seconds in (("outage_tolerance", outage_tolerance), ("stale_after", stale_after)):
            if not is_number(seconds) or seconds < 0:
                msg = f"{name} must be a number of seconds, not negative"
                raise ConfigurationError(msg)
        self._timeout = _checked_timeout(timeout)
        self._policy = WatchPolicy(
            retrying=strategy(interval), outage_tolerance=outage_tolerance, stale_after=stale_after
        )
        self._scheduler = PollScheduler(client.observer, client.max_concurrency, client.max_rate)
        self._watches: set[Watch] = set()
        self._closed = False

    async def wait(
        self,
        target: JobRef | Job,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - a watch's deadline, with a result of its own
        check: bool = True,
        on_update: OnUpdate | None = None,
    ) -> Job:
        """Wait until a job has ended, and return it.

        Args:
            target: A job, or a reference to one. A terminal job without ``newer_than`` is returned without a poll;
                every other target is polled at least once.
            timeout: Maximum seconds to wait; None: no limit. Default: the watcher's ``timeout``.
            check: Raise if the job failed or was squashed. If False, return it like a completed one.
            on_update: Called with each changed snapshot, the last included; if it returns an awaitable, that is
                awaited. If it raises, the error is logged and the watch goes on.

        Raises:
            JobFailedError: The job failed.
            JobSquashedError: A newer job replaced it.
            WatchTimeoutError: The timeout expired. A request in flight is cancelled.
            StaleJobError: Nothing newer than the reference's ``newer_than`` was seen within ``stale_after``.
            WatchClosedError: The watcher is closed, or was closed before the job ended.
            ClanforgeError: A poll failed for good (400, 401, 403, 404), or polls failed for longer than
                ``outage_tolerance``.
        """
        watch = self._watch(target, timeout, on_update)
        try:
            result = await watch.future
        finally:
            await self._stop([watch])
        if isinstance(result.error, JobFailedError) and not check:
            return result.error.job
        return result.unwrap()

    async def updates(
        self,
        target: JobRef | Job,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
    ) -> AsyncGenerator[Job, None]:
        """Iterate over a job's changed snapshots. The terminal one comes last, whether the job succeeded or not.

        Args:
            target: As in `wait`.
            timeout: As in `wait`.

        Raises:
            ClanforgeError: As in `wait`, except that a failed or squashed job is no error here.
        """
        events: asyncio.Queue[Job | WatchResult] = asyncio.Queue()
        watch = self._watch(target, timeout, events.put_nowait)
        watch.future.add_done_callback(lambda future: events.put_nowait(future.result()))
        try:
            while isinstance(event := await events.get(), Job):
                yield event
        finally:
            await self._stop([watch])
        if not isinstance(event.error, JobFailedError):
            event.unwrap()

    async def wait_all(
        self,
        targets: Iterable[JobRef | Job],
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
        on_update: OnUpdate | None = None,
    ) -> list[WatchResult]:
        """Wait until every job has ended, and return the results in the targets' order. Never raises for a job.

        Args:
            targets: As in `wait`.
            timeout: As in `wait`, for each target.
            on_update: As in `wait`.
        """
        watches = self._watch_all(targets, timeout, on_update)
        try:
            return [await watch.future for watch in watches]
        finally:
            await self._stop(watches)

    async def as_completed(
        self,
        targets: Iterable[JobRef | Job],
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
        on_update: OnUpdate | None = None,
    ) -> AsyncGenerator[WatchResult, None]:
        """Iterate over the results of watches in the order in which they end. Never raises for a job.

        Args:
            targets: As in `wait`.
            timeout: As in `wait`, for each target.
            on_update: As in `wait`.
        """
        ended: asyncio.Queue[WatchResult] = asyncio.Queue()
        watches = self._watch_all(targets, timeout, on_update)
        try:
            for watch in watches:
                watch.future.add_done_callback(lambda future: ended.put_nowait(future.result()))
            for _ in watches:
                yield await ended.get()
        finally:
            await self._stop(watches)

    async def aclose(self) -> None:
        """Stop polling, and end unfinished watches with a `WatchClosedError`. No task is left when this returns."""
        self._closed = True
        await _wait_for(task for watch in tuple(self._watches) for task in watch.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _watch_all(
        self,
        targets: Iterable[JobRef | Job],
        timeout: float | EllipsisType | None,
        on_update: OnUpdate | None,
    ) -> list[Watch]:
        checked = list(targets)
        for target in checked:
            _ref(target)  # before the first watch starts
        return [self._watch(target, timeout, on_update) for target in checked]

    def _watch(self, target: JobRef | Job, timeout: float | EllipsisType | None, on_update: OnUpdate | None) -> Watch:
        ref = _ref(target)
        job = target if isinstance(target, Job) else None
        if self._closed:
            raise WatchClosedError(ref, job)
        seconds = self._timeout if timeout is ... else _checked_timeout(timeout)
        state = WatchState(ref=ref, began=asyncio.get_running_loop().time(), last_job=job)
        watch = Watch(state, self._policy, seconds, on_update)
        self._watches.add(watch)
        if job is not None and job.is_terminal and ref.newer_than is None:
            watch.start(make_observers(ref))
        else:
            self._scheduler.join(watch)
        return watch

    async def _stop(self, watches: list[Watch]) -> None:
        self._watches.difference_update(watches)
        await _wait_for(task for watch in watches for task in watch.detach())


def _ref(target: JobRef | Job) -> JobRef:
    if isinstance(target, JobRef):
        return target
    if isinstance(target, Job):
        return target.ref
    msg = f"a target is a JobRef or a Job, not {type(target).__name__}"
    raise TypeError(msg)


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is None or is_number(timeout):
        return None if timeout == math.inf else timeout
    msg = "timeout must be a number of seconds, or None"
    raise ConfigurationError(msg)


async def _wait_for(tasks: Iterable[asyncio.Task[None]]) -> None:
    if unfinished := {task for task in tasks if not task.done()}:
        await asyncio.wait(unfinished)
