"""The benchmark's poller that knows each population exactly."""

from __future__ import annotations

import pytest
from attrs import evolve
from bench.exact_reference import POPULATIONS, Observation, Population, Posterior, poll_times
from bench.planned import PlannedJob
from bench.simulated_watch import cost_of_polls

EVERY_POPULATION = pytest.mark.parametrize("population", POPULATIONS, ids=lambda population: population.workload.name)


def jobs_of(population: Population, number: int) -> list[PlannedJob]:
    return [evolve(job, fails_after=None) for job in population.workload.jobs(5, number)]


@EVERY_POPULATION
def test_the_end_is_among_the_possible_ones(population: Population) -> None:
    """After polls of its wait and its run, a job's end is among those that its posterior has, which narrow."""
    for job in jobs_of(population, 12):
        end = job.started + job.duration
        moments = [job.created, *(job.started + part * job.duration for part in (0.1, 0.5, 0.9))]
        polls = [Observation.of(job, moment + 0.01) for moment in moments]
        widths = list[float]()
        for number in range(1, len(polls) + 1):
            posterior = Posterior(population, polls[:number], job.created)
            possible = [i for i, weight in enumerate(posterior.weights) if weight > 0]
            first, last = posterior.ends[possible[0]], posterior.ends[possible[-1] + 1]
            assert number == 1 or first - 1 <= end <= last + 1
            widths.append(last - first)
        assert widths[-1] < widths[1]


@EVERY_POPULATION
def test_the_exact_poller_costs_more_than_the_bound(population: Population) -> None:
    """It costs more than a poller that knows the end, and not much more."""
    jobs = [job for job in jobs_of(population, 12) if job.duration < 200][:6]
    polls = [poll_times(population, job) for job in jobs]
    result = cost_of_polls(jobs, polls, failing=population.workload.failing, names=("", ""))
    assert 1 < result.over_bound < 2.2
    for job, moments in zip(jobs, polls, strict=True):
        assert moments[-2] < job.ended <= moments[-1]
