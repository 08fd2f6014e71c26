"""Calls a watch's ``on_update`` callback: one call at a time, in order, in the caller's context."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable

from clanforge_async._logging import log_event
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef

OnUpdate = Callable[[Job], Awaitable[object] | object]


class Notifier:
    """Delivers snapshots to a callback that may be plain or async.

    A plain callback runs at once. If it returns an awaitable, a task awaits that, and later snapshots queue behind it.
    A call that raises is logged; the next snapshot is delivered all the same.

    Args:
        ref: The watched job, for the log.
        callback: Called with each snapshot, in a copy of the present context.
    """

    __slots__ = ("_callback", "_context", "_on_idle", "_pending", "_ref", "_task")

    def __init__(self, ref: JobRef, callback: OnUpdate) -> None:
        self._ref = ref
        self._callback = callback
        self._context = contextvars.copy_context()
        self._pending: list[Job] = []
        self._task: asyncio.Task[None] | None = None
        self._on_idle: Callable[[], object] | None = None

    def push(self, job: Job) -> None:
        """Deliver a snapshot after those that are pending."""
        self._pending.append(job)
        self._drain()

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call back once, as soon as every snapshot is delivered: now if none is pending."""
        if self._task is None:
            callback()
        else:
            self._on_idle = callback

    def cancel(self) -> asyncio.Task[None] | None:
        """Drop what is pending, cancel the call in progress, and return its task."""
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def _drain(self) -> None:
        while self._pending and self._task is None:
            try:
                returned = self._context.run(self._callback, self._pending.pop(0))
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - a plain call can't be cancelled: it raised this itself
                self._log_failure()
                continue
            if inspect.isawaitable(returned):
                self._task = asyncio.get_running_loop().create_task(self._wait_for(returned), context=self._context)
                self._task.add_done_callback(functools.partial(self._done, returned))

    async def _wait_for(self, returned: Awaitable[object]) -> None:
        try:
            await returned
        except Exception:  # noqa: BLE001 - a callback can raise anything, and the watch goes on
            self._log_failure()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._log_failure()

    def _done(self, returned: Awaitable[object], _task: asyncio.Task[None]) -> None:
        self._task = None
        if inspect.iscoroutine(returned):
            returned.close()  # a task that is cancelled before its first step never awaits it
        self._drain()
        if self._task is None and self._on_idle is not None:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()

    def _log_failure(self) -> None:
        log_event(logging.ERROR, "listener_failed", "on_update failed for %(ref)s", ref=self._ref, exc_info=True)
