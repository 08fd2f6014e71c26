"""A connection of the soak's server whose correct responses come from the simulator's ASGI app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message
from support.faults.faulty_server import Connection

from clanforge_async.simulator.faults import DISCONNECT


class AppConnection(Connection):
    """A connection with one request to an ASGI app.

    Args:
        app: Makes the response.
        before_response: Called with the path before any byte of the app's response is sent.
        reader: Stream from the client.
        writer: Stream to the client.

    Attributes:
        path: Path of the request; empty until it is read.
        on_request: Called with the path as soon as the request is read.
    """

    def __init__(
        self,
        app: ASGIApp,
        before_response: Callable[[str], object],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.path = ""
        self.on_request: Callable[[str], object] = str
        self._app = app
        self._before_response = before_response
        self._reader = reader
        self._writer = writer

    @property
    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._writer.is_closing()

    async def read_request(self) -> str:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        self.path = head.split(" ", 2)[1].partition("?")[0]
        self.on_request(self.path)
        return head

    async def send(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    async def send_response(self) -> None:
        await self.send_response_to(await self.read_request())

    async def send_response_to(self, head: str) -> None:
        """Respond to a request that was read already, or disconnect if the app does."""
        await self._app(_scope(head, self._writer.close), _receive_nothing, self._send)
        self._before_response(self.path)  # in case the app disconnected instead

    async def _send(self, message: Message) -> None:
        self._before_response(self.path)
        await self.send(_response_head(message) if message["type"] == "http.response.start" else message["body"])


async def _receive_nothing() -> Message:
    # The simulator only waits here for the client to disconnect; a slow fault takes its whole time.
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await never


def _scope(head: str, disconnect: Callable[[], object]) -> dict[str, Any]:
    request, *lines = head.rstrip().split("\r\n")
    method, target, _ = request.split(" ")
    path, _, query = target.partition("?")
    headers = [line.split(": ", 1) for line in lines]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "state": {DISCONNECT: disconnect},
    }


def _response_head(message: Message) -> bytes:
    status = HTTPStatus(message["status"])
    lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
    lines += [name + b": " + value for name, value in message["headers"]]
    return b"\r\n".join([*lines, b"", b""])
