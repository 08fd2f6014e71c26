"""The Temporal workflows. This module imports only ``temporalio``, so that Temporal's sandbox can import it too.

Each watch is one activity, and each attempt of the activity is one poll. If the watch has not ended, the attempt fails
with the pause until the next one, and its heartbeat contains the watch's state. Therefore a waiting watch occupies no
worker, and polls add nothing to the workflow's history.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

WATCH = "clanforge-watch"
BRAKE = "clanforge-brake"
BRAKE_SIGNAL = "brake"
POLL = "clanforge-poll"
SET_BRAKE = "clanforge-set-brake"

BATCH = 500
"""Maximum number of watches of one workflow."""

GRACE = 10.0
"""Seconds from a watch's timeout until the server ends the watch itself, if no worker has ended it."""

_HEARTBEAT_TIMEOUT = timedelta(seconds=10)
_LONGEST_POLL = timedelta(seconds=600)
_RETRY_POLICY = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.0)
"""For attempts that failed without a pause: their worker crashed, or could not poll."""


# Not in the sandbox: it imports all modules again for each workflow, which takes longer than the first polls.
@workflow.defn(name=WATCH, sandboxed=False)
class WatchWorkflow:
    """Watches a batch of jobs. In its history, each watch's result is the result of an activity."""

    @workflow.run
    async def run(self, batch: dict[str, Any]) -> None:
        """Watch until every watch has ended.

        Args:
            batch: ``refs``, references as text; ``timeout``, seconds for each watch, or None; ``parts``, the number of
                workflows over which the watches are divided, default 1; and ``jobs``, the terminal jobs among the
                targets, by the number of their reference.
        """
        refs: list[str] = batch["refs"]
        jobs: dict[str, Any] = batch.get("jobs", {})
        others = len(refs) * batch.get("parts", 1) - 1
        tasks = [{"ref": ref, "job": jobs.get(str(number)), "others": others} for number, ref in enumerate(refs)]
        watches = (self._watch(number, task, batch.get("timeout")) for number, task in enumerate(tasks))
        await asyncio.gather(*watches, return_exceptions=True)

    async def _watch(self, number: int, task: dict[str, Any], timeout: float | None) -> None:  # noqa: ASYNC109 - the watch's
        began = workflow.info().start_time.timestamp()
        deadline = None if timeout is None else began + timeout
        left = None if deadline is None else max(deadline - workflow.time(), 0.0) + GRACE
        await workflow.execute_activity(
            POLL,
            task | {"began": began, "deadline": deadline},
            activity_id=str(number),
            heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            start_to_close_timeout=_LONGEST_POLL,
            schedule_to_close_timeout=None if left is None else timedelta(seconds=left),
            retry_policy=_RETRY_POLICY,
        )


@workflow.defn(name=BRAKE, sandboxed=False)
class BrakeWorkflow:
    """Holds the polls of all workers of a task queue until the API allows the next request."""

    def __init__(self) -> None:
        self._until = 0.0

    @workflow.signal(name=BRAKE_SIGNAL)
    def brake(self, seconds: float) -> None:
        """Hold the polls for this many seconds from now, or until the end of the current pause if that is later."""
        self._until = max(self._until, workflow.time() + seconds)

    @workflow.run
    async def run(self) -> None:
        """Put the brake on, wait by the server's clock, and take the brake off."""
        while self._until > workflow.time():
            await self._set_brake(held=True)
            while (left := self._until - workflow.time()) > 0:
                await workflow.sleep(left)
            await self._set_brake(held=False)

    async def _set_brake(self, *, held: bool) -> None:
        # Local, because an activity of the queue would be held by the brake that it has to take off.
        await workflow.execute_local_activity(SET_BRAKE, held, start_to_close_timeout=_HEARTBEAT_TIMEOUT)
