"""Watches without a client: the decisions of a watch, and a planned job's responses to its polls.

The times of the polls are those of `JobWatcher` with a `PlannedServer`, but the simulation takes a tenth of the time.
Since a failure ends the watch, it cannot change earlier polls: the polls of a job that completes also give the cost of
every possible failure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from attrs import evolve, frozen

from bench.lower_bound import Cost, lower_bound
from bench.planned import PlannedJob, unix
from bench.planned_server import LATENCY
from clanforge_async import JobKind, JobRef, job_from_dict, until_eta
from clanforge_async._polling.server_clock import DateClock
from clanforge_async._polling.strategy import Interval
from clanforge_async._watching.decisions import PollAgain, PollResult, decide
from clanforge_async._watching.state import WatchPolicy, WatchState

POLL_WORTH, MAX_PAUSE = until_eta().poll_worth, until_eta().max

_PARTS = 4
"""Number of parts into which each pause is divided: a run may fail in any part, for the percentiles of the delay."""


@frozen(kw_only=True)
class CostResult:
    """Cost of one strategy on one population: the expected value over all times at which each job may fail.

    Attributes:
        strategy: Name of the strategy.
        workload: Name of the population.
        requests: Mean number of requests per job.
        delay: Mean seconds from a job's end to the end of its watch.
        delay_completed: Mean seconds from the end of a completed job to the end of its watch.
        delay_p95: 95th percentile of the delay.
        cost: Seconds of delay, plus the cost of the requests in seconds.
        over_bound: Cost divided by the lower bound, which includes the first poll and the latency.
    """

    strategy: str
    workload: str
    requests: float
    delay: float
    delay_completed: float
    delay_p95: float
    cost: float
    over_bound: float


def poll_states(
    job: PlannedJob, interval: Interval, state: WatchState | None = None
) -> Iterator[tuple[float, WatchState]]:
    """Yield the server's time of each status, with the watch's state after it; the last status is terminal."""
    policy, clock = WatchPolicy(interval=interval), DateClock()
    state = state or WatchState(ref=JobRef.image_version(job.id), began=job.created)
    began = job.created
    while True:
        moment, at = began + LATENCY / 2, began + LATENCY
        seen = job_from_dict(JobKind.IMAGE_VERSION, job.wire(moment))
        clock = clock.observe(unix(moment), began, at)
        now = datetime.fromtimestamp(clock.now(), UTC)
        result = PollResult(seen=seen, at=at, server_time=max(now, seen.updated_at))
        decision = decide(state, result, policy)
        yield moment, decision.state
        if not isinstance(decision, PollAgain):
            return
        state, began = decision.state, at + decision.after


def poll_times(job: PlannedJob, interval: Interval, state: WatchState | None = None) -> list[float]:
    """Return the server's time of each status that a watch polls. The last status is terminal."""
    return [moment for moment, _ in poll_states(job, interval, state)]


class _JobCost:
    """Cost of one job that completes at its planned time, or fails before."""

    def __init__(self, job: PlannedJob, polls: Sequence[float], failing: float) -> None:
        end, before = job.started + job.duration, job.started
        self.delay_completed = polls[-1] + LATENCY / 2 - end
        self.delays = [(self.delay_completed, 1 - failing)]
        requests, delay = (1 - failing) * len(polls), (1 - failing) * self.delay_completed
        for count, poll in enumerate(polls, 1):
            share = max(min(poll, end) - before, 0.0) / job.duration
            if share > 0:
                late = poll + LATENCY / 2 - before
                width = share * job.duration / _PARTS
                self.delays += [(late - (part + 0.5) * width, failing * share / _PARTS) for part in range(_PARTS)]
                requests += failing * share * count
                delay += failing * share * (late - share * job.duration / 2)
                before = poll
        self.cost = Cost(requests, delay)
        bound = lower_bound(job.duration, failing, POLL_WORTH, MAX_PAUSE)
        self.bound = Cost(bound.requests + 1, bound.delay + LATENCY).total(POLL_WORTH)


def expected_cost(
    jobs: Sequence[PlannedJob],
    interval: Interval,
    *,
    failing: float,
    names: tuple[str, str] = ("", ""),
    states: Sequence[WatchState] | None = None,
) -> CostResult:
    """Return the expected cost of watching each job from its creation to its end.

    Args:
        jobs: The jobs.
        interval: The strategy.
        failing: Share of the jobs that fail, each at any time of its run.
        names: Names of the strategy and of the population.
        states: The initial states of the watches; None: new ones.
    """
    completing = [evolve(job, fails_after=None) for job in jobs]
    polls = [poll_times(job, interval, states[number] if states else None) for number, job in enumerate(completing)]
    return cost_of_polls(completing, polls, failing=failing, names=names)


def cost_of_polls(
    jobs: Sequence[PlannedJob], polls: Sequence[Sequence[float]], *, failing: float, names: tuple[str, str]
) -> CostResult:
    """Return the expected cost of the polls of completing jobs, given the times of the statuses of each."""
    costs = [_JobCost(job, times, failing) for job, times in zip(jobs, polls, strict=True)]
    requests = statistics.fmean(job.cost.requests for job in costs)
    delay = statistics.fmean(job.cost.delay for job in costs)
    cost = Cost(requests, delay).total(POLL_WORTH)
    return CostResult(
        strategy=names[0],
        workload=names[1],
        requests=requests,
        delay=delay,
        delay_completed=statistics.fmean(job.delay_completed for job in costs),
        delay_p95=_percentile(sorted(pair for job in costs for pair in job.delays), 0.95),
        cost=cost,
        over_bound=cost / statistics.fmean(job.bound for job in costs),
    )


def _percentile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    total, passed = math.fsum(weight for _, weight in weighted), 0.0
    for value, weight in weighted:
        passed += weight
        if passed >= share * total:
            return value
    return math.nan
