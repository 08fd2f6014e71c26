"""The commands about jobs: show a status, retry an image diff, watch jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

from clanforge_async import ClanforgeClient, Job, JobFailedError, JobKind, JobRef, JobWatcher, WatchResult
from clanforge_async.cli.errors import (
    COMPLETED,
    highest_exit_status,
    print_errors,
    print_job_failure,
    print_resume_command,
)
from clanforge_async.cli.formatting import print_err
from clanforge_async.cli.outages import ApiMonitor, Outage, Recovery
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.plain import StderrOutages
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions, WatchOptions
from clanforge_async.jobs import job_failure

T = TypeVar("T")

TICK = 1.0
"""Seconds between two ticks of the output: the precision of heartbeats and of reports of unanswered requests."""


class Ticker:
    """Waits for events, and ticks an output about once a second meanwhile."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._now = asyncio.get_running_loop().time
        self._next_tick = self._now() + TICK

    async def next(self, events: asyncio.Queue[T]) -> T:
        """Return the next event."""
        while True:
            try:
                async with asyncio.timeout_at(self._next_tick):
                    return await events.get()
            except TimeoutError:
                self._next_tick = self._now() + TICK
                self._output.tick()


async def show_status(connection: ConnectionOptions, ref: JobRef, output_options: OutputOptions) -> int:
    """Read a job once and show it."""
    async with connection.client() as client:
        report_outages(client)
        job = await read_status(client, ref)
    with output_options.select() as output:
        output.snapshot("status", ref, job)
    error = job_failure(job)
    if error is not None:
        return print_job_failure(ref, error, is_reason_shown=output_options.shows_reasons)
    return COMPLETED


async def read_status(client: ClanforgeClient, ref: JobRef, *, include_details: bool = False) -> Job:
    """Read a job's status once.

    Args:
        client: The client.
        ref: The job.
        include_details: Request all details, if the call has any.
    """
    if ref.kind is JobKind.IMAGE_DIFF:
        return await client.image_diffs.status(ref.id, include_details)
    job: Job = await _calls_for(client, ref.kind).status(ref.id)
    return job


async def retry(
    connection: ConnectionOptions, ref: JobRef, watch_options: WatchOptions | None, output_options: OutputOptions
) -> int:
    """Request a retry of an image update or diff once; with watch options, watch the run that it starts."""
    async with connection.client() as client:
        api = report_outages(client)
        with warn_if_interrupted("the retry", f"`clanforge {ref.kind} status {ref.id}`"):
            job: Job = await _calls_for(client, ref.kind).retry(ref.id)
        try:
            with output_options.select() as output:
                output.snapshot("retry", job.ref, job)
        except (
            OSError,
            KeyboardInterrupt,
        ):  # stdout is on a full disk, for example; a second retry would start another run
            print_resume_command("Retry started. Follow it with", [job.ref])
            raise
        if watch_options is not None:
            return await _watch(client, [job.ref], watch_options, output_options, api)
        print_resume_command("Retry started. Follow it with", [job.ref])
    return COMPLETED


async def watch(
    connection: ConnectionOptions,
    refs: Sequence[JobRef],
    watch_options: WatchOptions,
    output_options: OutputOptions,
    *,
    fail_fast: bool,
) -> int:
    """Watch jobs until all of them have ended, or with `fail_fast` until one has failed or was squashed."""
    async with connection.client() as client:
        api = report_outages(client)
        return await _watch(client, refs, watch_options, output_options, api, fail_fast=fail_fast)


def report_outages(client: ClanforgeClient) -> ApiMonitor:
    """Observe a client's requests, and print outages of its calls to stderr until a watch takes over."""
    printer = StderrOutages()
    return ApiMonitor(
        client, lambda event: printer.outage(event) if isinstance(event, Outage) else printer.recovery(event)
    )


async def watch_events(
    watcher: JobWatcher, refs: Sequence[JobRef], output: Output, api: ApiMonitor
) -> AsyncGenerator[WatchResult, None]:
    """Watch jobs, show each change and outage on an output, and yield the results as the jobs end.

    The output is called here, not by the watcher, which logs an error of a callback and continues: a broken pipe must
    end the command.
    """
    events: asyncio.Queue[tuple[JobRef, Job] | asyncio.Task[WatchResult] | Outage | Recovery] = asyncio.Queue()
    api.begin_watch(events.put_nowait, watcher)

    async def watch_one(ref: JobRef) -> WatchResult:
        # One call for each reference, since a snapshot doesn't show under which reference it was requested.
        [result] = await watcher.wait_all([ref], on_update=lambda job: events.put_nowait((ref, job)))
        return result

    tasks = [asyncio.create_task(watch_one(ref)) for ref in refs]
    for task in tasks:
        task.add_done_callback(events.put_nowait)
    running, ticker = len(tasks), Ticker(output)
    try:
        with output:
            output.begin(watcher)
            while running:
                event = await ticker.next(events)
                match event:
                    case asyncio.Task():
                        running -= 1
                        output.result(event.result())
                        yield event.result()
                    case Outage():
                        output.outage(event)
                    case Recovery():
                        output.recovery(event)
                    case _:
                        output.snapshot("update", *event)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(
    client: ClanforgeClient,
    refs: Sequence[JobRef],
    watch_options: WatchOptions,
    output_options: OutputOptions,
    api: ApiMonitor,
    *,
    fail_fast: bool = False,
) -> int:
    unfinished, results = list(refs), list[WatchResult]()
    output = output_options.select(refs, api)
    try:
        async with (
            watch_options.watcher(client) as watcher,
            aclosing(watch_events(watcher, refs, output, api)) as ends,
        ):
            async for result in ends:
                unfinished.remove(result.ref)
                results.append(result)
                if fail_fast and isinstance(result.error, JobFailedError):
                    break
    except (asyncio.CancelledError, KeyboardInterrupt, OSError) as error:
        # An OSError comes from stdout. If a terminal closes, that error may replace the cancellation.
        if not isinstance(error, OSError) or is_cancelled():
            print_resume_command("Interrupted. Resume with", unfinished)
        raise
    print_errors(results, unfinished=unfinished, is_reason_shown=output_options.shows_reasons)
    return highest_exit_status(results)


def is_cancelled() -> bool:
    """Tell whether the command is being interrupted."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _calls_for(client: ClanforgeClient, kind: JobKind) -> Any:
    return {
        JobKind.IMAGE_UPDATE: client.image_updates,
        JobKind.IMAGE_DIFF: client.image_diffs,
        JobKind.IMAGE_VERSION: client.image_versions,
    }[kind]


@contextmanager
def warn_if_interrupted(call: str, source: str) -> Generator[None]:
    """Print a warning if the block is cancelled: a call with a side effect may have been processed by then.

    Args:
        call: Name of the call, for the warning.
        source: Command or place that shows whether it was processed.
    """
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt):
        print_err(f"{call} may or may not have happened: see {source} before asking again")
        raise
