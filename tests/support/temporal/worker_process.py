"""A worker in its own process: ``python -m support.temporal.worker_process ADDRESS QUEUE BASE_URL``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

CREDENTIALS = ("demo-access-key", "demo-secret-key")
ACCOUNT = 1234


async def work(arguments: argparse.Namespace) -> None:
    """Poll for the watches of a queue until SIGTERM."""
    from temporalio.client import Client  # noqa: PLC0415 - after the clock was set
    from temporalio.worker import Worker  # noqa: PLC0415 - as above

    from clanforge_async import ClanforgeClient, until_eta  # noqa: PLC0415 - as above
    from clanforge_async.temporal import ClanforgePlugin  # noqa: PLC0415 - as above

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    temporal = await Client.connect(arguments.address)
    options = {"account_service_id": ACCOUNT, "base_url": arguments.base_url, "max_rate": None}
    async with ClanforgeClient(CREDENTIALS, **options) as client:
        plugin = ClanforgePlugin(client, interval=arguments.interval or until_eta())
        async with Worker(temporal, task_queue=arguments.queue, plugins=[plugin]):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await stopped.wait()


class WorkerProcess:
    """A worker that runs in another process.

    Args:
        process: The process.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def kill(self) -> None:
        """Kill the process."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Stop the worker gracefully."""
        await self._end(signal.SIGTERM)

    async def _end(self, signal_number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal_number)
        await self.process.wait()


@asynccontextmanager
async def worker_process(
    address: str, queue: str, base_url: str, *, ahead: float = 0.0, interval: float | None = None
) -> AsyncGenerator[WorkerProcess]:
    """Run a worker in another process, and yield it when it has started to poll.

    Args:
        address: Host and port of the Temporal server.
        queue: The task queue.
        base_url: Base URL of the API.
        ahead: Seconds by which the worker's clock is ahead.
        interval: Seconds between polls; None: the default strategy.
    """
    command = [sys.executable, "-m", __name__, address, queue, base_url, f"--ahead={ahead}"]
    command += [] if interval is None else [f"--interval={interval}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    worker = WorkerProcess(process)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield worker
    finally:
        await worker.kill()


def main() -> None:
    """Run a worker as described by the command-line arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("queue")
    parser.add_argument("base_url")
    parser.add_argument("--ahead", type=float, default=0.0)
    parser.add_argument("--interval", type=float)
    arguments = parser.parse_args()
    if arguments.ahead:
        import time_machine  # noqa: PLC0415 - the benchmark does without it

        time_machine.travel(time.time() + arguments.ahead, tick=True).start()
    asyncio.run(work(arguments))


if __name__ == "__main__":
    main()
