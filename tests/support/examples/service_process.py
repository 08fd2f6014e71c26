"""The example service in its own process, and a reader of its event stream."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from attrs import frozen
from support.examples.example_process import EXAMPLES

Rows = dict[str, dict[str, Any]]
"""Rows by job reference."""


@frozen
class ServiceProcess:
    """A running service.

    Attributes:
        url: Its base URL.
        process: Its process.
    """

    url: str
    process: asyncio.subprocess.Process

    async def stop(self) -> str:
        """Send SIGTERM, as a supervisor does, and return the log."""
        self.process.terminate()
        _, log = await self.process.communicate()
        return log.decode()


@asynccontextmanager
async def run_service(database: Path, env: dict[str, str], port: int = 0) -> AsyncIterator[ServiceProcess]:
    """Run the service until the block exits."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "service", "--port", str(port), "--database", database),
        env=env,
        cwd=EXAMPLES,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        log = await process.stderr.readuntil(b"(Press CTRL+C to quit)\n")
        [url] = re.findall(r"running on (http://\S+)", log.decode())
        yield ServiceProcess(url, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def read_rows(stream: httpx.Response) -> AsyncIterator[Rows]:
    """Read a stream of server-sent events as the page does; yield all rows after each event."""
    shown: Rows = {}
    kind = ""
    async for line in stream.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            changed = {row["ref"]: row for row in json.loads(value)}
            shown = changed if kind == "snapshot" else shown | changed
            yield shown
