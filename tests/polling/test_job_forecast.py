"""`JobWatcher.forecast`: the expected end of a watched job, and how often it is right."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from attrs.exceptions import FrozenInstanceError
from bench.forecasts import coverages_of
from bench.workloads import MAIN, NEW, OTHERS, Workload
from support.scripted_server import START, ScriptedServer, server_now, wire
from support.virtual_time import now, virtual_time

from clanforge_async import JobForecast, JobHistory, JobRef, JobState, JobWatcher
from clanforge_async._polling.distributions import Forecast
from clanforge_async._polling.forecast import ForecastState, Sample, job_forecast, update_forecast

REF = JobRef.image_version(9012)
ZERO = datetime.fromtimestamp(START, UTC)


def serve(server: ScriptedServer, *, has_progress: bool = True) -> None:
    """Serve a job that takes 1000 s."""

    def script() -> dict[str, object]:
        progress = int(now() / 10) if has_progress else 0
        state = JobState.COMPLETED if now() >= 1000 else JobState.RUNNING
        updated = int(server_now())
        return wire(9012, state, jobstart=START, jobupdated=updated, jobeta=None, jobprogress=progress)

    server.on("imageversion/status", 9012, script)


@virtual_time
async def test_a_forecast_is_of_the_watched_job() -> None:
    """A forecast has aware times of the server's clock, and exists while a watch waits for the job."""
    server = ScriptedServer()
    serve(server)
    async with JobWatcher(server.client()) as watcher:
        assert watcher.forecast(REF) is None
        watch = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(500)
        forecast = watcher.forecast(REF)
        assert forecast is not None
        assert forecast.p50 < forecast.p90
        assert forecast.p50.tzinfo is not None
        assert abs(forecast.p50 - ZERO - timedelta(seconds=1000)) < timedelta(seconds=10)
        assert watcher.forecast(JobRef.image_version(1)) is None
        job = await watch
        assert watcher.forecast(job) is None
    assert watcher.forecast(REF) is None


@virtual_time
async def test_there_is_no_forecast_without_a_basis() -> None:
    """There is no forecast before the first poll, nor without ETA, progress and history."""
    server = ScriptedServer()
    serve(server, has_progress=False)
    async with JobWatcher(server.client()) as watcher:
        watch = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(0)
        assert watcher.forecast(REF) is None
        await asyncio.sleep(300)
        assert watcher.forecast(REF) is None
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch
        assert watcher.forecast(REF) is None


@virtual_time
async def test_a_history_is_used_if_the_server_gives_no_estimate() -> None:
    """The forecast is that of a run of the job's age that has not ended."""
    server, history = ScriptedServer(), JobHistory()
    for seconds in (900, 1000, 1100):
        history.add("image-version", seconds, JobState.COMPLETED)
    serve(server, has_progress=False)
    async with JobWatcher(server.client(), history=history) as watcher:
        watch = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(100)
        early = watcher.forecast(REF)
        await asyncio.sleep(899)
        late = watcher.forecast(REF)
        await watch
    assert early is not None
    assert late is not None
    assert abs(early.p50 - ZERO - timedelta(seconds=1000)) < timedelta(seconds=30)
    assert early.p50 < late.p50 < late.p90


@virtual_time
async def test_an_outage_does_not_shift_a_forecast() -> None:
    """While polls fail, the forecast stays the same, and the time of the outage does not affect later ones."""
    server = ScriptedServer()
    serve(server)
    async with JobWatcher(server.client(), interval=10) as watcher:
        watch = asyncio.create_task(watcher.wait(REF))
        await asyncio.sleep(405)
        before = watcher.forecast(REF)
        server.on("imageversion/status", 9012, lambda: httpx.ConnectError("no route"))
        await asyncio.sleep(200)
        assert watcher.forecast(REF) == before
        serve(server)
        await asyncio.sleep(30)
        after = watcher.forecast(REF)
        await watch
    assert before is not None
    assert after is not None
    assert abs(after.p50 - before.p50) < timedelta(seconds=10)


def test_a_forecast_is_a_frozen_value() -> None:
    """Forecasts are equal by value, and can't be changed."""
    forecast = JobForecast(p50=ZERO, p90=ZERO)
    assert forecast == JobForecast(p50=ZERO, p90=ZERO)
    with pytest.raises(FrozenInstanceError):
        forecast.p50 = ZERO  # type: ignore[misc]


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("seconds", "scale"), [(0, 3), (5, 3), (500, 2), (1e6, 0.2)])
def test_a_quantile_is_that_of_a_job_that_has_not_ended(probability: float, seconds: float, scale: float) -> None:
    """Of the part of the logistic distribution after now, the given share lies before the quantile."""

    def passed(t: float) -> float:
        return 1 / (1 + math.exp(min(-(t - seconds) / scale, 500)))

    quantile = Forecast(seconds, scale).quantile(probability)
    assert (passed(quantile) - passed(0)) / (1 - passed(0)) == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize("workload", [MAIN, *OTHERS[:4:3], OTHERS[5], NEW[0]], ids=lambda workload: workload.name)
def test_a_forecast_is_calibrated(workload: Workload) -> None:
    """About nine in ten jobs end by their p90, as of a quarter, half and three quarters of their lives."""
    coverages = coverages_of(workload, 7, 80)
    forecasts = sum(coverage.forecasts for coverage in coverages)
    assert forecasts > 80
    assert 0.8 <= sum(coverage.forecasts * coverage.p90 for coverage in coverages) / forecasts <= 0.99


def test_an_estimate_that_never_moves_is_believed_less_while_the_job_runs() -> None:
    """The p90 of a job whose ETA is from before its run is later than that of one whose ETA moves."""
    stuck, moving = (state_of([1000, *etas]) for etas in ([1000, 1000, 1000], [1000, 990, 980]))
    stuck_forecast, moving_forecast = job_forecast(stuck), job_forecast(moving)
    assert stuck_forecast is not None
    assert moving_forecast is not None
    assert stuck_forecast.p90 > moving_forecast.p90 + timedelta(seconds=60)


def state_of(etas: list[float]) -> ForecastState:
    """Return the state after a poll of a wait and then some of the run, a minute apart."""
    state = ForecastState()
    for number, eta in enumerate(etas):
        now, is_running = 60.0 * number, number > 0
        sample = Sample(now=now, since=1.0 * is_running, is_running=is_running, progress=0, eta=eta, updated=now)
        state = update_forecast(state, sample)
    return state
