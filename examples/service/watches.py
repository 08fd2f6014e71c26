"""Background watches, whose updates are shown and stored."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from clanforge_async import ClanforgeClient, Job, JobRef, JobWatcher, WatchClosedError, WatchResult

from .board import Board, Row
from .store import Store

LONGEST = 12 * 3600
"""Timeout of a watch in seconds."""

logger = logging.getLogger(__name__)


class Watches:
    """The running watches, one task each."""

    def __init__(self, watcher: JobWatcher, tasks: asyncio.TaskGroup, store: Store, board: Board) -> None:
        self._watcher = watcher
        self._tasks = tasks
        self._store = store
        self._board = board
        self._under_way: set[JobRef] = set()

    def start(self, ref: JobRef) -> None:
        """Watch a job, unless it is already watched."""
        if ref not in self._under_way:
            self._save(Row(str(ref)))
            self._go_on(ref)

    def resume(self) -> None:
        """Show all stored watches, and resume those that have not ended."""
        for row in self._store.rows():
            self._board.show(row)
            if row.outcome is None:
                self._go_on(JobRef.parse(row.ref))

    def _go_on(self, ref: JobRef) -> None:
        self._under_way.add(ref)
        self._tasks.create_task(self._watch(ref))

    async def _watch(self, ref: JobRef) -> None:
        def update(job: Job) -> None:
            self._save(Row.of(ref, job))

        [result] = await self._watcher.wait_all([ref], on_update=update)
        self._under_way.discard(ref)
        if not isinstance(result.error, WatchClosedError):  # on shutdown: a restart resumes the watch
            self._end(result)

    def _end(self, result: WatchResult) -> None:
        try:
            self._save(Row.of(result.ref, result.job, "completed" if result.ok else str(result.error)))
            for ref in self._store.forget():
                self._board.forget(ref)
        except sqlite3.Error:
            logger.exception("result not stored; a restart will watch %s again", result.ref)

    def _save(self, row: Row) -> None:
        self._board.show(row)
        self._store.save(row)


@asynccontextmanager
async def watching(database: Path, board: Board) -> AsyncGenerator[Watches]:
    """Resume the stored watches, and accept more until the block ends."""
    async with ClanforgeClient.from_env() as client:
        with closing(Store(database)) as store:
            # Exits in reverse order: the watcher closes, which ends the tasks, and then the store can be closed.
            async with asyncio.TaskGroup() as tasks, JobWatcher(client, timeout=LONGEST) as watcher:
                watches = Watches(watcher, tasks, store, board)
                watches.resume()
                yield watches
