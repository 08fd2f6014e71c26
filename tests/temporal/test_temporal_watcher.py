"""`TemporalWatcher`: ids, resuming, stopping, missing workers, and the checks of arguments."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.scripted_server import ScriptedServer, wire
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

import clanforge_async.temporal as temporal_package
from clanforge_async import (
    ConfigurationError,
    Job,
    JobFailedError,
    JobKind,
    JobRef,
    JobState,
    WatchClosedError,
    WatchResult,
    WatchTimeoutError,
    job_from_dict,
)
from clanforge_async.temporal import ClanforgePlugin, TemporalWatcher

REF, OTHER = JobRef.image_version(1), JobRef.image_version(2)


@asynccontextmanager
async def working(temporal: Client, queue: str, api: ScriptedServer) -> AsyncGenerator[TemporalWatcher]:
    """Run a worker, and yield a watcher of its queue."""
    async with (
        api.client() as client,
        Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client, interval=0.5)]),
    ):
        yield TemporalWatcher(temporal, task_queue=queue)


def api_of(*states: JobState) -> ScriptedServer:
    """Return an API whose jobs 1, 2, ... are in these states."""
    api = ScriptedServer()
    for number, state in enumerate(states, 1):
        api.version(number, wire(number, state))
    return api


async def open_workflows(temporal: Client, queue: str) -> list[str]:
    """Return the ids of a queue's running workflows, as the server lists them."""
    query = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
    return [workflow.id async for workflow in temporal.list_workflows(query)]


async def until_open(temporal: Client, queue: str, *, count: int, within: float = 20.0) -> float:
    """Wait until this number of a queue's workflows is running, and return how many seconds that took."""
    began = time.monotonic()
    while len(await open_workflows(temporal, queue)) != count:
        assert time.monotonic() - began < within
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def test_a_failed_job_raises_unless_unchecked(temporal: Client, queue: str) -> None:
    """`wait` raises for a failed job, or returns it if ``check`` is False; it is the last snapshot of `updates`."""
    async with working(temporal, queue, api_of(JobState.FAILED, JobState.COMPLETED)) as watcher:
        with pytest.raises(JobFailedError):
            await watcher.wait(REF)
        assert (await watcher.wait(REF, check=False)).is_failed
        assert (await watcher.wait(OTHER)).is_completed
        assert [job.state async for job in watcher.updates(REF)] == [JobState.FAILED]
        with pytest.raises(WatchTimeoutError):
            _ = [job async for job in watcher.updates(REF, timeout=0.0)]


async def test_results_keep_the_targets_order(temporal: Client, queue: str) -> None:
    """`wait_all` keeps the targets' order, with duplicates; `as_completed` gives each target's result."""
    async with working(temporal, queue, api_of(*[JobState.COMPLETED] * 5)) as watcher:
        targets = [JobRef.image_version(number) for number in (5, 3, 1, 3)]
        assert [result.ref for result in await watcher.wait_all(targets)] == targets
        seen = [result.ref async for result in watcher.as_completed(targets)]
        assert sorted(map(str, seen)) == sorted(map(str, targets))
        assert await watcher.wait_all([]) == []


async def test_jobs_that_have_ended_need_no_worker(temporal: Client, queue: str) -> None:
    """Terminal jobs as targets end without a workflow, and so without a worker."""
    failed = job_from_dict(JobKind.IMAGE_VERSION, wire(1, JobState.FAILED))
    seen: list[Job] = []
    [result] = await TemporalWatcher(temporal, task_queue=queue).wait_all([failed], on_update=seen.append)
    assert (result.job, result.polls, seen) == (failed, 0, [failed])


async def test_an_id_stands_for_all_targets(temporal: Client, queue: str) -> None:
    """Terminal jobs are part of the watches with an id too: `resume` and a second call return them with the others."""
    api = api_of(JobState.RUNNING, JobState.COMPLETED)
    ended = job_from_dict(JobKind.IMAGE_VERSION, wire(1, JobState.FAILED))
    async with working(temporal, queue, api) as watcher:
        results = await watcher.wait_all([ended, OTHER], id=queue)
        assert [(result.job and result.job.state, bool(result.polls)) for result in results] == [
            (JobState.FAILED, False),
            (JobState.COMPLETED, True),
        ]
        assert not api.asked["imageversion/status", 1]
        assert [result.ref for result in await watcher.wait_all([REF, OTHER], id=queue)] == [REF, OTHER]
        assert {result.ref for result in await collect(watcher, queue)} == {REF, OTHER}


async def test_a_timeout_of_any_length(temporal: Client, queue: str) -> None:
    """A timeout may be longer than Temporal can represent, or negative."""
    async with working(temporal, queue, api_of(JobState.COMPLETED)) as watcher:
        for timeout in (1e8, 1e12, 1e300, math.inf):
            assert (await watcher.wait(REF, timeout=timeout)).is_completed
        with pytest.raises(WatchTimeoutError):
            await watcher.wait(REF, timeout=-1e300)


async def test_without_an_id_leaving_stops_the_watch(temporal: Client, queue: str) -> None:
    """Cancelling a call, or leaving its iterator, stops its watches within a second."""
    async with working(temporal, queue, api_of(JobState.RUNNING, JobState.COMPLETED)) as watcher:
        waiting = asyncio.create_task(watcher.wait(REF))
        await until_open(temporal, queue, count=1)
        waiting.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - began < 1
        await until_open(temporal, queue, count=0)  # the server's list is updated with a delay
        results = watcher.as_completed([REF, OTHER])
        assert (await anext(results)).ref == OTHER
        await results.aclose()
        await until_open(temporal, queue, count=0)


async def test_a_start_under_way_is_stopped_too(temporal: Client, queue: str) -> None:
    """A call that is cancelled while it starts its watches leaves none open."""
    watcher = TemporalWatcher(temporal, task_queue=queue)
    for turns in range(8):
        waiting = asyncio.create_task(watcher.wait(REF))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await until_open(temporal, queue, count=0)


async def test_an_impatient_caller_stops_the_watch_too(temporal: Client, queue: str) -> None:
    """A call that is cancelled again while it stops its watches leaves none open."""
    async with working(temporal, queue, api_of(JobState.RUNNING)) as watcher:
        waiting = asyncio.create_task(watcher.wait(REF))
        await until_open(temporal, queue, count=1)
        while not waiting.done():
            waiting.cancel()
            await asyncio.sleep(0)
        await until_open(temporal, queue, count=0)


async def test_with_an_id_a_watch_goes_on(temporal: Client, queue: str) -> None:
    """A watch with an id continues after its call. Only a call with the same id and the same targets attaches to it."""
    api, watch = api_of(JobState.RUNNING, JobState.RUNNING), f"{queue}-watch"
    async with working(temporal, queue, api) as watcher:
        waiting = asyncio.create_task(watcher.wait_all([REF, OTHER], id=watch))
        await until_open(temporal, queue, count=1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(ConfigurationError, match="in use for other targets"):
            await watcher.wait(REF, id=watch)
        attached = asyncio.create_task(watcher.wait_all([OTHER, REF], id=watch))
        resumed = asyncio.create_task(collect(watcher, watch))
        api.version(1, wire(1, JobState.COMPLETED))
        api.version(2, wire(2, JobState.FAILED))
        results = await attached
        assert [result.ref for result in results] == [OTHER, REF]
        assert sorted(str(result.ref) for result in await resumed) == [str(REF), str(OTHER)]
    polls = len(api.requests)
    again = await TemporalWatcher(temporal, task_queue=queue).wait_all([REF, OTHER], id=watch)
    assert [result.ok for result in again] == [True, False]
    assert len(api.requests) == polls


async def collect(watcher: TemporalWatcher, watch: str, **options: Any) -> list[WatchResult]:
    return [result async for result in watcher.resume(watch, **options)]


async def test_a_watch_that_is_stopped_from_outside(temporal: Client, queue: str) -> None:
    """A watch that is stopped, by `cancel` or in Temporal, ends with `WatchClosedError` for all its callers."""
    async with working(temporal, queue, api_of(JobState.RUNNING)) as watcher:

        async def cancel_workflow(workflow_id: str) -> None:
            await temporal.get_workflow_handle(workflow_id).cancel()

        for number, stop in enumerate((watcher.cancel, cancel_workflow)):
            watch = f"{queue}-{number}"
            seen = asyncio.Event()
            waiting = asyncio.create_task(watcher.wait(REF, id=watch, on_update=lambda _: seen.set()))  # noqa: B023
            async with asyncio.timeout(30):
                await seen.wait()
            await stop(watch)
            with pytest.raises(WatchClosedError) as caught:
                await waiting
            assert caught.value.ref == REF
        assert caught.value.last_job is not None
        await watcher.cancel(watch)  # once more, after its end


async def test_a_watch_that_is_deleted(temporal: Client, queue: str) -> None:
    """A watch that is deleted from Temporal ends with `WatchClosedError` for its callers."""
    async with working(temporal, queue, api_of(JobState.RUNNING)) as watcher:
        waiting = asyncio.create_task(watcher.wait(REF, id=queue))
        await until_open(temporal, queue, count=1)
        execution = WorkflowExecution(workflow_id=queue)
        request = DeleteWorkflowExecutionRequest(namespace=temporal.namespace, workflow_execution=execution)
        await temporal.workflow_service.delete_workflow_execution(request)
        async with asyncio.timeout(60):
            with pytest.raises(WatchClosedError):
                await waiting


async def test_an_unknown_id_is_a_lookup_error(temporal: Client, queue: str) -> None:
    """Resuming or cancelling an unknown id, or a workflow that is not a watch, raises `LookupError`."""
    watcher = TemporalWatcher(temporal, task_queue=queue)
    other = await temporal.start_workflow("other", id=f"{queue}-other", task_queue=queue)
    for watch in ("nothing", other.id):
        with pytest.raises(LookupError):
            await collect(watcher, watch)
        with pytest.raises(LookupError):
            await watcher.cancel(watch)
    with pytest.raises(ConfigurationError, match="in use"):
        await watcher.wait(REF, id=other.id)
    assert (await other.describe()).status is WorkflowExecutionStatus.RUNNING
    await other.terminate()


async def test_without_a_worker_a_watch_times_out(temporal: Client, queue: str) -> None:
    """If no worker runs, a watch ends ten seconds after its timeout, and leaves no workflow open."""
    began = time.monotonic()
    with pytest.raises(WatchTimeoutError, match="no status received"):
        await TemporalWatcher(temporal, task_queue=queue, timeout=0.5).wait(REF)
    assert 10 <= time.monotonic() - began < 14
    await until_open(temporal, queue, count=0)


async def test_a_watch_that_all_workers_left_times_out(
    temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If all workers have ended, the server ends a watch some seconds after its timeout, with the last state."""
    monkeypatch.setattr("clanforge_async.temporal.workflows.GRACE", 2.0)
    seen = asyncio.Event()
    async with working(temporal, queue, api_of(JobState.RUNNING)) as watcher:
        waiting = asyncio.create_task(watcher.wait(REF, timeout=2.0, id=queue, on_update=lambda _: seen.set()))
        async with asyncio.timeout(30):
            await seen.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    [result] = await collect(TemporalWatcher(temporal), queue)
    assert isinstance(result.error, WatchTimeoutError)
    assert result.polls > 0
    assert result.job is not None
    assert 1.9 <= result.elapsed < 8


async def test_callbacks_may_be_async_and_may_fail(temporal: Client, queue: str) -> None:
    """A result follows the callbacks of its updates; an error in a callback does not end the watch."""
    seen: list[str] = []

    async def on_update(job: Job) -> None:
        await asyncio.sleep(0.05)
        seen.append(job.state_name)
        raise LookupError

    async with working(temporal, queue, api_of(JobState.COMPLETED)) as watcher:
        await watcher.wait(REF, on_update=on_update, id=queue)
        assert seen == ["Completed"]
        await collect(watcher, queue, on_update=on_update)
        assert seen == ["Completed", "Completed"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"on_update": 5}, TypeError),
        ({"timeout": "soon"}, ConfigurationError),
        ({"id": ""}, ConfigurationError),
        ({"target": "image-version/1"}, TypeError),
    ],
)
async def test_arguments_are_checked(temporal: Client, queue: str, arguments: dict[str, Any], error: Any) -> None:
    """Invalid arguments raise before any workflow is started."""
    options = {"target": REF} | arguments
    with pytest.raises(error):
        await TemporalWatcher(temporal, task_queue=queue).wait(**options)
    with pytest.raises(ConfigurationError):
        TemporalWatcher(temporal, timeout=float("nan"))


async def test_a_workflow_of_another_language(temporal: Client, queue: str) -> None:
    """A workflow that another client has started, with the documented type and input, can be resumed."""
    async with working(temporal, queue, api_of(JobState.COMPLETED)) as watcher:
        batch = {"refs": ["image-version/1"], "timeout": None}
        await temporal.start_workflow("clanforge-watch", batch, id=queue, task_queue=queue)
        [result] = await collect(watcher, queue)
        assert result.ok
        bad = await temporal.start_workflow(
            "clanforge-watch", {"refs": ["nothing/1"]}, id=f"{queue}-bad", task_queue=queue
        )
        await bad.result()
        with pytest.raises(ValueError, match="not a job reference"):
            await collect(watcher, bad.id)


async def test_a_name_that_is_not_there() -> None:
    """An unknown name of the package raises `AttributeError`, although its names are loaded on first use."""
    with pytest.raises(AttributeError, match="no attribute 'TemporalWacther'"):
        temporal_package.TemporalWacther  # type: ignore[attr-defined] # noqa: B018


async def test_a_closed_client_ends_no_watch(temporal: Client, queue: str, caplog: pytest.LogCaptureFixture) -> None:
    """If a worker's client is closed, the poll raises and logs an error, and another worker continues the watch."""
    api = api_of(JobState.COMPLETED)
    client = api.client()
    await client.aclose()
    async with Worker(temporal, task_queue=queue, plugins=[ClanforgePlugin(client)]):
        waiting = asyncio.create_task(TemporalWatcher(temporal, task_queue=queue).wait(REF))
        async with asyncio.timeout(30):
            while "cannot poll image-version/1" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.1)
    async with working(temporal, queue, api):
        assert (await waiting).is_completed


async def test_a_large_batch_is_several_workflows(
    temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there are more watches than a batch contains, one id has several workflows, resumed and cancelled together."""
    monkeypatch.setattr("clanforge_async.temporal.submission.BATCH", 20)
    refs = [JobRef.image_version(number) for number in range(1, 46)]
    async with working(temporal, queue, api_of(*[JobState.COMPLETED] * 44)) as watcher:
        results = await watcher.wait_all(refs[:44], id=queue)
        assert [result.ref for result in results] == refs[:44]
        assert all(result.ok for result in results)
        assert len(await collect(watcher, queue)) == 44
        assert [part.workflow_id for part in await watcher._parts(queue)] == [queue, f"{queue}/2", f"{queue}/3"]
        await watcher.cancel(queue)


async def test_another_number_of_batches_is_other_targets(
    temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If only some batches equal those of another call, the id is refused, and the started workflows are stopped."""
    monkeypatch.setattr("clanforge_async.temporal.submission.BATCH", 2)
    refs = [JobRef.image_version(number) for number in range(1, 6)]
    async with working(temporal, queue, api_of(*[JobState.RUNNING] * 5)) as watcher:
        for number, (first, second) in enumerate([(refs[:2], refs), (refs, refs[:2])]):
            watch = f"{queue}-{number}"
            waiting = asyncio.create_task(watcher.wait_all(first, id=watch))
            started = await until_open(temporal, queue, count=(len(first) + 1) // 2)
            with pytest.raises(ConfigurationError, match="in use for other targets"):
                await watcher.wait_all(second, id=watch)
            await until_open(temporal, queue, count=(len(first) + 1) // 2)
            assert started < 20
            waiting.cancel()
            await watcher.cancel(watch)
            await until_open(temporal, queue, count=0)
