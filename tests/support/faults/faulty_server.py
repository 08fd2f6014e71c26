"""A server on a real socket that misbehaves for a number of requests and then behaves correctly."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from support.loopback_server import Listener, http_answer

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection:
    """The server's end of one connection."""

    def __init__(self, server: FaultyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def read_request(self) -> str:
        """Read the head of a request."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        self._server.paths.append(head.split()[1].partition("?")[0].removeprefix("/cfp/v1/"))
        return head

    async def read_first_bytes(self) -> None:
        """Read the first bytes, HTTP or not."""
        await self._reader.read(65536)

    async def send(self, content: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(content)
        self._server.sent += len(content)
        await self._writer.drain()

    async def wait_for_close(self) -> None:
        """Wait until the client closes the connection."""
        while await self._reader.read(65536):
            pass

    def reset(self) -> None:
        """Make the next close send a reset."""
        tcp_socket: socket.socket = self._writer.get_extra_info("socket")
        tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    async def send_response(self) -> None:
        """Read a request and respond as the API does."""
        await self.send(self._server.response(await self.read_request()))


Misbehaviour = Callable[[Connection], Awaitable[bool]]
"""Handles a connection wrongly; returns whether the connection stays open."""


class FaultyServer(Listener):
    """Misbehaves for the first requests; listens only after `listen`.

    Args:
        misbehaviour: How to handle a connection.
        times: Number of requests or connections to misbehave for.
        job: Returns the body of a correct response, given the head of a request.
        tls: TLS context; None for plain HTTP.

    Attributes:
        paths: Requested paths below the API's prefix, as far as requests were read.
        sent: Number of bytes sent.
    """

    def __init__(
        self,
        misbehaviour: Misbehaviour,
        times: float,
        job: Callable[[str], dict[str, Any]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls, waits=True)
        self.paths: list[str] = []
        self.sent = 0
        self.job = job
        self._misbehaviour = misbehaviour
        self._misbehaviours_left = times

    def response(self, head: str) -> bytes:
        """Return a correct response to a request."""
        return http_answer(self.job(head))

    async def misbehave(self, times: float) -> None:
        """Misbehave again, for new connections."""
        await self.close_connections()
        self._misbehaviours_left = times
        self.paths.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        while await self._serve_request(connection):
            pass

    async def _serve_request(self, connection: Connection) -> bool:
        if self._misbehaviours_left > 0:
            self._misbehaviours_left -= 1
            return await self._misbehaviour(connection)
        await connection.send_response()
        return True
