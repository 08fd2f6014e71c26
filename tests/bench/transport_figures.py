"""What the transport benchmark finds: figures and their ratios."""

from __future__ import annotations

from statistics import median

from attrs import frozen

from bench.bars import Bar


@frozen(kw_only=True)
class Measurement:
    """How one contender did at one concurrency: medians over its rounds.

    Attributes:
        contender: Who.
        concurrency: Jobs polled at a time, each with a request under way at almost any moment.
        polls: How many polls each round was made of.
        polls_per_second: Polls by the wall clock.
        cpu_us_per_poll: Microseconds of the client process's CPU for one poll.
        busy: The client process's CPU seconds per second of the wall clock: near 1, it is the client that limits.
        rates: Polls per second in each round, in their order.
        costs: Microseconds of CPU per poll in each round.
    """

    contender: str
    concurrency: int
    polls: int
    polls_per_second: float
    cpu_us_per_poll: float
    busy: float
    rates: tuple[float, ...]
    costs: tuple[float, ...]


@frozen(kw_only=True)
class Figures:
    """The whole of it.

    Attributes:
        measurements: By concurrency, then in the contenders' order.
        polls_by_naive: Polls per second at the highest concurrency over the fast transport, by the naive peer's.
        cpu_by_bare: CPU a poll there, by bare aiohttp's.
        default_by_naive: Polls per second at the highest concurrency over the default transport, by the naive peer's.
    """

    measurements: tuple[Measurement, ...]
    polls_by_naive: float
    cpu_by_bare: float
    default_by_naive: float

    def bars(self) -> tuple[Bar, ...]:
        """Return what is promised, at the highest concurrency."""
        return (
            Bar(what="polls/s over aiohttp, by httpx.AsyncClient's", figure=self.polls_by_naive, bar=5.0, unit="x"),
            Bar(
                what="CPU a poll over aiohttp, by bare aiohttp's",
                figure=self.cpu_by_bare,
                bar=2.3,
                unit="x",
                is_ceiling=True,
            ),
            Bar(what="polls/s over httpx, by httpx.AsyncClient's", figure=self.default_by_naive, bar=1.0, unit="x"),
        )

    @property
    def concurrencies(self) -> list[int]:
        """At which concurrencies it was measured."""
        return sorted({measurement.concurrency for measurement in self.measurements})

    @property
    def contenders(self) -> list[str]:
        """Who took part."""
        return list(dict.fromkeys(measurement.contender for measurement in self.measurements))

    def of(self, contender: str) -> list[Measurement]:
        """Return one contender's measurements, by concurrency."""
        return [measurement for measurement in self.measurements if measurement.contender == contender]


def measurement(contender: str, concurrency: int, polls: int, rounds: tuple[tuple[float, float], ...]) -> Measurement:
    """Return what the rounds of one contender come to; each is its wall seconds and its CPU seconds."""
    rates = tuple(polls / wall for wall, _ in rounds)
    costs = tuple(1e6 * cpu / polls for _, cpu in rounds)
    return Measurement(
        contender=contender,
        concurrency=concurrency,
        polls=polls,
        polls_per_second=median(rates),
        cpu_us_per_poll=median(costs),
        busy=median(cpu / wall for wall, cpu in rounds),
        rates=rates,
        costs=costs,
    )


def ratio(these: tuple[float, ...], those: tuple[float, ...]) -> float:
    """Return how many times some figures are others: the median of the rounds' own ratios.

    Neighbours in time share the machine's moods, and the ratio of the medians would not.
    """
    return median(this / that for this, that in zip(these, those, strict=True))
