"""Cost of jobs without ETA and progress with a `JobHistory`: a correct one, and wrong ones.

Each job has its own label, with the durations of five ended jobs. The logarithms of the durations of a label have a
standard deviation of 0.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from attrs import evolve, frozen

from bench.planned import PlannedJob
from bench.simulated_watch import CostResult, expected_cost
from bench.text_table import text_table
from bench.thresholds import Threshold
from bench.workloads import MAIN, Workload
from clanforge_async import JobHistory, JobRef, JobState, until_eta
from clanforge_async._polling.forecast import ForecastState
from clanforge_async._watching.state import WatchState

__all__ = ["measure", "table"]

_SEED = 20251122
_JOBS, _QUICK_JOBS = 600, 60
_EARLIER, _SIGMA = 5, 0.3
_FACTORS = (1.0, 3.0, 1 / 3)
_ABOVE_99 = 101
"""A progress step that no job reaches, so that there is no progress."""

JobWithHistory = tuple[PlannedJob, list[float]]


@frozen(kw_only=True)
class Results:
    """Results; each list has the cost without a history first, and then with one that is wrong by 1, 3 and 1/3.

    Attributes:
        without_signs: Costs of jobs with neither ETA nor progress.
        with_signs: Costs on the main population.
    """

    without_signs: tuple[CostResult, ...]
    with_signs: tuple[CostResult, ...]

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return the thresholds of the costs with a history, each divided by the cost without."""
        right, long, short = (result.cost / self.without_signs[0].cost for result in self.without_signs[1:])
        spoilt = max(result.cost / self.with_signs[0].cost for result in self.with_signs[1:])
        named = (
            ("cost by history, without signs", right, 0.8),
            ("the same, three times too long", long, 1.1),
            ("the same, three times too short", short, 1.1),
            ("cost by any of them, with signs", spoilt, 1.02),
        )
        return tuple(
            Threshold(name=name, value=value, limit=limit, unit="x", is_maximum=True) for name, value, limit in named
        )


def jobs_with_history(number: int, *, have_signs: bool, seed: int = _SEED) -> list[JobWithHistory]:
    """Return jobs, each with the durations of earlier jobs of the same label."""
    rng = Random(seed)
    workload = MAIN if have_signs else Workload(name="without signs", estimated=0.0)
    population = list[JobWithHistory]()
    for job in workload.jobs(seed, number):
        progress = job.progress if have_signs else evolve(job.progress, step=_ABOVE_99)
        duration, *earlier = (job.duration * math.exp(rng.gauss(0, _SIGMA)) for _ in range(_EARLIER + 1))
        population.append((evolve(job, duration=duration, progress=progress), earlier))
    return population


def cost_by_history(population: Sequence[JobWithHistory], factor: float | None) -> CostResult:
    """Return the cost with a history that is wrong by a factor, or without one."""
    states = list[WatchState]()
    for job, earlier in population:
        history = JobHistory()
        for seconds in () if factor is None else earlier:
            history.add("a", seconds * (factor or 1), JobState.COMPLETED)
        forecast_state = ForecastState(typical=history.expected_duration("a"))
        states.append(WatchState(ref=JobRef.image_version(job.id), began=job.created, forecast_state=forecast_state))
    name = "none" if factor is None else f"{factor:.2g}"
    jobs = [job for job, _ in population]
    return expected_cost(jobs, until_eta(), failing=MAIN.failing, names=("until_eta()", name), states=states)


def measure(quick: bool) -> Results:
    """Run all histories on both populations."""
    number = _QUICK_JOBS if quick else _JOBS
    without_signs, with_signs = (jobs_with_history(number, have_signs=have_signs) for have_signs in (False, True))
    return Results(
        without_signs=tuple(cost_by_history(without_signs, factor) for factor in (None, *_FACTORS)),
        with_signs=tuple(cost_by_history(with_signs, factor) for factor in (None, *_FACTORS)),
    )


def table(results: Results) -> str:
    """Format the results, and the thresholds."""
    columns = ["durations in the history are wrong by", "requests", "delay, s", "cost, s"]
    tables = [
        text_table(title, columns, [[r.workload, f"{r.requests:.1f}", f"{r.delay:.2f}", f"{r.cost:.2f}"] for r in rows])
        for title, rows in (
            ("Without ETA and progress", results.without_signs),
            ("The main population", results.with_signs),
        )
    ]
    return "\n".join([*tables, *map(str, results.thresholds())])
