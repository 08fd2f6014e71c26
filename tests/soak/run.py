"""A soak run: starts the servers and workers, kills servers on the way, and reports."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
import tracemalloc
from collections import Counter
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from clanforge_async import ClanforgeClient, JobWatcher, until_eta
from soak.checker import Checker, CheckResult
from soak.client_config import ClientConfig
from soak.concurrency import measure_concurrency
from soak.error_capture import capture_errors
from soak.records import RecordFile, WatchRecord, open_fault_records, open_retry_records
from soak.report import Report
from soak.samples import Sample, count_open_files, metric_summary
from soak.schedule import STEADY_FRACTION, all_jobs, worker_jobs
from soak.server_process import ServerProcess
from soak.settings import Settings
from soak.simulator_setup import rebuild_simulator
from soak.watch_loop import WatchLoop

_SAMPLES = 300
_GRACE_PERIOD = 300.0
"""Seconds past the planned end after which unfinished watches are given up: a busy machine delays them."""
_CLEANUP_TURNS = 20
"""Turns of the event loop that closing takes."""


@define
class _Measurements:
    """Measurements of the client process, taken during the run."""

    settings: Settings
    errors: list[str] = field(factory=list[str])
    elapsed: float = 0.0
    watches: int = 0
    workers_left: int = 0
    unfinished: list[str] = field(factory=list[str])
    servers: int = 0
    files_idle: int = 0
    files_left: int = 0
    tasks_left: list[str] = field(factory=list[str])
    concurrency: int = 0
    cpu: tuple[float, float] = (0.0, 0.0)


async def run_soak(settings: Settings, client_config: ClientConfig, directory: Path) -> Report:
    """Run all workers until their jobs have ended, and check the result.

    Args:
        settings: Settings of the run.
        client_config: Configuration of the client.
        directory: Empty folder for the record files.
    """
    with (
        RecordFile(directory / "watches.jsonl", WatchRecord) as records,
        RecordFile(directory / "samples.jsonl", Sample) as samples,
    ):
        with capture_errors() as errors:
            measurements = await _measure(settings, client_config, directory, records, samples)
        measurements.errors += errors
        check = await _check(measurements.settings, directory, records)
        with open_fault_records(directory) as fault_records:
            faults = Counter(record.kind for record in fault_records)
        return _make_report(measurements, client_config, check, faults, list(samples))


async def _measure(
    settings: Settings,
    client_config: ClientConfig,
    directory: Path,
    records: RecordFile[WatchRecord],
    samples: RecordFile[Sample],
) -> _Measurements:
    files_before, cpu_before = count_open_files(), _cpu_seconds()
    async with ServerProcess(directory, 1 + settings.kills) as server:
        measurements = _Measurements(settings.with_start())
        await server.serve(measurements.settings)
        measurements.files_idle = count_open_files()
        async with client_config.make_client(server.url, settings.timeout) as client:
            loop = await _Workload(measurements.settings, records, samples).run(client, server)
            measurements.watches, measurements.workers_left = loop.started, loop.workers
            measurements.unfinished += sorted(map(str, loop.active))
            measurements.elapsed = time.time() - measurements.settings.start
            await server.kill()
            measurements.cpu = _cpu_seconds_since(cpu_before)
            tracemalloc.stop()  # the samples are taken, and tracing would slow down the next measurement
            measurements.concurrency = await measure_concurrency(client, server.port)
        measurements.servers = server.servers
    for _ in range(_CLEANUP_TURNS):
        await asyncio.sleep(0)
    gc.collect()  # unclosed resources warn now
    measurements.files_left = count_open_files() - files_before
    measurements.tasks_left += [repr(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]
    return measurements


@define
class _Workload:
    """Everything that happens while jobs are watched.

    Attributes:
        settings: Settings of the run.
        records: Receives a record of each watch.
        samples: Receives samples of the client process.
    """

    settings: Settings
    records: RecordFile[WatchRecord]
    samples: RecordFile[Sample]

    async def run(self, client: ClanforgeClient, server: ServerProcess) -> WatchLoop:
        """Run all workers until they finish, or until the grace period is over."""
        settings = self.settings
        shortest, longest = settings.poll_interval
        interval = until_eta(min=shortest, max=longest)
        async with JobWatcher(client, interval=interval, stale_after=settings.stale_after) as watcher:
            loop = WatchLoop(client, watcher, self.records, settings.start)
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.seconds + _GRACE_PERIOD), asyncio.TaskGroup() as group:
                    sampling = group.create_task(self._take_samples(loop))
                    group.create_task(self._kill_servers(server))
                    workers = range(1, settings.watches + 1)
                    await _run_all(loop.run_worker(worker_jobs(settings, number)) for number in workers)
                    sampling.cancel()
        return loop

    async def _kill_servers(self, server: ServerProcess) -> None:
        kills = self.settings.kills
        for number in range(1, kills + 1):
            kill_time = self.settings.start + number / (kills + 1) * self.settings.seconds
            await asyncio.sleep(kill_time - time.time())
            await server.kill()
            await asyncio.sleep(self.settings.downtime)
            await server.serve(self.settings)

    async def _take_samples(self, loop: WatchLoop) -> None:
        while True:
            self.samples.write(Sample(at=time.time() - self.settings.start, active_watches=len(loop.active)))
            await asyncio.sleep(self.settings.seconds / _SAMPLES)


async def _run_all(coroutines: Iterable[Coroutine[object, object, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)


async def _check(settings: Settings, directory: Path, records: RecordFile[WatchRecord]) -> CheckResult:
    with open_retry_records(directory) as retries, open_fault_records(directory) as faults:
        simulator = await rebuild_simulator(settings, retries)
        checker = Checker(simulator, settings.stale_after, retries, faults)
    return checker.check(all_jobs(settings), records)


def _make_report(
    measurements: _Measurements,
    client_config: ClientConfig,
    check: CheckResult,
    faults: Counter[str],
    samples: list[Sample],
) -> Report:
    seconds = measurements.settings.seconds
    steady = [sample for sample in samples if seconds / 2 <= sample.at < STEADY_FRACTION * seconds] or samples[-1:]
    return Report(
        settings=measurements.settings,
        elapsed=measurements.elapsed,
        servers=measurements.servers,
        watches=measurements.watches,
        workers_left=measurements.workers_left,
        unfinished=measurements.unfinished,
        min_active=min(sample.active_watches for sample in steady),
        faults=faults,
        check=check,
        memory=metric_summary(steady, lambda sample: sample.memory),
        blocks=metric_summary(steady, lambda sample: sample.blocks),
        traced=metric_summary(steady, lambda sample: sample.traced),
        files=metric_summary(steady, lambda sample: sample.files - measurements.files_idle),
        max_concurrency=client_config.max_concurrency,
        measured_concurrency=measurements.concurrency,
        files_left=measurements.files_left,
        tasks_left=measurements.tasks_left,
        errors=measurements.errors,
        cpu=measurements.cpu,
    )


def _cpu_seconds() -> tuple[float, float]:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    client, servers = (usage.ru_utime + usage.ru_stime for usage in usages)
    return client, servers


def _cpu_seconds_since(before: tuple[float, float]) -> tuple[float, float]:
    client, servers = _cpu_seconds()
    return client - before[0], servers - before[1]
