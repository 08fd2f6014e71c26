"""The soak test in small: a short run passes, and each kind of problem is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from support.loopback_server import nobody_listens

from clanforge_async import JobState
from soak.checker import Checker
from soak.client_config import ClientConfig
from soak.concurrency import measure_concurrency
from soak.records import FaultRecord, RetryRecord, WatchRecord
from soak.run import run_soak
from soak.samples import Sample, metric_summary
from soak.schedule import ScheduledJob, all_jobs
from soak.settings import Settings
from soak.simulator_setup import rebuild_simulator

SETTINGS = Settings(seconds=30, watches=20, fault_rate=0.1, kills=0, seed=4, start=1_763_769_600.75)
STALE_AFTER = 8.0


async def test_a_short_soak_passes(tmp_path: Path) -> None:
    """Every watch ends correctly while requests fail and the server is killed."""
    settings = Settings(seconds=1.5, watches=20, fault_rate=0.2, kills=1, seed=4)
    report = await run_soak(settings, ClientConfig(max_rate=200.0, max_concurrency=5, transport="default"), tmp_path)
    assert report.problems == []
    assert report.servers == 2
    assert report.faults.total() > 0
    assert len(report.check.ended) >= settings.watches


def first_job(*, is_retried: bool) -> ScheduledJob:
    return next(job for job in all_jobs(SETTINGS) if job.is_retried is is_retried)


def correct_record(job: ScheduledJob, ended_at: float) -> WatchRecord:
    errors = {"completed": "", "failed": "JobFailedError", "squashed": "JobSquashedError"}
    return WatchRecord(
        ref=str(job.ref),
        started_at=ended_at - 5,
        ended_at=ended_at + 1,
        state=JobState[job.outcome.upper()],
        updated_at=float(int(ended_at)),
        error=errors[job.outcome],
        status=None,
        polls=3,
        terminal_updates=1,
        got_final_update=True,
        retries_requested=int(job.is_retried),
    )


async def find_problems(
    job: ScheduledJob,
    *changes: dict[str, Any],
    faults: tuple[FaultRecord, ...] = (),
    retried_at: tuple[float, ...] = (),
) -> list[str]:
    """Return the problems found in records that differ from a correct one by these changes."""
    retries = [RetryRecord(diff_id=job.ref.id, at=at) for at in retried_at]
    simulator = await rebuild_simulator(SETTINGS, retries)
    correct = correct_record(job, simulator.ended_at(job.ref))
    checker = Checker(simulator, STALE_AFTER, retries, faults)
    return checker.check([job], [evolve(correct, **each) for each in changes]).problems


async def test_a_correct_end_has_no_problems() -> None:
    """A watch that returns the job's outcome once, after its end, passes."""
    assert await find_problems(first_job(is_retried=False), {}) == []
    assert await find_problems(first_job(is_retried=True), {}, retried_at=(SETTINGS.start + 1,)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"state": None},
        {"state": JobState.RUNNING},
        {"error": "StaleJobError"},
        {"error": "TransportError"},
        {"error": "APIError", "status": 200},
        {"updated_at": None},
        {"updated_at": 0.0},
        {"ended_at": 0.0},
        {"terminal_updates": 0},
        {"terminal_updates": 2},
        {"got_final_update": False},
    ],
    ids=str,
)
async def test_a_wrong_end_is_found(change: dict[str, Any]) -> None:
    """A wrong outcome, a wrong run, an early end, a repeated update or an error without a cause is a problem."""
    retried = first_job(is_retried=True)
    assert await find_problems(retried, change, retried_at=(SETTINGS.start + 1,))


async def test_a_second_end_is_found() -> None:
    """A second watch of an ended job is a problem."""
    assert await find_problems(first_job(is_retried=False), {}, {})


async def test_an_api_error_without_an_injected_fault_is_found() -> None:
    """Each watch that ends with an API error needs its own injected fault, and a later watch that succeeds."""
    job = first_job(is_retried=False)
    path = f"/cfp/v1/{job.ref.kind.replace('-', '')}/{job.ref.id}/status"
    rejected = {"error": "NotFoundError", "status": 404, "terminal_updates": 0}
    fault = FaultRecord(kind="404", path=path)
    assert await find_problems(job, rejected, {}, faults=(fault,)) == []
    assert await find_problems(job, rejected, faults=(fault,)), "no watch returned its end"
    assert await find_problems(job, rejected, rejected, {}, faults=(fault,))


@pytest.mark.parametrize("retried_at", [(), (SETTINGS.start + 1, SETTINGS.start + 50)], ids=["never", "twice"])
async def test_a_missing_or_repeated_retry_is_found(retried_at: tuple[float, ...]) -> None:
    """The server executes at least one retry, and no more than the requested number."""
    assert await find_problems(first_job(is_retried=True), {}, retried_at=retried_at)


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_lost_slot_is_found(is_lost: bool) -> None:
    """The measured concurrency is the maximum unless a slot was never released."""
    with nobody_listens() as url:
        port = int(url.rpartition(":")[2])
    config = ClientConfig(max_rate=200.0, max_concurrency=3, transport="default")
    async with config.make_client(url, timeout=0.1) as client:
        if is_lost:
            await client._session._limiter._slots.acquire()
        assert (await measure_concurrency(client, port) == 3) is not is_lost


def test_growth_is_measured_along_a_line() -> None:
    """A metric that only fluctuates has no growth; a rising one grows by a fraction of its mean."""
    samples = [
        Sample(at=float(at), active_watches=100 + at % 2, memory=1000 + at, traced=0, files=0) for at in range(101)
    ]
    assert abs(metric_summary(samples, lambda sample: sample.active_watches).growth) < 1e-3
    memory = metric_summary(samples, lambda sample: sample.memory)
    assert memory.growth == pytest.approx(100 / 1050)
    assert memory.per_minute == pytest.approx(60)
    assert metric_summary(samples, lambda sample: sample.files).growth == 0.0
