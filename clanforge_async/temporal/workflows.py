"""The workflows. This module needs nothing but ``temporalio``, so that Temporal's sandbox could import it too.

An activity is one watch, and each of its attempts is one poll: it fails with the pause until the next attempt, and
hands on the watch's state in its heartbeat. So a watch that waits costs no worker anything, and polls leave nothing in
the history.
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
"""Seconds after a watch's timeout after which the server ends it, because no worker has."""

_HEARTBEAT_TIMEOUT = timedelta(seconds=10)
_LONGEST_POLL = timedelta(seconds=600)
_RETRY_POLICY = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.0)
"""For attempts that name no pause: their worker died, or could not poll."""


# Outside the sandbox, which imports all modules anew for each workflow: that takes longer than the first polls.
@workflow.defn(name=WATCH, sandboxed=False)
class WatchWorkflow:
    """Watches a batch of jobs. Its history shows each result as that of an activity."""

    @workflow.run
    async def run(self, batch: dict[str, Any]) -> None:
        """Watch until every watch has ended.

        Args:
            batch: ``refs``, references as text; ``timeout``, seconds for each watch, or None; and ``parts``, the number
                of workflows that share the watches, 1 if it is missing.
        """
        refs: list[str] = batch["refs"]
        others = len(refs) * batch.get("parts", 1) - 1
        watches = (self._watch(number, ref, batch.get("timeout"), others) for number, ref in enumerate(refs))
        await asyncio.gather(*watches, return_exceptions=True)

    async def _watch(self, number: int, ref: str, timeout: float | None, others: int) -> None:  # noqa: ASYNC109 - the watch's
        began = workflow.info().start_time.timestamp()
        deadline = None if timeout is None else began + timeout
        left = None if deadline is None else max(deadline - workflow.time(), 0.0) + GRACE
        await workflow.execute_activity(
            POLL,
            {"ref": ref, "began": began, "deadline": deadline, "others": others},
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
        """Hold the polls for so many seconds from now, or for longer if they are held already."""
        self._until = max(self._until, workflow.time() + seconds)

    @workflow.run
    async def run(self) -> None:
        """Brake, wait by the server's clock, and lift the brake."""
        while self._until > workflow.time():
            await self._set_brake(held=True)
            while (left := self._until - workflow.time()) > 0:
                await workflow.sleep(left)
            await self._set_brake(held=False)

    async def _set_brake(self, *, held: bool) -> None:
        # Local, since an activity of the queue would wait for the brake that it is to lift.
        await workflow.execute_local_activity(SET_BRAKE, held, start_to_close_timeout=_HEARTBEAT_TIMEOUT)
