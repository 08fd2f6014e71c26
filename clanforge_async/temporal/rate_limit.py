"""The rate limit of a task queue: the account's budget over all workers, and the brake after a 429."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, UpdateTaskQueueConfigRequest
from temporalio.client import Client

from clanforge_async._validation import is_positive
from clanforge_async.errors import ConfigurationError

_ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
_BUDGET = "clanforge: max_rate"
_BRAKE = "clanforge: held by Retry-After; max_rate "
"""Reason of a rate of 0, followed by the rate to return to. So the server alone knows both."""

_READS_AFTER_WRITE, _PAUSE_AFTER_WRITE = 40, 0.05
"""Number of reads, and seconds between them, until a busy server must show a change: it may show the old one first."""


async def set_max_rate(temporal: Client, rate: float | None, *, task_queue: str = "clanforge") -> None:
    """Set the account's budget: polls per second over all workers and watches of a task queue.

    It holds until it is set again, also without any worker. During a pause that the API has asked for, it takes effect
    after the pause.

    Args:
        temporal: The Temporal client.
        rate: Polls per second; None: unlimited.
        task_queue: The task queue.

    Raises:
        ConfigurationError: The rate is neither a positive number nor None.
        temporalio.service.RPCError: The Temporal server refuses, for example because it is too old.
    """
    if rate is not None and not is_positive(rate):
        msg = "rate must be a positive number of polls per second, or None"
        raise ConfigurationError(msg)
    _, reason = await _read(temporal, task_queue)
    if reason.startswith(_BRAKE):
        await _write(temporal, task_queue, 0.0, f"{_BRAKE}{rate}")
    else:
        await _write(temporal, task_queue, rate, _BUDGET)


async def hold_queue(temporal: Client, task_queue: str) -> None:
    """Let no poll of the task queue start. The budget is kept for `release_queue`."""
    rate, reason = await _read(temporal, task_queue)
    if not reason.startswith(_BRAKE):
        await _write(temporal, task_queue, 0.0, f"{_BRAKE}{rate}")


async def is_held(temporal: Client, task_queue: str) -> bool:
    """Whether the brake is on. The server still hands out what its rate limiters have saved up before."""
    _, reason = await _read(temporal, task_queue)
    return reason.startswith(_BRAKE)


async def release_queue(temporal: Client, task_queue: str) -> None:
    """Let polls start again at the budget's rate, unless another rate was set from outside."""
    _, reason = await _read(temporal, task_queue)
    if reason.startswith(_BRAKE):
        rate = reason.removeprefix(_BRAKE)
        await _write(temporal, task_queue, None if rate == "None" else float(rate), _BUDGET)


async def _read(temporal: Client, task_queue: str) -> tuple[float | None, str]:
    """Return the queue's rate, None if it has none, and the reason why it was set."""
    answer = await temporal.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=temporal.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=_ACTIVITIES,
            report_config=True,
        )
    )
    limit = answer.config.queue_rate_limit
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
