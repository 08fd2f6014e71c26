"""What the transport benchmark finds: figures, ratios and whether they hold."""

from __future__ import annotations

from statistics import median

from attrs import frozen


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
class Bar:
    """A promise, and what became of it.

    Attributes:
        promise: What is compared, as text.
        ratio: The figure: the median of the rounds' own ratios, since neighbours in time share the machine's moods.
        limit: What it may be at the worst.
        is_floor: Whether that is the least, not the most.
        holds: Whether the promise is kept.
    """

    promise: str
    ratio: float
    limit: float
    is_floor: bool
    holds: bool


@frozen(kw_only=True)
class Figures:
    """The whole of it.

    Attributes:
        measurements: By concurrency, then in the contenders' order.
        bars: The promises, at the highest concurrency.
    """

    measurements: tuple[Measurement, ...]
    bars: tuple[Bar, ...]

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


def at_least(limit: float, promise: str, these: tuple[float, ...], those: tuple[float, ...]) -> Bar:
    """Return what became of the promise that some figures are so many times others, or more."""
    ratio = _ratio(these, those)
    return Bar(promise=promise, ratio=ratio, limit=limit, is_floor=True, holds=ratio >= limit)


def at_most(limit: float, promise: str, these: tuple[float, ...], those: tuple[float, ...]) -> Bar:
    """Return what became of the promise that some figures are so many times others, or less."""
    ratio = _ratio(these, those)
    return Bar(promise=promise, ratio=ratio, limit=limit, is_floor=False, holds=ratio <= limit)


def _ratio(these: tuple[float, ...], those: tuple[float, ...]) -> float:
    return median(this / that for this, that in zip(these, those, strict=True))
