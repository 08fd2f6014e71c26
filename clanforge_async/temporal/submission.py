"""The starting and stopping of workflows for the watches of one call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from clanforge_async.errors import ConfigurationError
from clanforge_async.temporal.history import History
from clanforge_async.temporal.workflows import BATCH, GRACE, WATCH

_LONGEST_STOP = 5.0
"""Seconds to wait for a Temporal server that is to stop watches and does not respond."""


def part_id(workflow_id: str, part: int) -> str:
    """Return the id of one of the workflows that share the watches of a call; the first has the call's own id."""
    return workflow_id if part == 0 else f"{workflow_id}/{part + 1}"


class Submission:
    """Starts the workflows of a call, or attaches to those that run already.

    Args:
        temporal: The Temporal client.
        task_queue: The task queue.
        workflow_id: The caller's id; None: the watches end with the call.

    Raises:
        ConfigurationError: The id is empty.
    """

    def __init__(self, temporal: Client, task_queue: str, workflow_id: str | None) -> None:
        if workflow_id is not None and not workflow_id:
            msg = "id must not be empty"
            raise ConfigurationError(msg)
        self._temporal = temporal
        self._task_queue = task_queue
        self._is_detachable = workflow_id is not None
        self._id = workflow_id or f"{WATCH}/{uuid4()}"
        self._starts: list[asyncio.Task[History]] = []

    async def start(self, refs: Sequence[str], timeout: float | None) -> list[History]:  # noqa: ASYNC109 - of the watches
        """Start the workflows of these references, in sorted batches, so that the same ones give the same batches.

        Raises:
            ConfigurationError: The id is in use for other targets.
        """
        ordered = sorted(refs)
        batches = [ordered[at : at + BATCH] for at in range(0, len(ordered), BATCH)]
        parts = [{"refs": batch, "timeout": timeout, "parts": len(batches)} for batch in batches]
        # The first comes last: if it exists, all of them do, and can be resumed.
        others = await self._start_all(range(1, len(parts)), parts)
        return await self._start_all(range(min(len(parts), 1)), parts) + others

    async def _start_all(self, numbers: Iterable[int], parts: Sequence[dict[str, Any]]) -> list[History]:
        starts = [asyncio.create_task(self._start(part_id(self._id, part), parts[part])) for part in numbers]
        self._starts += starts
        return await asyncio.gather(*map(asyncio.shield, starts))

    async def _start(self, workflow_id: str, batch: dict[str, Any]) -> History:
        timeout, history = batch["timeout"], History(self._temporal, workflow_id, batch["refs"])
        limit = None if timeout is None else timedelta(seconds=max(timeout, 0.0) + GRACE + 1)
        try:
            await self._temporal.start_workflow(
                WATCH,
                batch,
                id=workflow_id,
                task_queue=self._task_queue,
                execution_timeout=limit,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
        except WorkflowAlreadyStartedError:
            if await _refs_of(history) != batch["refs"]:
                msg = f"the id {self._id!r} is in use for other targets"
                raise ConfigurationError(msg) from None
        return history

    async def stop(self) -> None:
        """Stop what was started, unless the caller has an id to find it by. A start under way is stopped too."""
        if not self._is_detachable:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_STOP):
                    await asyncio.gather(*map(_stop, self._starts), return_exceptions=True)
        for start in self._starts:
            start.cancel()


async def _refs_of(history: History) -> list[str]:
    try:
        return sorted((await history.batch()).refs)
    except LookupError:
        return []  # a workflow, but no watch


async def _stop(start: asyncio.Task[History]) -> None:
    history = await asyncio.shield(start)
    if not history.is_over:
        await terminate(history)


async def terminate(history: History) -> None:
    """End a workflow, if it has not ended. That needs no worker."""
    try:
        await history.handle.terminate("the watch was stopped")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
