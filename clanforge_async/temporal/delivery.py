"""Delivery of events to the caller: updates to its callback, and results in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from clanforge_async._watching.notifier import Notifier, OnUpdate
from clanforge_async._watching.results import WatchResult
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef
from clanforge_async.temporal.following import Event, Key

Numbered = tuple[int, Job | WatchResult]


async def number_events(
    events: AsyncGenerator[Event], waiting: Mapping[JobRef, deque[int]] | None = None
) -> AsyncGenerator[Numbered]:
    """Iterate over events, each with the number of its target.

    Args:
        events: The events.
        waiting: The numbers of each reference's targets; each watch takes one. None: number watches by arrival.
    """
    numbers: dict[Key, int] = {}
    async with aclosing(events):
        async for event in events:
            if event.key not in numbers:
                numbers[event.key] = len(numbers) if waiting is None else waiting[event.value.ref].popleft()
            yield numbers[event.key], event.value


async def deliver(
    events: AsyncGenerator[Numbered], on_update: OnUpdate | None
) -> AsyncGenerator[tuple[int, WatchResult]]:
    """Call ``on_update`` with each update, and iterate over the results. A result follows its watch's last call."""
    delivery = _Delivery(events, on_update)
    task = asyncio.create_task(delivery.run())
    try:
        while (end := await delivery.ends.get()) is not None:
            yield end
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, *delivery.cancel_callbacks(), return_exceptions=True)


class _Delivery:
    def __init__(self, events: AsyncGenerator[Numbered], on_update: OnUpdate | None) -> None:
        self._events = events
        self._on_update = on_update
        self._notifiers: dict[int, Notifier] = {}
        self._pending = 0
        self._is_over = False
        self.ends: asyncio.Queue[tuple[int, WatchResult] | None] = asyncio.Queue()

    async def run(self) -> None:
        try:
            async with aclosing(self._events) as events:
                async for number, value in events:
                    self._receive(number, value)
        finally:
            self._is_over = True
            self._check_end()

    def cancel_callbacks(self) -> list[asyncio.Task[None]]:
        """Cancel the running callbacks, and return their tasks."""
        return [task for notifier in self._notifiers.values() if (task := notifier.cancel()) is not None]

    def _receive(self, number: int, value: Job | WatchResult) -> None:
        notifier = self._notifiers.get(number)
        if notifier is None:
            notifier = self._notifiers[number] = Notifier(value.ref, self._on_update, None)
        if isinstance(value, Job):
            notifier.push(value)
        else:
            self._pending += 1
            notifier.when_idle(lambda: self._finish(number, value))

    def _finish(self, number: int, result: WatchResult) -> None:
        self._pending -= 1
        self.ends.put_nowait((number, result))
        self._check_end()

    def _check_end(self) -> None:
        if self._is_over and self._pending == 0:
            self.ends.put_nowait(None)
