"""The example service as a process of its own, and what a browser would read from it."""

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
from support.examples.running import EXAMPLES

Rows = dict[str, dict[str, Any]]
"""What is shown of each job, by its reference."""


@frozen
class Service:
    """A service that answers.

    Attributes:
        url: Where.
        process: What runs it.
    """

    url: str
    process: asyncio.subprocess.Process

    async def stop(self) -> str:
        """Ask it to end, as a supervisor does, and return its log."""
        self.process.terminate()
        _, log = await self.process.communicate()
        return log.decode()


@asynccontextmanager
async def service(database: Path, env: dict[str, str], port: int = 0) -> AsyncIterator[Service]:
    """Run the service until the block is left."""
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
        yield Service(url, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def rows(stream: httpx.Response) -> AsyncIterator[Rows]:
    """Follow a stream of server-sent events as the page does; gives all rows after each event."""
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
