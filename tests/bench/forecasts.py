"""Share of jobs that end by the p50 and the p90 of `JobWatcher.forecast`, at a quarter, half and three quarters.

These are parts of the time from a job's creation to its end. Failed jobs are included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from bench.planned import START
from bench.simulated_watch import poll_states
from bench.text_table import text_table
from bench.thresholds import Threshold
from bench.workloads import MAIN, NEW, OTHERS, Workload
from clanforge_async import JobForecast, until_eta
from clanforge_async._polling.forecast import job_forecast

__all__ = ["measure", "table"]

_SEED = 20251122
_JOBS, _QUICK_JOBS = 400, 40
PARTS = (0.25, 0.5, 0.75)


@frozen(kw_only=True)
class Coverage:
    """Coverage of one population at one part of the jobs' lives.

    Attributes:
        workload: Name of the population.
        part: The part of a job's life.
        forecasts: Number of jobs with a forecast.
        p50: Share of these jobs that end by their p50.
        p90: Share of these jobs that end by their p90.
    """

    workload: str
    part: float
    forecasts: int
    p50: float
    p90: float


@frozen(kw_only=True)
class Results:
    """Results.

    Attributes:
        coverages: The coverage of each population at each part.
    """

    coverages: tuple[Coverage, ...]

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return the thresholds of the lowest and of the highest coverage."""
        lowest, highest = (choose(self.coverages, key=lambda coverage: coverage.p90) for choose in (min, max))
        return (
            Threshold(name=f"lowest coverage of a p90, {_name(lowest)}", value=lowest.p90, limit=0.8, unit=""),
            Threshold(
                name=f"highest coverage of a p90, {_name(highest)}",
                value=highest.p90,
                limit=0.97,
                unit="",
                is_maximum=True,
            ),
        )


def _name(coverage: Coverage) -> str:
    return f"{coverage.workload} at {coverage.part:g}"


def forecasts_of(workload: Workload, seed: int, number: int) -> Iterator[tuple[float, JobForecast, float]]:
    """Yield a part of a job's life, the forecast at that time, and when the job ends by the server's clock."""
    for job in workload.jobs(seed, number):
        states = list(poll_states(job, until_eta()))
        for part in PARTS:
            moment = job.created + part * (job.ended - job.created)
            seen = [state for at, state in states if at <= moment]
            forecast = job_forecast(seen[-1].forecast_state) if seen else None
            if forecast is not None:
                yield part, forecast, START + job.ended


def coverages_of(workload: Workload, seed: int, number: int) -> list[Coverage]:
    """Return the coverage of a population at each part."""
    forecasts = list(forecasts_of(workload, seed, number))
    return [_coverage(workload, part, [seen[1:] for seen in forecasts if seen[0] == part]) for part in PARTS]


def _coverage(workload: Workload, part: float, forecasts: Sequence[tuple[JobForecast, float]]) -> Coverage:
    number = len(forecasts)
    return Coverage(
        workload=workload.name,
        part=part,
        forecasts=number,
        p50=sum(forecast.p50.timestamp() >= end for forecast, end in forecasts) / number,
        p90=sum(forecast.p90.timestamp() >= end for forecast, end in forecasts) / number,
    )


def measure(quick: bool) -> Results:
    """Watch the jobs of all populations."""
    number = _QUICK_JOBS if quick else _JOBS
    covered = [coverage for workload in (MAIN, *OTHERS, *NEW) for coverage in coverages_of(workload, _SEED, number)]
    return Results(coverages=tuple(covered))


def table(results: Results) -> str:
    """Format the results, and the thresholds."""
    names = dict.fromkeys(coverage.workload for coverage in results.coverages)
    rows = [[name, *_shares(results, name, "p50"), *_shares(results, name, "p90")] for name in names]
    columns = ["population", "p50 at 1/4", "1/2", "3/4", "p90 at 1/4", "1/2", "3/4"]
    title = "Percentage of jobs that end by the p50 and the p90 of their forecast"
    return "\n".join([text_table(title, columns, rows), *map(str, results.thresholds())])


def _shares(results: Results, name: str, quantile: str) -> list[str]:
    return [f"{100 * getattr(one, quantile):.0f}" for one in results.coverages if one.workload == name]
