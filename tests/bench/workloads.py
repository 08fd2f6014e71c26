"""Populations of jobs for the benchmarks, each drawn from a seed.

`MAIN` is the typical population. Each other population changes the property that its name says. A population is a Latin
hypercube sample: for n jobs, each property has one value from each of n slices of equal probability, in random order. A
few hundred jobs then have the same mean duration, and the same share of very long ones, as thousands of random jobs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from statistics import NormalDist
from typing import NamedTuple

from attrs import frozen

from bench.planned import PlannedJob
from bench.server_models import EtaModel, ProgressModel

Quantile = Callable[[float], float]
"""A distribution, as a function that returns the value for a probability from 0 to 1."""

_CREATION_SECONDS = 3600.0
"""Seconds within which the jobs are created."""

_SHORTEST, _MEDIAN, _LONGEST = 20.0, 8 * 60.0, 4 * 3600.0
_LOGARITHM = NormalDist(math.log(_MEDIAN), 1.0)
"""Normal distribution of a duration's logarithm; one job in a thousand is outside the shortest and the longest."""


def always(value: float) -> Quantile:
    """Return the distribution of a constant."""
    return lambda _: value


def uniform(least: float, most: float) -> Quantile:
    """Return the uniform distribution between two values."""
    return lambda probability: least + (most - least) * probability


def one_of(*values: float) -> Quantile:
    """Return the distribution of a choice among values with equal probability."""
    return lambda probability: values[int(probability * len(values))]


def exponential(mean: float) -> Quantile:
    """Return the exponential distribution with a mean."""
    return lambda probability: -mean * math.log1p(-probability)


def log_normal(probability: float) -> float:
    """Return a typical build duration: most take minutes, a few take hours."""
    return min(max(math.exp(_LOGARITHM.inv_cdf(probability)), _SHORTEST), _LONGEST)


class _Probabilities(NamedTuple):
    """Probabilities that determine one job: a number from 0 to 1 for each property."""

    created: float
    queued_for: float
    duration: float
    fails: float
    fails_after: float
    is_estimated: float
    is_estimated_in_queue: float
    bias: float
    update_interval: float
    power: float
    step: float
    stalls_at: float
    stalls_for: float


_ZERO, _ONE = always(0), always(1)
_SHORT_QUEUE = exponential(30)
_UNBIASED = uniform(-0.2, 0.2)
_TYPICAL_POWER = uniform(0.75, 1.35)


@frozen(kw_only=True)
class Workload:
    """A population of jobs.

    Attributes:
        name: Name in tables.
        queued_for: Seconds in the queue.
        duration: Seconds of the run.
        failing: Share of jobs that fail, each at a random time of its run.
        estimated: Share of jobs with an ETA.
        estimated_in_queue: Share of the jobs with an ETA that have it before they run.
        bias: See `EtaModel`, also for ``improves`` and ``update_interval``.
        power: See `ProgressModel`, also for ``step``, ``stalls_at`` and ``stalls_for``.
    """

    name: str
    queued_for: Quantile = _SHORT_QUEUE
    duration: Quantile = log_normal
    failing: float = 0.07
    estimated: float = 0.85
    estimated_in_queue: float = 1.0
    bias: Quantile = _UNBIASED
    improves: bool = True
    update_interval: Quantile = _ZERO
    power: Quantile = _TYPICAL_POWER
    step: Quantile = _ONE
    stalls_at: Quantile = _ZERO
    stalls_for: Quantile = _ZERO

    def jobs(self, seed: int, number: int) -> list[PlannedJob]:
        """Return a population of a number of jobs; the same arguments return the same jobs."""
        rng = Random(f"{self.name}/{seed}")
        samples = (_stratified_samples(rng, number) for _ in _Probabilities._fields)
        probabilities = map(_Probabilities._make, zip(*samples, strict=True))
        return [self._job(job_id, probability) for job_id, probability in enumerate(probabilities, 1)]

    def _job(self, job_id: int, probability: _Probabilities) -> PlannedJob:
        duration = self.duration(probability.duration)
        return PlannedJob(
            id=job_id,
            created=_CREATION_SECONDS * probability.created,
            queued_for=self.queued_for(probability.queued_for),
            duration=duration,
            fails_after=duration * probability.fails_after if probability.fails < self.failing else None,
            progress=self._progress(probability),
            eta=self._eta(probability) if probability.is_estimated < self.estimated else None,
        )

    def _progress(self, probability: _Probabilities) -> ProgressModel:
        return ProgressModel(
            power=self.power(probability.power),
            step=int(self.step(probability.step)),
            stalls_at=self.stalls_at(probability.stalls_at),
            stalls_for=self.stalls_for(probability.stalls_for),
        )

    def _eta(self, probability: _Probabilities) -> EtaModel:
        return EtaModel(
            bias=self.bias(probability.bias),
            improves=self.improves,
            update_interval=self.update_interval(probability.update_interval),
            while_queued=probability.is_estimated_in_queue < self.estimated_in_queue,
        )


def _stratified_samples(rng: Random, number: int) -> Iterator[float]:
    slices = list(range(number))
    rng.shuffle(slices)
    return ((one + rng.random()) / number for one in slices)


MAIN = Workload(name="main")
SHORT = Workload(name="short jobs", queued_for=uniform(0, 5), duration=uniform(3, 45))
OTHERS = (
    SHORT,
    Workload(name="long queues", queued_for=uniform(300, 3600), duration=uniform(30, 300), estimated_in_queue=0.5),
    Workload(name="coarse progress", step=one_of(5, 10, 25)),
    Workload(name="optimistic estimates", bias=uniform(-0.4, 0), update_interval=uniform(60, 300), estimated=1.0),
    Workload(name="constant bias", improves=False, estimated=1.0),
    Workload(name="no estimates", estimated=0.0),
    Workload(name="stalling progress", stalls_at=uniform(0.3, 0.7), stalls_for=uniform(0.05, 0.25)),
)
NEW = (
    Workload(name="new: pessimistic estimates", bias=uniform(0, 0.6), power=always(1.0)),
    Workload(name="new: steady builds", duration=uniform(600, 1500), queued_for=uniform(0, 600), failing=0.15),
    Workload(name="new: stale and coarse", update_interval=uniform(10, 90), step=one_of(2, 5, 20), failing=0.02),
    Workload(name="new: curved progress", estimated=0.3, power=uniform(0.6, 1.7), queued_for=uniform(5, 120)),
    Workload(name="new: estimated once", bias=uniform(-0.3, 0.3), update_interval=always(math.inf), estimated=1.0),
    Workload(name="new: minutes", duration=uniform(60, 400), bias=uniform(-0.1, 0.3), step=one_of(1, 5)),
    Workload(name="new: busy queue", queued_for=uniform(60, 1200), bias=uniform(-0.3, 0.1), power=uniform(0.9, 1.6)),
)
"""Populations that were made after `until_eta` was tuned, and were never used to tune it."""

LONG_WAIT = Workload(name="half an hour of queue", queued_for=always(1800), duration=always(120), estimated=1.0)
LONG_WAIT_WITHOUT_ETA = Workload(
    name="the same without ETA", queued_for=always(1800), duration=always(120), estimated=0.0
)
