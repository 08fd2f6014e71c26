"""Populations of jobs to judge polling by, each drawn from a seed.

`MAIN` is the world as it is thought to be. Each of the others changes what its name says and leaves the rest as it is.
A population is a Latin hypercube sample: each trait is drawn once from each of as many slices of equal probability as
there are jobs, in random order. A few hundred jobs then have the mean duration, and the few very long ones, that
would else take thousands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from statistics import NormalDist
from typing import NamedTuple

from attrs import frozen

from bench.planned import PlannedJob
from bench.signs import Estimate, Progress

Quantile = Callable[[float], float]
"""A distribution: its value for each probability between 0 and 1."""

_CREATED_WITHIN = 3600.0
"""Seconds over which the creation of the jobs is spread."""

_SHORTEST, _MEDIAN, _LONGEST = 20.0, 8 * 60.0, 4 * 3600.0
_LOGARITHM = NormalDist(math.log(_MEDIAN), 1.0)
"""Of a duration. So wide that one job in a thousand would lie beyond the shortest or the longest."""


def always(value: float) -> Quantile:
    """Return the distribution of what is the same each time."""
    return lambda _: value


def uniform(least: float, most: float) -> Quantile:
    """Return the distribution of what can be anything between two values."""
    return lambda chance: least + (most - least) * chance


def one_of(*values: float) -> Quantile:
    """Return the distribution of what is one of some values, each as likely as the next."""
    return lambda chance: values[int(chance * len(values))]


def exponential(mean: float) -> Quantile:
    """Return the distribution of the time until something that can come at any moment."""
    return lambda chance: -mean * math.log1p(-chance)


def log_normal(chance: float) -> float:
    """Return a duration as those of builds are: most take minutes, a few take hours."""
    return min(max(math.exp(_LOGARITHM.inv_cdf(chance)), _SHORTEST), _LONGEST)


class _Chances(NamedTuple):
    """What decides on one job: for each of its traits a number between 0 and 1."""

    created: float
    queued_for: float
    takes: float
    fails: float
    fails_after: float
    is_estimated: float
    is_estimated_in_queue: float
    bias: float
    renewed_every: float
    power: float
    step: float
    stalls_at: float
    stalls_for: float


_NOTHING, _SINGLE = always(0), always(1)
_SHORT_QUEUE = exponential(30)
_EITHER_WAY = uniform(-0.2, 0.2)
_FROM_FLAT_TO_STEEP = uniform(0.75, 1.35)


@frozen(kw_only=True)
class Workload:
    """A population of jobs.

    Attributes:
        name: What it is called in tables.
        queued_for: Seconds in the queue.
        takes: Seconds of running.
        failing: The share of jobs that fail, each at a random moment of its run.
        estimated: The share of jobs with an estimate.
        estimated_in_queue: The share of those that have one before they run.
        bias: See `Estimate`, likewise ``improves`` and ``renewed_every``.
        power: See `Progress`, likewise ``step``, ``stalls_at`` and ``stalls_for``.
    """

    name: str
    queued_for: Quantile = _SHORT_QUEUE
    takes: Quantile = log_normal
    failing: float = 0.07
    estimated: float = 0.85
    estimated_in_queue: float = 1.0
    bias: Quantile = _EITHER_WAY
    improves: bool = True
    renewed_every: Quantile = _NOTHING
    power: Quantile = _FROM_FLAT_TO_STEEP
    step: Quantile = _SINGLE
    stalls_at: Quantile = _NOTHING
    stalls_for: Quantile = _NOTHING

    def jobs(self, seed: int, number: int) -> list[PlannedJob]:
        """Return a population of so many jobs; the same seed and number give the same one."""
        rng = Random(f"{self.name}/{seed}")
        chances = map(_Chances._make, zip(*(_evenly(rng, number) for _ in _Chances._fields), strict=True))
        return [self._job(job_id, chance) for job_id, chance in enumerate(chances, 1)]

    def _job(self, job_id: int, chance: _Chances) -> PlannedJob:
        takes = self.takes(chance.takes)
        return PlannedJob(
            id=job_id,
            created=_CREATED_WITHIN * chance.created,
            queued_for=self.queued_for(chance.queued_for),
            takes=takes,
            fails_after=takes * chance.fails_after if chance.fails < self.failing else None,
            progress=self._progress(chance),
            estimate=self._estimate(chance) if chance.is_estimated < self.estimated else None,
        )

    def _progress(self, chance: _Chances) -> Progress:
        return Progress(
            power=self.power(chance.power),
            step=int(self.step(chance.step)),
            stalls_at=self.stalls_at(chance.stalls_at),
            stalls_for=self.stalls_for(chance.stalls_for),
        )

    def _estimate(self, chance: _Chances) -> Estimate:
        return Estimate(
            bias=self.bias(chance.bias),
            improves=self.improves,
            renewed_every=self.renewed_every(chance.renewed_every),
            while_queued=chance.is_estimated_in_queue < self.estimated_in_queue,
        )


def _evenly(rng: Random, number: int) -> Iterator[float]:
    slices = list(range(number))
    rng.shuffle(slices)
    return ((one + rng.random()) / number for one in slices)


MAIN = Workload(name="main")
OTHERS = (
    Workload(name="short jobs", queued_for=uniform(0, 5), takes=uniform(3, 45)),
    Workload(name="long queues", queued_for=uniform(300, 3600), takes=uniform(30, 300), estimated_in_queue=0.5),
    Workload(name="coarse progress", step=one_of(5, 10, 25)),
    Workload(name="optimistic estimates", bias=uniform(-0.4, 0), renewed_every=uniform(60, 300), estimated=1.0),
    Workload(name="constant bias", improves=False, estimated=1.0),
    Workload(name="no estimates", estimated=0.0),
    Workload(name="stalling progress", stalls_at=uniform(0.3, 0.7), stalls_for=uniform(0.05, 0.25)),
)
