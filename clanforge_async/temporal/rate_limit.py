"""The rate limit of a task queue: the account's budget for all workers, and the brake that stops polls after a 429."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, UpdateTaskQueueConfigRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from clanforge_async._validation import is_positive
from clanforge_async.errors import ConfigurationError
from clanforge_async.temporal.workflows import BRAKE

_ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
_BUDGET = "clanforge: max_rate"
_BRAKE = "clanforge: held by Retry-After; max_rate "
"""Reason stored with a rate of 0, followed by the rate to restore: the server keeps both, so workers keep neither."""

_READS_AFTER_WRITE, _PAUSE_AFTER_WRITE = 40, 0.05
"""Maximum reads after a change, and seconds between them: a busy server may show the old value at first."""


async def set_max_rate(temporal: Client, rate: float | None, *, task_queue: str = "clanforge") -> None:
    """Set the account's budget: the polls per second of all workers and watches of a task queue together.

    The rate stays until it is set again, even if no worker runs. During a pause that the API requested, it takes effect
    after the pause. If the workflow of that pause was stopped from outside, the pause ends at once.

    Args:
        temporal: The Temporal client.
        rate: Polls per second; None: unlimited.
        task_queue: The task queue.

    Raises:
        ConfigurationError: The rate is neither a positive number nor None.
        temporalio.service.RPCError: The Temporal server refused, for example because it is too old.
    """
    if rate is not None and not is_positive(rate):
        msg = "rate must be a positive number of polls per second, or None"
        raise ConfigurationError(msg)
    if await is_held(temporal, task_queue) and await _will_be_released(temporal, task_queue):
        await _write(temporal, task_queue, 0.0, f"{_BRAKE}{rate}")
    else:
        await _write(temporal, task_queue, rate, _BUDGET)


def brake_id(task_queue: str) -> str:
    """Return the id of the workflow that holds a task queue and releases it."""
    return f"{BRAKE}/{task_queue}"


async def _will_be_released(temporal: Client, task_queue: str) -> bool:
    try:
        description = await temporal.get_workflow_handle(brake_id(task_queue)).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return description.status is WorkflowExecutionStatus.RUNNING


async def hold_queue(temporal: Client, task_queue: str) -> None:
    """Start no more polls of the task queue. The budget is stored for `release_queue`."""
    rate, reason = await _read(temporal, task_queue)
    if not reason.startswith(_BRAKE):
        await _write(temporal, task_queue, 0.0, f"{_BRAKE}{rate}")


async def is_held(temporal: Client, task_queue: str) -> bool:
    """Whether the brake is on. The server may still start polls that its rate limiters had already permitted."""
    _, reason = await _read(temporal, task_queue)
    return reason.startswith(_BRAKE)


async def release_queue(temporal: Client, task_queue: str) -> None:
    """Start polls again at the budget's rate, unless another program has set a rate meanwhile."""
    _, reason = await _read(temporal, task_queue)
    if reason.startswith(_BRAKE):
        rate = reason.removeprefix(_BRAKE)
        await _write(temporal, task_queue, None if rate == "None" else float(rate), _BUDGET)


async def _read(temporal: Client, task_queue: str) -> tuple[float | None, str]:
    """Return the queue's rate, or None without one, and the reason with which it was set."""
    response = await temporal.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=temporal.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=_ACTIVITIES,
            report_config=True,
        )
    )
    limit = response.config.queue_rate_limit
    rate = limit.rate_limit.requests_per_second if limit.HasField("rate_limit") else None
    return rate, limit.metadata.reason


async def _write(temporal: Client, task_queue: str, rate: float | None, reason: str) -> None:
    limit = None if rate is None else RateLimit(requests_per_second=rate)
    await temporal.workflow_service.update_task_queue_config(
        UpdateTaskQueueConfigRequest(
            namespace=temporal.namespace,
            identity=temporal.identity,
            task_queue=task_queue,
            task_queue_type=_ACTIVITIES,
            update_queue_rate_limit=UpdateTaskQueueConfigRequest.RateLimitUpdate(rate_limit=limit, reason=reason),
        )
    )
    written = None if limit is None else limit.requests_per_second, reason
    for _ in range(_READS_AFTER_WRITE):
        if await _read(temporal, task_queue) == written:
            return
        await asyncio.sleep(_PAUSE_AFTER_WRITE)
