"""First-in-first-out queues: of all releases that need an image or a build machine, one at a time proceeds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable


class Turns:
    """A queue for each resource."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[Turn]] = {}

    def join(self, thing: Hashable) -> Turn:
        """Take the last place in the queue for a resource."""
        queue = self._queues.setdefault(thing, deque())
        turn = Turn(self._queues, thing)
        queue.append(turn)
        queue[0].begin()
        return turn


class Turn:
    """A place in a queue. Always leave it, even if its turn has not come; leaving twice has no effect."""

    def __init__(self, queues: dict[Hashable, deque[Turn]], thing: Hashable) -> None:
        self._queues = queues
        self._thing = thing
        self._came = asyncio.Event()

    @property
    def has_come(self) -> bool:
        """Whether this place is first in the queue."""
        return self._came.is_set()

    async def wait(self) -> None:
        """Wait until this place is first in the queue."""
        await self._came.wait()

    def begin(self) -> None:
        """Mark this place as first in the queue."""
        self._came.set()

    def leave(self) -> None:
        """Leave the queue. If this place was first, the next one is now."""
        queue = self._queues.get(self._thing, deque())
        if self not in queue:
            return
        queue.remove(self)
        if queue:
            queue[0].begin()
        else:
            del self._queues[self._thing]
