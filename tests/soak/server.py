"""The soak's server, run as a program of its own so that it can be killed.

It takes the settings, a directory for its journals, a port, and the number of servers before it; prints a line once it
listens; and serves until it is killed, or until its standard input ends as it does when who has started it is gone.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from clanforge_async.simulator import Route, Stale
from soak.journal import breakdowns_in, retries_in
from soak.kinds import KINDS, Kind
from soak.service import Service
from soak.settings import Settings
from soak.truth import restored

_STALE_FOR = 2.0
"""Seconds for which every retried diff goes on to show the run before."""


async def _serve(settings: Settings, directory: Path, port: int, predecessors: int) -> None:
    chance = random.Random(f"{settings.seed}/{predecessors}")

    def draw() -> Kind | None:
        return chance.choice(KINDS) if chance.random() < settings.fault_rate else None

    with retries_in(directory) as retries, breakdowns_in(directory) as breakdowns:
        simulator = await restored(settings, retries)
        simulator.faults.add(Stale(_STALE_FOR), route=Route.IMAGE_DIFF_STATUS)
        service = Service(simulator, draw, retries, breakdowns)
        await asyncio.start_server(service.converse, "127.0.0.1", port)
        print("listening", flush=True)  # noqa: T201 - whoever has started this reads it
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_serve(Settings.from_json(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
