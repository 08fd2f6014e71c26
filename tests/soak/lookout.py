"""The near side: lanes of watches, each of which begins when another has ended, through one client."""

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
from soak.endings import Ending, ending
from soak.journal import Journal
from soak.schedule import Target
from soak.truth import LONG_AGO

_BREATH = 1.0
"""Seconds after which somebody asks again for a retry that was refused."""


@define
class Lookout:
    """Whoever watches.

    Attributes:
        client: Asks for retries.
        watcher: Watches.
        endings: Where it is written down how watches end.
        start: When it all begins, in Unix seconds.
        under_way: What is watched now.
        lanes: How many lanes have not come to their end.
        begun: How many there ever were.
    """

    client: ClanforgeClient
    watcher: JobWatcher
    endings: Journal[Ending]
    start: float
    under_way: set[JobRef] = field(factory=set[JobRef])
    lanes: int = 0
    begun: int = 0

    async def keep(self, lane: Iterable[Target]) -> None:
        """See the targets of a lane through, one after the other; what has ended before its turn is left out."""
        self.lanes += 1
        for target in lane:
            if time.time() >= self.start + target.created + target.takes:
                continue
            # A reference from before any retry: what the diff's first run shows is no news to it.
            since = datetime.fromtimestamp(int(self.start - LONG_AGO), UTC) + timedelta(seconds=2)
            ref = evolve(target.ref, newer_than=since) if target.is_retried else target.ref
            await self._see_through(ref, is_retried=target.is_retried)
        self.lanes -= 1

    async def _see_through(self, ref: JobRef, *, is_retried: bool) -> None:
        error: Exception | None = None
        retries = 0
        is_to_retry = is_retried
        while True:
            if is_to_retry:
                ref, asked = await self._retried(ref)
                retries += asked
            error = await self._watch(ref, retries)
            # What refuses a poll does not last here, and who sees no news of a retry may ask for it once more.
            is_to_retry = is_retried and isinstance(error, StaleJobError)
            if not is_to_retry and not isinstance(error, APIError):
                return

    async def _retried(self, ref: JobRef) -> tuple[JobRef, int]:
        asked = 0
        while True:
            asked += 1
            try:
                return (await self.client.image_diffs.retry(ref.id)).ref, asked
            except RetryOutcomeUnknownError:
                return ref, asked  # time will tell: a watch for news of it does
            except (APIError, InvalidResponseError, TransportError):
                await asyncio.sleep(_BREATH)

    async def _watch(self, ref: JobRef, retries: int) -> Exception | None:
        told: list[Job] = []
        self.begun += 1
        self.under_way.add(ref)
        (result,) = await self.watcher.wait_all([ref], on_update=told.append)
        self.under_way.remove(ref)
        self.endings.write(ending(result, told, retries, time.time()))
        return result.error
