"""The suite's server, run by Node on a free port of loopback."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from attrs import frozen

_START_TIMEOUT = 60.0
_STARTED = re.compile(rb"Started server on port (\d+)")
_LOAD_ON_LOOPBACK = """
const net = require("node:net");
const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (port, ...rest) { return listen.call(this, port, "127.0.0.1", ...rest); };
process.stdin.on("end", () => process.exit()).resume();
require(process.argv[1]);
"""
"""Loads the server so that it listens on loopback only, and stops when its standard input ends."""

_COVERAGE_CATEGORIES = ("azure", "optional")
_COVERED = re.compile(r"LRO(?!.*Parameterized)|CustomHeaderP")
"""Matches the suite's names in the coverage report, which lists those of other swagger files as well."""


@frozen
class Server:
    """The suite's server while it runs.

    Attributes:
        base_url: Its address.
    """

    base_url: httpx.URL

    async def read_coverage(self) -> dict[str, int]:
        """Return how often each scenario was seen to its end, as the server counts."""
        async with httpx.AsyncClient(base_url=self.base_url, trust_env=False) as client:
            reports = [(await client.get(f"/report/{category}")).json() for category in _COVERAGE_CATEGORIES]
        return {name: count for report in reports for name, count in report.items() if _COVERED.match(name)}


def read_swagger(package: Path) -> Mapping[str, Any]:
    """Return the description of the long-running operations in the server's npm package."""
    swagger: Mapping[str, Any] = json.loads((package / "swagger" / "lro.json").read_text(encoding="utf-8-sig"))
    return swagger


@asynccontextmanager
async def run_server(package: Path) -> AsyncIterator[Server]:
    """Run the server of an npm package.

    Raises:
        RuntimeError: It does not start; the message holds its output.
    """
    program = package / "dist" / "cli" / "cli.js"
    with tempfile.TemporaryDirectory() as directory:
        process = await asyncio.create_subprocess_exec(
            *("node", "--eval", _LOAD_ON_LOOPBACK, str(program), "--port", "0", "--coverageDirectory", directory),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        reading = asyncio.create_task(_read_output(process.stdout, port))
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await port
            yield Server(httpx.URL(f"http://127.0.0.1:{port.result()}"))
        finally:
            process.stdin.close()
            await reading
            await process.wait()


async def _read_output(output: asyncio.StreamReader, port: asyncio.Future[int]) -> None:
    """Read to the end, since a full pipe would stop the server."""
    lines: list[bytes] = []
    async for line in output:
        lines.append(line)
        if (match := _STARTED.search(line)) and not port.done():
            port.set_result(int(match[1]))
    if not port.done():
        port.set_exception(RuntimeError(f"the server did not start:\n{b''.join(lines).decode(errors='replace')}"))
