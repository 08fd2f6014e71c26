"""The lower bound of the cost of polling, and small runs of the benchmark that compares with it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math

import httpx
import pytest
from attrs import evolve
from bench.lower_bound import best_pauses, lower_bound
from bench.planned import PlannedJob
from bench.planned_server import LATENCY, PlannedServer
from bench.simulated_watch import CostResult, expected_cost, poll_times
from bench.strategies import DEFAULT, EXPONENTIAL, Strategy
from bench.workloads import LONG_WAIT, LONG_WAIT_WITHOUT_ETA, MAIN, NEW, OTHERS, SHORT, Workload
from support.virtual_time import now, run_in_virtual_time

from clanforge_async import ClanforgeClient, JobRef, JobWatcher, until_eta


@functools.cache
def cost_of(workload: Workload, strategy: Strategy = DEFAULT, number: int = 60) -> CostResult:
    return expected_cost(workload.jobs(1, number), strategy.interval, failing=workload.failing)


def total(pauses: list[float], duration: float) -> float:
    """Return the cost of these pauses if 7 % fail and a request is worth 0.15 s."""
    rate, at, cost = 0.07 / duration, 0.0, 0.0
    for pause in pauses:
        cost += 0.15 * (1 - rate * at) + rate * pause * pause / 2
        at += pause
    return cost


@pytest.mark.parametrize("duration", [5.0, 24.0, 90.0, 240.0])
def test_no_other_pauses_cost_less_than_the_bound(duration: float) -> None:
    """Neither another number of pauses nor any shift of time between two of them costs less."""
    bound = lower_bound(duration, 0.07, 0.15, 60).total(0.15)
    for number in range(math.ceil(duration / 60), 30):
        assert total([duration / number] * number, duration) >= bound
    numbers = range(math.ceil(duration / 60), 30)
    fitting = [pauses for number in numbers if (pauses := best_pauses(duration, number, 0.15, 60))]
    best = min(fitting, key=lambda pauses: total(pauses, duration))
    assert total(best, duration) == pytest.approx(bound)
    for one, another in itertools.permutations(range(len(best)), 2):
        shifted = best.copy()
        shifted[one] += 0.1
        shifted[another] -= 0.1
        assert total(shifted, duration) > bound


def test_the_bound_keeps_to_the_longest_pause() -> None:
    """A run of four hours takes 240 requests with pauses of a minute, minus those after a failure."""
    bound = lower_bound(4 * 3600, 0.07, 0.15, 60)
    assert bound.requests == pytest.approx(240 * (1 - 0.07 / 2), rel=0.002)
    assert bound.delay == pytest.approx(0.07 * 30)
    assert lower_bound(4 * 3600, 0.07, 0.15, 1e9).requests < 70


@pytest.mark.parametrize("workload", [MAIN, SHORT], ids=lambda workload: workload.name)
def test_a_simulated_watch_polls_when_the_watcher_does(workload: Workload) -> None:
    """Simulated watches poll at the moments at which `JobWatcher` polls, for jobs that complete and that fail."""
    for job in workload.jobs(3, 8):
        for planned in (job, evolve(job, fails_after=job.duration / 3)):
            assert poll_times(planned, until_eta()) == pytest.approx(polls_of_watcher(planned))


class _Recorder(PlannedServer):
    def __init__(self, job: PlannedJob) -> None:
        super().__init__([job])
        self.times = list[float]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.times.append(now() + LATENCY / 2)
        return await super().handle_async_request(request)


def polls_of_watcher(job: PlannedJob) -> list[float]:
    server = _Recorder(job)

    async def watch() -> None:
        client = ClanforgeClient(("key", "secret"), account_service_id=1, max_rate=None, transport=server)
        async with client, JobWatcher(client) as watcher:
            await asyncio.sleep(job.created)
            await watcher.wait(JobRef.image_version(job.id), check=False)

    run_in_virtual_time(watch())
    return server.times


def test_costs_are_expected_over_the_time_of_failure() -> None:
    """The mean over jobs that fail at many times is the expected cost."""
    job = evolve(MAIN.jobs(1, 30)[7], fails_after=None)
    expected = expected_cost([job], until_eta(), failing=1.0)
    polls = poll_times(job, until_eta())
    requests = delay = 0.0
    for part in range(2000):
        end = job.started + (part + 0.5) / 2000 * job.duration
        count, poll = next((count, poll) for count, poll in enumerate(polls, 1) if poll >= end)
        requests += count / 2000
        delay += (poll + LATENCY / 2 - end) / 2000
    assert expected.requests == pytest.approx(requests, rel=0.01)
    assert expected.delay == pytest.approx(delay, rel=0.01)


def test_main_and_short_jobs_cost_little_more_than_the_bound() -> None:
    """The default costs at most a quarter more than the bound, and three quarters more for short jobs."""
    assert cost_of(MAIN).over_bound <= 1.25
    assert cost_of(SHORT).over_bound <= 1.75
    assert cost_of(MAIN).delay_completed <= 0.5


@pytest.mark.parametrize("workload", [*OTHERS[2:], *NEW], ids=lambda workload: workload.name)
def test_other_populations_cost_little_more_than_the_bound(workload: Workload) -> None:
    """The other populations do too, even those not used for tuning, except the few with vague estimates."""
    assert cost_of(workload, number=30).over_bound <= 1.75
    assert cost_of(workload, number=30).over_bound < cost_of(workload, EXPONENTIAL, 30).over_bound / 2


@pytest.mark.parametrize(("workload", "requests"), [(LONG_WAIT, 20), (LONG_WAIT_WITHOUT_ETA, 30)])
def test_half_an_hour_of_queue_takes_few_requests(workload: Workload, requests: int) -> None:
    """A run of two minutes after half an hour in the queue takes 20 requests with an ETA and 30 without."""
    result = cost_of(workload)
    assert result.requests <= requests
    assert result.delay_p95 <= 15


def test_the_same_seed_has_the_same_cost() -> None:
    """The same seed gives the same cost."""
    assert cost_of(SHORT) == expected_cost(SHORT.jobs(1, 60), until_eta(), failing=SHORT.failing)
