"""What is shown of each job now, and who waits for that to change."""

from __future__ import annotations

import asyncio
from itertools import takewhile
from typing import Self

from attrs import frozen

from clanforge_async import Job, JobRef


@frozen
class Row:
    """What is shown of a job; its outcome is a sentence once the watch has ended, None before."""

    ref: str
    state: str = "Not seen yet"
    progress: int = 0
    eta: str | None = None
    outcome: str | None = None

    @classmethod
    def of(cls, ref: JobRef, job: Job | None, outcome: str | None = None) -> Self:
        """Return the row of a watch whose last snapshot is this."""
        if job is None:
            return cls(str(ref), outcome=outcome)
        eta = None if job.eta is None else job.eta.isoformat()
        return cls(str(ref), job.state_name, job.progress, eta, outcome)


class Board:
    """The rows, each with the number of the change that it was last shown by.

    Whoever follows remembers the last number that it has seen and asks for what came after. So a client that reads
    slowly misses what was shown in between and nothing piles up for it, and one that leaves has nothing to hand back.
    """

    def __init__(self) -> None:
        self.closed = False
        self._latest = 0
        self._rows: dict[str, tuple[int, Row]] = {}  # in the order of their changes
        self._news = asyncio.Event()

    def show(self, row: Row) -> None:
        """Put a row up in place of the one before."""
        self._latest += 1
        self._rows.pop(row.ref, None)
        self._rows[row.ref] = self._latest, row
        self._wake()

    def forget(self, ref: str) -> None:
        """Take a row down; who has seen it keeps it until its next snapshot."""
        self._rows.pop(ref, None)

    def close(self) -> None:
        """Have everybody stop following."""
        self.closed = True
        self._wake()

    def since(self, number: int) -> tuple[int, list[Row]]:
        """Return the number of the latest change, and the rows that have changed after another one."""
        changed = takewhile(lambda entry: entry[0] > number, reversed(self._rows.values()))
        return self._latest, [row for _, row in changed][::-1]

    async def changed(self, number: int, within: float) -> bool:
        """Wait for a change after another one, or for the end, and return whether it came within so many seconds."""
        try:
            async with asyncio.timeout(within):
                while self._latest <= number and not self.closed:
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
