"""The server's process, which can be killed, and its standby processes on the same port."""

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


class ServerProcess:
    """A sequence of server processes on one port, of which at most one serves.

    Args:
        directory: Folder of their record files.
        count: Number of processes.

    Attributes:
        servers: Number of processes that have served so far.
        port: Their port on loopback.
        url: Their base URL.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self.servers = 0
        self._directory = directory
        self._count = count
        self._serving: Process | None = None
        self._standby: deque[Process] = deque()

    async def __aenter__(self) -> Self:
        # Keep the port bound throughout, so that nothing takes it while no server runs: not even an outgoing
        # connection of the client, which would then be connected to itself.
        self._bound_socket = socket.socket()
        self._bound_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._bound_socket.bind(("127.0.0.1", 0))
        self.port: int = self._bound_socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._standby.extend(await asyncio.gather(*map(self._start, range(self._count))))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()
        for process in self._standby:
            await _kill(process)
        self._bound_socket.close()

    async def serve(self, settings: Settings) -> None:
        """Let the next standby process serve the jobs of these settings."""
        self._serving = self._standby.popleft()
        assert self._serving.stdin is not None
        self._serving.stdin.write(settings.to_json().encode() + b"\n")
        await _expect_line(self._serving, b"listening\n")
        self.servers += 1

    async def kill(self) -> None:
        """Kill the serving process, if any, in the middle of its work."""
        if self._serving is not None:
            serving, self._serving = self._serving, None
            await _kill(serving)

    async def _start(self, number: int) -> Process:
        arguments = [str(self._directory), str(self.port), str(number)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "soak.server", *arguments),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])},
        )
        await _expect_line(process, b"ready\n")
        return process


async def _expect_line(process: Process, line: bytes) -> None:
    assert process.stdout is not None
    assert await process.stdout.readline() == line, "the server has not started"


async def _kill(process: Process) -> None:
    process.kill()
    await process.communicate()
