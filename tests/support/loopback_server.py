"""A real server on loopback, for tests of the network: a function creates its responses, and it records requests."""

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
"""Takes the head of a request and returns the bytes to send; None drops the connection."""


def http_answer(body: Mapping[str, Any] | bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return the bytes of a response; underscores in header names become hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Listener(ABC):
    """Listens on loopback, serves each connection in its own task, and ends all tasks on exit.

    Args:
        port: Port to listen on; 0: any free port.
        tls: TLS context; None: no TLS.
        waits: Refuse connections until `listen` is called.

    Attributes:
        port: Port that it listens on.
        connections: Number of accepted connections.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None, *, waits: bool = False) -> None:
        self.port = port
        self.connections = 0
        self._tls = tls
        self._waits = waits
        self._serving: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; a disconnect is not an error."""

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
            await asyncio.sleep(0)  # connections that are being accepted are added
        await self.close_connections()

    async def listen(self) -> None:
        """Start to accept connections, after `waits`."""
        await self._server.start_serving()

    async def close_connections(self) -> None:
        """Close every connection."""
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._serving.clear()
        await asyncio.sleep(0)  # transports close at the next turn of the loop

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        serving = asyncio.create_task(self._serve(reader, writer))
        serving.add_done_callback(lambda _: writer.close())  # also if it is cancelled before it has started
        self._serving.add(serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):  # the client has disconnected
            await self.serve(reader, writer)


class LoopbackServer(Listener):
    """Speaks enough HTTP to test a client.

    Attributes:
        requests: Heads of all requests.
    """

    def __init__(self, answer: Answerer, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port, tls)
        self.requests: list[str] = []
        self.answer = answer

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def request_lines(self) -> list[str]:
        """Request lines without query and version: ``GET /path``."""
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
    """Yield a URL at which nothing listens until exit."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
