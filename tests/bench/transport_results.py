"""Results of the transport benchmark, their ratios and thresholds."""

from __future__ import annotations

from statistics import median

from attrs import frozen

from bench.thresholds import Threshold


@frozen(kw_only=True)
class Measurement:
    """Results of one polling method at one concurrency: medians over its rounds.

    Attributes:
        method: Name of the method.
        concurrency: Jobs polled at a time, each with a request in flight at almost any moment.
        polls: Polls in each round.
        polls_per_second: Polls per second of the wall clock.
        cpu_us_per_poll: Microseconds of the client process's CPU for one poll.
        cpu_share: The client process's CPU seconds per second of the wall clock: near 1, the client is the bottleneck.
        rates: Polls per second in each round.
        costs: Microseconds of CPU per poll in each round.
    """

    method: str
    concurrency: int
    polls: int
    polls_per_second: float
    cpu_us_per_poll: float
    cpu_share: float
    rates: tuple[float, ...]
    costs: tuple[float, ...]


@frozen(kw_only=True)
class Results:
    """Results of all methods.

    Attributes:
        measurements: The measurements, sorted by concurrency, then in the order of the methods.
        rate_to_httpx: Polls per second over aiohttp, divided by httpx.AsyncClient's, at the highest concurrency.
        cpu_to_aiohttp: CPU per poll over aiohttp, divided by plain aiohttp's, at the highest concurrency.
        default_rate_to_httpx: Polls per second over the default transport, divided by httpx.AsyncClient's, at the
            highest concurrency.
    """

    measurements: tuple[Measurement, ...]
    rate_to_httpx: float
    cpu_to_aiohttp: float
    default_rate_to_httpx: float

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return the thresholds, at the highest concurrency."""
        return (
            Threshold(
                name="polls/s over aiohttp, by httpx.AsyncClient's", value=self.rate_to_httpx, limit=5.0, unit="x"
            ),
            Threshold(
                name="CPU per poll over aiohttp, by plain aiohttp's",
                value=self.cpu_to_aiohttp,
                limit=2.3,
                unit="x",
                is_maximum=True,
            ),
            Threshold(
                name="polls/s over httpx, by httpx.AsyncClient's", value=self.default_rate_to_httpx, limit=1.0, unit="x"
            ),
        )

    @property
    def concurrencies(self) -> list[int]:
        """All concurrencies, from the lowest."""
        return sorted({measurement.concurrency for measurement in self.measurements})

    @property
    def methods(self) -> list[str]:
        """Names of all methods, in order."""
        return list(dict.fromkeys(measurement.method for measurement in self.measurements))

    def of(self, method: str) -> list[Measurement]:
        """Return the measurements of one method, by concurrency."""
        return [measurement for measurement in self.measurements if measurement.method == method]


def summarize(method: str, concurrency: int, polls: int, rounds: tuple[tuple[float, float], ...]) -> Measurement:
    """Summarize the rounds of one method; each is its wall seconds and its CPU seconds."""
    rates = tuple(polls / wall for wall, _ in rounds)
    costs = tuple(1e6 * cpu / polls for _, cpu in rounds)
    return Measurement(
        method=method,
        concurrency=concurrency,
        polls=polls,
        polls_per_second=median(rates),
        cpu_us_per_poll=median(costs),
        cpu_share=median(cpu / wall for wall, cpu in rounds),
        rates=rates,
        costs=costs,
    )


def ratio(numerators: tuple[float, ...], denominators: tuple[float, ...]) -> float:
    """Return the median of the ratios of adjacent rounds.

    The machine is equally busy in adjacent rounds. A ratio of medians would not use that.
    """
    return median(one / other for one, other in zip(numerators, denominators, strict=True))
