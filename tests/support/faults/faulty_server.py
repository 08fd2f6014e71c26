"""A server on a real socket that does as badly as it is told for its first visits, and well from then on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from support.loopback_server import Listener, http_answer

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Visit:
    """One request that comes, or was to come, over a connection."""

    def __init__(self, server: FaultyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def head(self) -> str:
        """Read the request."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        self._server.paths.append(head.split()[1].partition("?")[0].removeprefix("/cfp/v1/"))
        return head

    async def begun(self) -> None:
        """Read what comes first, whatever it is."""
        await self._reader.read(65536)

    async def say(self, content: bytes) -> None:
        """Send bytes, whatever they are."""
        self._writer.write(content)
        self._server.sent += len(content)
        await self._writer.drain()

    async def hang(self) -> None:
        """Do nothing for as long as the client stays."""
        while await self._reader.read(65536):
            pass

    def reset(self) -> None:
        """Break the connection instead of closing it."""
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    async def answer(self) -> None:
        """Answer as the API does."""
        await self.say(http_answer(self._server.job(await self.head())))


Deed = Callable[[Visit], Awaitable[bool]]
"""What a server does on a visit; returns whether the connection stays open."""


class FaultyServer(Listener):
    """Misbehaves on its first visits; listens only when it is told to.

    Args:
        deed: How it misbehaves.
        times: On how many visits.
        job: Gives the body of a good answer to a request.
        tls: Has it speak TLS.

    Attributes:
        paths: What was asked for, below the API's prefix, as far as requests were read.
        sent: How many bytes it has sent.
    """

    def __init__(
        self,
        deed: Deed,
        times: float,
        job: Callable[[str], dict[str, Any]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls, waits=True)
        self.paths: list[str] = []
        self.sent = 0
        self.job = job
        self._deed = deed
        self._left = times

    async def misbehave(self, times: float) -> None:
        """Do so again, over other connections."""
        await self.close_connections()
        self._left = times
        self.paths.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(self, reader, writer)
        while await self._is_to_go_on(visit):
            pass

    async def _is_to_go_on(self, visit: Visit) -> bool:
        if self._left > 0:
            self._left -= 1
            return await self._deed(visit)
        await visit.answer()
        return True
