"""CPU time of a poll. This package alone is compared with an earlier commit, and with a transport, with plain aiohttp.

The compared methods take turns, in rounds of a few hundredths of a second. A busy machine can only increase the CPU
time of a round, and most for the method with the most code, because its cached code and data are evicted. So the
fastest rounds are compared. The quartiles of the ratios of each round show how busy the machine was. CPU time is
`time.process_time` of the client's process; the server is another process.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from attrs import frozen

import clanforge_async
from bench import poll_cost_worker
from bench.loopback import image_version_ids, run_server
from bench.polling_methods import AIOHTTP, WATCHER, WATCHER_ON_AIOHTTP, PollingMethod
from bench.text_table import text_table
from bench.thresholds import Threshold

__all__ = ["measure", "table"]

BASELINE = "6fafb0a"
"""The commit with which this package's own part is compared."""

_ROOT = Path(clanforge_async.__file__).parents[1]
_CONCURRENCY = 10
"""Number of requests in flight: the client's default."""

_POLLS_PER_ROUND = 200
_ROUNDS, _QUICK_ROUNDS = 40, 12
_METHODS = (AIOHTTP, WATCHER_ON_AIOHTTP, WATCHER)
_LIMITS = {WATCHER_ON_AIOHTTP.name: 1.7, WATCHER.name: 4.0}
"""Maximum of each method's CPU time, divided by that of plain aiohttp."""


@frozen(kw_only=True)
class Comparison:
    """CPU time of a poll with two methods that took turns.

    Attributes:
        name: Name of the first method.
        base: Name of the second method.
        limit: Maximum of the ratio.
        cpu_us: Microseconds of the first method in its fastest round.
        base_cpu_us: Microseconds of the second method in its fastest round.
        ratio: The first time divided by the second.
        low: First quartile of the rounds' ratios.
        high: Third quartile.
    """

    name: str
    base: str
    limit: float
    cpu_us: float
    base_cpu_us: float
    ratio: float
    low: float
    high: float

    def threshold(self) -> Threshold:
        """Return the threshold of the ratio."""
        name = f"CPU per poll, {self.name} by {self.base}"
        return Threshold(name=name, value=self.ratio, limit=self.limit, unit="x", is_maximum=True)


@frozen(kw_only=True)
class Results:
    """Results.

    Attributes:
        own_part: This package without a network, compared with the earlier commit; None if git lacks that commit.
        transports: The watcher over each transport, compared with plain aiohttp, on each event loop.
    """

    own_part: Comparison | None
    transports: tuple[Comparison, ...]


def measure(quick: bool) -> Results:
    """Compare for about a minute; if quick, for a quarter of a minute."""
    rounds = _QUICK_ROUNDS if quick else _ROUNDS
    with run_server() as url:
        transports = tuple(
            comparison
            for loop, factory in _loop_factories().items()
            for comparison in _compare_transports(url, loop, factory, rounds)
        )
    return Results(own_part=_compare_own_part(rounds), transports=transports)


def table(results: Results) -> str:
    """Format the comparisons, and the thresholds."""
    comparisons = [*([] if results.own_part is None else [results.own_part]), *results.transports]
    rows = [
        [
            one.name,
            f"{one.cpu_us:.0f}",
            one.base,
            f"{one.base_cpu_us:.0f}",
            f"{one.ratio:.2f}",
            f"{one.low:.2f} to {one.high:.2f}",
        ]
        for one in comparisons
    ]
    columns = ["", "µs", "by", "µs", "ratio", "quartiles of the rounds"]
    skipped = [] if results.own_part else [f"git has no commit {BASELINE}: this package's own part is not compared"]
    title = "CPU time of a poll"
    return "\n".join([text_table(title, columns, rows), *skipped, *(str(one.threshold()) for one in comparisons)])


def _compare(name: str, base: str, limit: float, costs: list[float], base_costs: list[float]) -> Comparison:
    ratios = [cost / base_cost for cost, base_cost in zip(costs, base_costs, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return Comparison(
        name=name,
        base=base,
        limit=limit,
        cpu_us=min(costs),
        base_cpu_us=min(base_costs),
        ratio=min(costs) / min(base_costs),
        low=low,
        high=high,
    )


def _loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return factories
    return {**factories, "uvloop": uvloop.new_event_loop}


def _compare_transports(
    url: str, loop: str, factory: Callable[[], asyncio.AbstractEventLoop], rounds: int
) -> Iterator[Comparison]:
    costs: dict[str, list[float]] = {method.name: [] for method in _METHODS}
    for _ in range(rounds):
        for method in _METHODS:
            gc.collect()
            with asyncio.Runner(loop_factory=factory) as runner:
                costs[method.name].append(runner.run(_cpu_us(url, method)))
    for name, limit in _LIMITS.items():
        yield _compare(f"{name}, {loop}", f"{AIOHTTP.name}, {loop}", limit, costs[name], costs[AIOHTTP.name])


async def _cpu_us(url: str, method: PollingMethod) -> float:
    polls_per_job = _POLLS_PER_ROUND // _CONCURRENCY
    async with method.open(url, _CONCURRENCY) as poll:
        await poll(image_version_ids(_CONCURRENCY, 1))
        began = time.process_time()
        await poll(image_version_ids(_CONCURRENCY, polls_per_job))
        return 1e6 * (time.process_time() - began) / _POLLS_PER_ROUND


def _compare_own_part(rounds: int) -> Comparison | None:
    with tempfile.TemporaryDirectory() as folder:
        if not _extract_baseline(Path(folder)):
            return None
        with _worker(_ROOT) as present, _worker(Path(folder)) as earlier:
            pairs = [(present(), earlier()) for _ in range(rounds + 1)][1:]  # the first imports and fills caches
    costs, base_costs = ([pair[index] for pair in pairs] for index in (0, 1))
    return _compare("this package alone", BASELINE, 0.7, costs, base_costs)


def _extract_baseline(folder: Path) -> bool:
    command = ["git", "-C", str(_ROOT), "archive", "--format=tar", BASELINE, "clanforge_async"]
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603 - a constant command
    except (OSError, subprocess.CalledProcessError):
        return False
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return True


@contextmanager
def _worker(tree: Path) -> Iterator[Callable[[], float]]:
    """Run the worker with the package of a source tree, and yield a function that measures one round."""
    command = [sys.executable, "-P", poll_cost_worker.__file__]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as worker:  # noqa: S603 - a constant command
        assert worker.stdin is not None
        assert worker.stdout is not None
        requests, answers = worker.stdin, worker.stdout

        def measure_round() -> float:
            requests.write(f"{_POLLS_PER_ROUND}\n")
            requests.flush()
            return float(answers.readline())

        yield measure_round
