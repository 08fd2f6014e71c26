"""A server on a real socket that does as badly as it is told for its first visits, and well from then on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from loopback import http_answer

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


class FaultyServer:
    """Misbehaves on its first visits; listens, if asked to, only later.

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
        self.paths: list[str] = []
        self.sent = 0
        self.job = job
        self._deed = deed
        self._left = times
        self._tls = tls
        self._visitors: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        self.port: int = bound.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=bound, ssl=self._tls, start_serving=False)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for visitor in self._visitors:
            visitor.cancel()
        await asyncio.gather(*self._visitors, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed just now closes at the next turn

    async def listen(self) -> None:
        """Accept connections, which are refused until then."""
        await self._server.start_serving()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._visitors.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(self, reader, writer)
        try:
            while await self._is_to_go_on(visit):
                pass
        except (asyncio.IncompleteReadError, OSError):
            return  # the client has gone
        finally:
            writer.close()

    async def _is_to_go_on(self, visit: Visit) -> bool:
        if self._left > 0:
            self._left -= 1
            return await self._deed(visit)
        await visit.answer()
        return True
