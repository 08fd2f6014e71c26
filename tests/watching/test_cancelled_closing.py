"""If closing is itself cancelled, once or repeatedly, no task is left; a callback may close its own watcher."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from support.scripted_server import Answer, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import Job, JobRef, JobState, JobWatcher, WatchClosedError, WatchResult
from clanforge_async import watcher as watcher_module
from clanforge_async._watching import stopping

SLICE = 20
REF, OTHER = JobRef.image_version(9012), JobRef.image_version(9013)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start and stop only a few watches at a time."""
    monkeypatch.setattr(stopping, "SLICE", SLICE)
    monkeypatch.setattr(watcher_module, "SLICE", SLICE)


def slow_to_cancel(cleanup: float = 1.0) -> ScriptedServer:
    """Return a server whose requests hang, and take some time to be cancelled."""
    server = ScriptedServer()

    async def hang() -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(cleanup)
        raise AssertionError

    for ref in (REF, OTHER):
        server.on("imageversion/status", ref.id, hang)
    return server


def other_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def wait(watcher: JobWatcher) -> None:
    await watcher.wait(REF)


async def wait_with_context(watcher: JobWatcher) -> None:
    async with watcher:
        await watcher.wait(REF)


async def wait_all(watcher: JobWatcher) -> None:
    await watcher.wait_all([REF, OTHER])


async def updates(watcher: JobWatcher) -> None:
    async with aclosing(watcher.updates(REF)) as jobs:
        await anext(jobs)


async def as_completed(watcher: JobWatcher) -> None:
    async with aclosing(watcher.as_completed([REF, OTHER])) as results:
        await anext(results)


@pytest.mark.parametrize("use", [wait, wait_with_context, wait_all, updates, as_completed])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_cancelled_again_during_the_cleanup(use: Callable[[JobWatcher], Awaitable[None]], times: int) -> None:
    """However often its task is cancelled, a method ends with the first cancellation, and with no task left."""

    @virtual_time
    async def run() -> None:
        server = slow_to_cancel()
        watcher = JobWatcher(server.client(timeout=600))
        task = asyncio.ensure_future(use(watcher))
        await asyncio.sleep(5)
        for number in range(times):
            task.cancel(f"cancellation {number}")
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError, match="cancellation 0"):
            await task
        assert server.in_flight == 0
        assert not other_tasks()
        assert now() < 6.5

    run()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_aclose_is_cancelled(times: int) -> None:
    """A cancelled `aclose` still waits for the tasks, passes cancellations on, and raises the first one at the end."""

    @virtual_time
    async def run() -> None:
        server = slow_to_cancel()
        watcher = JobWatcher(server.client(timeout=600))
        waiting = asyncio.create_task(watcher.wait_all([REF, OTHER]))
        await asyncio.sleep(5)
        closing = asyncio.create_task(watcher.aclose())
        await asyncio.sleep(0.1)
        for number in range(times):
            closing.cancel(f"cancellation {number}")
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError, match="cancellation 0"):
            await closing
        assert server.in_flight == 0
        assert other_tasks() <= {waiting}
        assert [type(result.error) for result in await waiting] == [WatchClosedError] * 2

    run()


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_an_anyio_scope_that_cancels_repeatedly(turns: int) -> None:
    """If a scope repeats its cancellation in every iteration of the event loop, no task is left."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()

        async def hang() -> Answer:
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(turns):
                    await asyncio.sleep(0)
            raise AssertionError

        server.on("imageversion/status", 9012, hang)
        client = server.client(timeout=600)
        with anyio.move_on_after(5) as scope:
            async with JobWatcher(client) as watcher:
                await watcher.wait(REF)
        assert scope.cancelled_caught
        assert now() == 5
        assert not other_tasks()
        assert server.in_flight == 0

    run()


@virtual_time
async def test_aclose_waits_for_a_wait_that_is_being_cancelled() -> None:
    """When `aclose` returns, the request of a watch that was cancelled just before has ended too."""
    server = slow_to_cancel()
    watcher = JobWatcher(server.client(timeout=600))
    waiting = asyncio.create_task(watcher.wait(REF))
    await asyncio.sleep(5)
    waiting.cancel()
    await asyncio.sleep(0.5)
    await watcher.aclose()
    assert (server.in_flight, now()) == (0, 6)
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("when", range(8))
@pytest.mark.parametrize("use", ["wait_all", "as_completed"])
def test_cancelled_while_many_watches_start(use: str, when: int) -> None:
    """A call that is cancelled while its watches start or stop in slices leaves no watch and no task."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        refs = [JobRef.image_version(job_id) for job_id in range(1, 4 * SLICE)]
        for ref in refs:
            server.version(ref.id, wire(ref.id))
        watcher = JobWatcher(server.client())

        async def start() -> None:
            if use == "wait_all":
                await watcher.wait_all(refs)
            else:
                async with aclosing(watcher.as_completed(refs)) as results:
                    await anext(results)

        task = asyncio.create_task(start())
        for _ in range(when):
            await asyncio.sleep(0)
        task.cancel("first")
        await asyncio.sleep(0)
        task.cancel("second")
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(outcome, asyncio.CancelledError)
        assert not other_tasks()
        assert not watcher._watches
        made = len(server.requests)
        await asyncio.sleep(10_000)
        assert len(server.requests) == made

    run()


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("when", range(1, 12))
def test_aclose_is_cancelled_while_it_ends_many_watches(when: int) -> None:
    """Every watch has ended and no task is left, even if `aclose` is cancelled in the middle."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        refs = [JobRef.image_version(job_id) for job_id in range(1, 4 * SLICE)]
        for ref in refs:
            server.version(ref.id, wire(ref.id))
        watcher = JobWatcher(server.client())
        waiting = asyncio.create_task(watcher.wait_all(refs))
        await asyncio.sleep(5)
        closing = asyncio.create_task(watcher.aclose())
        for _ in range(when):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert {type(result.error) for result in await waiting} == {WatchClosedError}
        assert not other_tasks()

    run()


@pytest.mark.usefixtures("small_slices")
@virtual_time
async def test_closed_while_many_watches_start() -> None:
    """Watches that have not started when the watcher closes end like those that have."""
    server = ScriptedServer()
    refs = [JobRef.image_version(job_id) for job_id in range(1, 3 * SLICE)]
    for ref in refs:
        server.version(ref.id, wire(ref.id))
    watcher = JobWatcher(server.client())
    waiting = asyncio.create_task(watcher.wait_all(refs))
    await asyncio.sleep(0)
    await watcher.aclose()
    results = await waiting
    assert [result.ref for result in results] == refs
    assert {type(result.error) for result in results} == {WatchClosedError}
    assert not other_tasks()


async def close(watcher: JobWatcher) -> None:
    await watcher.aclose()


async def close_in_a_task(watcher: JobWatcher) -> None:
    await asyncio.create_task(watcher.aclose())


async def close_with_a_limit(watcher: JobWatcher) -> None:
    await asyncio.wait_for(watcher.aclose(), 60)


async def close_twice(watcher: JobWatcher) -> None:
    await asyncio.gather(watcher.aclose(), watcher.aclose())


async def close_by_context(watcher: JobWatcher) -> None:
    async with watcher:
        pass


CLOSINGS = [close, close_in_a_task, close_with_a_limit, close_twice, close_by_context]


@pytest.mark.parametrize("closing", CLOSINGS)
@pytest.mark.parametrize("callback", ["on_update", "on_error"])
def test_a_callback_that_closes_the_watcher_finishes(
    closing: Callable[[JobWatcher], Awaitable[None]], callback: str
) -> None:
    """The callback is not cancelled or called again, and its `wait` returns after it; other watches end at once."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        changes = [wire(9012, jobprogress=progress) for progress in (10, 20, 30)]
        server.version(9012, *(changes if callback == "on_update" else [OSError("no route")]))
        server.version(9013, wire(9013))
        watcher, told = JobWatcher(server.client(), interval=5), list[str]()

        async def on_call(*_: object) -> None:
            told.append("called")
            await asyncio.sleep(7)  # another call is pending by then
            await closing(watcher)
            told.append("closed")
            await asyncio.sleep(3)
            told.append("finished")

        callbacks: dict[str, Any] = {callback: on_call}
        other = asyncio.create_task(watcher.wait_all([OTHER]))
        with pytest.raises(WatchClosedError):
            await watcher.wait(REF, **callbacks)
        assert (now(), told) == (10, ["called", "closed", "finished"])
        [result] = await other
        assert (type(result.error), result.elapsed) == (WatchClosedError, 7)
        assert not other_tasks()

    run()


@virtual_time
async def test_callbacks_that_close_the_watcher_at_the_same_time() -> None:
    """If two callbacks close the watcher, one while it is being cancelled, they do not wait for each other."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    server.version(9013, wire(9013))
    watcher, told = JobWatcher(server.client(), interval=5), list[str]()

    async def first(_: Job) -> None:
        await asyncio.sleep(1)
        await watcher.aclose()
        told.append("first")

    async def second(_: Job) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await watcher.aclose()
            told.append("second")

    waits = [watcher.wait(REF, on_update=first), watcher.wait(OTHER, on_update=second)]
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [WatchClosedError] * 2
    assert sorted(told) == ["first", "second"]
    await watcher.aclose()
    assert (now(), other_tasks()) == (1, set())


@virtual_time
async def test_a_callback_that_waits_for_the_task_that_closes() -> None:
    """A callback that waits for another task, which closes the watcher, does not hang; both are cancelled."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    watcher = JobWatcher(server.client(), interval=5)

    async def shut_down() -> None:
        await asyncio.sleep(2)
        await watcher.aclose()

    async def wait_for_the_end(_: Job) -> None:
        await closing

    closing = asyncio.create_task(shut_down())
    with pytest.raises(WatchClosedError):
        await watcher.wait(REF, on_update=wait_for_the_end)
    await asyncio.gather(closing, return_exceptions=True)
    assert (now(), other_tasks()) == (2, set())


@virtual_time
async def test_a_second_closing_waits_for_the_callback_that_closed_first() -> None:
    """A second `aclose` neither cancels that callback nor returns before it has finished."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    watcher, told = JobWatcher(server.client(), interval=5), list[str]()

    async def on_update(_: Job) -> None:
        await watcher.aclose()
        await asyncio.sleep(3)
        told.append("finished")

    waiting = asyncio.create_task(watcher.wait_all([REF], on_update=on_update))
    await asyncio.sleep(1)
    await watcher.aclose()
    assert (now(), told) == (3, ["finished"])
    results: list[WatchResult] = await waiting
    assert isinstance(results[0].error, WatchClosedError)


@virtual_time
async def test_cancelling_a_wait_whose_callback_closes() -> None:
    """If the waiting task is cancelled, its callback is cancelled too, even in the middle of `aclose`."""
    server = slow_to_cancel()
    server.version(9012, RUNNING)
    watcher, told = JobWatcher(server.client(timeout=600), interval=5), list[str]()

    async def on_update(_: Job) -> None:
        try:
            await watcher.aclose()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    waiting = asyncio.create_task(watcher.wait(REF, on_update=on_update))
    other = asyncio.create_task(watcher.wait_all([OTHER]))
    await asyncio.sleep(0.5)
    waiting.cancel()
    await asyncio.gather(waiting, other, return_exceptions=True)
    assert told == ["cancelled"]
    assert not other_tasks()


@virtual_time
async def test_a_plain_callback_that_ends_another_watch_of_the_job() -> None:
    """If a watch ends while another gets the same poll's result, it does not get that result."""
    server = ScriptedServer()
    server.version(9012, RUNNING)
    watcher, told = JobWatcher(server.client()), list[str]()

    def close_at_once(_: Job) -> None:
        told.append("first")
        with pytest.raises(StopIteration):
            watcher.aclose().send(None)  # as a task factory that starts tasks eagerly does

    waits = [
        watcher.wait_all([REF], on_update=close_at_once),
        watcher.wait_all([REF], on_update=lambda _: told.append("second")),
    ]
    [[first], [second]] = await asyncio.gather(*waits)
    assert told == ["first"]
    assert (first.polls, second.polls) == (1, 0)
    assert isinstance(second.error, WatchClosedError)
