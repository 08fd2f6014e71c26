"""Following workflows: their results and updates as one stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from attrs import field, frozen
from temporalio.service import RPCError

from clanforge_async._watching.decisions import finish, unfinished
from clanforge_async._watching.results import WatchResult, WatchTimeoutError
from clanforge_async._watching.state import WatchState
from clanforge_async.jobs import Job
from clanforge_async.temporal.history import History

_UPDATE_INTERVAL = 1.0
"""Seconds between two reads of the running watches' states; updates in shorter succession are merged."""

Key = tuple[str, int]
"""A watch: the id of its workflow, and its number in that workflow."""


@frozen
class Event:
    """An update of a watch, or its result.

    Attributes:
        key: The watch.
        value: The changed snapshot, or the result.
    """

    key: Key
    value: Job | WatchResult


Events = asyncio.Queue["Event | asyncio.Task[None] | None"]
"""Events, the tasks of finished readers, and None at the time limit."""


async def follow(
    histories: Sequence[History], *, with_updates: bool, limit: float | None = None
) -> AsyncGenerator[Event]:
    """Iterate over the events of workflows until all watches have ended. A watch's last update precedes its result.

    Args:
        histories: The workflows' histories.
        with_updates: Whether to read updates too.
        limit: Seconds until watches that neither a worker nor the server has ended count as timed out; None: never.

    Raises:
        LookupError: A workflow does not exist.
    """
    events: Events = asyncio.Queue()
    readers = [_Reader(history, events) for history in histories]
    tasks = [asyncio.create_task(reader.run(with_updates=with_updates)) for reader in readers]
    for task in tasks:
        task.add_done_callback(events.put_nowait)
    timer = None if limit is None else asyncio.get_running_loop().call_later(limit, events.put_nowait, None)
    try:
        left = len(tasks)
        while left and (event := await events.get()) is not None:
            if isinstance(event, Event):
                yield event
            else:
                left -= 1
                event.result()
        for reader in readers if left else ():
            for end in reader.expire(limit or 0.0):
                yield end
    finally:
        if timer is not None:
            timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@frozen(eq=False)
class _Reader:
    """Reads the events of one workflow into a queue."""

    _history: History
    _events: Events
    _published: dict[int, Job] = field(factory=dict[int, Job], init=False)
    _ended: set[int] = field(factory=set[int], init=False)

    async def run(self, *, with_updates: bool) -> None:
        updates = asyncio.create_task(self._read_updates()) if with_updates else None
        try:
            async for number, result in self._history.results():
                self._end(number, result)
        finally:
            if updates is not None:
                updates.cancel()

    def expire(self, elapsed: float) -> list[Event]:
        """Return a timeout result for each watch that has not ended."""
        states = {number: state for number, state in self._history.last_states().items() if number not in self._ended}
        return [self._event(number, _timed_out(state, elapsed)) for number, state in states.items()]

    async def _read_updates(self) -> None:
        while True:
            try:
                states = await self._history.pending_states()
            except RPCError:
                states = {}  # the server is restarting, or the workflow does not exist
            for number, state in states.items():
                if number not in self._ended:
                    self._publish(number, state.last_news)
            await asyncio.sleep(_UPDATE_INTERVAL)

    def _end(self, number: int, result: WatchResult) -> None:
        self._ended.add(number)
        job, since = result.job, result.ref.newer_than
        if job is not None and (since is None or job.updated_at >= since):
            self._publish(number, job)
        self._events.put_nowait(self._event(number, result))

    def _publish(self, number: int, job: Job | None) -> None:
        if job is not None and job != self._published.get(number):
            self._published[number] = job
            self._events.put_nowait(self._event(number, job))

    def _event(self, number: int, value: Job | WatchResult) -> Event:
        return Event((self._history.workflow_id, number), value)


def _timed_out(state: WatchState, elapsed: float) -> WatchResult:
    return finish(state, state.began + elapsed, unfinished(WatchTimeoutError, state)).result
