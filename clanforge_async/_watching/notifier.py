"""Calls a watch's callbacks: one call at a time, in order, in the caller's context."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from clanforge_async._logging import log_event
from clanforge_async.errors import ClanforgeError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef

OnUpdate = Callable[[Job], Awaitable[object] | object]
OnError = Callable[[JobRef, ClanforgeError], Awaitable[object] | object]

_CALLBACK: contextvars.ContextVar[asyncio.Task[None] | None] = contextvars.ContextVar(
    "clanforge_callback", default=None
)


def current_callback() -> asyncio.Task[None] | None:
    """Return the task of the async callback that this code runs in, directly or in a task that it created, if any."""
    callback = _CALLBACK.get()
    return None if callback is None or callback.done() else callback


class Notifier:
    """Delivers snapshots and failures to callbacks, which may be plain or async.

    A plain callback runs immediately. If it returns an awaitable, a task awaits that, and later calls queue behind it.
    A call that raises is logged, and later calls are made nevertheless.

    Args:
        ref: The watch's reference to its job.
        on_update: Called with each snapshot, in a copy of the current context.
        on_error: Called with the reference and each error, in the same copy.

    Attributes:
        task: The task of the call in progress, if that is async.
    """

    __slots__ = ("_context", "_on_error", "_on_idle", "_on_update", "_pending", "_ref", "task")

    def __init__(self, ref: JobRef, on_update: OnUpdate | None, on_error: OnError | None) -> None:
        self._ref = ref
        self._on_update = on_update
        self._on_error = on_error
        self._context = contextvars.copy_context()
        self._pending: deque[tuple[str, Callable[..., object], tuple[Any, ...]]] = deque()
        self.task: asyncio.Task[None] | None = None
        self._on_idle: Callable[[], object] | None = None

    def push(self, job: Job) -> None:
        """Deliver a snapshot after the pending calls."""
        if self._on_update is not None:
            self._pending.append(("on_update", self._on_update, (job,)))
            self._drain()

    def push_error(self, copy: Callable[[], ClanforgeError]) -> None:
        """Deliver a copy of a failure after the pending calls."""
        if self._on_error is not None:
            self._pending.append(("on_error", self._on_error, (self._ref, copy())))
            self._drain()

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call a function once, as soon as all calls are done: now if none is pending."""
        if self.task is None:
            callback()
        else:
            self._on_idle = callback

    def drop_pending(self) -> None:
        """Discard all calls after the one in progress."""
        self._pending.clear()

    def cancel(self) -> asyncio.Task[None] | None:
        """Discard the pending calls, cancel the call in progress, and return its task."""
        self.drop_pending()
        if self.task is not None:
            self.task.cancel()
        return self.task

    def _drain(self) -> None:
        while self._pending and self.task is None:
            name, callback, args = self._pending.popleft()
            try:
                returned = self._context.run(callback, *args)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - a plain call can't be cancelled, so it raised this itself
                self._log_failure(name)
                continue
            if inspect.isawaitable(returned):
                # Not through the loop's task factory: an eager task would run before it is registered here.
                waiting, loop = self._wait_for(name, returned), asyncio.get_running_loop()
                self.task = asyncio.Task(waiting, loop=loop, context=self._context)
                self.task.add_done_callback(functools.partial(self._done, returned))

    async def _wait_for(self, name: str, returned: Awaitable[object]) -> None:
        task = self.task
        _CALLBACK.set(task)
        try:
            await returned
        except Exception:  # noqa: BLE001 - the watch continues, whatever a callback raises
            self._log_failure(name)
        except asyncio.CancelledError:
            if task is not None and task.cancelling():
                raise
            self._log_failure(name)

    def _done(self, returned: Awaitable[object], _task: asyncio.Task[None]) -> None:
        self.task = None
        if inspect.iscoroutine(returned):
            returned.close()  # a task that is cancelled before its first step never awaits its awaitable
        self._drain()
        if self.task is None and self._on_idle is not None:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()

    def _log_failure(self, name: str) -> None:
        log_event(logging.ERROR, "listener_failed", f"{name} failed for %(ref)s", ref=self._ref, exc_info=True)
