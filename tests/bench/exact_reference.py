"""`python -m bench.exact_reference`: the cost of a poller that knows each population exactly, beside `until_eta`.

This poller knows the distributions of durations, waits, biases and powers, how the server makes ETAs and percentages
from them, and the server's exact clock. After each poll it calculates the exact posterior distribution of the end. A
dynamic programme then finds the cheapest pauses, on the assumption that later polls show only whether the job runs.
"""

from __future__ import annotations

import argparse
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise
from statistics import NormalDist

from attrs import evolve, frozen
from rich.console import Console

from bench.planned import START, PlannedJob
from bench.planned_server import LATENCY
from bench.simulated_watch import MAX_PAUSE, POLL_WORTH, CostResult, cost_of_polls, expected_cost
from bench.text_table import text_table
from bench.workloads import MAIN, SHORT, Workload
from clanforge_async import until_eta

_BIASES, _POWERS = (-0.2, 0.2), (0.75, 1.35)
"""Ranges of both uniform distributions, in both populations."""

_FAILING, _MIN_PAUSE = MAIN.failing, until_eta().min
_ENDS, _STARTS = 80, 10
"""Number of points of the grid of ends and, while a job waits, of the grid of starts."""

_MIN_POINTS, _REFINEMENTS = 25, 12
"""Minimum number of possible ends on the grid: below it, a finer grid is made; and how many times at most."""

_STEP, _MIN_STEPS, _MAX_STEPS = 4.0, 20, 400
"""Seconds between two possible poll times, and the limits of their number before the first possible end."""

Interval = tuple[float, float]


@frozen(kw_only=True)
class Population:
    """A population with the densities of its random values.

    Attributes:
        workload: The population.
        durations: Its shortest and longest duration.
        duration: Density of a duration.
        starts: Returns equally probable times until a start, if the job has waited for some seconds.
    """

    workload: Workload
    durations: Interval
    duration: Callable[[float], float]
    starts: Callable[[float], list[float]]


@frozen
class Observation:
    """Content of a poll: the server's times and values, rounded down to whole seconds and percent."""

    at: float
    started: float | None
    eta: float | None
    percent: int

    @classmethod
    def of(cls, job: PlannedJob, at: float) -> Observation:
        wire = job.wire(at)
        started, eta = wire["jobstart"], wire["jobeta"]
        return cls(
            at,
            None if started is None else float(int(started) - START),
            None if eta is None else float(eta - START),
            wire["jobprogress"],
        )


def biases(seen: Observation, start: float, end: float) -> Interval:
    """Return the biases with which the server would show this ETA."""
    if seen.eta is None:
        return _BIASES
    ahead = end - max(seen.at, start)
    return (seen.eta - end) / ahead, (seen.eta + 1 - end) / ahead


def powers(seen: Observation, start: float, end: float) -> Interval:
    """Return the powers with which the server would show this percentage."""
    fraction = (seen.at - start) / (end - start)
    if fraction <= 0:
        return _POWERS
    least = math.log((seen.percent + 1) / 100) / math.log(fraction) if seen.percent < 99 else 0.0
    return least, math.log(seen.percent / 100) / math.log(fraction) if seen.percent else math.inf


def overlap(prior: Interval, intervals: Iterable[Interval]) -> float:
    """Return the length of the intersection; if it is empty, minus the length of the gap."""
    ranges = [prior, *intervals]
    return min(most for _, most in ranges) - max(least for least, _ in ranges)


class Posterior:
    """Distribution of a job's end after some polls: uniform between two points of a grid."""

    ends: list[float]
    weights: list[float]

    def __init__(self, population: Population, polls: list[Observation], created: float) -> None:
        self._population, self._polls, self.now = population, polls, polls[-1].at
        started = polls[-1].started
        if started is None:
            self._starts = [self.now + seconds for seconds in population.starts(self.now - created)]
        else:
            first, latest = max(started, created), min(started + 1, self.now)
            self._starts = [first + (latest - first) * (part + 0.5) / 4 for part in range(4)]
        shortest, longest = population.durations
        self._make_grid(max(self.now, self._starts[0] + shortest), self._starts[-1] + longest)
        for _ in range(_REFINEMENTS):
            possible = [i for i, weight in enumerate(self.weights) if weight > 0]
            if len(possible) >= _MIN_POINTS:
                break
            # In a gap narrower than the grid, the observations contradict each other least.
            possible = possible or [max(range(_ENDS), key=lambda i: self._fit(self._middle(i)))]
            self._make_grid(self.ends[max(possible[0] - 1, 0)], self.ends[min(possible[-1] + 2, _ENDS)])

    def _make_grid(self, least: float, most: float) -> None:
        ratio = (most - self.now + 1) / (least - self.now + 1)
        self.ends = [self.now - 1 + (least - self.now + 1) * math.pow(ratio, part / _ENDS) for part in range(_ENDS + 1)]
        widths = [high - low for low, high in pairwise(self.ends)]
        self.weights = [widths[i] * self._density(self._middle(i)) for i in range(_ENDS)]

    def _middle(self, i: int) -> float:
        return (self.ends[i] + self.ends[i + 1]) / 2

    def _overlaps(self, start: float, end: float) -> Interval:
        running = [seen for seen in self._polls if seen.started is not None and seen.at > start]
        return (
            overlap(_BIASES, (biases(seen, start, end) for seen in self._polls)),
            overlap(_POWERS, (powers(seen, start, end) for seen in running)),
        )

    def _fit(self, end: float) -> float:
        return max(min(self._overlaps(start, end)) for start in self._starts if end > start)

    def _density(self, end: float) -> float:
        density, (shortest, longest) = 0.0, self._population.durations
        for start in self._starts:
            if shortest <= end - start <= longest:
                bias, power = self._overlaps(start, end)
                density += max(bias, 0.0) * max(power, 0.0) * self._population.duration(end - start)
        return density

    def pause(self) -> float:
        """Return the first pause of the dynamic programme."""
        times = self._times()
        ended = self._ended(times)
        halves = ((a + b) / 2 * (v - u) for (u, v), (a, b) in zip(pairwise(times), pairwise(ended), strict=True))
        area = [0.0, *accumulate(halves)]
        costs, best = [0.0] * len(times), 0
        for i in reversed(range(bisect_left(times, self.ends[-1]))):
            best, costs[i] = len(times) - 1, math.inf
            for j in range(bisect_left(times, times[i] + _MIN_PAUSE + LATENCY), len(times)):
                pause = times[j] - times[i]
                if pause > MAX_PAUSE + LATENCY:
                    break
                cost = (1 - ended[i]) * POLL_WORTH + area[j] - area[i] - ended[i] * pause + costs[j]
                if cost < costs[i]:
                    best, costs[i] = j, cost
        return times[best] - self.now - LATENCY

    def _times(self) -> list[float]:
        """Return the possible poll times, from now until one pause after the last possible end."""
        after = self.ends[-1] + _MIN_PAUSE + LATENCY
        bounds = [self.now, *self.ends, after]
        step = max(_STEP, (self.ends[0] - self.now) / _MAX_STEPS)
        times = list[float]()
        for low, high in pairwise(bounds):
            parts = max(math.ceil((high - low) / step), 1)
            if low == self.now or high == after:
                parts = max(parts, _MIN_STEPS)
            times += [low + (high - low) * part / parts for part in range(parts)] if high > low else []
        return [*times, after]

    def _ended(self, times: list[float]) -> list[float]:
        """Return the probability that the job has ended by each time, given that it runs or waits now."""
        start = self._starts[len(self._starts) // 2]
        runs = [(low, high, weight, _FAILING / (high - start)) for low, high, weight in self._cells() if weight > 0]
        begins = max(start, self.now)
        total = math.fsum(weight * (1 - rate * (begins - start)) for *_, weight, rate in runs)
        ended = list[float]()
        for time in times:
            share = 0.0
            for low, high, weight, rate in runs:
                completed = min(max((time - low) / (high - low), 0.0), 1.0)
                share += weight * ((1 - _FAILING) * completed + rate * max(min(time, high) - begins, 0.0))
            ended.append(min(share / total, 1.0))
        return ended

    def _cells(self) -> Iterator[tuple[float, float, float]]:
        return ((low, high, weight) for (low, high), weight in zip(pairwise(self.ends), self.weights, strict=True))


def poll_times(population: Population, job: PlannedJob) -> list[float]:
    """Return the server's time of each status that the poller sees. The last status is terminal."""
    polls, began = list[Observation](), job.created
    while True:
        polls.append(Observation.of(job, began + LATENCY / 2))
        if job.state(polls[-1].at).is_terminal:
            return [seen.at for seen in polls]
        began += LATENCY + Posterior(population, polls, job.created).pause()


def _main_density(seconds: float) -> float:
    return NormalDist(math.log(480), 1.0).pdf(math.log(seconds)) / seconds


def _exponential_starts(_waited: float) -> list[float]:
    return [-30 * math.log1p(-(part + 0.5) / _STARTS) for part in range(_STARTS)]


def _uniform_starts(waited: float) -> list[float]:
    return [max(5 - waited, 0.0) * (part + 0.5) / _STARTS for part in range(_STARTS)]


POPULATIONS = (
    Population(workload=MAIN, durations=(20, 4 * 3600), duration=_main_density, starts=_exponential_starts),
    Population(workload=SHORT, durations=(3, 45), duration=lambda _: 1.0, starts=_uniform_starts),
)


def main() -> None:
    """Compare the exact poller with `until_eta`."""
    parser = argparse.ArgumentParser(prog="python -m bench.exact_reference", description=main.__doc__)
    parser.add_argument("--jobs", type=int, default=150, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=20251122, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()
    rows = list[list[str]]()
    for population in POPULATIONS:
        jobs = [evolve(job, fails_after=None) for job in population.workload.jobs(arguments.seed, arguments.jobs)]
        names = ("exact", population.workload.name)
        exact = cost_of_polls(jobs, [poll_times(population, job) for job in jobs], failing=_FAILING, names=names)
        ours = expected_cost(jobs, until_eta(), failing=_FAILING, names=("until_eta()", names[1]))
        rows += [_row(result) for result in (exact, ours)]
    columns = ["population", "poller", "requests", "delay, s", "completed, s", "x bound"]
    Console(soft_wrap=True).print(text_table("Cost over the lower bound", columns, rows))


def _row(result: CostResult) -> list[str]:
    costs = f"{result.requests:.1f}", f"{result.delay:.2f}", f"{result.delay_completed:.2f}", f"{result.over_bound:.2f}"
    return [result.workload, result.strategy, *costs]


if __name__ == "__main__":
    main()
