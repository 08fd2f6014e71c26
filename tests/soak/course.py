"""The course of a soak: lanes that are watched to their ends, a server that is killed meanwhile, and samples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress

from attrs import define

from clanforge_async import ClanforgeClient, JobWatcher, until_eta
from soak.endings import Ending
from soak.far_side import FarSide
from soak.journal import Journal
from soak.lookout import Lookout
from soak.samples import Sample
from soak.schedule import lane
from soak.settings import Settings

_SAMPLES = 300
_OVERTIME = 300.0
"""Seconds beyond its own for which a soak waits for the last watches: a busy machine makes them late."""


@define
class Course:
    """What happens while there are watches.

    Attributes:
        settings: What is to happen.
        endings: Where it is written down how watches end.
        samples: Where it is written down what the client's process holds.
    """

    settings: Settings
    endings: Journal[Ending]
    samples: Journal[Sample]

    async def run(self, client: ClanforgeClient, far_side: FarSide) -> Lookout:
        """Watch every lane to its end, or until there is no sense in waiting any longer."""
        settings = self.settings
        shortest, longest = settings.pauses
        interval = until_eta(min=shortest, max=longest)
        async with JobWatcher(client, interval=interval, stale_after=settings.stale_after) as watcher:
            lookout = Lookout(client, watcher, self.endings, settings.start)
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.seconds + _OVERTIME), asyncio.TaskGroup() as meanwhile:
                    sampling = meanwhile.create_task(self._sample(lookout))
                    meanwhile.create_task(self._kill(far_side))
                    await _all(lookout.keep(lane(settings, number)) for number in range(1, settings.watches + 1))
                    sampling.cancel()
        return lookout

    async def _until(self, part: float) -> None:
        await asyncio.sleep(self.settings.start + part * self.settings.seconds - time.time())

    async def _kill(self, far_side: FarSide) -> None:
        kills = self.settings.kills
        for number in range(1, kills + 1):
            await self._until(number / (kills + 1))
            await far_side.kill()
            await asyncio.sleep(self.settings.down_time)
            await far_side.take_over(self.settings)

    async def _sample(self, lookout: Lookout) -> None:
        while True:
            self.samples.write(Sample(at=time.time() - self.settings.start, under_way=len(lookout.under_way)))
            await asyncio.sleep(self.settings.seconds / _SAMPLES)


async def _all(lanes: Iterable[Coroutine[object, object, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for lane_kept in lanes:
            group.create_task(lane_kept)
