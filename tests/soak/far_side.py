"""The server's process, which can be killed, and those that stand by to take its port over."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from soak.settings import Settings

_TESTS = Path(__file__).parent.parent


class FarSide:
    """Servers, one after the other.

    Args:
        directory: Where their journals are.
        number: How many there are to be.

    Attributes:
        servers: How many have served.
        port: Where they listen.
        url: The same as an address.
    """

    def __init__(self, directory: Path, number: int) -> None:
        self.servers = 0
        self._directory = directory
        self._number = number
        self._serving: Process | None = None
        self._standing_by: deque[Process] = deque()

    async def __aenter__(self) -> Self:
        # Bound for as long as this lasts, so that nobody else takes the port while no server has it: not even one of
        # the client's own connections, which would then be one to itself.
        self._claim = socket.socket()
        self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._claim.bind(("127.0.0.1", 0))
        self.port: int = self._claim.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._standing_by.extend(await asyncio.gather(*map(self._ready, range(self._number))))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()
        for process in self._standing_by:
            await _killed(process)
        self._claim.close()

    async def take_over(self, settings: Settings) -> None:
        """Have the next server serve the jobs of these settings."""
        self._serving = self._standing_by.popleft()
        assert self._serving.stdin is not None
        self._serving.stdin.write(settings.to_json().encode() + b"\n")
        await _says(self._serving, b"listening\n")
        self.servers += 1

    async def kill(self) -> None:
        """Kill the server that serves, if one does, in the middle of whatever it does."""
        if self._serving is not None:
            serving, self._serving = self._serving, None
            await _killed(serving)

    async def _ready(self, predecessors: int) -> Process:
        told = [str(self._directory), str(self.port), str(predecessors)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "soak.server", *told),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])},
        )
        await _says(process, b"ready\n")
        return process


async def _says(process: Process, line: bytes) -> None:
    assert process.stdout is not None
    assert await process.stdout.readline() == line, "the server has not started"


async def _killed(process: Process) -> None:
    process.kill()
    await process.communicate()
