"""The soak's server, run as a program of its own so that it can be killed.

It takes a directory for its journals, a port, and the number of servers before it, and says when it is ready. Given the
settings in one line, it makes good what its predecessors have written down, and says when it listens. It serves until
it is killed, or until its standard input ends as it does when who has started it is gone.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path

from clanforge_async.simulator import Route, Stale
from soak.journal import breakdowns_in, retries_in
from soak.kinds import Kind, every_kind
from soak.service import Service
from soak.settings import Settings
from soak.truth import truth


async def _serve(directory: Path, port: int, predecessors: int) -> None:
    _say("ready")
    settings = Settings.from_json(await asyncio.to_thread(sys.stdin.readline))
    with retries_in(directory) as retries, breakdowns_in(directory) as breakdowns:
        simulator = await truth(settings, retries)
        simulator.faults.add(Stale(settings.stale_for), route=Route.IMAGE_DIFF_STATUS)
        service = Service(simulator, _luck(settings, predecessors), retries, breakdowns)
        await asyncio.start_server(service.converse, "127.0.0.1", port)
        _say("listening")
        await asyncio.to_thread(sys.stdin.read)


def _luck(settings: Settings, predecessors: int) -> Callable[[], Kind | None]:
    chance, kinds = random.Random(f"{settings.seed}/{predecessors}"), every_kind(settings.timeout)
    return lambda: chance.choice(kinds) if chance.random() < settings.fault_rate else None


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - whoever has started this reads it


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
