"""One request to the soak's server: answered by the simulator's app, unless a fault befalls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message
from support.faults.faulty_server import Connection

from clanforge_async.simulator.answers import HANG_UP


class AppConnection(Connection):
    """A visit whose good answers come from an ASGI app.

    Args:
        app: Answers.
        before_response: Told of it before anything of the app's answer is sent.
        reader: Gives what the client sends.
        writer: Takes what the client gets.

    Attributes:
        path: What is asked for; empty until the request is read.
        on_request: Told of that once it is read.
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
    def is_over(self) -> bool:
        """Whether the connection is closed."""
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
        """Answer a request that is read, or hang up on its client where the app does."""
        await self._app(_scope(head, self._writer.close), _nothing_more, self._send)
        self._before_response(self.path)  # should it have hung up instead

    async def _send(self, message: Message) -> None:
        self._before_response(self.path)
        await self.send(_head_of(message) if message["type"] == "http.response.start" else message["body"])


async def _nothing_more() -> Message:
    # What the simulator waits for is that the client leaves; a fault that takes its time takes all of it.
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await never


def _scope(head: str, hang_up: Callable[[], object]) -> dict[str, Any]:
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
        "state": {HANG_UP: hang_up},
    }


def _head_of(message: Message) -> bytes:
    status = HTTPStatus(message["status"])
    lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
    lines += [name + b": " + value for name, value in message["headers"]]
    return b"\r\n".join([*lines, b"", b""])
