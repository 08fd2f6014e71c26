"""``clanforge worker``, and ``clanforge watch --temporal``: watches that continue if this machine fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError
from temporalio.worker import Worker

from clanforge_async import ConfigurationError, Job, JobFailedError, JobRef, TransportError, WatchResult
from clanforge_async.cli.commands import Ticker, is_cancelled
from clanforge_async.cli.errors import highest_exit_status, print_errors, print_resume_command
from clanforge_async.cli.formatting import print_err
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions
from clanforge_async.cli.temporal_parameters import TemporalOptions
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher, set_max_rate


async def work(connection: ConnectionOptions, temporal_options: TemporalOptions, max_rate: float | None) -> int:
    """Poll for the watches of a task queue until cancelled.

    Args:
        connection: The API.
        temporal_options: The Temporal server and the task queue.
        max_rate: The polls per second to set for the task queue; None: leave the rate unchanged.
    """
    queue = temporal_options.task_queue
    async with connection.client() as client:
        with _temporal_errors():
            temporal = await _connect(temporal_options)
            if max_rate is not None:
                await set_max_rate(temporal, max_rate, task_queue=queue)
        async with Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client)]):
            print_err(f"polling for the task queue {queue!r} until Ctrl-C")
            forever: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            return await forever


async def watch(
    refs: Sequence[JobRef],
    temporal_options: TemporalOptions,
    timeout: float | None,  # noqa: ASYNC109 - of each watch
    output_options: OutputOptions,
    *,
    fail_fast: bool,
) -> int:
    """Watch jobs on Temporal until all have ended, or with `fail_fast` until one has failed or was squashed.

    Workers poll; this process only shows the results of their polls.
    """
    unfinished, results = list(refs), list[WatchResult]()
    try:
        with _temporal_errors():
            temporal = await _connect(temporal_options)
            watcher = TemporalWatcher(temporal, task_queue=temporal_options.task_queue, timeout=timeout)
            ends = _show_events(watcher, refs, output_options.select(refs), temporal_options.id)
            async with aclosing(ends):
                async for result in ends:
                    unfinished.remove(result.ref)
                    results.append(result)
                    if fail_fast and isinstance(result.error, JobFailedError):
                        break
    except (asyncio.CancelledError, KeyboardInterrupt, OSError) as error:
        # An OSError comes from stdout, as in a watch that runs in this process.
        if not isinstance(error, OSError) or is_cancelled():
            _print_interruption(temporal_options, unfinished)
        raise
    print_errors(
        results,
        unfinished=unfinished,
        is_reason_shown=output_options.shows_reasons,
        resume_options=temporal_options.resume_options,
    )
    return highest_exit_status(results)


def _print_interruption(options: TemporalOptions, unfinished: Sequence[JobRef]) -> None:
    if options.id is None:
        print_resume_command("Interrupted. Resume with", unfinished, options.resume_options)
    else:
        print_err(f"Interrupted. The watches with the id {options.id!r} continue.")


async def _show_events(
    watcher: TemporalWatcher, refs: Sequence[JobRef], output: Output, workflow_id: str | None
) -> AsyncGenerator[WatchResult, None]:
    """Show each change on an output, and yield the results as the jobs end.

    The output is not called by the watcher, because the watcher would only log its errors and continue.
    """
    events: asyncio.Queue[Job | WatchResult | asyncio.Task[None]] = asyncio.Queue()

    async def collect() -> None:
        async with aclosing(watcher.as_completed(refs, on_update=events.put_nowait, id=workflow_id)) as results:
            async for result in results:
                events.put_nowait(result)

    task = asyncio.create_task(collect())
    task.add_done_callback(events.put_nowait)
    ticker = Ticker(output)
    try:
        with output:
            while not isinstance(event := await ticker.next(events), asyncio.Task):
                if isinstance(event, Job):
                    output.snapshot("update", event.ref, event)
                else:
                    output.result(event)
                    yield event
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _connect(options: TemporalOptions) -> Client:
    """Connect with the namespace, TLS and API key of Temporal's own environment configuration."""
    try:
        config: dict[str, Any] = {**ClientConfig.load_client_connect_config(), "target_host": options.temporal or ""}
    except RuntimeError as error:
        msg = f"Temporal's own configuration is invalid: {error}"
        raise ConfigurationError(msg) from error
    try:
        client = await Client.connect(**config)
    except ValueError as error:
        msg = f"--temporal is invalid: {error}"
        raise ConfigurationError(msg) from error
    except RuntimeError as error:
        msg = f"cannot connect to Temporal at {options.temporal}"
        raise TransportError(msg, request_sent=False) from error
    # Without this check, a worker would end with an error whose text contains internal data of the SDK.
    await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    return client


@contextmanager
def _temporal_errors() -> Generator[None]:
    try:
        yield
    except RPCError as error:
        msg = f"the Temporal server refused the request: {error.message.rstrip('.')}"
        raise TransportError(msg, request_sent=True) from error
