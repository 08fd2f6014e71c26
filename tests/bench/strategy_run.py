"""A simulation of one strategy: `JobWatcher` watches a population of jobs in virtual time."""

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
class StrategyResult:
    """Requests and detection delay of one strategy.

    Attributes:
        strategy: Name of the strategy.
        jobs: Number of jobs that were watched.
        requests: Mean number of requests per job.
        delay: Mean seconds from a job's end to the end of its watch.
        delay_p95: 95th percentile of the delay.
        product: Requests times delay. For any fixed interval this is about half the mean duration of a job, so it
            measures how well the polls are timed, not how many they are.
    """

    strategy: str
    jobs: int
    requests: float
    delay: float
    delay_p95: float
    product: float = field(init=False)

    @product.default
    def _(self) -> float:
        return self.requests * self.delay


def run_strategy(jobs: Sequence[PlannedJob], strategy: Strategy) -> StrategyResult:
    """Watch each job from its creation to its end.

    Raises:
        ExceptionGroup: A watch ended before its job, or in another state.
    """
    server, delays = PlannedServer(jobs), list[float]()
    run_in_virtual_time(_watch_all(jobs, server, strategy, delays))
    return StrategyResult(
        strategy=strategy.name,
        jobs=len(jobs),
        requests=server.requests / len(jobs),
        delay=statistics.fmean(delays),
        delay_p95=statistics.quantiles(delays, n=20, method="inclusive")[-1],
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
