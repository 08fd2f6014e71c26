"""Starts and stops the workflows of one call's watches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from clanforge_async._watching.options import has_ended, ref_of
from clanforge_async._watching.serialization import job_to_plain, without_listings
from clanforge_async.errors import ConfigurationError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef
from clanforge_async.temporal.history import History
from clanforge_async.temporal.workflows import BATCH, GRACE, WATCH

_STOPPING: set[asyncio.Task[None]] = set()
"""Running stops whose caller was cancelled: the references keep their tasks alive."""

_LONGEST_STOP = 5.0
"""Maximum seconds to wait until the Temporal server has stopped the watches."""


def part_id(workflow_id: str, part: int) -> str:
    """Return the id of one of the workflows of a call; the first has the call's id."""
    return workflow_id if part == 0 else f"{workflow_id}/{part + 1}"


class Submission:
    """Starts the workflows of a call, or attaches to existing ones.

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
        self._attached: set[str] = set()

    async def start(self, targets: Iterable[JobRef | Job], timeout: float | None) -> list[History]:  # noqa: ASYNC109 - of the watches
        """Start the workflows of these targets. They are sorted, so that the same targets give the same batches.

        Raises:
            ConfigurationError: The id is in use for other targets.
        """
        ordered = sorted(targets, key=lambda target: str(ref_of(target)))
        batches = [ordered[at : at + BATCH] for at in range(0, len(ordered), BATCH)]
        parts = [_batch_of(batch) | {"timeout": timeout, "parts": len(batches)} for batch in batches]
        try:
            # The first is started last: if it exists, all exist, so the call can be resumed.
            others = await self._start_all(range(1, len(parts)), parts)
            return await self._start_all(range(min(len(parts), 1)), parts) + others
        except ConfigurationError:
            self._is_detachable = False  # the id belongs to other targets, so nobody can resume these workflows
            raise

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
            self._attached.add(workflow_id)
            if not await _has_input(history, batch):
                msg = f"the id {self._id!r} is in use for other targets"
                raise ConfigurationError(msg) from None
        return history

    async def stop(self) -> None:
        """Stop the workflows of this call, unless the caller gave an id. Those still being started are stopped too."""
        stopping = asyncio.create_task(self._stop_all())
        _STOPPING.add(stopping)
        stopping.add_done_callback(_STOPPING.discard)
        await asyncio.shield(stopping)

    async def _stop_all(self) -> None:
        if not self._is_detachable:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_STOP):
                    await asyncio.gather(*map(self._stop, self._starts), return_exceptions=True)
        for start in self._starts:
            start.cancel()

    async def _stop(self, start: asyncio.Task[History]) -> None:
        history = await asyncio.shield(start)
        if history.workflow_id not in self._attached and not history.is_over:
            await terminate(history)


def _batch_of(targets: Sequence[JobRef | Job]) -> dict[str, Any]:
    jobs = {
        str(number): job_to_plain(without_listings(target))
        for number, target in enumerate(targets)
        if has_ended(target)
    }
    refs = [str(ref_of(target)) for target in targets]
    return {"refs": refs, "jobs": jobs} if jobs else {"refs": refs}


async def _has_input(history: History, wanted: Mapping[str, Any]) -> bool:
    try:
        found = await history.batch()
    except LookupError:
        return False  # the workflow is not a watch
    return (sorted(found.refs), found.parts) == (wanted["refs"], wanted["parts"])


async def terminate(history: History) -> None:
    """Terminate a workflow if it has not ended. No worker has to run for that."""
    try:
        await history.handle.terminate("the watch was stopped")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
