"""Stops watches and waits until their tasks have ended, even if the waiting task is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Self, cast

from clanforge_async._watching.watch import Watch

SLICE = 500
"""Number of watches to start or stop before yielding to other tasks."""

Tasks = set[asyncio.Task[None]]


async def stop_watches(
    watches: Iterable[Watch],
    stop: Callable[[Watch], Tasks],
    *,
    cancelled: asyncio.CancelledError | None = None,
    ignored: Collection[asyncio.Task[None]] = (),
) -> None:
    """Stop watches, and wait for the tasks that they have cancelled.

    If the current task is cancelled meanwhile, the cancellation is forwarded to those tasks, and the wait continues.

    Args:
        watches: The watches.
        stop: Stops a watch, and returns its tasks that are still running.
        cancelled: The cancellation because of which the watches are stopped, if any.
        ignored: Tasks not to wait for; it may change meanwhile.

    Raises:
        asyncio.CancelledError: The first cancellation, unless that is `cancelled`.
    """
    current = cast("asyncio.Task[object]", asyncio.current_task())
    first, tasks = cancelled, Tasks()
    for count, watch in enumerate(watches, 1):
        requests = current.cancelling()
        running = stop(watch)
        if current.cancelling() == requests:
            tasks |= running  # otherwise one of them waits for this task and has cancelled it in turn
        if count % SLICE == 0:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                first = first or error
    while unfinished := {task for task in tasks if not task.done() and task not in ignored}:
        try:
            await asyncio.wait(unfinished)
        except asyncio.CancelledError as error:
            first = first or error
            tasks = {task for task in unfinished if _cancel(task, error, current)}
    if first is not None and first is not cancelled:
        raise first


def _cancel(task: asyncio.Task[None], error: asyncio.CancelledError, current: asyncio.Task[object]) -> bool:
    """Cancel a task. Return False if it waits for the current task, so that it cannot end before that."""
    requests = current.cancelling()
    task.cancel(*error.args)
    return current.cancelling() == requests


def call_in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Call a function in an event loop that may run in another thread, or may not be running."""
    with contextlib.suppress(RuntimeError):  # the loop is closed, so all its tasks have ended
        loop.call_soon_threadsafe(call)


def is_running_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether this code runs in the event loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class WatchGroup(list[Watch]):
    """The watches of one call. They are stopped when the block is left, for whatever reason.

    Args:
        known: All watches of the watcher. Those of the group are removed once all their tasks have ended.
    """

    def __init__(self, known: set[Watch], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._known = known
        self._loop = loop

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not is_running_loop(self._loop):
            call_in_loop(self._loop, self._detach)
            return
        try:
            cancelled = exc if isinstance(exc, asyncio.CancelledError) else None
            await stop_watches(self, Watch.detach, cancelled=cancelled)
        finally:
            self._known.difference_update(self)

    def _detach(self) -> None:
        for watch in self:
            watch.detach()
        self._known.difference_update(self)
