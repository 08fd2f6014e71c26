"""A watcher can be used in one event loop only: use from another raises and harms no watch; closing is allowed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.scripted_server import Answer, ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import ConfigurationError, JobRef, JobState, JobWatcher, WatchClosedError

REF, OTHER = JobRef.image_version(9012), JobRef.image_version(9013)
RUNNING, COMPLETED = wire(9012), wire(9012, JobState.COMPLETED)


async def wait(watcher: JobWatcher) -> Any:
    return await watcher.wait(REF)


async def wait_for_another_job(watcher: JobWatcher) -> Any:
    return await watcher.wait(OTHER)


async def wait_all(watcher: JobWatcher) -> Any:
    return await watcher.wait_all([REF, OTHER])


async def wait_for_nothing(watcher: JobWatcher) -> Any:
    return await watcher.wait_all([])


async def updates(watcher: JobWatcher) -> Any:
    return await anext(watcher.updates(REF))


async def as_completed(watcher: JobWatcher) -> Any:
    return await anext(watcher.as_completed([REF]))


def in_another_thread(call: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine in the loop of another thread, and return its result or its exception."""
    outcomes: list[Any] = []

    async def main() -> None:
        try:
            outcomes.append(await call())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcomes.append(error)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    [outcome] = outcomes
    return outcome


def server() -> ScriptedServer:
    """Return a server whose job takes 5 seconds per response, and completes after 30 seconds."""
    server = ScriptedServer()

    async def show() -> Answer:
        await asyncio.sleep(5)
        return COMPLETED if now() >= 30 else RUNNING

    server.on("imageversion/status", 9012, show)
    server.version(9013, wire(9013, JobState.COMPLETED))
    return server


@pytest.mark.parametrize("use", [wait, wait_for_another_job, wait_all, wait_for_nothing, updates, as_completed])
@pytest.mark.parametrize("moment", [1, 7], ids=["during a poll", "between polls"])
def test_use_from_another_loop_raises(use: Callable[[JobWatcher], Awaitable[Any]], moment: float) -> None:
    """In another thread's loop, each method raises a `ConfigurationError`, and the first loop's watch continues."""

    @virtual_time
    async def run() -> None:
        watcher = JobWatcher(server().client(), interval=10)
        waiting = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(moment)
        assert isinstance(in_another_thread(lambda: use(watcher)), ConfigurationError)
        assert (await waiting).is_completed
        assert now() == 35
        await watcher.aclose()

    run()


@virtual_time
async def test_an_iterator_is_used_in_its_own_loop() -> None:
    """In another loop, an iterator raises and ends; its watch ends in its own loop without affecting others."""
    scripted = server()
    watcher = JobWatcher(scripted.client(), interval=10)
    others = asyncio.create_task(watcher.wait_all([REF, OTHER]))
    changes, ends = watcher.updates(REF), watcher.as_completed([OTHER, REF])
    assert (await anext(changes)).progress == 50
    assert (await anext(ends)).ref == OTHER
    assert isinstance(in_another_thread(lambda: anext(changes)), ConfigurationError)
    assert isinstance(in_another_thread(lambda: anext(ends)), ConfigurationError)
    assert [result.ok for result in await others] == [True, True]
    await watcher.aclose()


@virtual_time
async def test_closing_from_another_loop() -> None:
    """`aclose` in another thread's loop closes the watcher, whose watches end in their own loop."""
    watcher = JobWatcher(server().client(), interval=10)
    threads: list[int] = []
    waiting = asyncio.create_task(watcher.wait(REF, on_update=lambda _: threads.append(threading.get_ident())))
    await asyncio.sleep(7)
    assert in_another_thread(watcher.aclose) is None
    with pytest.raises(WatchClosedError):
        await waiting
    assert now() == 7
    assert threads == [threading.get_ident()]
    with pytest.raises(WatchClosedError):
        await watcher.wait(OTHER)
    assert in_another_thread(watcher.aclose) is None


def test_the_loop_of_a_watcher_has_ended() -> None:
    """If its loop was stopped and closed during a poll, a watcher raises in other loops, and can be closed."""
    scripted = server()
    watcher = JobWatcher(scripted.client())
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(watcher.wait(REF))
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert scripted.in_flight == 1
    if_stopped = in_another_thread(watcher.aclose)
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined] # their loop can't run them any more
    loop.close()
    assert [if_stopped, in_another_thread(watcher.aclose)] == [None, None]
    assert isinstance(in_another_thread(lambda: watcher.wait(OTHER)), ConfigurationError)
    coroutine: Any = waiting.get_coro()
    coroutine.close()


def test_a_watcher_may_be_made_and_closed_anywhere() -> None:
    """A watcher that has not been used belongs to no loop yet."""
    watcher = JobWatcher(server().client())

    async def use() -> None:
        assert (await watcher.wait(OTHER)).is_completed

    asyncio.run(use())
    asyncio.run(JobWatcher(server().client()).aclose())
    asyncio.run(watcher.aclose())
