"""A watcher that runs its watches on Temporal."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from types import EllipsisType
from typing import TypeVar, overload

import temporalio.client

from clanforge_async._watching.notifier import OnUpdate
from clanforge_async._watching.options import check_callback, checked_timeout, has_ended, ref_of
from clanforge_async._watching.results import WatchResult
from clanforge_async.jobs import ImageDiffJob, ImageUpdateJob, ImageVersionJob, Job, JobFailedError, job_failure
from clanforge_async.refs import JobRef
from clanforge_async.temporal.delivery import deliver, number_events
from clanforge_async.temporal.following import follow
from clanforge_async.temporal.history import History
from clanforge_async.temporal.submission import Submission, part_id, terminate
from clanforge_async.temporal.workflows import GRACE

_LONGEST_TIMEOUT = 100 * 365 * 86400.0
"""Seconds; a longer timeout counts as no timeout, because Temporal cannot represent dates some centuries ahead."""

J = TypeVar("J", bound=ImageUpdateJob | ImageDiffJob | ImageVersionJob)


class TemporalWatcher:
    """Waits for jobs like `JobWatcher`, but the watches run on Temporal, and workers with a `ClanforgePlugin` poll.

    Without an ``id``, a watch ends with the call that waits for it. With an ``id``, the watch continues without the
    call: a call with the same id and targets attaches to the watch, even after its end, and `resume` finds it from any
    process. Results and updates are those of `JobWatcher`, except that listings of image diffs are empty, and that
    updates less than two seconds apart may be merged.

    Args:
        temporal: The Temporal client.
        task_queue: The task queue that the workers serve.
        timeout: Seconds until a watch gives up; None: no limit.

    Raises:
        ConfigurationError: ``timeout`` is invalid.
    """

    def __init__(
        self,
        temporal: temporalio.client.Client,
        *,
        task_queue: str = "clanforge",
        timeout: float | None = None,
    ) -> None:
        self._temporal = temporal
        self._task_queue = task_queue
        self._timeout = checked_timeout(timeout)

    @overload
    async def wait(
        self,
        target: J,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see below
        check: bool = True,
        on_update: OnUpdate | None = None,
        id: str | None = None,
    ) -> J: ...

    @overload
    async def wait(
        self,
        target: JobRef | Job,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see below
        check: bool = True,
        on_update: OnUpdate | None = None,
        id: str | None = None,
    ) -> Job: ...

    async def wait(
        self,
        target: JobRef | Job,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - a watch's deadline, which has its own result
        check: bool = True,
        on_update: OnUpdate | None = None,
        id: str | None = None,  # noqa: A002 - Temporal's own word
    ) -> Job:
        """Wait until a job has ended, and return it.

        Args:
            target: A job, or a reference to one. A terminal job without ``newer_than`` is returned without a poll.
            timeout: Maximum seconds to wait; None: no limit. Default: the watcher's ``timeout``.
            check: Raise if the job failed or was squashed. If False, return it like a completed one.
            on_update: Called with each changed snapshot, as by `JobWatcher.wait`.
            id: Identifies the watch. With an id, the watch continues after this call.

        Raises:
            TypeError: The target is neither a job nor a reference, or ``on_update`` is not callable.
            ConfigurationError: The id is in use for other targets, or ``timeout`` is invalid.
            JobFailedError: The job failed, or was squashed.
            WatchTimeoutError: The timeout expired. If no worker runs, this is raised ten seconds after the timeout.
            WatchClosedError: The watch was stopped from outside.
            ClanforgeError: As by `JobWatcher.wait`.
            temporalio.service.RPCError: The Temporal server refused to start the watch, or cannot be reached.
        """
        [result] = await self.wait_all([target], timeout=timeout, on_update=on_update, id=id)
        if isinstance(result.error, JobFailedError) and not check:
            return result.error.job
        return result.unwrap()

    async def updates(
        self,
        target: JobRef | Job,
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
        id: str | None = None,  # noqa: A002 - Temporal's own word
    ) -> AsyncGenerator[Job, None]:
        """Iterate over a job's changed snapshots. The terminal snapshot is the last, whether the job succeeded or not.

        Args:
            target: As in `wait`.
            timeout: As in `wait`.
            id: As in `wait`.

        Raises:
            ClanforgeError: As in `wait`, except that a failed or squashed job is no error here.
        """
        async with aclosing(self._events([target], timeout, id, with_updates=True)) as events:
            async for _, value in events:
                if isinstance(value, Job):
                    yield value
                elif not isinstance(value.error, JobFailedError):
                    value.unwrap()

    async def wait_all(
        self,
        targets: Iterable[JobRef | Job],
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
        on_update: OnUpdate | None = None,
        id: str | None = None,  # noqa: A002 - Temporal's own word
    ) -> list[WatchResult]:
        """Wait until every job has ended, and return the results in the targets' order. Never raises for a job.

        Args:
            targets: As in `wait`.
            timeout: As in `wait`, for each target.
            on_update: As in `wait`.
            id: Identifies all the watches together.

        Raises:
            TypeError, ConfigurationError: As in `wait`.
        """
        checked, results = list(targets), dict[int, WatchResult]()
        async with aclosing(self._results(checked, timeout, on_update, id)) as ends:
            async for number, result in ends:
                results[number] = result
        return [results[number] for number in range(len(checked))]

    async def as_completed(
        self,
        targets: Iterable[JobRef | Job],
        *,
        timeout: float | EllipsisType | None = ...,  # noqa: ASYNC109 - see wait
        on_update: OnUpdate | None = None,
        id: str | None = None,  # noqa: A002 - Temporal's own word
    ) -> AsyncGenerator[WatchResult, None]:
        """Iterate over the results of watches in the order in which they end. Never raises for a job.

        Args:
            targets: As in `wait`.
            timeout: As in `wait`, for each target.
            on_update: As in `wait`.
            id: Identifies all the watches together.

        Raises:
            TypeError, ConfigurationError: As in `wait`.
        """
        async with aclosing(self._results(list(targets), timeout, on_update, id)) as ends:
            async for _, result in ends:
                yield result

    async def resume(self, id: str, *, on_update: OnUpdate | None = None) -> AsyncIterator[WatchResult]:  # noqa: A002
        """Iterate over the results of the watches with an id, from any process, even after their end.

        Args:
            id: The id with which the watches were started.
            on_update: As in `wait`.

        Raises:
            LookupError: No watch has this id.
            TypeError: ``on_update`` is not callable.
        """
        check_callback("on_update", on_update)
        histories = await self._parts(id)
        events = number_events(follow(histories, with_updates=on_update is not None))
        async with aclosing(deliver(events, on_update)) as ends:
            async for _, result in ends:
                yield result

    async def cancel(self, id: str) -> None:  # noqa: A002 - Temporal's own word
        """Stop the watches with an id: they end with `WatchClosedError`. Watches that have ended keep their results.

        Raises:
            LookupError: No watch has this id.
        """
        await asyncio.gather(*map(terminate, await self._parts(id)))

    async def _parts(self, workflow_id: str) -> list[History]:
        batch = await History(self._temporal, workflow_id).batch()
        return [History(self._temporal, part_id(workflow_id, part)) for part in range(batch.parts)]

    async def _results(
        self,
        targets: Sequence[JobRef | Job],
        timeout: float | EllipsisType | None,  # noqa: ASYNC109 - see wait
        on_update: OnUpdate | None,
        workflow_id: str | None,
    ) -> AsyncGenerator[tuple[int, WatchResult]]:
        check_callback("on_update", on_update)
        events = self._events(targets, timeout, workflow_id, with_updates=on_update is not None)
        async with aclosing(deliver(events, on_update)) as ends:
            async for end in ends:
                yield end

    async def _events(
        self,
        targets: Sequence[JobRef | Job],
        timeout: float | EllipsisType | None,  # noqa: ASYNC109 - see wait
        workflow_id: str | None,
        *,
        with_updates: bool,
    ) -> AsyncGenerator[tuple[int, Job | WatchResult]]:
        limit = self._timeout if timeout is ... else checked_timeout(timeout)
        limit = None if limit is not None and limit > _LONGEST_TIMEOUT else limit
        waiting = defaultdict[JobRef, deque[int]](deque)
        for number, ref in enumerate([ref_of(target) for target in targets]):
            waiting[ref].append(number)
        submission, watched = Submission(self._temporal, self._task_queue, workflow_id), list[JobRef | Job]()
        for number, target in enumerate(targets):
            if workflow_id is None and has_ended(target):
                waiting[target.ref].remove(number)
                yield number, target
                yield number, WatchResult(ref=target.ref, job=target, error=job_failure(target), polls=0, elapsed=0.0)
            else:
                watched.append(target)
        if not watched:
            return
        try:
            histories = await submission.start(watched, limit)
            after = None if limit is None else max(limit, 0.0) + GRACE
            followed = follow(histories, with_updates=with_updates, limit=after)
            async with aclosing(number_events(followed, waiting)) as events:
                async for event in events:
                    yield event
        finally:
            await submission.stop()
