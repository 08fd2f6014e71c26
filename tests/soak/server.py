"""The soak's server: a separate program, so that it can be killed.

Its arguments are the folder of its record files, a port, and the number of servers started before it. It prints
"ready", reads the settings as one line from standard input, restores the jobs from its predecessors' records, and
prints "listening". It serves until it is killed or its standard input ends, as it does if the parent process exits.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path

from clanforge_async.simulator import Route, Stale
from soak.connection_handler import ConnectionHandler
from soak.fault_kinds import FaultKind, all_fault_kinds
from soak.records import open_fault_records, open_retry_records
from soak.settings import Settings
from soak.simulator_setup import rebuild_simulator


async def _serve(directory: Path, port: int, number: int) -> None:
    _print_line("ready")
    settings = Settings.from_json(await asyncio.to_thread(sys.stdin.readline))
    with open_retry_records(directory) as retries, open_fault_records(directory) as faults:
        simulator = await rebuild_simulator(settings, retries)
        simulator.faults.add(Stale(settings.stale_for), route=Route.IMAGE_DIFF_STATUS)
        handler = ConnectionHandler(simulator, _random_faults(settings, number), retries, faults)
        await asyncio.start_server(handler.handle, "127.0.0.1", port)
        _print_line("listening")
        await asyncio.to_thread(sys.stdin.read)


def _random_faults(settings: Settings, number: int) -> Callable[[], FaultKind | None]:
    rng, kinds = random.Random(f"{settings.seed}/{number}"), all_fault_kinds(settings.timeout)
    return lambda: rng.choice(kinds) if rng.random() < settings.fault_rate else None


def _print_line(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the parent process reads it


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
