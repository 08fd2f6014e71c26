"""Few polls and quick notice: a small run of the benchmark, and that its jobs are what it says they are."""

from __future__ import annotations

import functools
import itertools
import statistics
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import asdict
from bench.planned import START, PlannedJob
from bench.signs import Progress
from bench.strategies import DEFAULT, FIXED_10, Strategy
from bench.watching import Notice, notice
from bench.workloads import MAIN, OTHERS, Workload

from clanforge_async import JobKind, JobState, job_from_dict

EVERY_POPULATION = pytest.mark.parametrize("workload", [MAIN, *OTHERS], ids=lambda workload: workload.name)


@functools.cache
def on_main(strategy: Strategy) -> Notice:
    return notice(MAIN.jobs(seed=1, number=20), strategy)


def test_fewer_requests_and_sooner_notice_than_fixed_polling() -> None:
    """Next to fixed polling `until_eta` sends a third of the requests, and notices the end sooner all the same."""
    assert on_main(DEFAULT).requests < on_main(FIXED_10).requests / 3
    assert on_main(DEFAULT).delay < on_main(FIXED_10).delay


def test_the_product_is_a_fraction_of_that_of_fixed_polling() -> None:
    """Requests times delay, which is much the same at every fixed interval, is a quarter of that or less."""
    assert on_main(DEFAULT).product < on_main(FIXED_10).product / 4


def test_the_same_seed_gives_the_same_figures() -> None:
    """Nothing but the seed decides: a second run comes out the same to the last digit."""
    assert notice(MAIN.jobs(seed=1, number=20), DEFAULT) == on_main(DEFAULT)
    assert MAIN.jobs(seed=1, number=20) != MAIN.jobs(seed=2, number=20)


class Pretender(PlannedJob):
    """A job that says it has completed as soon as it runs."""

    def wire(self, now: float) -> dict[str, Any]:
        return super().wire(now) | ({} if now < self.started else {"jobstateid": int(JobState.COMPLETED)})


@pytest.mark.parametrize("fails_after", [None, 0.0])
def test_a_watch_that_ends_wrong_fails_the_measurement(fails_after: float | None) -> None:
    """An end before the job's own, or another outcome than its own, is no figure but an error."""
    job: dict[str, Any] = asdict(MAIN.jobs(seed=1, number=1)[0], recurse=False) | {"fails_after": fails_after}
    with pytest.raises(ExceptionGroup) as caught:
        notice([Pretender(**job)], FIXED_10)
    assert caught.group_contains(AssertionError, match="taken for")


def test_the_main_population_is_as_described() -> None:
    """Durations have a median of 8 minutes within 20 s and 4 h; 15 % have no estimate; 7 % fail while they run."""
    jobs = MAIN.jobs(seed=1, number=2000)
    takes = [job.takes for job in jobs]
    assert statistics.median(takes) == pytest.approx(480, rel=0.01)
    assert min(takes) == 20
    assert 3.5 * 3600 < max(takes) <= 4 * 3600
    assert statistics.fmean(job.queued_for for job in jobs) == pytest.approx(30, rel=0.05)
    assert sum(job.estimate is None for job in jobs) == pytest.approx(0.15 * 2000, abs=1)
    failing = [job.fails_after / job.takes for job in jobs if job.fails_after is not None]
    assert len(failing) == pytest.approx(0.07 * 2000, abs=1)
    assert 0 <= min(failing) < 0.1
    assert 0.9 < max(failing) <= 1


def test_estimates_and_progress_of_the_main_population_are_as_described() -> None:
    """Estimates are biased by up to 20 % either way; progress is bent by powers between 0.75 and 1.35."""
    jobs = MAIN.jobs(seed=1, number=2000)
    biases = [job.estimate.bias for job in jobs if job.estimate is not None]
    assert [min(biases), max(biases)] == pytest.approx([-0.2, 0.2], abs=0.01)
    powers = [job.progress.power for job in jobs]
    assert [min(powers), max(powers)] == pytest.approx([0.75, 1.35], abs=0.01)


def test_estimates_improve_as_the_job_goes_on() -> None:
    """The main population's estimates are off by a part of what remains, so that they are right in the end."""
    job = next(job for job in MAIN.jobs(seed=1, number=100) if job.estimate is not None and job.estimate.bias > 0.1)
    errors = [eta_error(job, fraction) for fraction in (0.0, 0.5, 0.9, 0.99)]
    assert errors[0] > 0.1 * job.takes
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * job.takes


def eta_error(job: PlannedJob, fraction: float) -> float:
    shown: int = job.wire(job.started + fraction * job.takes)["jobeta"]
    return shown - START - job.started - job.takes


@EVERY_POPULATION
def test_jobs_show_what_the_api_shows(workload: Workload) -> None:
    """Queued, then running with a progress that only grows, then ended as planned: in the wire form, and readable."""
    for planned in workload.jobs(seed=1, number=20):
        life = [planned.created + part / 50 * (planned.ended - planned.created) for part in range(50)]
        seen = [job_from_dict(JobKind.IMAGE_VERSION, planned.wire(moment)) for moment in (*life, planned.ended)]
        states = [state for state, _ in itertools.groupby(job.state for job in seen)]
        assert states in ([JobState.QUEUED, JobState.RUNNING, planned.outcome], [JobState.QUEUED, planned.outcome])
        assert all(earlier.progress <= later.progress for earlier, later in itertools.pairwise(seen))
        assert all(job.progress < 100 for job in seen if not job.is_completed)
        assert seen[-1].updated_at == datetime.fromtimestamp(START + int(planned.ended), UTC)


def test_a_stalling_progress_catches_up() -> None:
    """It stands still for its while, and then moves on so that it is whole in time."""
    progress = Progress(stalls_at=0.5, stalls_for=0.25)
    shown = [progress.percentage(fraction) for fraction in (0.25, 0.5, 0.6, 0.75, 0.875, 0.999)]
    assert shown == [25, 50, 50, 50, 75, 99]


def test_an_estimate_that_is_renewed_stays_in_between() -> None:
    """Optimistic estimates of a server that renews them every few minutes pass before they are mended."""
    workload = next(workload for workload in OTHERS if workload.name == "optimistic estimates")
    job = max(workload.jobs(seed=1, number=50), key=lambda job: job.takes)
    assert job.estimate is not None
    assert 60 <= job.estimate.renewed_every <= 300
    shown = [job.wire(job.started + second)["jobeta"] for second in range(int(job.takes))]
    renewals = sum(later != earlier for earlier, later in itertools.pairwise(shown))
    assert renewals == int(job.takes // job.estimate.renewed_every)
    assert shown[0] < START + job.started + job.takes
