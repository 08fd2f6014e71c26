"""The client's side of a soak: workers that watch one scheduled job after another through one client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from attrs import define, evolve, field

from clanforge_async import (
    APIError,
    ClanforgeClient,
    InvalidResponseError,
    Job,
    JobRef,
    JobWatcher,
    RetryOutcomeUnknownError,
    StaleJobError,
    TransportError,
)
from soak.records import RecordFile, WatchRecord, watch_record
from soak.schedule import ScheduledJob
from soak.simulator_setup import FAILED_BEFORE

_RETRY_DELAY = 1.0
"""Seconds before a failed retry is requested again."""


@define
class WatchLoop:
    """The workers' shared client, watcher and counters.

    Attributes:
        client: Client for retries.
        watcher: Watcher of all jobs.
        records: Receives a record of each watch.
        start: Unix time of the start of the run.
        active: References being watched.
        workers: Number of workers that have not finished.
        started: Number of watches started so far.
    """

    client: ClanforgeClient
    watcher: JobWatcher
    records: RecordFile[WatchRecord]
    start: float
    active: set[JobRef] = field(factory=set[JobRef])
    workers: int = 0
    started: int = 0

    async def run_worker(self, jobs: Iterable[ScheduledJob]) -> None:
        """Watch jobs one after the other until each ends; skip jobs that have already ended."""
        self.workers += 1
        for job in jobs:
            if time.time() >= self.start + job.created_at + job.duration:
                continue
            # `newer_than` is before any retry, so that snapshots of the diff's first run are ignored.
            newer_than = datetime.fromtimestamp(int(self.start - FAILED_BEFORE), UTC) + timedelta(seconds=2)
            ref = evolve(job.ref, newer_than=newer_than) if job.is_retried else job.ref
            await self._watch_until_ended(ref, is_retried=job.is_retried)
        self.workers -= 1

    async def _watch_until_ended(self, ref: JobRef, *, is_retried: bool) -> None:
        error: Exception | None = None
        retries_requested = 0
        needs_retry = is_retried
        while True:
            if needs_retry:
                ref, requests = await self._retry(ref)
                retries_requested += requests
            error = await self._watch(ref, retries_requested)
            # API errors are injected and pass; a stale watch means that the retry may not have been executed.
            needs_retry = is_retried and isinstance(error, StaleJobError)
            if not needs_retry and not isinstance(error, APIError):
                return

    async def _retry(self, ref: JobRef) -> tuple[JobRef, int]:
        requests = 0
        while True:
            requests += 1
            try:
                return (await self.client.image_diffs.retry(ref.id)).ref, requests
            except RetryOutcomeUnknownError:
                return ref, requests  # a watch for the new run finds out
            except (APIError, InvalidResponseError, TransportError):
                await asyncio.sleep(_RETRY_DELAY)

    async def _watch(self, ref: JobRef, retries_requested: int) -> Exception | None:
        updates: list[Job] = []
        self.started += 1
        self.active.add(ref)
        (result,) = await self.watcher.wait_all([ref], on_update=updates.append)
        self.active.remove(ref)
        self.records.write(watch_record(result, updates, retries_requested, time.time()))
        return result.error
