"""A small run of the detection delay benchmark, and its populations of jobs."""

from __future__ import annotations

import functools
import itertools
import statistics
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import asdict
from bench.planned import START, PlannedJob
from bench.server_models import ProgressModel
from bench.strategies import DEFAULT, FIXED_10, Strategy
from bench.strategy_run import StrategyResult, run_strategy
from bench.workloads import MAIN, OTHERS, Workload

from clanforge_async import JobKind, JobState, job_from_dict

EVERY_POPULATION = pytest.mark.parametrize("workload", [MAIN, *OTHERS], ids=lambda workload: workload.name)


@functools.cache
def on_main(strategy: Strategy) -> StrategyResult:
    return run_strategy(MAIN.jobs(seed=1, number=20), strategy)


def test_until_eta_sends_fewer_requests_with_less_delay_than_fixed_polling() -> None:
    """Compared with a fixed interval, `until_eta` sends a third of the requests and detects the end sooner."""
    assert on_main(DEFAULT).requests < on_main(FIXED_10).requests / 3
    assert on_main(DEFAULT).delay < on_main(FIXED_10).delay


def test_the_product_is_a_fraction_of_that_of_fixed_polling() -> None:
    """Requests times delay, which is about the same for all fixed intervals, is at most a quarter of it."""
    assert on_main(DEFAULT).product < on_main(FIXED_10).product / 4


def test_the_same_seed_returns_the_same_result() -> None:
    """A second run with the same seed returns exactly the same result."""
    assert run_strategy(MAIN.jobs(seed=1, number=20), DEFAULT) == on_main(DEFAULT)
    assert MAIN.jobs(seed=1, number=20) != MAIN.jobs(seed=2, number=20)


class EarlyCompletedJob(PlannedJob):
    """A job that shows Completed as soon as it runs."""

    def wire(self, now: float) -> dict[str, Any]:
        return super().wire(now) | ({} if now < self.started else {"jobstateid": int(JobState.COMPLETED)})


@pytest.mark.parametrize("fails_after", [None, 0.0])
def test_a_watch_with_a_wrong_result_raises(fails_after: float | None) -> None:
    """A watch that ends before its job, or in another state, is an error."""
    job: dict[str, Any] = asdict(MAIN.jobs(seed=1, number=1)[0], recurse=False) | {"fails_after": fails_after}
    with pytest.raises(ExceptionGroup) as caught:
        run_strategy([EarlyCompletedJob(**job)], FIXED_10)
    assert caught.group_contains(AssertionError, match="taken for")


def test_the_main_population_is_as_described() -> None:
    """Durations have a median of 8 minutes, from 20 s to 4 h; 15 % have no ETA; 7 % fail while they run."""
    jobs = MAIN.jobs(seed=1, number=2000)
    duration = [job.duration for job in jobs]
    assert statistics.median(duration) == pytest.approx(480, rel=0.01)
    assert min(duration) == 20
    assert 3.5 * 3600 < max(duration) <= 4 * 3600
    assert statistics.fmean(job.queued_for for job in jobs) == pytest.approx(30, rel=0.05)
    assert sum(job.eta is None for job in jobs) == pytest.approx(0.15 * 2000, abs=1)
    failing = [job.fails_after / job.duration for job in jobs if job.fails_after is not None]
    assert len(failing) == pytest.approx(0.07 * 2000, abs=1)
    assert 0 <= min(failing) < 0.1
    assert 0.9 < max(failing) <= 1


def test_estimates_and_progress_of_the_main_population_are_as_described() -> None:
    """ETAs are biased by up to 20 % either way; progress follows powers from 0.75 to 1.35."""
    jobs = MAIN.jobs(seed=1, number=2000)
    biases = [job.eta.bias for job in jobs if job.eta is not None]
    assert [min(biases), max(biases)] == pytest.approx([-0.2, 0.2], abs=0.01)
    powers = [job.progress.power for job in jobs]
    assert [min(powers), max(powers)] == pytest.approx([0.75, 1.35], abs=0.01)


def test_estimates_improve_while_a_job_runs() -> None:
    """The error of the main population's ETAs is a fraction of the remaining time, so it ends at 0."""
    job = next(job for job in MAIN.jobs(seed=1, number=100) if job.eta is not None and job.eta.bias > 0.1)
    errors = [eta_error(job, fraction) for fraction in (0.0, 0.5, 0.9, 0.99)]
    assert errors[0] > 0.1 * job.duration
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * job.duration


def eta_error(job: PlannedJob, fraction: float) -> float:
    reported: int = job.wire(job.started + fraction * job.duration)["jobeta"]
    return reported - START - job.started - job.duration


@EVERY_POPULATION
def test_jobs_have_the_format_of_the_api(workload: Workload) -> None:
    """A job is queued, runs with progress that only grows, and ends as planned, in the API's JSON."""
    for planned in workload.jobs(seed=1, number=20):
        life = [planned.created + part / 50 * (planned.ended - planned.created) for part in range(50)]
        seen = [job_from_dict(JobKind.IMAGE_VERSION, planned.wire(moment)) for moment in (*life, planned.ended)]
        states = [state for state, _ in itertools.groupby(job.state for job in seen)]
        assert states in ([JobState.QUEUED, JobState.RUNNING, planned.outcome], [JobState.QUEUED, planned.outcome])
        assert all(earlier.progress <= later.progress for earlier, later in itertools.pairwise(seen))
        assert all(job.progress < 100 for job in seen if not job.is_completed)
        assert seen[-1].updated_at == datetime.fromtimestamp(START + int(planned.ended), UTC)


def test_progress_catches_up_after_a_stop() -> None:
    """Progress stalls for its time, and then catches up before the end."""
    progress = ProgressModel(stalls_at=0.5, stalls_for=0.25)
    reported = [progress.percentage(fraction) for fraction in (0.25, 0.5, 0.6, 0.75, 0.875, 0.999)]
    assert reported == [25, 50, 50, 50, 75, 99]


def test_an_eta_is_constant_between_updates() -> None:
    """Optimistic ETAs that the server updates every few minutes pass before the next update."""
    workload = next(workload for workload in OTHERS if workload.name == "optimistic estimates")
    job = max(workload.jobs(seed=1, number=50), key=lambda job: job.duration)
    assert job.eta is not None
    assert 60 <= job.eta.update_interval <= 300
    reported = [job.wire(job.started + second)["jobeta"] for second in range(int(job.duration))]
    updates = sum(later != earlier for earlier, later in itertools.pairwise(reported))
    assert updates == int(job.duration // job.eta.update_interval)
    assert reported[0] < START + job.started + job.duration
