"""Ten thousand watches on one event loop and one client: CPU, memory, fairness, start and close.

Time is virtual, so only CPU time passes. CPU per poll is `time.process_time` over many polls, including the server's
part, which is the same for few watches and for many; the two take turns. Memory is measured by `tracemalloc`, after so
many polls that a watch's state has its full size.
"""

from __future__ import annotations

import asyncio
import bisect
import gc
import itertools
import time
import tracemalloc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, TypeVar

from attrs import frozen

from bench.endless_server import EndlessServer
from bench.text_table import text_table
from bench.thresholds import Threshold
from clanforge_async import ClanforgeClient, JobRef, JobWatcher
from clanforge_async.testing import VirtualTimeLoop

T = TypeVar("T")

_FEW_WATCHES = 100
_POLLS_UNTIL_FULL = 5
"""Polls after which a watch's state no longer grows."""

_BYTES_PER_KIB = 1024


@frozen(kw_only=True)
class Results:
    """Costs of many watches.

    Attributes:
        watches: Number of watches.
        cpu_us_with_few: Microseconds of CPU per poll, with a hundred watches.
        cpu_us_with_many: Microseconds of CPU per poll, with all watches.
        cpu_ratio: The second time divided by the first: the median over the turns.
        bytes_per_watch: Memory of a watch after many polls.
        peak_start_rate: First polls in the busiest second, divided by ``max_rate``.
        min_poll_share: Fewest polls of any job, divided by the most polls of any job, while more polls are due than
            ``max_rate`` allows.
        max_pause_ratio: Longest pause between two polls of a job in that time, divided by the pause if all jobs took
            equal turns.
        seconds_to_close: Seconds to close the watcher while all jobs are watched.
    """

    watches: int
    cpu_us_with_few: float
    cpu_us_with_many: float
    cpu_ratio: float
    bytes_per_watch: float
    peak_start_rate: float
    min_poll_share: float
    max_pause_ratio: float
    seconds_to_close: float

    def thresholds(self) -> list[Threshold]:
        """Return the thresholds."""
        few, many = f"{_FEW_WATCHES} watches", f"{self.watches:,} watches"
        return [
            Threshold(
                name=f"CPU per poll, {many} by {few}", value=self.cpu_ratio, limit=1.3, unit="x", is_maximum=True
            ),
            Threshold(
                name="memory per watch",
                value=self.bytes_per_watch / _BYTES_PER_KIB,
                limit=8.0,
                unit="KiB",
                is_maximum=True,
            ),
            Threshold(
                name="first polls in the busiest second, by the rate limit",
                value=self.peak_start_rate,
                limit=1.5,
                unit="x",
                is_maximum=True,
            ),
            Threshold(
                name="longest pause when all polls are overdue, by that of equal turns",
                value=self.max_pause_ratio,
                limit=1.5,
                unit="x",
                is_maximum=True,
            ),
            Threshold(name=f"closing {many}", value=self.seconds_to_close, limit=1.0, unit="s", is_maximum=True),
        ]


def measure(quick: bool) -> Results:
    """Measure with ten thousand watches; if quick, with a tenth of them."""
    watches = 1_000 if quick else 10_000
    costs = [tuple(_run(_cost(number, watches)) for number in (_FEW_WATCHES, watches)) for _ in range(3)]
    min_poll_share, max_pause_ratio = _run(_fairness(watches // 10))
    return Results(
        watches=watches,
        cpu_us_with_few=median(few for few, _ in costs),
        cpu_us_with_many=median(many for _, many in costs),
        cpu_ratio=median(many / few for few, many in costs),
        bytes_per_watch=_run(_memory(1_000)),
        peak_start_rate=_run(_start(watches)),
        min_poll_share=min_poll_share,
        max_pause_ratio=max_pause_ratio,
        seconds_to_close=_run(_close(watches)),
    )


def table(results: Results) -> str:
    """Format the results and the thresholds."""
    rows = [
        [f"CPU per poll with {_FEW_WATCHES} watches", f"{results.cpu_us_with_few:.0f} µs"],
        [f"CPU per poll with {results.watches:,} watches", f"{results.cpu_us_with_many:.0f} µs"],
        ["memory per watch", f"{results.bytes_per_watch:,.0f} bytes"],
        ["fewest polls of a job by the most, all overdue", f"{results.min_poll_share:.2f}"],
        [f"closing {results.watches:,} watches", f"{results.seconds_to_close:.2f} s"],
    ]
    return "\n".join([text_table("Many watches", ["", ""], rows), *map(str, results.thresholds())])


def _run(measurement: Coroutine[Any, Any, T]) -> T:
    gc.collect()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(measurement)


@asynccontextmanager
async def _watching(
    server: EndlessServer, watches: int, *, max_rate: float | None = None, **options: Any
) -> AsyncIterator[JobWatcher]:
    client = ClanforgeClient(
        ("access key", "secret key"), account_service_id=1, max_rate=max_rate, max_concurrency=100, transport=server
    )
    async with client:
        watcher = JobWatcher(client, **options)
        waiting = asyncio.create_task(watcher.wait_all(map(JobRef.image_version, range(1, watches + 1))))
        await asyncio.sleep(0)
        yield watcher
        await watcher.aclose()
        await waiting


async def _cost(watches: int, polls: int) -> float:
    server = EndlessServer(records_times=False)
    async with _watching(server, watches):
        await server.wait_for_requests(watches)
        gc.collect()
        began = time.process_time()
        await server.wait_for_requests(polls)
        return 1e6 * (time.process_time() - began) / polls


async def _memory(watches: int) -> float:
    server = EndlessServer(records_times=False)
    async with _watching(server, 1):
        pass  # imports and caches do not count as memory of a watch
    gc.collect()
    tracemalloc.start()
    try:
        async with _watching(server, watches):
            await server.wait_for_requests(_POLLS_UNTIL_FULL * watches)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / watches
    finally:
        tracemalloc.stop()


async def _start(watches: int) -> float:
    server, rate = EndlessServer(), watches / 20
    async with _watching(server, watches, max_rate=rate):
        await asyncio.sleep(30)
    firsts = sorted(times[0] for times in server.request_times.values())
    assert len(firsts) == watches, "some were not polled at all"
    return max(bisect.bisect_right(firsts, first + 1) - index for index, first in enumerate(firsts)) / rate


async def _fairness(watches: int) -> tuple[float, float]:
    server, rate = EndlessServer(), watches / 10
    async with _watching(server, watches, max_rate=rate, interval=1.0):
        await asyncio.sleep(100)
    polls = [len(times) for times in server.request_times.values()]
    pauses = [
        later - earlier for times in server.request_times.values() for earlier, later in itertools.pairwise(times)
    ]
    return min(polls) / max(polls), max(pauses) / (watches / rate)


async def _close(watches: int) -> float:
    async with _watching(EndlessServer(records_times=False), watches) as watcher:
        await asyncio.sleep(30)
        began = time.perf_counter()
        await watcher.aclose()
        return time.perf_counter() - began
