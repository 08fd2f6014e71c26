"""The current row of each job, and waiting for changes."""

from __future__ import annotations

import asyncio
from itertools import takewhile
from typing import Self

from attrs import frozen

from clanforge_async import Job, JobRef


@frozen
class Row:
    """A job as shown in the browser; `outcome` is None until the watch has ended."""

    ref: str
    state: str = "Not seen yet"
    progress: int = 0
    eta: str | None = None
    outcome: str | None = None

    @classmethod
    def of(cls, ref: JobRef, job: Job | None, outcome: str | None = None) -> Self:
        """Return the row of a watch, given its last snapshot."""
        if job is None:
            return cls(str(ref), outcome=outcome)
        eta = None if job.eta is None else job.eta.isoformat()
        return cls(str(ref), job.state_name, job.progress, eta, outcome)


class Board:
    """The rows, each with the number of its latest change.

    A reader remembers the last number that it has seen and requests later changes. A slow reader skips the changes in
    between, so it has no growing queue, and a reader that disconnects needs no clean-up.
    """

    def __init__(self) -> None:
        self.closed = False
        self._latest = 0
        self._rows: dict[str, tuple[int, Row]] = {}  # in the order of their changes
        self._news = asyncio.Event()

    def show(self, row: Row) -> None:
        """Add a row, or replace the one with the same reference."""
        self._latest += 1
        self._rows.pop(row.ref, None)
        self._rows[row.ref] = self._latest, row
        self._wake()

    def forget(self, ref: str) -> None:
        """Remove a row; a browser keeps it until its next snapshot."""
        self._rows.pop(ref, None)

    def close(self) -> None:
        """Make all readers stop."""
        self.closed = True
        self._wake()

    def since(self, number: int) -> tuple[int, list[Row]]:
        """Return the number of the latest change, and the rows that changed after ``number``."""
        changed = takewhile(lambda entry: entry[0] > number, reversed(self._rows.values()))
        return self._latest, [row for _, row in changed][::-1]

    async def changed(self, number: int, within: float) -> bool:
        """Wait for a change after ``number`` or for `close`; return False after ``within`` seconds without either."""
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
