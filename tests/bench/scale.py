"""Ten thousand watches on one event loop and one client: what each costs, who waits, how they begin and end.

Time is virtual, so that only the CPU's is spent. The cost of a poll is `time.process_time` over many of them, the
server's part included, which is the same for few watches and for many; few and many take turns. Memory is what
`tracemalloc` counts after so many polls that a watch's memory is full.
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

from bench.bars import Bar
from bench.endless_server import EndlessServer
from bench.tables import text
from clanforge_async import ClanforgeClient, JobRef, JobWatcher
from clanforge_async.testing import VirtualTimeLoop

T = TypeVar("T")

_FEW = 100
_UNTIL_FULL = 5
"""Polls after which a watch remembers no more than before."""

_KIB = 1024


@frozen(kw_only=True)
class Figures:
    """What so many watches take.

    Attributes:
        watches: How many there were.
        cost_of_few: Microseconds of CPU a poll, with a hundred watches.
        cost_of_many: The same with all of them.
        cost_ratio: The second by the first: the median over the turns.
        bytes_per_watch: What a watch that has been polled often holds.
        most_in_first_second: First polls in the busiest second, by what the rate allows in one.
        rarest: Polls of the job that got the fewest, by those of the one that got the most, while more are due than
            the rate allows.
        longest_wait: The longest pause between two polls of a job then, by that of a perfect rota.
        seconds_to_close: How long the watcher takes to close in the middle of it all.
    """

    watches: int
    cost_of_few: float
    cost_of_many: float
    cost_ratio: float
    bytes_per_watch: float
    most_in_first_second: float
    rarest: float
    longest_wait: float
    seconds_to_close: float

    def bars(self) -> list[Bar]:
        """Return what is demanded of them."""
        few, many = f"{_FEW} watches", f"{self.watches:,} watches"
        return [
            Bar(what=f"CPU a poll, {many} by {few}", figure=self.cost_ratio, bar=1.3, unit="x", is_ceiling=True),
            Bar(what="memory a watch", figure=self.bytes_per_watch / _KIB, bar=8.0, unit="KiB", is_ceiling=True),
            Bar(
                what="first polls in the busiest second, by the rate",
                figure=self.most_in_first_second,
                bar=1.5,
                unit="x",
                is_ceiling=True,
            ),
            Bar(
                what="longest wait for a poll when all are overdue, by a perfect rota's",
                figure=self.longest_wait,
                bar=1.5,
                unit="x",
                is_ceiling=True,
            ),
            Bar(what=f"closing {many}", figure=self.seconds_to_close, bar=1.0, unit="s", is_ceiling=True),
        ]


def measure(quick: bool) -> Figures:
    """Measure it with ten thousand watches; or, quickly, with a tenth of them."""
    watches = 1_000 if quick else 10_000
    costs = [tuple(_run(_cost(number, watches)) for number in (_FEW, watches)) for _ in range(3)]
    rarest, longest_wait = _run(_fairness(watches // 10))
    return Figures(
        watches=watches,
        cost_of_few=median(few for few, _ in costs),
        cost_of_many=median(many for _, many in costs),
        cost_ratio=median(many / few for few, many in costs),
        bytes_per_watch=_run(_memory(1_000)),
        most_in_first_second=_run(_start(watches)),
        rarest=rarest,
        longest_wait=longest_wait,
        seconds_to_close=_run(_close(watches)),
    )


def table(figures: Figures) -> str:
    """Return the figures as lines of text, with the bars."""
    rows = [
        [f"CPU a poll with {_FEW} watches", f"{figures.cost_of_few:.0f} µs"],
        [f"CPU a poll with {figures.watches:,} watches", f"{figures.cost_of_many:.0f} µs"],
        ["memory a watch", f"{figures.bytes_per_watch:,.0f} bytes"],
        ["polls of the rarest by those of the most frequent, all overdue", f"{figures.rarest:.2f}"],
        [f"closing {figures.watches:,} watches", f"{figures.seconds_to_close:.2f} s"],
    ]
    return "\n".join([text("Many watches", ["", ""], rows), *map(str, figures.bars())])


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
    server = EndlessServer(is_noted=False)
    async with _watching(server, watches):
        await server.asked(watches)
        gc.collect()
        began = time.process_time()
        await server.asked(polls)
        return 1e6 * (time.process_time() - began) / polls


async def _memory(watches: int) -> float:
    server = EndlessServer(is_noted=False)
    async with _watching(server, 1):
        pass  # what is imported and built but once is no watch's
    gc.collect()
    tracemalloc.start()
    try:
        async with _watching(server, watches):
            await server.asked(_UNTIL_FULL * watches)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / watches
    finally:
        tracemalloc.stop()


async def _start(watches: int) -> float:
    server, rate = EndlessServer(), watches / 20
    async with _watching(server, watches, max_rate=rate):
        await asyncio.sleep(30)
    firsts = sorted(asked[0] for asked in server.asked_at.values())
    assert len(firsts) == watches, "some were not polled at all"
    return max(bisect.bisect_right(firsts, first + 1) - index for index, first in enumerate(firsts)) / rate


async def _fairness(watches: int) -> tuple[float, float]:
    server, rate = EndlessServer(), watches / 10
    async with _watching(server, watches, max_rate=rate, interval=1.0):
        await asyncio.sleep(100)
    polls = [len(asked) for asked in server.asked_at.values()]
    waits = [later - earlier for asked in server.asked_at.values() for earlier, later in itertools.pairwise(asked)]
    return min(polls) / max(polls), max(waits) / (watches / rate)


async def _close(watches: int) -> float:
    async with _watching(EndlessServer(is_noted=False), watches) as watcher:
        await asyncio.sleep(30)
        began = time.perf_counter()
        await watcher.aclose()
        return time.perf_counter() - began
