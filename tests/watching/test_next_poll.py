"""When the next poll is due, as the command line shows it."""

from __future__ import annotations

import asyncio
from functools import partial

from support.scripted_server import ScriptedServer, wire
from support.virtual_time import now, virtual_time

from clanforge_async import JobRef, JobState, JobWatcher


@virtual_time
async def test_the_next_poll_is_that_of_the_job_that_is_due_first() -> None:
    """The time to the next poll is 0 without jobs and while a poll is in flight, else that of the first timer."""
    server = ScriptedServer()

    async def answer(job_id: int) -> dict[str, object]:
        await asyncio.sleep(1)
        return wire(job_id, JobState.COMPLETED if now() > 60 else JobState.RUNNING)

    for job_id in (1, 2):
        server.on("imageversion/status", job_id, partial(answer, job_id))
    async with JobWatcher(server.client(), interval=40) as watcher:
        scheduler = watcher._scheduler
        assert scheduler.seconds_to_next_poll() == 0.0
        first = asyncio.create_task(watcher.wait(JobRef.image_version(1)))
        await asyncio.sleep(0.5)
        assert scheduler.seconds_to_next_poll() == 0.0
        await asyncio.sleep(10)
        assert round(scheduler.seconds_to_next_poll(), 3) == 30.5
        second = asyncio.create_task(watcher.wait(JobRef.image_version(2)))
        await asyncio.sleep(5)
        assert round(scheduler.seconds_to_next_poll(), 3) == 25.5
        await asyncio.gather(first, second)
