"""Polls per second and CPU per poll on loopback, with each transport and with other libraries.

A round is one polling method at one concurrency: it polls that many jobs without pauses until each completes, which the
server does after a fixed number of polls. Each round has a new event loop and a new client. Before its clock starts, it
polls other jobs once, to open the connections. The clock stops when the last job completes. Garbage is collected before
each round, and by Python as usual during the round.

The methods take turns (a, b, c, ..., a, b, c, ...), so that a machine that is slow for a while slows all of them. A
first turn is discarded except for its speed, which decides the number of polls in a method's rounds: all rounds take
about the same time, and each job gets at least three polls, so that the concurrency lasts for most of the round. All
methods get the same number of rounds, fewer if one is too slow. Results are medians over the rounds, ratios the medians
of each round's own ratios. CPU is `time.process_time` of this process; the server is another process.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time

from attrs import frozen

from bench.loopback import image_version_ids, run_server
from bench.polling_methods import AIOHTTP, CALLS, CALLS_ON_AIOHTTP, HTTPX, WATCHER, WATCHER_ON_AIOHTTP, PollingMethod
from bench.text_table import text_table
from bench.transport_chart import draw
from bench.transport_results import Measurement, Results, ratio, summarize

__all__ = ["draw", "measure", "table"]

_MIN_POLLS = 3
"""Minimum polls of each job in a round."""

_MIN_TRIAL_POLLS = 30
"""Minimum polls in the discarded turn, of all jobs together."""

_MIN_CPU_SHARE = 0.85
"""CPU seconds per second above which the client is the bottleneck, not the server or the machine."""


@frozen(kw_only=True)
class _Settings:
    """Extent of the benchmark.

    Attributes:
        methods: Polling methods, in their order.
        concurrencies: Jobs polled at a time.
        rounds: Maximum rounds of each method at each concurrency.
        round_seconds: Approximate seconds of a round.
        max_seconds: Seconds at one concurrency after which no round starts.
    """

    methods: tuple[PollingMethod, ...]
    concurrencies: tuple[int, ...]
    rounds: int
    round_seconds: float
    max_seconds: float


_FULL = _Settings(
    methods=(HTTPX, WATCHER, WATCHER_ON_AIOHTTP, AIOHTTP, CALLS, CALLS_ON_AIOHTTP),
    concurrencies=(1, 10, 32, 100),
    rounds=4,
    round_seconds=0.8,
    max_seconds=25.0,
)
_QUICK = _Settings(
    methods=(HTTPX, WATCHER, WATCHER_ON_AIOHTTP, AIOHTTP),
    concurrencies=(1, 100),
    rounds=3,
    round_seconds=0.8,
    max_seconds=12.0,
)


def measure(quick: bool) -> Results:
    """Run all methods for about a minute; if quick, the main ones for a quarter of a minute."""
    settings = _QUICK if quick else _FULL
    with run_server() as url:
        measurements = tuple(
            result for concurrency in settings.concurrencies for result in _measure_all(url, concurrency, settings)
        )
    return _results(measurements)


def table(results: Results) -> str:
    """Format polls per second and, in brackets, microseconds of CPU per poll."""
    concurrencies = results.concurrencies
    rows = [
        [name, *(f"{result.polls_per_second:,.0f} ({result.cpu_us_per_poll:,.0f})" for result in results.of(name))]
        for name in results.methods
    ]
    columns = ["", *(f"{concurrency} at a time" for concurrency in concurrencies)]
    title = "Polls per second over loopback (µs of CPU per poll)"
    return "\n".join([text_table(title, columns, rows), *map(str, results.thresholds()), _bottleneck(results)])


def _results(measurements: tuple[Measurement, ...]) -> Results:
    highest = max(result.concurrency for result in measurements)
    by_name = {result.method: result for result in measurements if result.concurrency == highest}
    httpx, on_aiohttp = by_name[HTTPX.name], by_name[WATCHER_ON_AIOHTTP.name]
    return Results(
        measurements=measurements,
        rate_to_httpx=ratio(on_aiohttp.rates, httpx.rates),
        cpu_to_aiohttp=ratio(on_aiohttp.costs, by_name[AIOHTTP.name].costs),
        default_rate_to_httpx=ratio(by_name[WATCHER.name].rates, httpx.rates),
    )


def _measure_all(url: str, concurrency: int, settings: _Settings) -> list[Measurement]:
    began = time.perf_counter()
    trial_polls = math.ceil(_MIN_TRIAL_POLLS / concurrency)
    polls: dict[PollingMethod, int] = {}
    for method in settings.methods:
        seconds, _ = _round(url, method, concurrency, trial_polls)
        polls[method] = max(_MIN_POLLS, round(trial_polls * settings.round_seconds / seconds))
    rounds: list[list[tuple[float, float]]] = []
    while not rounds or (len(rounds) < settings.rounds and time.perf_counter() - began < settings.max_seconds):
        rounds.append([_round(url, method, concurrency, polls[method]) for method in polls])
    return [
        summarize(method.name, concurrency, concurrency * polls[method], results)
        for method, results in zip(polls, zip(*rounds, strict=True), strict=True)
    ]


def _round(url: str, method: PollingMethod, concurrency: int, polls: int) -> tuple[float, float]:
    """Return the wall seconds and the CPU seconds of a round."""
    gc.collect()
    return asyncio.run(_time_round(url, method, concurrency, polls))


async def _time_round(url: str, method: PollingMethod, concurrency: int, polls: int) -> tuple[float, float]:
    async with method.open(url, concurrency) as poll:
        await poll(image_version_ids(concurrency, 1))
        wall, cpu = time.perf_counter(), time.process_time()
        await poll(image_version_ids(concurrency, polls))
        return time.perf_counter() - wall, time.process_time() - cpu


def _bottleneck(results: Results) -> str:
    cpu_share = results.of(AIOHTTP.name)[-1].cpu_share
    bottleneck = "the client" if cpu_share > _MIN_CPU_SHARE else "the server or another process, at least in part"
    return f"{AIOHTTP.name} at {results.concurrencies[-1]} used {cpu_share:.0%} of a core; bottleneck: {bottleneck}"
