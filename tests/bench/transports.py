"""Polls a second and CPU a poll, over every transport and beside its peers, over loopback.

A round is one contender at one concurrency: as many jobs as the concurrency says, polled without a pause until each is
completed, which the server makes come true after a number of polls that is the same for all of them. Each round has
a fresh event loop and a fresh client, and polls other jobs once before the clock starts, which opens the connections.
The clock stops when the last job is completed. Garbage is collected before each round, and left to Python within it.

Contenders take turns (a, b, c, ..., a, b, c, ...), so that whatever slows the machine down for a while slows all of
them. A first turn is thrown away, but for the speed it shows: it decides of how many polls a contender's rounds are
made, so that they all take about the same time, long enough for about as many polls of each job as a watch makes; at
least three of each, or the concurrency would not last for most of the round. Everybody gets the same number of rounds,
fewer where somebody is too slow for more. Figures are medians over the rounds, ratios the medians of each round's own
ratios. CPU is `time.process_time` of this process; the server runs in another.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time

from attrs import frozen

from bench.contenders import BARE, CALLS, CALLS_ON_AIOHTTP, NAIVE, WATCHER, WATCHER_ON_AIOHTTP, Contender
from bench.loopback import jobs, serving
from bench.tables import text
from bench.transport_figures import Figures, Measurement, measurement, ratio
from bench.transport_picture import draw

__all__ = ["draw", "measure", "table"]

_LEAST_POLLS = 3
"""Polls of each job in a round, at the least."""

_TRIED_POLLS = 30
"""Polls in the turn that is thrown away, of all jobs together, at the least."""

_BUSY = 0.85
"""CPU seconds per second from which on it is the client that limits, and not the server or the machine."""


@frozen(kw_only=True)
class _Effort:
    """How much is measured.

    Attributes:
        contenders: Who, in their order.
        concurrencies: At which concurrencies.
        rounds: How many rounds of each contender at each concurrency, at the most.
        round_seconds: How long a round is to take, more or less.
        patience: Seconds at one concurrency after which no more rounds are begun.
    """

    contenders: tuple[Contender, ...]
    concurrencies: tuple[int, ...]
    rounds: int
    round_seconds: float
    patience: float


_THOROUGH = _Effort(
    contenders=(NAIVE, WATCHER, WATCHER_ON_AIOHTTP, BARE, CALLS, CALLS_ON_AIOHTTP),
    concurrencies=(1, 10, 32, 100),
    rounds=4,
    round_seconds=0.8,
    patience=25.0,
)
_QUICK = _Effort(
    contenders=(NAIVE, WATCHER, WATCHER_ON_AIOHTTP, BARE),
    concurrencies=(1, 100),
    rounds=3,
    round_seconds=0.8,
    patience=12.0,
)


def measure(quick: bool) -> Figures:
    """Run the contenders against each other for about a minute; or, quickly, the main ones for a quarter of one."""
    effort = _QUICK if quick else _THOROUGH
    with serving() as url:
        measurements = tuple(
            found for concurrency in effort.concurrencies for found in _compared(url, concurrency, effort)
        )
    return _figures(measurements)


def table(figures: Figures) -> str:
    """Return the figures as text: polls a second, and in brackets the microseconds of CPU for each."""
    numbers = figures.concurrencies
    rows = [
        [name, *(f"{found.polls_per_second:,.0f} ({found.cpu_us_per_poll:,.0f})" for found in figures.of(name))]
        for name in figures.contenders
    ]
    columns = ["", *(f"{number} at a time" for number in numbers)]
    title = "Polls a second over loopback (µs of CPU for each)"
    return "\n".join([text(title, columns, rows), *map(str, figures.bars()), _limited_by(figures)])


def _figures(measurements: tuple[Measurement, ...]) -> Figures:
    most = max(found.concurrency for found in measurements)
    by_name = {found.contender: found for found in measurements if found.concurrency == most}
    naive, fast = by_name[NAIVE.name], by_name[WATCHER_ON_AIOHTTP.name]
    return Figures(
        measurements=measurements,
        polls_by_naive=ratio(fast.rates, naive.rates),
        cpu_by_bare=ratio(fast.costs, by_name[BARE.name].costs),
        default_by_naive=ratio(by_name[WATCHER.name].rates, naive.rates),
    )


def _compared(url: str, concurrency: int, effort: _Effort) -> list[Measurement]:
    began = time.perf_counter()
    tried = math.ceil(_TRIED_POLLS / concurrency)
    polls: dict[Contender, int] = {}
    for contender in effort.contenders:
        seconds, _ = _round(url, contender, concurrency, tried)
        polls[contender] = max(_LEAST_POLLS, round(tried * effort.round_seconds / seconds))
    rounds: list[list[tuple[float, float]]] = []
    while not rounds or (len(rounds) < effort.rounds and time.perf_counter() - began < effort.patience):
        rounds.append([_round(url, contender, concurrency, polls[contender]) for contender in polls])
    return [
        measurement(contender.name, concurrency, concurrency * polls[contender], results)
        for contender, results in zip(polls, zip(*rounds, strict=True), strict=True)
    ]


def _round(url: str, contender: Contender, concurrency: int, polls: int) -> tuple[float, float]:
    """Return the seconds that a round takes by the wall clock, and of CPU."""
    gc.collect()
    return asyncio.run(_timed(url, contender, concurrency, polls))


async def _timed(url: str, contender: Contender, concurrency: int, polls: int) -> tuple[float, float]:
    async with contender.opened(url, concurrency) as poll:
        await poll(jobs(concurrency, 1))
        wall, cpu = time.perf_counter(), time.process_time()
        await poll(jobs(concurrency, polls))
        return time.perf_counter() - wall, time.process_time() - cpu


def _limited_by(figures: Figures) -> str:
    busy = figures.of(BARE.name)[-1].busy
    limit = "it is the client that limits" if busy > _BUSY else "the server, or whatever else runs here, limits too"
    return f"{BARE.name} at {figures.concurrencies[-1]} used {busy:.0%} of a core: {limit}"
