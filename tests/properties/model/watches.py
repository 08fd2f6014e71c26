"""Watches, in each of the forms in which a watcher offers them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from properties.model.truth import Subject
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
class Ending:
    """One time that a watch has ended."""

    at: float
    job: Job | None
    error: Exception | None


@define(eq=False)
class Watch:
    """A watch that somebody has begun.

    Attributes:
        subject: The job.
        target: What is watched.
        first_run: The number of the earliest run that the target lets the watch end with.
        began: When, by the loop's clock.
        timeout: Seconds, as given.
        updates: All snapshots that it has told of.
        endings: How it has ended, each time that it has.
    """

    subject: Subject
    target: JobRef | Job
    first_run: int
    timeout: float | None
    began: float
    updates: list[Job] = field(factory=list[Job])
    endings: list[Ending] = field(factory=list[Ending])

    @property
    def ref(self) -> JobRef:
        """The reference that is watched."""
        return self.target if isinstance(self.target, JobRef) else self.target.ref

    @property
    def is_over_before_it_begins(self) -> bool:
        """Whether its target has ended, and comes from no retry, so that nothing is asked."""
        return isinstance(self.target, Job) and self.target.is_terminal and self.ref.newer_than is None

    def end(self, job: Job | None, error: Exception | None, at: float | None = None) -> None:
        """Write down that it has ended."""
        self.endings.append(Ending(now() if at is None else at, job, error))

    def take(self, result: WatchResult) -> None:
        """Write down how it has ended, as a result tells it."""
        assert result.ref == self.ref
        has_ended = result.error is None or isinstance(result.error, JobFailedError)
        self.end(result.job if has_ended else None, result.error, self.began + result.elapsed)


@define(eq=False)
class Party:
    """Watches that one call of a watcher makes, and the task that waits for them."""

    watches: Sequence[Watch]
    watcher: JobWatcher
    task: asyncio.Task[None]
    leaves: bool = False
    """Whether it leaves after the first news, and so may never see an end."""


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


async def glance(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    (watch,) = watches
    try:
        async for job in watcher.updates(watch.target, timeout=watch.timeout):
            watch.updates.append(job)
            break  # and leave the iterator to whoever collects it
    except ClanforgeError as error:
        watch.end(None, error)


async def wait_for_all(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    updates = _sorted_by_job(watches)
    targets = [watch.target for watch in watches]
    try:
        results = await watcher.wait_all(targets, timeout=watches[0].timeout, on_update=updates)
    except WatchClosedError as error:  # before it began
        for watch in watches:
            watch.end(None, error)
        return
    for watch, result in zip(watches, results, strict=True):
        watch.take(result)


async def take_as_they_end(watcher: JobWatcher, watches: Sequence[Watch]) -> None:
    by_ref = {watch.ref: watch for watch in watches}
    try:
        targets, updates = [watch.target for watch in watches], _sorted_by_job(watches)
        async for result in watcher.as_completed(targets, timeout=watches[0].timeout, on_update=updates):
            by_ref[result.ref].take(result)
    except WatchClosedError as error:
        for watch in watches:
            watch.end(None, error)


def _sorted_by_job(watches: Sequence[Watch]) -> Callable[[Job], None]:
    by_job = {(watch.ref.kind, watch.ref.id): watch for watch in watches}
    return lambda job: by_job[job.kind, job.id].updates.append(job)


Form = Callable[[JobWatcher, Sequence[Watch]], Awaitable[None]]
ALONE: tuple[Form, ...] = (wait, iterate, glance)
TOGETHER: tuple[Form, ...] = (wait_for_all, take_as_they_end)
