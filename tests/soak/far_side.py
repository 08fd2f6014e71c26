"""The server's process: started, killed and started again on the same port."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from soak.settings import Settings

_TESTS = Path(__file__).parent.parent


class FarSide:
    """The server's process, while there is one.

    Attributes:
        starts: How many there ever were.
        url: Where it listens, when it does.
    """

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.starts = 0
        self._settings = settings
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        # Bound for as long as this lasts, so that nobody else takes the port while no server has it: not even one of
        # the client's own connections, which would then be one to itself.
        self._claim = socket.socket()
        self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._claim.bind(("127.0.0.1", 0))
        self.port: int = self._claim.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()
        self._claim.close()

    async def start(self) -> None:
        """Start a server that knows what those before it have written down."""
        told = [self._settings.to_json(), str(self._directory), str(self.port), str(self.starts)]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "soak.server", *told),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])},
        )
        self.starts += 1
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"listening\n", "the server has not started"

    async def kill(self) -> None:
        """Kill the server, if there is one, in the middle of whatever it does."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            await process.communicate()
