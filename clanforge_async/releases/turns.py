"""Turns: who may go on, of those that want the same thing, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable


class Turns:
    """Queues, one for each thing that is wanted."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[Turn]] = {}

    def join(self, thing: Hashable) -> Turn:
        """Return the next place in the queue for a thing."""
        queue = self._queues.setdefault(thing, deque())
        turn = Turn(self._queues, thing)
        queue.append(turn)
        queue[0].begin()
        return turn


class Turn:
    """A place in a queue. Leave it in any case, whether its turn has come or not; leaving again does nothing."""

    def __init__(self, queues: dict[Hashable, deque[Turn]], thing: Hashable) -> None:
        self._queues = queues
        self._thing = thing
        self._came = asyncio.Event()

    @property
    def has_come(self) -> bool:
        """Whether it is first in the queue."""
        return self._came.is_set()

    async def wait(self) -> None:
        """Wait until it is first in the queue."""
        await self._came.wait()

    def begin(self) -> None:
        """Let it be first."""
        self._came.set()

    def leave(self) -> None:
        """Leave the queue, so that the next turn comes."""
        queue = self._queues.get(self._thing, deque())
        if self not in queue:
            return
        queue.remove(self)
        if queue:
            queue[0].begin()
        else:
            del self._queues[self._thing]
