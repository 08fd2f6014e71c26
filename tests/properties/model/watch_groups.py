"""Watches, started with each method of a watcher, with their recorded results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from properties.model.job_runs import TrackedJob
from support.virtual_time import now

from clanforge_async import (
    ClanforgeError,
    InvalidResponseError,
    Job,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobState,
    JobWatcher,
    RateLimitError,
    ServerError,
    TransportError,
    WatchClosedError,
    WatchResult,
)

_ERRORS = {JobState.FAILED: JobFailedError, JobState.SQUASHED: JobSquashedError}
_TRANSIENT = (TransportError, RateLimitError, ServerError, InvalidResponseError)


@define(eq=False)
class WatchEnd:
    """One end of a watch: a correct watch has exactly one."""

    at: float
    job: Job | None
    error: Exception | None


@define(eq=False)
class Watch:
    """A started watch, with its updates and ends.

    Attributes:
        tracked: The job.
        target: The watch's target.
        first_run: Number of the earliest run whose end may end the watch.
        began: When it began, by the loop's clock.
        timeout: Its timeout in seconds.
        updates: All snapshots that it published.
        ends: Its recorded ends.
    """

    tracked: TrackedJob
    target: JobRef | Job
    first_run: int
    timeout: float | None
    began: float
    updates: list[Job] = field(factory=list[Job])
    ends: list[WatchEnd] = field(factory=list[WatchEnd])

    @property
    def ref(self) -> JobRef:
        """The target's reference."""
        return self.target if isinstance(self.target, JobRef) else self.target.ref

    @property
    def needs_no_poll(self) -> bool:
        """Whether its target is a terminal job without ``newer_than``."""
        return isinstance(self.target, Job) and self.target.is_terminal and self.ref.newer_than is None

    def end(self, job: Job | None, error: Exception | None, at: float | None = None) -> None:
        """Record an end."""
        self.ends.append(WatchEnd(now() if at is None else at, job, error))

    def record(self, result: WatchResult) -> None:
        """Record the end that a result describes."""
        assert result.ref == self.ref
        has_ended = result.error is None or isinstance(result.error, JobFailedError)
        self.end(result.job if has_ended else None, result.error, self.began + result.elapsed)


@define(eq=False)
class WatchGroup:
    """The watches of one call, and the task that waits for them."""

    watches: Sequence[Watch]
    watcher: JobWatcher
    task: asyncio.Task[None]
    stops_early: bool = False
    """Whether the task stops after the first update, so that it may never see an end."""


async def wait(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    (watch,) = watches
    try:
        watch.end(await watcher.wait(watch.target, timeout=watch.timeout, on_update=watch.updates.append), None)
    except JobFailedError as error:
        watch.end(error.job, error)
    except ClanforgeError as error:
        watch.end(None, error)


async def iterate(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    (watch,) = watches
    try:
        async for job in watcher.updates(watch.target, timeout=watch.timeout):
            watch.updates.append(job)
        watch.end(watch.updates[-1].raise_for_failure(), None)
    except JobFailedError as error:
        watch.end(error.job, error)
    except ClanforgeError as error:
        watch.end(None, error)


async def take_first_update(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    (watch,) = watches
    try:
        async for job in watcher.updates(watch.target, timeout=watch.timeout):
            watch.updates.append(job)
            break  # and leave the iterator to the garbage collector
    except ClanforgeError as error:
        watch.end(None, error)


async def wait_for_all(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    updates = _record_by_job(watches)
    targets = [watch.target for watch in watches]
    try:
        results = await watcher.wait_all(targets, timeout=watches[0].timeout, on_update=updates)
    except WatchClosedError as error:  # the watcher was closed before
        for watch in watches:
            watch.end(None, error)
        return
    for watch, result in zip(watches, results, strict=True):
        watch.record(result)


async def collect_as_completed(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    by_ref = {watch.ref: watch for watch in watches}
    try:
        targets, updates = [watch.target for watch in watches], _record_by_job(watches)
        async for result in watcher.as_completed(targets, timeout=watches[0].timeout, on_update=updates):
            by_ref[result.ref].record(result)
    except WatchClosedError as error:
        for watch in watches:
            watch.end(None, error)


def _record_by_job(watches: Sequence[Watch]) -> Callable[[Job], None]:
    by_job = {(watch.ref.kind, watch.ref.id): watch for watch in watches}
    return lambda job: by_job[job.kind, job.id].updates.append(job)


WatchMethod = Callable[[JobWatcher, Sequence[Watch]], Awaitable[None]]
SINGLE_JOB_METHODS: tuple[WatchMethod, ...] = (wait, iterate, take_first_update)
MANY_JOBS_METHODS: tuple[WatchMethod, ...] = (wait_for_all, collect_as_completed)
