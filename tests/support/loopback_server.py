"""A real server on loopback, for the claims that are about the network: it answers as a function says, and counts."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

Answerer = Callable[[str], Awaitable[bytes | None] | bytes | None]
"""Takes a request's head and gives the bytes to answer with; None drops the connection."""


def http_answer(body: Mapping[str, Any] | bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer as it stands on the wire; an underscore in a header's name is a hyphen."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Listener(ABC):
    """Listens on loopback, has each connection served by a task of its own, and leaves none of them behind.

    Args:
        port: Where; 0: wherever there is room.
        tls: Has it speak TLS.
        waits: Has it refuse connections until it is told to listen.

    Attributes:
        port: Where it listens.
        connections: How many connections it has accepted.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None, *, waits: bool = False) -> None:
        self.port = port
        self.connections = 0
        self._tls = tls
        self._waits = waits
        self._serving: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; that the client goes is no error."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._tls, start_serving=not self._waits
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for _ in range(3):
            await asyncio.sleep(0)  # whoever is being accepted arrives
        await self.hang_up()

    async def listen(self) -> None:
        """Accept connections, where it has waited for that."""
        await self._server.start_serving()

    async def hang_up(self) -> None:
        """Close every connection."""
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._serving.clear()
        await asyncio.sleep(0)  # what was closed just now closes at the next turn

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        serving = asyncio.create_task(self._serve(reader, writer))
        serving.add_done_callback(lambda _: writer.close())  # also if it is cancelled before it has begun
        self._serving.add(serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):  # the client has gone
            await self.serve(reader, writer)


class LoopbackServer(Listener):
    """Speaks as much HTTP as it takes to test a client of it.

    Attributes:
        requests: The heads of all requests, as they came.
    """

    def __init__(self, answer: Answerer, port: int = 0) -> None:
        super().__init__(port)
        self.requests: list[str] = []
        self.answer = answer

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def request_lines(self) -> list[str]:
        """What was asked for, without the query: ``GET /path``."""
        return [" ".join(head.partition("?")[0].split()[:2]) for head in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            content = self.answer(head)
            if isinstance(content, Awaitable):
                content = await content
            if content is None:
                return
            writer.write(content)
            await writer.drain()
            if b"\r\nConnection: close\r\n" in content:
                return


@contextmanager
def nobody_listens() -> Iterator[str]:
    """Give an address at which every connection is refused for as long as this lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
