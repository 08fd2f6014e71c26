"""The watcher: waits for jobs, and shares the polls between watches of one job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from functools import partial
from types import EllipsisType, TracebackType
from typing import Self, TypeVar, overload

from clanforge_async._polling.forecast import ForecastState, JobForecast
from clanforge_async._polling.history import JobHistory
from clanforge_async._polling.strategy import Interval, until_eta
from clanforge_async._watching.notifier import OnError, OnUpdate, current_callback
from clanforge_async._watching.observers import make_observers
from clanforge_async._watching.options import WatchOptions, check_callback, checked_timeout, has_ended, ref_of
from clanforge_async._watching.results import WatchClosedError, WatchResult
from clanforge_async._watching.run_history import expected_duration, record_run
from clanforge_async._watching.scheduler import PollScheduler
from clanforge_async._watching.state import WatchPolicy, WatchState
from clanforge_async._watching.stopping import SLICE, WatchGroup, call_in_loop, is_running_loop, stop_watches
from clanforge_async._watching.watch import Watch
from clanforge_async.client import ClanforgeClient
from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import ImageDiffJob, ImageUpdateJob, ImageVersionJob, Job, JobFailedError
from clanforge_async.refs import JobRef

J = TypeVar("J", bound=ImageUpdateJob | ImageDiffJob | ImageVersionJob)

_UNTIL_ETA = until_eta()


class JobWatcher:
    """Waits for jobs, thousands at a time.

    A watch ends at Completed, Failed or Squashed. Transient failures (the network, timeouts, 408, 425, 429, 5xx,
    unreadable responses) do not end it: it polls again after 1, 2, 4, 8 and then every 15 seconds, or sooner if the
    interval is shorter. It does the same after a stale status. All waits and deadlines use the event loop's clock.

    Watches of one job share its polls. The first polls of many watches are spread at the client's ``max_rate``; if
    more polls are due than it allows, the most overdue goes first. Use the watcher as an async context manager, or
    close it with `aclose`; the client stays open. It can only be used in the event loop in which it was first used.

    The logger ``clanforge_async`` logs new states, outages and the ends of watches at INFO. If ``opentelemetry-api``
    is installed, each watch also creates a span.

    Args:
        client: The client that polls, within its own limits.
        interval: Seconds between polls, or any tenacity wait strategy.
        timeout: Seconds until a watch gives up; None: no limit.
        outage_tolerance: Seconds for which all polls may fail before a watch gives up with the last error.
        stale_after: Seconds without a status newer than a reference's ``newer_than`` before a watch gives up.
        history: Earlier durations, for forecasts without a server estimate. Each run that ends while watched is added.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    def __init__(
        self,
        client: ClanforgeClient,
        *,
        interval: Interval = _UNTIL_ETA,
        timeout: float | None = None,
        outage_tolerance: float = 300.0,
        stale_after: float = 120.0,
        history: JobHistory | None = None,
    ) -> None:
        if history is not None and not isinstance(history, JobHistory):
            msg = f"history must be a JobHistory, not {type(history).__name__}"
            raise ConfigurationError(msg)
        self._history = history
        self._timeout = checked_timeout(timeout)
        self._policy = WatchPolicy(interval=interval, outage_tolerance=outage_tolerance, stale_after=stale_after)
        self._scheduler = PollScheduler(client.observer, client.max_concurrency, client.max_rate)
        self._watches: set[Watch] = set()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._spared: set[asyncio.Task[None]] = set()  # callbacks that called `aclose`: never cancelled
        self._in_aclose: set[asyncio.Task[None]] = set()  # callbacks that are still inside `aclose`

    @overload
    async def wait(
        self,
        target: J,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see below
        check: bool = True,
        on_update: OnUpdate | None = None,
        on_error: OnError | None = None,
    ) -> J: ...

    @overload
    async def wait(
        self,
        target: JobRef | Job,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see below
        check: bool = True,
        on_update: OnUpdate | None = None,
        on_error: OnError | None = None,
    ) -> Job: ...

    async def wait(
        self,
        target: JobRef | Job,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - the deadline of a watch, which raises its own error
        check: bool = True,
        on_update: OnUpdate | None = None,
        on_error: OnError | None = None,
    ) -> Job:
        """Wait until a job has ended, and return it.

        Args:
            target: A job, or a reference to one. A terminal job without ``newer_than`` is returned without a poll;
                every other target is polled at least once.
            timeout: Maximum seconds to wait; None: no limit. Default: the watcher's ``timeout``.
            check: Raise if the job failed or was squashed. If False, return it like a completed one.
            on_update: Called with each changed snapshot, the last included; if it returns an awaitable, that is
                awaited. If it raises, the error is logged and the watch continues.
            on_error: Called similarly with the reference and the error of each failed poll that does not end the watch.

        Raises:
            TypeError: The target is neither a job nor a reference, or a callback is not callable.
            ConfigurationError: The watcher serves another event loop, or ``timeout`` is invalid.
            JobFailedError: The job failed.
            JobSquashedError: A newer job replaced it.
            WatchTimeoutError: The timeout expired. A request in flight is cancelled.
            StaleJobError: Nothing newer than the reference's ``newer_than`` was seen within ``stale_after``.
            WatchClosedError: The watcher is closed, or was closed before the job ended.
            ClanforgeError: A poll failed permanently (400, 401, 403, 404), or all polls failed for longer than
                ``outage_tolerance``.
        """
        options = self._checked_options(timeout, on_update, on_error)
        async with self._group() as watches:
            result = await self._start(target, options, watches).future
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
            ClanforgeError: As in `wait`, except that a failed or squashed job is not an error here.
        """
        events: asyncio.Queue[Job | WatchResult] = asyncio.Queue()
        options = self._checked_options(timeout, events.put_nowait, None)
        async with self._group() as watches:
            watch = self._start(target, options, watches)
            watch.future.add_done_callback(lambda future: events.put_nowait(future.result()))
            while isinstance(event := await events.get(), Job):
                yield event
                self._check_loop()
        if not isinstance(event.error, JobFailedError):
            event.unwrap()

    async def wait_all(
        self,
        targets: Iterable[JobRef | Job],
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
        on_update: OnUpdate | None = None,
        on_error: OnError | None = None,
    ) -> list[WatchResult]:
        """Wait until every job has ended, and return the results in the targets' order. Never raises for a job.

        Args:
            targets: As in `wait`.
            timeout: As in `wait`, for each target.
            on_update: As in `wait`.
            on_error: As in `wait`.

        Raises:
            TypeError, ConfigurationError: As in `wait`.
            WatchClosedError: The watcher is closed.
        """
        options = self._checked_options(timeout, on_update, on_error)
        async with self._group() as watches:
            async for _ in self._start_all(targets, options, watches):
                pass
            return [await watch.future for watch in watches]

    async def as_completed(
        self,
        targets: Iterable[JobRef | Job],
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
        on_update: OnUpdate | None = None,
        on_error: OnError | None = None,
    ) -> AsyncGenerator[WatchResult, None]:
        """Iterate over the results of watches in the order in which they end. Never raises for a job.

        Args:
            targets: As in `wait`.
            timeout: As in `wait`, for each target.
            on_update: As in `wait`.
            on_error: As in `wait`.

        Raises:
            TypeError, ConfigurationError: As in `wait`.
            WatchClosedError: The watcher is closed.
        """
        ended: asyncio.Queue[WatchResult] = asyncio.Queue()
        options = self._checked_options(timeout, on_update, on_error)
        async with self._group() as watches:
            async for watch in self._start_all(targets, options, watches):
                watch.future.add_done_callback(lambda future: ended.put_nowait(future.result()))
            for _ in watches:
                self._check_loop()
                yield await ended.get()

    def forecast(self, target: JobRef | Job) -> JobForecast | None:
        """Return when a job is expected to end, as of its last poll.

        Costs some microseconds and no request.

        Args:
            target: A job that is being watched, or a reference to one. Its ``newer_than`` is ignored.

        Returns:
            The forecast. None if the server's estimate, the progress and the history allow none, or if no watch of
            this watcher waits for the job.

        Raises:
            TypeError: The target is neither a job nor a reference.
        """
        return self._scheduler.forecast(ref_of(target))

    async def aclose(self) -> None:
        """Stop polling, and end unfinished watches with a `WatchClosedError`. No task is left when this returns.

        If it is cancelled, it still waits until the tasks have ended and then re-raises the cancellation. A callback
        that calls it is not cancelled. Called from another event loop, it closes the watcher without waiting.
        """
        self._closed = True
        if self._loop is None:
            return
        if not is_running_loop(self._loop):
            call_in_loop(self._loop, self._close_watches)
            return
        callback = current_callback()
        if callback is not None:
            self._spare(callback)
        try:
            close = partial(Watch.close, spared=self._spared)
            await stop_watches(tuple(self._watches), close, ignored=self._in_aclose)
        finally:
            self._in_aclose.discard(callback)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _spare(self, callback: asyncio.Task[None]) -> None:
        self._in_aclose.add(callback)
        self._spared.add(callback)
        callback.add_done_callback(self._spared.discard)

    def _close_watches(self) -> None:
        for watch in tuple(self._watches):
            watch.close(self._spared)

    def _check_loop(self) -> None:
        with self._lock:
            loop = asyncio.get_running_loop()
            if self._loop is None:
                self._loop = loop
        if self._loop is not loop:
            msg = "a watcher can only be used in the event loop in which it was first used"
            raise ConfigurationError(msg)

    def _checked_options(
        self, timeout: float | EllipsisType | None, on_update: OnUpdate | None, on_error: OnError | None
    ) -> WatchOptions:
        self._check_loop()
        check_callback("on_update", on_update)
        check_callback("on_error", on_error)
        return WatchOptions(self._timeout if timeout is ... else checked_timeout(timeout), on_update, on_error)

    def _group(self) -> WatchGroup:
        return WatchGroup(self._watches, asyncio.get_running_loop())

    async def _start_all(
        self, targets: Iterable[JobRef | Job], options: WatchOptions, watches: WatchGroup
    ) -> AsyncGenerator[Watch, None]:
        checked = list(targets)
        for target in checked:
            ref_of(target)  # raises before the first watch starts
        for count, target in enumerate(checked, 1):
            yield self._start(target, options, watches)
            if count % SLICE == 0:
                await asyncio.sleep(0)

    def _start(self, target: JobRef | Job, options: WatchOptions, watches: WatchGroup) -> Watch:
        ref = ref_of(target)
        job = target if isinstance(target, Job) else None
        if self._closed and not watches:
            raise WatchClosedError(ref, job)
        label = None if self._history is None else self._history.label(ref)
        state = WatchState(
            ref=ref,
            began=asyncio.get_running_loop().time(),
            last_job=job,
            forecast_state=ForecastState(typical=expected_duration(self._history, label, ref)),
        )
        watch = Watch(state, self._policy, options.timeout, options.notifier(ref))
        if self._history is not None and label is not None:
            watch.future.add_done_callback(partial(record_run, self._history, label))
        self._watches.add(watch)
        watches.append(watch)
        if self._closed:  # while the watches of this group were being started
            watch.close()
        elif has_ended(target):
            watch.start(make_observers(ref))
        else:
            self._scheduler.join(watch)
        return watch
