"""What a way of polling costs and how late it is: a population of jobs, watched by the real watcher in virtual time."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence

from attrs import field, frozen
from support.virtual_time import now, run_in_virtual_time

from bench.planned import PlannedJob
from bench.planned_server import PlannedServer
from bench.strategies import Strategy
from clanforge_async import ClanforgeClient, JobRef, JobWatcher


@frozen(kw_only=True)
class Notice:
    """How a way of polling has done.

    Attributes:
        strategy: The way of polling, by its name.
        jobs: How many jobs were watched.
        requests: Sent for each job, on average.
        delay: Seconds from a job's end to the end of its watch, on average.
        late_delay: The 95th percentile of that.
        product: Of requests and delay. A fixed interval's is about half the mean duration of a job, whatever the
            interval, so that it tells how well the polls are placed, not how many they are.
    """

    strategy: str
    jobs: int
    requests: float
    delay: float
    late_delay: float
    product: float = field(init=False)

    @product.default
    def _(self) -> float:
        return self.requests * self.delay


def notice(jobs: Sequence[PlannedJob], strategy: Strategy) -> Notice:
    """Watch each job from its creation to its end.

    Raises:
        ExceptionGroup: Watches have ended before their jobs, or not as the jobs did.
    """
    server, delays = PlannedServer(jobs), list[float]()
    run_in_virtual_time(_watch_all(jobs, server, strategy, delays))
    return Notice(
        strategy=strategy.name,
        jobs=len(jobs),
        requests=server.requests / len(jobs),
        delay=statistics.fmean(delays),
        late_delay=statistics.quantiles(delays, n=20, method="inclusive")[-1],
    )


async def _watch_all(
    jobs: Sequence[PlannedJob], server: PlannedServer, strategy: Strategy, delays: list[float]
) -> None:
    client = ClanforgeClient(
        ("access key", "secret key"),
        account_service_id=1,
        max_rate=None,
        max_concurrency=len(jobs),
        transport=server,
    )
    async with client, JobWatcher(client, interval=strategy.interval) as watcher, asyncio.TaskGroup() as watches:
        for job in jobs:
            watches.create_task(_watch(job, watcher, delays))


async def _watch(planned: PlannedJob, watcher: JobWatcher, delays: list[float]) -> None:
    await asyncio.sleep(planned.created)
    job = await watcher.wait(JobRef.image_version(planned.id), check=False)
    assert job.state is planned.outcome, f"{planned} was taken for {job}"
    assert now() >= planned.ended, f"{planned} had yet to end when it was taken for {job}"
    delays.append(now() - planned.ended)
